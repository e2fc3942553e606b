//! How a repository is created and opened: every choice with Kopia's name and default.

use std::{path::PathBuf, sync::Arc, time::Duration};

use blob_core::{
    Clock, Entropy, LockMode,
    env::{OsEntropy, SystemClock},
};

/// Time and chance, handed in from the top.
#[derive(Debug, Clone)]
pub struct Env {
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
    /// Gives nonces, keys and names. Anything but the operating system's source is for tests only.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Env {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy) }
    }
}

/// Where fetched blobs are kept, and how much of them.
///
/// The folder is Kopia's `cacheDirectory`; ours is `kopia-lite` inside it, in a form of its own.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Kopia's cache folder of this connection.
    pub directory: PathBuf,
    /// Bytes of data contents to keep; 0 = none. Kopia's `maxCacheSize`.
    pub content_bytes_max: u64,
    /// Bytes of metadata packs to keep, Kopia's `maxMetadataCacheSize`; and as many again of
    /// indexes, which Kopia keeps without limit.
    pub metadata_bytes_max: u64,
}

/// How a repository is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Where to keep fetched blobs; `None` = nowhere.
    pub cache: Option<CacheOptions>,
    /// Who writes: goes into session markers.
    pub username: String,
    /// From which machine: goes into session markers.
    pub hostname: String,
    /// Refuse writes.
    pub read_only: bool,
    /// Go on without index blobs that can't be read: [`IndexView::damaged`](crate::IndexView::damaged)
    /// names them, and writing is refused. Without this opening fails.
    pub pass_over_damaged_index: bool,
    /// Time and chance.
    pub env: Env,
    /// Bytes that chunks and packs on their way may take together.
    pub memory_bytes_max: u64,
    /// Threads for hashing, compression and sealing; 0 = run on the caller's task (simulations).
    pub threads: usize,
    /// Requests at once; 0 = what the storage says it handles well.
    pub requests_max: usize,
    /// Open in spite of an upgrade lock of this owner (`KOPIA_REPO_UPGRADE_OWNER_ID`).
    pub upgrade_owner: Option<String>,
    /// Read the format blobs again when they are older than this; Kopia's most is 15 minutes.
    pub format_refresh: Duration,
    /// Keep the format blobs beside the cache for as long, so that opening need not read them every
    /// time. Kopia does.
    pub keep_format: bool,
    /// Keep the key made of the password beside the cache, so that opening need not make it anew
    /// every time. Only where the password itself is kept readable on this machine, and is the one
    /// given: who finds the key can open what the password opens, and while it opens the repository
    /// the password is not looked at. Where this is false, a key that was kept is deleted.
    pub keep_key: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache: None,
            username: "user".into(),
            hostname: "host".into(),
            read_only: false,
            pass_over_damaged_index: false,
            env: Env::default(),
            memory_bytes_max: 128 << 20,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            requests_max: 0,
            upgrade_owner: None,
            format_refresh: Duration::from_secs(15 * 60),
            keep_format: false,
            keep_key: false,
        }
    }
}

/// Object lock that `create` writes into `kopia.blobcfg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How strictly.
    pub mode: LockMode,
    /// For how long; a day at least.
    pub period: Duration,
}

/// How a repository is created. `Default` is what Kopia 0.23.1 does without flags.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// `--block-hash`.
    pub hash: String,
    /// `--encryption`.
    pub encryption: String,
    /// `--ecc`; used only if the overhead is not 0 and the version is not 1.
    pub ecc: String,
    /// `--ecc-overhead-percent`.
    pub ecc_overhead_percent: u32,
    /// `--object-splitter`.
    pub splitter: String,
    /// At which size packs are closed, 10 to 120 MiB. Kopia has it in `set-parameters` only.
    pub max_pack_size: u32,
    /// `--format-version`: 1, 2 or 3.
    pub format_version: u32,
    /// `--retention-mode` and `--retention-period`.
    pub retention: Option<Retention>,
    /// `--format-block-key-derivation-algorithm`.
    pub key_derivation: String,
    /// Time and chance.
    pub env: Env,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            hash: "BLAKE2B-256-128".into(),
            encryption: "AES256-GCM-HMAC-SHA256".into(),
            ecc: "REED-SOLOMON-CRC32".into(),
            ecc_overhead_percent: 0,
            splitter: "DYNAMIC-4M-BUZHASH".into(),
            max_pack_size: 20 << 20,
            format_version: 3,
            retention: None,
            key_derivation: "scrypt-65536-8-1".into(),
            env: Env::default(),
        }
    }
}
