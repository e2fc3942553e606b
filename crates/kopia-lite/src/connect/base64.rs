//! Base64 as Go reads it: line breaks are passed over, which is what `base64` writes.

use base64::{
    DecodeError,
    prelude::{BASE64_STANDARD, Engine},
};

/// The bytes that `text` stands for.
///
/// # Errors
/// The text is not base64.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let bare: Vec<u8> =
        text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    BASE64_STANDARD.decode(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_passed_over_and_other_blanks_are_not() {
        assert_eq!(decode(b"cGFz\r\nc3dv\ncmQ=\n").unwrap(), b"password");
        assert!(decode(b"cGFz c3dv").is_err());
    }
}
