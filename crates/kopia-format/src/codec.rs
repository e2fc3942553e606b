//! The coat of every item: hash, cipher and, outermost, error correction.
//!
//! Contents and local indexes are items inside a pack. Index blobs, session markers and logs are
//! whole blobs, which carry the hash of their plaintext in their name: the last 32 hexadecimal
//! digits before the first dash are the `iv`, whatever prefix stands in front.
//! Format: `docs/format/03-contents-packs.md`, section 3.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{
    FormatError, Result,
    cipher::{Cipher, NONCE_LEN, OVERHEAD},
    ecc::Ecc,
    format_blob::RepositoryFormat,
    hash::ContentHasher,
};

const IV_DIGITS: usize = 32;

/// Plain bytes with room around them for what sealing adds, so that they can be sealed where they
/// are.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealable(Vec<u8>);

impl Sealable {
    /// No bytes yet, and room for `length` of them.
    pub fn with_room(length: usize) -> Self {
        Self::in_memory(Vec::with_capacity(length + OVERHEAD))
    }

    /// No bytes yet; they will be put into `memory`, in place of what is there. Without a copy that
    /// takes [`OVERHEAD`] bytes more than they are.
    pub fn in_memory(mut memory: Vec<u8>) -> Self {
        memory.clear();
        memory.extend_from_slice(&[0; NONCE_LEN]);
        Self(memory)
    }

    /// The memory, if the bytes are not to be sealed.
    pub fn into_memory(self) -> Vec<u8> {
        self.0
    }

    /// Takes more plain bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Lets `fill` put up to `length` plain bytes behind those that are here, and keeps as many as it
    /// says. After an error they are as before.
    ///
    /// # Errors
    /// What `fill` gives.
    pub fn extend_by<E>(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let before = self.0.len();
        self.0.resize(before + length, 0);
        let filled = fill(&mut self.0[before..]);
        let kept = filled.as_ref().map_or(0, |filled| (*filled).min(length));
        self.0.truncate(before + kept);
        filled
    }

    /// Keeps the first `length` plain bytes.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(NONCE_LEN + length);
    }

    /// The plain bytes.
    pub fn plain(&self) -> &[u8] {
        &self.0[NONCE_LEN..]
    }
}

/// Shows the length, never the bytes.
impl std::fmt::Debug for Sealable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealable({} bytes)", self.plain().len())
    }
}

/// Seals and opens the items of one repository. Cheap to clone; one serves all threads.
#[derive(Debug, Clone)]
pub struct ItemCodec {
    hasher: ContentHasher,
    cipher: Cipher,
    ecc: Option<Arc<Ecc>>,
}

impl ItemCodec {
    /// The codec that `format` asks for.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] when the hash, the cipher or the error correction is unknown;
    /// [`FormatError::Invalid`] when the secret does not fit the hash.
    pub fn new(format: &RepositoryFormat) -> Result<Self> {
        let ecc = match format.ecc.as_str() {
            "" => None,
            _ if format.ecc_overhead_percent == 0 => None,
            name => Some(Arc::new(Ecc::new(name, format.ecc_overhead_percent)?)),
        };
        Ok(Self {
            hasher: ContentHasher::new(&format.hash, &format.secret)?,
            cipher: Cipher::new(&format.encryption, &format.master_key)?,
            ecc,
        })
    }

    /// The hash function that names contents and blobs.
    pub fn hasher(&self) -> &ContentHasher {
        &self.hasher
    }

    /// Whether items carry error correction.
    pub fn has_ecc(&self) -> bool {
        self.ecc.is_some()
    }

    /// How many bytes longer than the plaintext an item is before error correction.
    pub fn overhead(&self) -> usize {
        OVERHEAD
    }

    /// Encrypts an item and adds error correction. The nonce must be random.
    pub fn seal(&self, iv: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
        let sealed = self.cipher.seal(iv, nonce, plain);
        match &self.ecc {
            Some(ecc) => ecc.encode(&sealed),
            None => sealed,
        }
    }

