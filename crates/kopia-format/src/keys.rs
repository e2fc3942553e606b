//! Keys: from the password to the format key, and from there to keys for one purpose.
//!
//! The password never encrypts data: it opens the format blob, which holds the random keys that do.
//! Two derivations look alike and are not: most have the repository's unique ID as salt and the
//! purpose as info, the content key has its purpose as salt and no info. Format:
//! `docs/format/02-format-blob.md`, sections 2 and 7.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{FormatError, Result};

/// The names of the ways from a password to the format key; the first is that of a new repository.
pub const KEY_DERIVATIONS: &[&str] = &["scrypt-65536-8-1", "pbkdf2-sha256-600000"];

/// The shortest unique ID that a password may be combined with.
pub const SALT_LEN_MIN: usize = 16;

/// What the password opens the format blob with. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct FormatKey(Zeroizing<[u8; 32]>);

impl FormatKey {
    /// A key that was derived before.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Shows what the key is for, never the key.
impl fmt::Debug for FormatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormatKey(format blob)")
    }
}

/// A key that serves one purpose. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PurposeKey<const LEN: usize> {
    purpose: &'static str,
    bytes: Zeroizing<[u8; LEN]>,
}

impl<const LEN: usize> PurposeKey<LEN> {
    /// The key for `purpose` of the repository `unique_id`, made from the key material `ikm`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the key material is empty.
    pub fn derive(ikm: &[u8], unique_id: &[u8], purpose: &'static str) -> Result<Self> {
        let key = hkdf_sha256(ikm, unique_id, purpose.as_bytes(), LEN)?;
        let mut bytes = Zeroizing::new([0; LEN]);
        bytes.copy_from_slice(&key);
        Ok(Self { purpose, bytes })
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.bytes
    }
}

/// Shows what the key is for, never the key.
impl<const LEN: usize> fmt::Debug for PurposeKey<LEN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PurposeKey({})", self.purpose)
    }
}

/// Turns a password into the format key. Meant to be slow: about 0.1 s, and 64 MiB of memory with
/// scrypt.
///
/// # Errors
/// [`FormatError::Unsupported`] for an unknown algorithm; [`FormatError::Invalid`] when the unique
/// ID is too short to be a salt.
pub fn derive_format_key(algorithm: &str, password: &[u8], unique_id: &[u8]) -> Result<FormatKey> {
    if !KEY_DERIVATIONS.contains(&algorithm) {
        let name = algorithm.to_owned();
        return Err(FormatError::Unsupported { what: "key derivation", name });
    }
    if unique_id.len() < SALT_LEN_MIN {
        let reason = format!("{} bytes are too few to be a salt", unique_id.len());
        return Err(FormatError::Invalid { what: "unique ID", reason });
    }
    let mut key = Zeroizing::new([0; 32]);
    if algorithm == KEY_DERIVATIONS[0] {
        let cost = scrypt::Params::new(16, 8, 1).expect("2^16, 8, 1 are within scrypt's limits");
        scrypt::scrypt(password, unique_id, &cost, &mut key[..]).expect("scrypt can make 32 bytes");
    } else {
        let rounds = std::num::NonZeroU32::new(600_000).expect("not zero");
        let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
        ring::pbkdf2::derive(algorithm, rounds, unique_id, password, &mut key[..]);
    }
    Ok(FormatKey(key))
}

/// HKDF-SHA256: `len` bytes for the purpose `info`.
///
/// # Errors
/// [`FormatError::Invalid`] when the key material is empty, which Kopia refuses, or `len` is above
/// 8160 bytes.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>> {
    if ikm.is_empty() {
        let reason = "there is no key material to derive from".to_owned();
        return Err(FormatError::Invalid { what: "key", reason });
    }
    let mut out = Zeroizing::new(vec![0; len]);
    hkdf(ikm, salt).expand(info, &mut out).map_err(|_| FormatError::Invalid {
        what: "key",
        reason: format!("HKDF can't make {len} bytes"),
    })?;
    Ok(out)
}

/// The first step of HKDF, also without key material.
pub(crate) fn hkdf(ikm: &[u8], salt: &[u8]) -> Hkdf<Sha256> {
    Hkdf::new(Some(salt), ikm)
}

/// The second step for the usual length.
pub(crate) fn hkdf_len_32(extracted: &Hkdf<Sha256>, info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    extracted.expand(info, &mut out[..]).expect("HKDF-SHA256 can make 32 bytes");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, vectors};

    #[test]
    fn passwords_become_kopias_format_keys() {
        let file = vectors("keys.json");
        let cases = file["password"].as_array().unwrap();
        assert_eq!(cases.len(), 16);
        for case in cases {
            let password = case["password"].as_str().unwrap().as_bytes();
            let key =
                derive_format_key(case["alg"].as_str().unwrap(), password, &hex(&case["salt"]));
            match case["error"].as_str() {
                Some(_) => assert!(key.is_err(), "{case}"),
                None => assert_eq!(key.unwrap().as_bytes()[..], hex(&case["key"]), "{case}"),
            }
        }
    }

    #[test]
    fn purposes_become_kopias_keys() {
        let file = vectors("keys.json");
        let cases = file["hkdf"].as_array().unwrap();
        assert_eq!(cases.len(), 15);
        for case in cases {
            let purpose = case["purpose"].as_str().unwrap().as_bytes();
            let len = case["length"].as_u64().unwrap() as usize;
            let key = hkdf_sha256(&hex(&case["masterKey"]), &hex(&case["salt"]), purpose, len);
            assert_eq!(key.unwrap()[..], hex(&case["key"]), "{case}");
        }
    }

    #[test]
    fn nothing_is_derived_from_nothing() {
        assert!(hkdf_sha256(b"", b"salt", b"info", 32).is_err());
        assert!(hkdf_sha256(b"key", b"salt", b"info", 255 * 32 + 1).is_err());
    }

    #[test]
    fn debug_shows_the_purpose_and_not_the_key() {
        let key = PurposeKey::<16>::derive(b"material", b"id", "local-cache-integrity").unwrap();
        assert_eq!(format!("{key:?}"), "PurposeKey(local-cache-integrity)");
        assert_eq!(format!("{:?}", FormatKey::new([9; 32])), "FormatKey(format blob)");
    }
}
