//! How contents, indexes and session markers are encrypted.
//!
//! Every item has a key of its own, made from the repository's key and the item's identity, the
//! `iv`. The `iv` is *not* the nonce: it goes into the key and is the authenticated data, while the
//! nonce is 12 random bytes in front of the ciphertext. So a nonce would have to repeat under the
//! same `iv` to do harm, and an item can't be passed off as another. Format:
//! `docs/format/03-contents-packs.md`, section 3.

use std::{fmt, ops::Range};

use ring::{aead, hmac};

use crate::{
    FormatError, Result,
    keys::{hkdf, hkdf_len_32},
};

/// The names of all ciphers, sorted.
pub const CIPHERS: &[&str] = &["AES256-GCM-HMAC-SHA256", "CHACHA20-POLY1305-HMAC-SHA256"];

/// The cipher of a new repository.
pub const DEFAULT_CIPHER: &str = "AES256-GCM-HMAC-SHA256";

/// How many bytes a sealed item is longer than its plaintext: nonce and tag.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// The length of a nonce.
pub const NONCE_LEN: usize = 12;

const TAG_LEN: usize = 16;

/// A cipher with the repository's key.
#[derive(Clone)]
pub struct Cipher {
    name: &'static str,
    algorithm: &'static aead::Algorithm,
    derivation: hmac::Key,
}

impl Cipher {
    /// The cipher `name` with a key made from the repository's master key.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an unknown name.
    pub fn new(name: &str, master_key: &[u8]) -> Result<Self> {
        let Some(name) = CIPHERS.iter().find(|known| **known == name) else {
            return Err(FormatError::Unsupported { what: "encryption", name: name.to_owned() });
        };
        let algorithm = match *name {
            "AES256-GCM-HMAC-SHA256" => &aead::AES_256_GCM,
            _ => &aead::CHACHA20_POLY1305,
        };
        // The purpose is the salt here, unlike in every other derivation.
        let key = hkdf_len_32(&hkdf(master_key, b"encryption"), b"");
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, &key[..]);
        Ok(Self { name, algorithm, derivation })
    }

    /// The cipher's name in the repository format.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Encrypts `plain` as the item that `iv` identifies: nonce, ciphertext, tag. The nonce must be
    /// random.
    pub fn seal(&self, iv: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        self.seal_onto(iv, nonce, plain, &mut out);
        out
    }

    /// [`seal`](Self::seal) at the end of what `out` holds already.
    pub fn seal_onto(&self, iv: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        seal_onto(&self.item_key(iv), nonce, iv, plain, out);
    }

    /// [`seal`](Self::seal) of bytes that begin with room for the nonce, where they are.
    pub(crate) fn seal_in_place(
        &self,
        iv: &[u8],
        nonce: [u8; NONCE_LEN],
        mut bytes: Vec<u8>,
    ) -> Vec<u8> {
        bytes[..NONCE_LEN].copy_from_slice(&nonce);
        encrypt_from(&self.item_key(iv), nonce, iv, NONCE_LEN, &mut bytes);
        bytes
    }

    /// Decrypts what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when the bytes are too short, changed, of another item or under
    /// another key.
    pub fn open(&self, iv: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.item_key(iv), iv, sealed).ok_or(FormatError::Damaged { what: "encrypted item" })
    }

    /// [`open`](Self::open) without a copy: says where in `sealed` the plaintext is now. After an
    /// error the bytes are worth nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in_place(&self, iv: &[u8], sealed: &mut [u8]) -> Result<Range<usize>> {
        open_in_place(&self.item_key(iv), iv, sealed)
            .ok_or(FormatError::Damaged { what: "encrypted item" })
    }

    fn item_key(&self, iv: &[u8]) -> aead::LessSafeKey {
        let key = hmac::sign(&self.derivation, iv);
        let key = aead::UnboundKey::new(self.algorithm, key.as_ref());
        aead::LessSafeKey::new(key.expect("an HMAC-SHA256 is as long as the key of both ciphers"))
    }
}

/// Shows the cipher, never the key.
impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.name)
    }
}

/// AES-256-GCM with this key.
pub(crate) fn aes256(key: &[u8; 32]) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key);
    aead::LessSafeKey::new(key.expect("32 bytes are an AES-256 key"))
}

