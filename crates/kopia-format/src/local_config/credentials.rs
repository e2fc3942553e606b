//! Where the password is kept between runs: a file beside the connection file, or a keyring.
//!
//! The file is `<connection file>.kopia-password`; base64 keeps the password from being read by
//! accident, nothing more.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{FormatError, Result};

/// What the file of a stored password holds: base64 and no line end.
pub fn encode_stored_password(password: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(password))
}

/// The password in such a file.
///
/// # Errors
/// [`FormatError::Malformed`] when it is not base64 of a text. Kopia does not ask for the
/// password then: it fails.
pub fn decode_stored_password(file: &[u8]) -> Result<Zeroizing<String>> {
    let malformed = |reason: &str| FormatError::malformed("stored password", reason);
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(file.iter().copied().filter(|b| !b"\r\n".contains(b)).collect());
    let bytes = STANDARD.decode(&text[..]).map_err(|_| malformed("not base64"))?;
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| malformed("not UTF-8"))
}

/// Under which service a keyring holds the password of a connection file.
pub fn keyring_service(config_path: &str) -> String {
    let name = config_path.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or_default();
    format!("{name}-{}", hex::encode(&Sha256::digest(config_path)[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_password_is_kopias() {
        assert_eq!(*encode_stored_password("fixture"), "Zml4dHVyZQ==");
        for file in ["Zml4dHVyZQ==", "Zml4dHVyZQ==\n", "Zml4\r\ndHVyZQ=="] {
            assert_eq!(*decode_stored_password(file.as_bytes()).unwrap(), "fixture");
        }
        for file in ["fixture!", "Zml4dHVyZQ", "/w=="] {
            assert!(decode_stored_password(file.as_bytes()).is_err(), "{file}");
        }
    }

    #[test]
    fn the_keyring_is_asked_by_name_and_path() {
        let service = keyring_service("/home/u/.config/kopia/repository.config");
        assert_eq!(service, "repository.config-9823ea03cb521e77");
    }
}
