//! The keyed hash that names a content.
//!
//! A repository has one hash function and one secret. Eleven functions exist in Kopia 0.23; a
//! shorter name such as `…-128` means the first bytes of the longer hash, with one exception:
//! `BLAKE2S-128` is BLAKE2s with a native digest of 16 bytes. Format:
//! `docs/format/03-contents-packs.md`, section 2.

use std::{fmt, ops::Deref};

use hmac::{Hmac, KeyInit, Mac, SimpleHmac};
use sha2::Sha224;
use sha3::{Sha3_224, Sha3_256};

use crate::{FormatError, Result};

/// The names of all hash functions, sorted.
pub const HASHES: &[&str] = &[
    "BLAKE2B-256",
    "BLAKE2B-256-128",
    "BLAKE2S-128",
    "BLAKE2S-256",
    "BLAKE3-256",
    "BLAKE3-256-128",
    "HMAC-SHA224",
    "HMAC-SHA256",
    "HMAC-SHA256-128",
    "HMAC-SHA3-224",
    "HMAC-SHA3-256",
];

/// The hash function of a new repository.
pub const DEFAULT_HASH: &str = "BLAKE2B-256-128";

/// The longest hash, in bytes.
pub const HASH_LEN_MAX: usize = 32;

/// The hash of some bytes: 16, 28 or 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashValue {
    bytes: [u8; HASH_LEN_MAX],
    len: u8,
}

impl HashValue {
    fn truncated(hash: &[u8], len: usize) -> Self {
        let mut bytes = [0; HASH_LEN_MAX];
        bytes[..len].copy_from_slice(&hash[..len]);
        Self { bytes, len: len as u8 }
    }

    /// The last 16 bytes: what identifies a content or a whole blob to the cipher.
    pub fn iv(&self) -> &[u8] {
        &self[self.len() - 16..]
    }
}

impl Deref for HashValue {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for HashValue {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Lower-case hexadecimal digits.
impl fmt::Display for HashValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self[..]))
    }
}

impl fmt::Debug for HashValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash function with its key. Cheap to clone; one serves all threads.
#[derive(Clone)]
pub struct ContentHasher {
    name: &'static str,
    output_len: usize,
    function: Function,
}

/// Each variant holds the state after the key went in.
#[derive(Clone)]
enum Function {
    Blake2b(Box<blake2b_simd::Params>),
    Blake2s(Box<blake2s_simd::Params>),
    Blake3([u8; 32]),
    HmacSha256(ring::hmac::Key),
    HmacSha224(Box<Hmac<Sha224>>),
    HmacSha3_224(Box<SimpleHmac<Sha3_224>>),
    HmacSha3_256(Box<SimpleHmac<Sha3_256>>),
}

impl ContentHasher {
    /// The hash function `name` keyed with the repository's `secret`.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an unknown name; [`FormatError::Invalid`] when this
    /// function can't take a secret of this length (BLAKE2 keys have a maximum, and `BLAKE2S-128`
    /// needs one).
    pub fn new(name: &str, secret: &[u8]) -> Result<Self> {
        let Some(name) = HASHES.iter().find(|known| **known == name) else {
            return Err(FormatError::Unsupported { what: "hash", name: name.to_owned() });
        };
        let (function, output_len) = match *name {
            "BLAKE2B-256" => (blake2b(secret)?, 32),
            "BLAKE2B-256-128" => (blake2b(secret)?, 16),
            "BLAKE2S-128" => (blake2s(secret, 16)?, 16),
            "BLAKE2S-256" => (blake2s(secret, 32)?, 32),
            "BLAKE3-256" => (blake3(secret), 32),
            "BLAKE3-256-128" => (blake3(secret), 16),
            "HMAC-SHA224" => (Function::HmacSha224(Box::new(keyed(secret))), 28),
            "HMAC-SHA256" => (hmac_sha256(secret), 32),
            "HMAC-SHA256-128" => (hmac_sha256(secret), 16),
            "HMAC-SHA3-224" => (Function::HmacSha3_224(Box::new(keyed(secret))), 28),
            _ => (Function::HmacSha3_256(Box::new(keyed(secret))), 32),
        };
        Ok(Self { name, output_len, function })
    }

    /// The function's name in the repository format.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How long its hashes are: 16, 28 or 32 bytes.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// The hash of `bytes`.
    pub fn hash(&self, bytes: &[u8]) -> HashValue {
        let short = |hash: &[u8]| HashValue::truncated(hash, self.output_len);
        match &self.function {
            Function::Blake2b(params) => short(params.hash(bytes).as_bytes()),
            Function::Blake2s(params) => short(params.hash(bytes).as_bytes()),
            Function::Blake3(key) => short(blake3::keyed_hash(key, bytes).as_bytes()),
            Function::HmacSha256(key) => short(ring::hmac::sign(key, bytes).as_ref()),
            Function::HmacSha224(mac) => short(&after(&**mac, bytes)),
            Function::HmacSha3_224(mac) => short(&after(&**mac, bytes)),
            Function::HmacSha3_256(mac) => short(&after(&**mac, bytes)),
        }
    }

