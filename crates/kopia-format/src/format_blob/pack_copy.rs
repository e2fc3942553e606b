//! The copy of the format blob at the head of packs.
//!
//! Repositories whose password can't change (`enablePasswordChange` false) keep one in every
//! pack, so that `kopia.repository` can be recovered when it is lost. The checksum's key is a
//! constant: it tells such a copy from other bytes, it protects nothing.

use ring::hmac;

use crate::{FormatError, Result};

/// How many bytes from either end of a pack a recovery needs to see.
pub const RECOVERY_CHUNK_LEN: usize = 65536;

const LENGTH_LEN: usize = 2;
const CHECKSUM_LEN: usize = 32;
const CHECKSUMMED_LEN_MAX: usize = 65000;
const CHECKSUM_KEY: &[u8] = b"kopia-repository";

/// What stands at the head of a pack for this format blob: length, blob, checksum, length.
///
/// # Errors
/// [`FormatError::Invalid`] when the format blob is longer than 64968 bytes.
pub fn pack_copy(format_blob: &[u8]) -> Result<Vec<u8>> {
    let length = format_blob.len() + CHECKSUM_LEN;
    if length > CHECKSUMMED_LEN_MAX {
        let reason = format!("{} bytes are too many to be copied into packs", format_blob.len());
        return Err(FormatError::Invalid { what: "format blob", reason });
    }
    let length = (length as u16).to_le_bytes();
    let checksum = hmac::sign(&checksum_key(), format_blob);
    Ok([&length[..], format_blob, checksum.as_ref(), &length[..]].concat())
}

/// Finds the copy in a pack, given its first and its last [`RECOVERY_CHUNK_LEN`] bytes.
pub fn recover_from_pack(head: &[u8], tail: &[u8]) -> Option<Vec<u8>> {
    recover_from_head(head).or_else(|| recover_from_tail(tail))
}

/// Finds a copy that begins where `head` begins.
pub fn recover_from_head(head: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = head.split_first_chunk::<LENGTH_LEN>()?;
    let length = checksummed_len(*length, head.len())?;
    verify(&rest[..length])
}

/// Finds a copy that ends where `tail` ends.
pub fn recover_from_tail(tail: &[u8]) -> Option<Vec<u8>> {
    let (rest, length) = tail.split_last_chunk::<LENGTH_LEN>()?;
    let length = checksummed_len(*length, tail.len())?;
    verify(&rest[rest.len() - length..])
}

/// The length found, if so many bytes can lie beside it. Kopia passes over chunks up to 4 bytes.
fn checksummed_len(length: [u8; LENGTH_LEN], chunk: usize) -> Option<usize> {
    let length = usize::from(u16::from_le_bytes(length));
    (chunk > LENGTH_LEN + 2 && length <= CHECKSUMMED_LEN_MAX && length + LENGTH_LEN < chunk)
        .then_some(length)
}

fn verify(checksummed: &[u8]) -> Option<Vec<u8>> {
    let (blob, checksum) =
        checksummed.split_at_checked(checksummed.len().checked_sub(CHECKSUM_LEN)?)?;
    hmac::verify(&checksum_key(), blob, checksum).ok()?;
    Some(blob.to_vec())
}

fn checksum_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, CHECKSUM_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, vectors};

    #[test]
    fn the_copy_is_kopias_and_is_found_again() {
        for case in vectors("format_blob.json")["cases"].as_array().unwrap() {
            let blob = case["blob"].as_str().unwrap().as_bytes();
            let copy = pack_copy(blob).unwrap();
            assert_eq!(copy, hex(&case["withChecksumAndLength"]));
            let pack = [&copy[..], &[7; 500]].concat();
            assert_eq!(recover_from_head(&pack).unwrap(), blob);
            let pack = [&[7; 500], &copy[..]].concat();
            assert_eq!(recover_from_tail(&pack).unwrap(), blob);
        }
    }

    #[test]
    fn copies_are_recovered_where_kopia_recovers_them() {
        let file = vectors("format_blob.json");
        let cases = file["recover"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let pack = hex(&case["pack"]);
            let found = recover_from_pack(&pack, &pack);
            match case["formatBlob"].as_str() {
                Some(blob) => assert_eq!(found.as_deref(), Some(blob.as_bytes()), "{case}"),
                None => assert_eq!(found, None, "{case}"),
            }
        }
    }

    #[test]
    fn any_bytes_are_looked_at_without_a_panic() {
        let noise = kopia_fixtures::spec_bytes("ctr:noise:70000");
        for len in (0..200).chain([65535, 65536, 70000]) {
            assert_eq!(recover_from_pack(&noise[..len], &noise[..len]), None);
            assert_eq!(recover_from_pack(&vec![0xff; len], &vec![0; len]), None);
        }
    }

    #[test]
    fn a_format_blob_too_long_for_its_length_field_is_refused() {
        assert!(pack_copy(&vec![0; CHECKSUMMED_LEN_MAX - CHECKSUM_LEN]).is_ok());
        assert!(pack_copy(&vec![0; CHECKSUMMED_LEN_MAX - CHECKSUM_LEN + 1]).is_err());
    }
}