    /// [`seal`](Self::seal) at the end of what `out` holds already: for many items that lie one
    /// behind the other.
    pub fn seal_onto(&self, iv: &[u8], nonce: [u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        match &self.ecc {
            Some(_) => out.extend_from_slice(&self.seal(iv, nonce, plain)),
            None => self.cipher.seal_onto(iv, nonce, plain, out),
        }
    }

    /// [`seal`](Self::seal) without a copy, unless there is error correction.
    pub fn seal_in_place(&self, iv: &[u8], nonce: [u8; NONCE_LEN], plain: Sealable) -> Vec<u8> {
        let sealed = self.cipher.seal_in_place(iv, nonce, plain.0);
        match &self.ecc {
            Some(ecc) => ecc.encode(&sealed),
            None => sealed,
        }
    }

    /// Repairs and decrypts an item.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when it is beyond repair or does not decrypt.
    pub fn open(&self, iv: &[u8], stored: &[u8]) -> Result<Vec<u8>> {
        match &self.ecc {
            Some(ecc) => self.cipher.open(iv, &ecc.decode(stored)?.bytes),
            None => self.cipher.open(iv, stored),
        }
    }

    /// Like [`open`](Self::open); also says whether error correction had to repair something.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when it is beyond repair or does not decrypt.
    pub fn open_reporting(&self, iv: &[u8], stored: &[u8]) -> Result<(Vec<u8>, bool)> {
        match &self.ecc {
            Some(ecc) => {
                let decoded = ecc.decode(stored)?;
                Ok((self.cipher.open(iv, &decoded.bytes)?, decoded.repaired))
            }
            None => Ok((self.cipher.open(iv, stored)?, false)),
        }
    }

    /// Like [`open_reporting`](Self::open_reporting), but where the bytes are, unless there is error
    /// correction. The plaintext holds the memory of `sealed`.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when it is beyond repair or does not decrypt.
    pub fn open_in_place(&self, iv: &[u8], mut sealed: BytesMut) -> Result<(Bytes, bool)> {
        if self.has_ecc() {
            let (plain, repaired) = self.open_reporting(iv, &sealed)?;
            return Ok((plain.into(), repaired));
        }
        let place = self.cipher.open_in_place(iv, &mut sealed)?;
        sealed.truncate(place.end);
        Ok((sealed.freeze().slice(place.start..), false))
    }

    /// Encrypts a whole blob: its ID (`prefix`, hash, `suffix`) and its bytes.
    ///
    /// The suffix stands in the ID as given, with its leading dash: `-s0123…` or nothing.
    /// Its prefix does not enter the encryption, except that it must not contain a dash.
    pub fn seal_blob(
        &self,
        prefix: &str,
        suffix: &str,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
    ) -> (String, Vec<u8>) {
        let hash = self.hasher.hash(plain);
        (format!("{prefix}{hash}{suffix}"), self.seal(hash.iv(), nonce, plain))
    }

    /// Decrypts a whole blob and checks its plaintext against the hash in its ID.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when the ID holds no `iv`; [`FormatError::Damaged`] when the
    /// blob is beyond repair, does not decrypt, or is not what its ID says.
    pub fn open_blob(&self, blob_id: &str, stored: &[u8]) -> Result<Vec<u8>> {
        let plain = self.open(&blob_iv(blob_id)?, stored)?;
        // Kopia leaves this check out; it costs little and finds blobs under a wrong name.
        let named = stem(blob_id).as_bytes();
        let digits = 2 * self.hasher.output_len();
        let named = named.len().checked_sub(digits).map(|from| &named[from..]);
        match named.and_then(|digits| hex::decode(digits).ok()) {
            Some(named) if named != self.hasher.hash(&plain)[..] => {
                Err(FormatError::Damaged { what: "blob whose ID is its hash" })
            }
            _ => Ok(plain),
        }
    }
}

/// What identifies a whole blob to the cipher: 16 bytes from its ID.
///
/// # Errors
/// [`FormatError::Malformed`] when the ID has no 32 hexadecimal digits before its first dash.
pub fn blob_iv(blob_id: &str) -> Result<[u8; 16]> {
    let stem = stem(blob_id).as_bytes();
    let mut iv = [0; 16];
    let digits = stem.len().checked_sub(IV_DIGITS).map(|from| &stem[from..]);
    match digits.map(|digits| hex::decode_to_slice(digits, &mut iv)) {
        Some(Ok(())) => Ok(iv),
        _ => Err(FormatError::malformed("blob ID", format!("{blob_id} contains no hash"))),
    }
}

fn stem(blob_id: &str) -> &str {
    blob_id.split_once('-').map_or(blob_id, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_blob::{FormatOptions, RepositoryFormat};
    use kopia_fixtures::{hex, spec_bytes, vectors};
    use serde_json::Value;

    fn codec(case: &Value) -> ItemCodec {
        let mut format = RepositoryFormat::new(&FormatOptions::default(), [0; 32], [0; 32]);
        format.hash = case["hash"].as_str().unwrap().to_owned();
        format.encryption = case["alg"].as_str().unwrap().to_owned();
        format.secret = hex(&case["secret"]).into();
        format.master_key = hex(&case["masterKey"]).into();
        ItemCodec::new(&format).unwrap()
    }

    #[test]
    fn bytes_are_put_behind_those_that_are_there_and_an_error_puts_none() {
        let mut sealable = Sealable::with_room(4);
        sealable.extend(b"ab");
        let fill = |place: &mut [u8]| -> Result<usize, ()> {
            place[..2].copy_from_slice(b"cd");
            Ok(2)
        };
        assert_eq!(sealable.extend_by(5, fill), Ok(2));
        assert_eq!(sealable.extend_by(5, |_| Err("broken")), Err("broken"));
        assert_eq!(sealable.plain(), b"abcd");
        sealable.truncate(1);
        assert_eq!(sealable.plain(), b"a");
    }

    #[test]
    fn all_ways_of_sealing_give_the_same_bytes() {
        for ecc_overhead_percent in [0, 5] {
            let options = FormatOptions { ecc_overhead_percent, ..Default::default() };
            let format = RepositoryFormat::new(&options, [1; 32], [2; 32]);
            let codec = ItemCodec::new(&format).unwrap();
            for pieces in [&[][..], &[&b"one"[..]], &[b"some", b"", b" pieces"]] {
                let plain = pieces.concat();
                let sealed = codec.seal(&[3; 16], [4; NONCE_LEN], &plain);
                let mut sealable = Sealable::with_room(plain.len());
                pieces.iter().for_each(|piece| sealable.extend(piece));
                assert_eq!(sealable.plain(), plain);
                assert_eq!(codec.seal_in_place(&[3; 16], [4; NONCE_LEN], sealable), sealed);
                let opened = codec.open_in_place(&[3; 16], sealed[..].into()).unwrap();
                assert_eq!(opened, (plain.clone().into(), false));
                let mut more = b"before".to_vec();
                codec.seal_onto(&[3; 16], [4; NONCE_LEN], &plain, &mut more);
                assert_eq!(more, [&b"before"[..], &sealed].concat());
            }
        }
    }

    #[test]
    fn whole_blobs_are_named_and_sealed_as_kopia_does() {
        let file = vectors("blobcrypto.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 30);
        for case in cases {
            let (codec, sealed) = (codec(case), hex(&case["encrypted"]));
            let plain = spec_bytes(case["plaintext"].as_str().unwrap());
            let id = case["blobID"].as_str().unwrap();
            assert_eq!(codec.open_blob(id, &sealed).unwrap(), plain, "{case}");

            let suffix = match case["suffix"].as_str().unwrap() {
                "" => String::new(),
                suffix => format!("-{suffix}"),
            };
            let nonce = sealed[..NONCE_LEN].try_into().unwrap();
            let prefix = case["prefix"].as_str().unwrap();
            let made = codec.seal_blob(prefix, &suffix, nonce, &plain);
            assert_eq!(made, (id.to_owned(), sealed), "{case}");
        }
    }

    #[test]
    fn a_blob_under_another_name_is_refused() {
        let format = RepositoryFormat::new(
            &FormatOptions { hash: "BLAKE3-256".to_owned(), ..FormatOptions::default() },
            [1; 32],
            [2; 32],
        );
        let codec = ItemCodec::new(&format).unwrap();
        let (id, sealed) = codec.seal_blob("xn0_", "-s1-c1", [3; 12], b"payload");
        assert_eq!(codec.open_blob(&id, &sealed).unwrap(), b"payload");
        // The first half of the hash is no part of the iv, so the cipher accepts this.
        let other = id.replacen(&id[4..8], "0000", 1);
        let error = codec.open_blob(&other, &sealed).unwrap_err();
        assert_eq!(error, FormatError::Damaged { what: "blob whose ID is its hash" });
        // Kopia's range and compaction names put any prefix in front of the same hash.
        assert!(codec.open_blob(&id.replacen("xn0_", "xr0_4_", 1), &sealed).is_ok());
    }

    #[test]
    fn ids_without_a_hash_are_malformed() {
        for id in
            ["", "n", "n-0123456789abcdef0123456789abcdef", "0123456789abcdefg123456789abcdef"]
        {
            assert!(matches!(blob_iv(id), Err(FormatError::Malformed { .. })), "{id}");
        }
        assert!(blob_iv("n0123456789abcdef0123456789ABCDEF-x").is_ok());
    }

    #[test]
    fn error_correction_lies_outside_the_cipher() {
        let options = FormatOptions { ecc_overhead_percent: 2, ..FormatOptions::default() };
        let codec = ItemCodec::new(&RepositoryFormat::new(&options, [1; 32], [2; 32])).unwrap();
        assert!(codec.has_ecc());
        let mut stored = codec.seal(b"0123456789abcdef", [3; 12], b"hello");
        assert!(stored.len() > 5 + codec.overhead());
        stored[25] ^= 4;
        let opened = codec.open_reporting(b"0123456789abcdef", &stored).unwrap();
        assert_eq!(opened, (b"hello".to_vec(), true));
    }
}