    /// The hashes of several inputs, in their order.
    ///
    /// BLAKE2 hashes as many at once as the CPU has lanes: inputs of like length then cost about
    /// half of what they cost one by one. The other functions gain nothing.
    pub fn hash_each(&self, inputs: &[&[u8]]) -> Vec<HashValue> {
        let short = |hash: &[u8]| HashValue::truncated(hash, self.output_len);
        match &self.function {
            Function::Blake2b(params) => {
                use blake2b_simd::many::{HashManyJob, hash_many};
                let jobs = inputs.iter().map(|input| HashManyJob::new(params, input));
                let mut jobs: Vec<_> = jobs.collect();
                hash_many(&mut jobs);
                jobs.iter().map(|job| short(job.to_hash().as_bytes())).collect()
            }
            Function::Blake2s(params) => {
                use blake2s_simd::many::{HashManyJob, hash_many};
                let jobs = inputs.iter().map(|input| HashManyJob::new(params, input));
                let mut jobs: Vec<_> = jobs.collect();
                hash_many(&mut jobs);
                jobs.iter().map(|job| short(job.to_hash().as_bytes())).collect()
            }
            _ => inputs.iter().map(|input| self.hash(input)).collect(),
        }
    }
}

/// Shows the function, never the key.
impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHasher({})", self.name)
    }
}

fn key_too_long(function: &str, max: usize) -> FormatError {
    let reason = format!("{function} takes a key of at most {max} bytes");
    FormatError::Invalid { what: "hash secret", reason }
}

fn blake2b(secret: &[u8]) -> Result<Function> {
    if secret.len() > blake2b_simd::KEYBYTES {
        return Err(key_too_long("BLAKE2b", blake2b_simd::KEYBYTES));
    }
    let mut params = blake2b_simd::Params::new();
    params.hash_length(32).key(secret);
    Ok(Function::Blake2b(Box::new(params)))
}

fn blake2s(secret: &[u8], length: usize) -> Result<Function> {
    if secret.len() > blake2s_simd::KEYBYTES {
        return Err(key_too_long("BLAKE2s", blake2s_simd::KEYBYTES));
    }
    if secret.is_empty() && length == 16 {
        let reason = "BLAKE2S-128 needs a key".to_owned();
        return Err(FormatError::Invalid { what: "hash secret", reason });
    }
    let mut params = blake2s_simd::Params::new();
    params.hash_length(length).key(secret);
    Ok(Function::Blake2s(Box::new(params)))
}

fn blake3(secret: &[u8]) -> Function {
    Function::Blake3(match secret.first_chunk::<32>() {
        Some(key) => *key,
        None => blake3::derive_key("kopia blake3 derived key v1", secret),
    })
}

fn hmac_sha256(secret: &[u8]) -> Function {
    Function::HmacSha256(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret))
}

fn keyed<M: KeyInit>(secret: &[u8]) -> M {
    M::new_from_slice(secret).expect("HMAC takes a key of any length")
}

fn after<M: Mac + Clone>(mac: &M, bytes: &[u8]) -> Vec<u8> {
    let mut mac = mac.clone();
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, spec_bytes, vectors};

    #[test]
    fn every_hash_of_kopia_is_reproduced() {
        let file = vectors("hashes.json");
        let mut hashed = 0;
        for case in file["cases"].as_array().unwrap() {
            let made = ContentHasher::new(case["alg"].as_str().unwrap(), &hex(&case["key"]));
            if case["error"].is_string() {
                assert!(matches!(made, Err(FormatError::Invalid { .. })), "{case}: {made:?}");
                continue;
            }
            let hasher = made.unwrap();
            let hash = hasher.hash(&spec_bytes(case["input"].as_str().unwrap()));
            assert_eq!(hash.to_string(), case["hash"].as_str().unwrap(), "{case}");
            assert_eq!(hash.len(), hasher.output_len());
            hashed += 1;
        }
        assert!(hashed > 300, "only {hashed} cases");
    }

    #[test]
    fn several_at_once_hash_as_they_do_one_by_one() {
        let lengths = [0, 1, 64, 127, 128, 129, 1000, 4096, 70_000, 3, 0, 128];
        let inputs: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(n, len)| spec_bytes(&format!("ctr:{n}:{len}")))
            .collect();
        for name in HASHES {
            for secret in [&[7; 32][..], &[1; 16]] {
                let hasher = ContentHasher::new(name, secret).unwrap();
                for count in 0..=inputs.len() {
                    let some: Vec<_> = inputs[..count].iter().map(Vec::as_slice).collect();
                    let one_by_one: Vec<_> = some.iter().map(|input| hasher.hash(input)).collect();
                    assert_eq!(hasher.hash_each(&some), one_by_one, "{name}");
                }
            }
        }
    }

    #[test]
    fn the_names_are_kopias() {
        let file = vectors("hashes.json");
        assert_eq!(file["algorithms"], serde_json::json!(HASHES));
        assert_eq!(file["default"], DEFAULT_HASH);
        let unknown = ContentHasher::new("MD5", &[0; 32]).unwrap_err();
        assert_eq!(unknown, FormatError::Unsupported { what: "hash", name: "MD5".to_owned() });
    }

    #[test]
    fn keys_beyond_the_maximum_of_blake2_are_refused() {
        for (name, max) in [("BLAKE2B-256", 64), ("BLAKE2B-256-128", 64), ("BLAKE2S-256", 32)] {
            assert!(ContentHasher::new(name, &vec![1; max]).is_ok(), "{name}");
            assert!(ContentHasher::new(name, &vec![1; max + 1]).is_err(), "{name}");
        }
    }

    #[test]
    fn the_iv_is_the_end_of_the_hash_and_debug_hides_the_key() {
        let hasher = ContentHasher::new("BLAKE3-256", &[7; 32]).unwrap();
        let hash = hasher.hash(b"x");
        assert_eq!(hash.iv(), &hash[16..32]);
        assert_eq!(format!("{hasher:?}"), "ContentHasher(BLAKE3-256)");
    }
}
