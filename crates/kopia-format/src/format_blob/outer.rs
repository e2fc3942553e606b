//! The readable part of `kopia.repository`, and the encryption of both format blobs.

use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::RepositoryFormat;
use crate::{
    FormatError, Result,
    cipher::{NONCE_LEN, aes256, open, seal},
    fields::{Fields, base64_text},
    json,
    keys::{FormatKey, derive_format_key, hkdf, hkdf_len_32},
};

/// The ID of the format blob.
pub const FORMAT_BLOB_ID: &str = "kopia.repository";

/// The one encryption of format blobs that exists.
pub const FORMAT_ENCRYPTION: &str = "AES256_GCM";

/// The length of the unique ID of a new repository.
pub const UNIQUE_ID_LEN: usize = 32;

/// The outer document of `kopia.repository`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FormatBlob {
    /// Who wrote it; for people.
    pub tool: String,
    /// Which version wrote it; for people.
    #[serde(rename = "buildVersion")]
    pub build_version: String,
    /// How that was built; for people.
    #[serde(rename = "buildInfo")]
    pub build_info: String,
    /// Random bytes that tell this repository from all others and salt its keys. Never changes.
    #[serde(rename = "uniqueID", serialize_with = "base64_text::serialize")]
    pub unique_id: Vec<u8>,
    /// How a password becomes the format key, one of [`KEY_DERIVATIONS`](crate::keys).
    #[serde(rename = "keyAlgo")]
    pub key_algo: String,
    /// How [`encrypted_block_format`](Self::encrypted_block_format) is sealed.
    pub encryption: String,
    /// The sealed [`RepositoryFormat`].
    #[serde(
        rename = "encryptedBlockFormat",
        serialize_with = "base64_text::serialize",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub encrypted_block_format: Vec<u8>,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FormatBlob {
    /// The document of a new repository, with nothing sealed in it yet.
    pub fn new(tool: &str, build_version: &str, unique_id: &[u8], key_algo: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            build_version: build_version.to_owned(),
            build_info: String::new(),
            unique_id: unique_id.to_vec(),
            key_algo: key_algo.to_owned(),
            encryption: FORMAT_ENCRYPTION.to_owned(),
            encrypted_block_format: Vec::new(),
            extra: Map::new(),
        }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is not the JSON it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::parse("format blob", bytes)?;
        Ok(Self {
            tool: fields.or_zero("tool")?,
            build_version: fields.or_zero("buildVersion")?,
            build_info: fields.or_zero("buildInfo")?,
            unique_id: fields.bytes("uniqueID")?,
            key_algo: fields.or_zero("keyAlgo")?,
            encryption: fields.or_zero("encryption")?,
            encrypted_block_format: fields.bytes("encryptedBlockFormat")?,
            extra: fields.rest(),
        })
    }

    /// The document as Kopia writes it: indented, with a final line end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = json::to_vec_indent(self);
        out.push(b'\n');
        out
    }

    /// Turns a password into the key of this repository. Slow on purpose.
    ///
    /// # Errors
    /// Those of [`derive_format_key`].
    pub fn derive_key(&self, password: &[u8]) -> Result<FormatKey> {
        derive_format_key(&self.key_algo, password, &self.unique_id)
    }

    /// Opens the sealed part.
    ///
    /// # Errors
    /// [`FormatError::WrongPassword`] when the key does not open it;
    /// [`FormatError::Unsupported`] for another encryption; [`FormatError::Malformed`] when what
    /// was sealed is no repository format.
    pub fn decrypt(&self, key: &FormatKey) -> Result<RepositoryFormat> {
        self.check_encryption()?;
        let plain = open_payload(key, &self.unique_id, &self.encrypted_block_format)
            .ok_or(FormatError::WrongPassword)?;
        RepositoryFormat::from_payload(&plain)
    }

    /// Seals `format` in this document. The nonce must be random.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for another encryption than [`FORMAT_ENCRYPTION`].
    pub fn encrypt(
        &mut self,
        format: &RepositoryFormat,
        key: &FormatKey,
        nonce: [u8; NONCE_LEN],
    ) -> Result<()> {
        self.check_encryption()?;
        self.encrypted_block_format =
            seal_payload(key, &self.unique_id, nonce, &format.to_payload());
        Ok(())
    }

    fn check_encryption(&self) -> Result<()> {
        if self.encryption == FORMAT_ENCRYPTION {
            return Ok(());
        }
        let name = self.encryption.clone();
        Err(FormatError::Unsupported { what: "encryption of the format blob", name })
    }
}