/// Nonce, ciphertext, tag.
pub(crate) fn seal(
    key: &aead::LessSafeKey,
    nonce: [u8; NONCE_LEN],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
    seal_onto(key, nonce, aad, plain, &mut out);
    out
}

fn seal_onto(
    key: &aead::LessSafeKey,
    nonce: [u8; NONCE_LEN],
    aad: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) {
    out.reserve(plain.len() + OVERHEAD);
    out.extend_from_slice(&nonce);
    let from = out.len();
    out.extend_from_slice(plain);
    encrypt_from(key, nonce, aad, from, out);
}

/// Encrypts all from `from` on and appends the tag.
fn encrypt_from(
    key: &aead::LessSafeKey,
    nonce: [u8; NONCE_LEN],
    aad: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) {
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), &mut out[from..])
        .expect("an item is far below the 64 GiB limit of the ciphers");
    out.extend_from_slice(tag.as_ref());
}

/// The plaintext, unless the bytes are not what [`seal`] made.
pub(crate) fn open(key: &aead::LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = sealed.to_vec();
    let length = decrypt(key, *nonce, aad, &mut plain)?;
    plain.truncate(length);
    Some(plain)
}

fn open_in_place(key: &aead::LessSafeKey, aad: &[u8], sealed: &mut [u8]) -> Option<Range<usize>> {
    let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
    let length = decrypt(key, *nonce, aad, sealed)?;
    Some(NONCE_LEN..NONCE_LEN + length)
}

/// Decrypts ciphertext and tag where they are; gives the length of the plaintext.
fn decrypt(
    key: &aead::LessSafeKey,
    nonce: [u8; NONCE_LEN],
    aad: &[u8],
    bytes: &mut [u8],
) -> Option<usize> {
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    Some(key.open_in_place(nonce, aead::Aad::from(aad), bytes).ok()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, spec_bytes, vectors};

    fn cipher(case: &serde_json::Value) -> Cipher {
        Cipher::new(case["alg"].as_str().unwrap(), &hex(&case["masterKey"])).unwrap()
    }

    #[test]
    fn every_item_that_kopia_sealed_opens_and_is_sealed_alike() {
        for case in vectors("encryption.json")["cases"].as_array().unwrap() {
            let (cipher, iv) = (cipher(case), hex(&case["contentHash"]));
            let sealed = hex(&case["encrypted"]);
            let plain = spec_bytes(case["plaintext"].as_str().unwrap());
            assert_eq!(cipher.open(&iv, &sealed).unwrap(), plain, "{case}");
            let mut opened = sealed.clone();
            let place = cipher.open_in_place(&iv, &mut opened).unwrap();
            assert_eq!(opened[place], plain, "{case}");
            let nonce = hex(&case["nonce"]).try_into().unwrap();
            assert_eq!(cipher.seal(&iv, nonce, &plain), sealed, "{case}");
            assert_eq!(case["overhead"], OVERHEAD);
            let item_key = hmac::sign(&cipher.derivation, &iv);
            assert_eq!(item_key.as_ref(), hex(&case["contentKey"]), "{case}");
            let secret = hkdf_len_32(&hkdf(&hex(&case["masterKey"]), b"encryption"), b"");
            assert_eq!(secret[..], hex(&case["secret"]), "{case}");
        }
    }

    #[test]
    fn damaged_items_do_not_open() {
        let file = vectors("encryption.json");
        let bad = file["bad"].as_array().unwrap();
        assert_eq!(bad.len(), 12);
        for case in bad {
            let (iv, mut sealed) = (hex(&case["contentHash"]), hex(&case["encrypted"]));
            let damaged = FormatError::Damaged { what: "encrypted item" };
            assert_eq!(cipher(case).open(&iv, &sealed), Err(damaged.clone()), "{case}");
            let opened = cipher(case).open_in_place(&iv, &mut sealed);
            assert_eq!(opened, Err(damaged), "{case}");
        }
    }

    #[test]
    fn unknown_ciphers_are_named_and_debug_hides_the_key() {
        let unknown = Cipher::new("ROT13", b"key").unwrap_err();
        let name = "ROT13".to_owned();
        assert_eq!(unknown, FormatError::Unsupported { what: "encryption", name });
        let cipher = Cipher::new(DEFAULT_CIPHER, &[1; 32]).unwrap();
        assert_eq!(format!("{cipher:?}"), "Cipher(AES256-GCM-HMAC-SHA256)");
    }
}
