//! The sealed part of `kopia.repository`: keys, algorithms, parameters.

use std::{fmt, ops::RangeInclusive};

use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{EpochParameters, RequiredFeature, UpgradeLock, Warning, features};
use crate::{
    FormatError, Result,
    cipher::DEFAULT_CIPHER,
    codec::ItemCodec,
    ecc,
    fields::{Fields, base64_text},
    hash::DEFAULT_HASH,
    json::{self, is_zero},
    keys::{FormatKey, PurposeKey},
};

/// The version of a new repository.
pub const VERSION_DEFAULT: u32 = 3;

/// The splitter of a new repository.
pub const DEFAULT_SPLITTER: &str = "DYNAMIC-4M-BUZHASH";

/// The pack sizes that may be chosen, in bytes.
pub const MAX_PACK_SIZE_RANGE: RangeInclusive<u32> = 10 << 20..=120 << 20;

const MAX_PACK_SIZE_DEFAULT: u32 = 20 << 20;
/// A pack is closed once it reaches this size, so offsets in it still fit 32 bits.
const MAX_PACK_SIZE_READABLE: u32 = 1 << 31;
const INDEX_VERSION_LEGACY: u32 = 1;
const INDEX_VERSION_DEFAULT: u32 = 2;

/// What `repository create` may choose; the default is Kopia's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatOptions {
    /// The hash function.
    pub hash: String,
    /// The cipher.
    pub encryption: String,
    /// The error correction, used if the overhead is not zero.
    pub ecc: String,
    /// How many percent of storage the error correction may take; zero is none.
    pub ecc_overhead_percent: u32,
    /// The format version.
    pub version: u32,
    /// At which size packs are closed.
    pub max_pack_size: u32,
    /// Where objects are cut.
    pub splitter: String,
}

impl Default for FormatOptions {
    fn default() -> Self {
        Self {
            hash: DEFAULT_HASH.to_owned(),
            encryption: DEFAULT_CIPHER.to_owned(),
            ecc: ecc::ALGORITHMS[0].to_owned(),
            ecc_overhead_percent: 0,
            version: VERSION_DEFAULT,
            max_pack_size: MAX_PACK_SIZE_DEFAULT,
            splitter: DEFAULT_SPLITTER.to_owned(),
        }
    }
}

/// All that a client must know to read and write a repository.
///
/// Version, pack size, index version, epoch parameters, required features and the upgrade lock
/// may change while a repository is open elsewhere; everything else is fixed at creation.
#[derive(Clone, PartialEq)]
pub struct RepositoryFormat {
    /// The hash function that names contents.
    pub hash: String,
    /// The cipher of contents, indexes and session markers.
    pub encryption: String,
    /// The error correction around ciphertext; empty is none.
    pub ecc: String,
    /// Its overhead in percent; zero is none.
    pub ecc_overhead_percent: u32,
    /// The key of the hash function; may be empty.
    pub secret: Zeroizing<Vec<u8>>,
    /// Where the cipher's keys come from.
    pub master_key: Zeroizing<Vec<u8>>,
    /// The format version. Behaviour follows from the other fields, not from this one.
    pub version: u32,
    /// At which size packs are closed.
    pub max_pack_size: u32,
    /// The version of the indexes to write; from 2 on contents may be compressed.
    pub index_version: u32,
    /// When index blobs are gathered.
    pub epoch: EpochParameters,
    /// Whether the password may change. If not, every pack begins with a copy of the format blob
    /// and two more keys are derived from the password ([`maintenance_key`](Self::maintenance_key),
    /// [`cache_key`](Self::cache_key)).
    pub enable_password_change: bool,
    /// Where objects are cut; empty means `FIXED`.
    pub splitter: String,
    /// Set while the repository is being upgraded.
    pub upgrade_lock: Option<UpgradeLock>,
    /// What a client must understand.
    pub required_features: Vec<RequiredFeature>,
    /// Keys that this version doesn't know.
    pub extra: Map<String, Value>,
}