/// Seals what belongs into a format blob.
pub(crate) fn seal_payload(
    key: &FormatKey,
    unique_id: &[u8],
    nonce: [u8; NONCE_LEN],
    plain: &[u8],
) -> Vec<u8> {
    let (aes_key, aad) = payload_keys(key, unique_id);
    seal(&aes256(&aes_key), nonce, &aad[..], plain)
}

/// Opens what [`seal_payload`] made.
pub(crate) fn open_payload(
    key: &FormatKey,
    unique_id: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (aes_key, aad) = payload_keys(key, unique_id);
    open(&aes256(&aes_key), &aad[..], sealed).map(Zeroizing::new)
}

/// The AES key and the authenticated data; the latter is derived like a key, though no secret.
fn payload_keys(key: &FormatKey, unique_id: &[u8]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let extracted = hkdf(key.as_bytes(), unique_id);
    (hkdf_len_32(&extracted, b"AES"), hkdf_len_32(&extracted, b"CHECKSUM"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, vectors};

    #[test]
    fn kopias_format_blobs_open_and_are_sealed_alike() {
        let file = vectors("format_blob.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let text = case["blob"].as_str().unwrap();
            let blob = FormatBlob::parse(text.as_bytes()).unwrap();
            assert_eq!(blob.to_bytes(), text.as_bytes());
            assert_eq!(blob.unique_id, hex(&case["uniqueID"]));
            assert_eq!(blob.key_algo, case["keyAlgo"].as_str().unwrap());

            let key = blob.derive_key(case["password"].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(key.as_bytes()[..], hex(&case["formatEncryptionKey"]));
            let (aes_key, aad) = payload_keys(&key, &blob.unique_id);
            assert_eq!(aes_key[..], hex(&case["aesKey"]));
            assert_eq!(aad[..], hex(&case["aad"]));

            let sealed = hex(&case["encrypted"]);
            let plain = open_payload(&key, &blob.unique_id, &sealed).unwrap();
            assert_eq!(plain[..], *case["plaintext"].as_str().unwrap().as_bytes());
            let format = blob.decrypt(&key).unwrap();
            assert_eq!(case["formatVersion"], format.version);
            assert_eq!(format.to_payload(), plain, "every key is written back as it was");

            let mut again = FormatBlob { encrypted_block_format: Vec::new(), ..blob.clone() };
            again.encrypt(&format, &key, sealed[..12].try_into().unwrap()).unwrap();
            assert_eq!(again.encrypted_block_format, sealed);
        }
    }

    #[test]
    fn kopia_names_the_same_key_derivations() {
        let file = vectors("format_blob.json");
        assert_eq!(file["supportedKeyAlgos"], serde_json::json!(crate::keys::KEY_DERIVATIONS));
    }

    #[test]
    fn another_key_is_a_wrong_password_and_so_is_damage() {
        let key = FormatKey::new([1; 32]);
        let mut blob = FormatBlob::new("tool", "1", &[2; 32], "scrypt-65536-8-1");
        let format =
            RepositoryFormat::new(&super::super::FormatOptions::default(), [3; 32], [4; 32]);
        blob.encrypt(&format, &key, [5; 12]).unwrap();
        assert_eq!(blob.decrypt(&key).unwrap(), format);
        assert_eq!(blob.decrypt(&FormatKey::new([9; 32])), Err(FormatError::WrongPassword));
        blob.encrypted_block_format[20] ^= 1;
        assert_eq!(blob.decrypt(&key), Err(FormatError::WrongPassword));
        blob.encrypted_block_format.clear();
        assert_eq!(blob.decrypt(&key), Err(FormatError::WrongPassword));
        blob.encryption = "NONE".to_owned();
        assert!(matches!(blob.decrypt(&key), Err(FormatError::Unsupported { .. })));
    }

    #[test]
    fn what_is_no_json_is_malformed_and_unknown_keys_are_kept() {
        for text in ["", "{", "[]", r#"{"uniqueID":"*"}"#, r#"{"tool":1}"#] {
            let error = FormatBlob::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{text}: {error}");
        }
        let blob = FormatBlob::parse(br#"{"TOOL":"t","later":{"b":1,"a":2}}"#).unwrap();
        assert_eq!(blob.tool, "t");
        let text = String::from_utf8(blob.to_bytes()).unwrap();
        assert!(text.ends_with("  \"later\": {\n    \"b\": 1,\n    \"a\": 2\n  }\n}\n"), "{text}");
    }
}