/// The key order and the omissions of Kopia.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    hash: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    encryption: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    ecc: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    ecc_overhead_percent: u32,
    #[serde(skip_serializing_if = "no_bytes", serialize_with = "base64_text::serialize")]
    secret: &'a [u8],
    #[serde(skip_serializing_if = "no_bytes", serialize_with = "base64_text::serialize")]
    master_key: &'a [u8],
    #[serde(skip_serializing_if = "is_zero")]
    version: u32,
    #[serde(skip_serializing_if = "is_zero")]
    max_pack_size: u32,
    #[serde(skip_serializing_if = "is_zero")]
    index_version: u32,
    epoch_parameters: &'a EpochParameters,
    enable_password_change: bool,
    #[serde(skip_serializing_if = "is_empty")]
    splitter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_lock: Option<&'a UpgradeLock>,
    #[serde(skip_serializing_if = "no_features")]
    required_features: &'a [RequiredFeature],
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Payload<'a> {
    format: Stored<'a>,
}

fn is_empty(text: &&str) -> bool {
    text.is_empty()
}

fn no_bytes(bytes: &&[u8]) -> bool {
    bytes.is_empty()
}

fn no_features(features: &&[RequiredFeature]) -> bool {
    features.is_empty()
}

impl RepositoryFormat {
    /// The format of a new repository. Both keys must be random.
    pub fn new(options: &FormatOptions, secret: [u8; 32], master_key: [u8; 32]) -> Self {
        let legacy = options.version == 1;
        let percent = if legacy { 0 } else { options.ecc_overhead_percent.min(100) };
        Self {
            hash: options.hash.clone(),
            encryption: options.encryption.clone(),
            ecc: if percent == 0 { String::new() } else { options.ecc.clone() },
            ecc_overhead_percent: percent,
            secret: Zeroizing::new(secret.to_vec()),
            master_key: Zeroizing::new(master_key.to_vec()),
            version: options.version,
            max_pack_size: options.max_pack_size,
            index_version: if legacy { INDEX_VERSION_LEGACY } else { INDEX_VERSION_DEFAULT },
            epoch: if legacy { EpochParameters::DISABLED } else { EpochParameters::DEFAULT },
            enable_password_change: !legacy,
            splitter: options.splitter.clone(),
            upgrade_lock: None,
            required_features: Vec::new(),
            extra: Map::new(),
        }
    }

    /// Reads the decrypted payload, `{"format":{…}}`.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is not the JSON it should be;
    /// [`FormatError::Unsupported`] for packs beyond 2 GiB.
    pub fn from_payload(plain: &[u8]) -> Result<Self> {
        let what = "repository format";
        let format = Fields::parse(what, plain)?.take_raw("format").unwrap_or(Value::Null);
        let mut fields = Fields::new(what, format)?;
        let or_default = |value: u32, default| if value == 0 { default } else { value };
        let max_pack_size = or_default(fields.or_zero("maxPackSize")?, MAX_PACK_SIZE_DEFAULT);
        if max_pack_size > MAX_PACK_SIZE_READABLE {
            let name = max_pack_size.to_string();
            return Err(FormatError::Unsupported { what: "maximum pack size", name });
        }
        let epoch = fields.take_raw("epochParameters").unwrap_or(Value::Null);
        let lock = fields.take_raw("upgradeLock").filter(|lock| !lock.is_null());
        Ok(Self {
            hash: fields.or_zero("hash")?,
            encryption: fields.or_zero("encryption")?,
            ecc: fields.or_zero("ecc")?,
            ecc_overhead_percent: fields.or_zero("eccOverheadPercent")?,
            secret: Zeroizing::new(fields.bytes("secret")?),
            master_key: Zeroizing::new(fields.bytes("masterKey")?),
            version: fields.or_zero("version")?,
            max_pack_size,
            index_version: or_default(fields.or_zero("indexVersion")?, INDEX_VERSION_LEGACY),
            epoch: EpochParameters::from_value(epoch)?,
            enable_password_change: fields.or_zero("enablePasswordChange")?,
            splitter: fields.or_zero("splitter")?,
            upgrade_lock: lock.map(UpgradeLock::from_value).transpose()?,
            required_features: fields.or_zero("requiredFeatures")?,
            extra: fields.rest(),
        })
    }

    /// The payload to seal, as Kopia writes it.
    pub fn to_payload(&self) -> Zeroizing<Vec<u8>> {
        let format = Stored {
            hash: &self.hash,
            encryption: &self.encryption,
            ecc: &self.ecc,
            ecc_overhead_percent: self.ecc_overhead_percent,
            secret: &self.secret,
            master_key: &self.master_key,
            version: self.version,
            max_pack_size: self.max_pack_size,
            index_version: self.index_version,
            epoch_parameters: &self.epoch,
            enable_password_change: self.enable_password_change,
            splitter: &self.splitter,
            upgrade_lock: self.upgrade_lock.as_ref(),
            required_features: &self.required_features,
            extra: &self.extra,
        };
        Zeroizing::new(json::to_vec(&Payload { format }))
    }

    /// Whether this client may use the repository; what Kopia checks when it opens one.
    ///
    /// The upgrade lock is not looked at, because it depends on the time, and neither is the
    /// splitter, which only writers need.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an unknown version, algorithm or required feature;
    /// [`FormatError::Invalid`] when the secret does not fit the hash.
    pub fn check(&self) -> Result<Vec<Warning>> {
        let unsupported =
            |what, number: u32| FormatError::Unsupported { what, name: number.to_string() };
        if !(1..=VERSION_DEFAULT).contains(&self.version) {
            return Err(unsupported("repository format version", self.version));
        }
        if !(INDEX_VERSION_LEGACY..=INDEX_VERSION_DEFAULT).contains(&self.index_version) {
            return Err(unsupported("index version", self.index_version));
        }
        ItemCodec::new(self)?;
        features::check(&self.required_features)
    }

    /// Whether the changeable parameters may be written: the limits of `set-parameters`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] names the parameter that is out of its limits.
    pub fn check_parameters(&self) -> Result<()> {
        if !MAX_PACK_SIZE_RANGE.contains(&self.max_pack_size) {
            let reason = format!("{} is not within 10 and 120 MiB", self.max_pack_size);
            return Err(FormatError::Invalid { what: "maximum pack size", reason });
        }
        if self.index_version > INDEX_VERSION_DEFAULT {
            let reason = format!("there are 1 and 2, not {}", self.index_version);
            return Err(FormatError::Invalid { what: "index version", reason });
        }
        self.epoch.check()
    }

    /// Whether index blobs are kept in epochs (`x…` blobs) rather than in one heap (`n`, `m`).
    pub fn epochs_enabled(&self) -> bool {
        self.epoch.enabled
    }

    /// Whether contents may be compressed before they are encrypted.
    pub fn supports_content_compression(&self) -> bool {
        self.index_version >= 2
    }

    /// The key of `kopia.maintenance`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the repository has no master key.
    pub fn maintenance_key(
        &self,
        unique_id: &[u8],
        format_key: &FormatKey,
    ) -> Result<PurposeKey<32>> {
        let ikm = self.either(&self.master_key, format_key);
        PurposeKey::derive(ikm, unique_id, "maintenance schedule")
    }

    /// The key that protects Kopia's files in a local cache.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the repository has no secret.
    pub fn cache_key(&self, unique_id: &[u8], format_key: &FormatKey) -> Result<PurposeKey<16>> {
        let ikm = self.either(&self.secret, format_key);
        PurposeKey::derive(ikm, unique_id, "local-cache-integrity")
    }

    /// Repositories whose password can't change derive from the password's key.
    fn either<'a>(&self, stored: &'a [u8], format_key: &'a FormatKey) -> &'a [u8] {
        if self.enable_password_change { stored } else { format_key.as_bytes() }
    }
}

/// Shows everything but the keys.
impl fmt::Debug for RepositoryFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepositoryFormat")
            .field("hash", &self.hash)
            .field("encryption", &self.encryption)
            .field("ecc", &self.ecc)
            .field("ecc_overhead_percent", &self.ecc_overhead_percent)
            .field("version", &self.version)
            .field("max_pack_size", &self.max_pack_size)
            .field("index_version", &self.index_version)
            .field("epoch", &self.epoch)
            .field("enable_password_change", &self.enable_password_change)
            .field("splitter", &self.splitter)
            .field("upgrade_lock", &self.upgrade_lock)
            .field("required_features", &self.required_features)
            .finish_non_exhaustive()
    }
}
