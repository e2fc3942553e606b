//! Making a repository, and changing what can be changed of one.
//!
//! Order of the puts (docs/format/02 §10): first `kopia.blobcfg`, then `kopia.repository`; the
//! second one is what makes the storage a repository, so a crash in between leaves nothing that
//! looks like one. The blob that it leaves is replaced, but only when it is old: another client may
//! be between its two puts, and would take our `kopia.blobcfg` for its own. The global policy and
//! the maintenance parameters that Kopia's `create` also writes are manifests, written by the
//! application.

use std::time::Duration;

use blob_core::{
    BlobError, BlobId, DynStorage, Lock, LockMode, PutAttributes, PutOptions, ReadRange,
};
use bytes::Bytes;
use kopia_format::{
    blobcfg::BlobConfig,
    cipher::NONCE_LEN,
    format_blob::{FormatBlob, FormatOptions, RepositoryFormat},
    keys::FormatKey,
    split::SplitterKind,
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    CreateOptions, Env, RepoError, Repository, Result,
    format_state::{BLOBCFG_BLOB, FORMAT_BLOB, fixed_id, holds_packs},
    state::random,
};

/// Who made the repository; for people.
const TOOL: &str = "https://github.com/kopia-lite/kopia-lite";

/// How old `kopia.blobcfg` without `kopia.repository` must be for its writer to be given up. The two
/// are written one right after the other; even with all retries of a client that takes minutes.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3600);

/// IDs that a lock is put on when `kopia.blobcfg` asks for one; a test of the prefix, as Kopia
/// does.
const LOCKED_PREFIXES: [&str; 6] = ["n", "x", "p", "q", FORMAT_BLOB, BLOBCFG_BLOB];

/// How `id` is put when `config` is in force.
pub(crate) fn put_options(config: &BlobConfig, id: &BlobId) -> PutOptions {
    let locked = LOCKED_PREFIXES.iter().any(|prefix| id.starts_with(prefix));
    let lock = if locked { lock_of(config) } else { None };
    PutOptions { attributes: PutAttributes { lock, ..Default::default() }, ..Default::default() }
}

fn lock_of(config: &BlobConfig) -> Option<Lock> {
    if !config.is_retention_enabled() {
        return None;
    }
    let mode = match config.retention_mode.as_deref() {
        Some("GOVERNANCE") => LockMode::Governance,
        Some("COMPLIANCE") => LockMode::Compliance,
        _ => return None,
    };
    Some(Lock { mode, period: config.retention_period })
}

impl Repository {
    /// Makes a repository in `storage`, which must be empty of Kopia's blobs, but for a
    /// `kopia.blobcfg` that an interrupted creation left an hour ago or earlier.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`]; [`RepoError::BeingCreated`]; [`RepoError::FormatBlobLost`];
    /// [`RepoError::Format`] for a name or a combination that Kopia doesn't take; and what the
    /// storage may give.
    pub async fn create(
        storage: DynStorage,
        password: &SecretString,
        options: CreateOptions,
    ) -> Result<()> {
        let blobs = refuse_existing(&storage, &options.env).await?;
        SplitterKind::parse(&options.splitter)?;
        let config = blob_config(&options)?;
        let env = &options.env;
        let format = RepositoryFormat::new(&format_options(&options)?, random(env), random(env));
        // A name that is not known must not make a repository that nobody opens.
        format.check()?;
        format.check_parameters()?;
        let unique_id: [u8; 32] = random(env);
        let version = env!("CARGO_PKG_VERSION");
        let mut blob = FormatBlob::new(TOOL, version, &unique_id, &options.key_derivation);
        let key = derive(&blob, password).await?;
        blob.encrypt(&format, &key, nonce(env))?;
        write_both(&storage, &blob, &config, &key, env, blobs).await
    }

    /// Seals the same keys with another password.
    ///
    /// Wherever this is cut off, the old password or the new one opens the repository. Blobs are not
    /// locked from then on, if they were, until that is set again.
    ///
    /// Other clients that are open keep working until they read the format blob again (15 minutes
    /// at most) and must then be opened anew.
    ///
    /// # Errors
    /// [`RepoError::Unsupported`] for a repository of format version 1, whose packs hold copies of
    /// the format blob; [`RepoError::ReadOnly`]; and what the storage may give.
    pub async fn change_password(&self, new: &SecretString) -> Result<()> {
        self.check_writable("changing the password")?;
        let loaded = self.shared().format.reload().await?;
        if !loaded.format.enable_password_change {
            return Err(RepoError::Unsupported {
                op: "changing the password",
                reason: "packs of this repository hold copies of its format blob, which only the \
                         old password opens"
                    .into(),
            });
        }
        let mut blob = loaded.blob.clone();
        let key = derive(&blob, new).await?;
        blob.encrypt(&loaded.format, &key, nonce(self.env()))?;
        let config = &loaded.blob_config;
        self.shared().format.forget_kept();
        let old = loaded.bytes.blobcfg.clone();
        let sealed = config.encrypt(&key, &blob.unique_id, nonce(self.env()));
        seal_anew(self.storage(), config, old, [blob.to_bytes(), sealed]).await?;
        self.shared().format.set_key(key);
        self.shared().format.forget_kept();
        self.shared().format.reload().await?;
        Ok(())
    }

    /// Changes parameters of the format: pack size, index version, epochs, version, features,
    /// retention.
    ///
    /// # Errors
    /// [`RepoError::Format`] if the changed format is not valid; [`RepoError::ReadOnly`]; and what
    /// the storage may give.
    pub async fn set_parameters(
        &self,
        change: impl FnOnce(&mut RepositoryFormat, &mut BlobConfig),
    ) -> Result<()> {
        self.check_writable("setting parameters")?;
        let loaded = self.shared().format.reload().await?;
        let mut format = RepositoryFormat::clone(&loaded.format);
        let mut config = BlobConfig::clone(&loaded.blob_config);
        change(&mut format, &mut config);
        format.check_parameters()?;
        config.check()?;
        let mut blob = loaded.blob.clone();
        let key = self.shared().format.key();
        blob.encrypt(&format, &key, nonce(self.env()))?;
        self.shared().format.forget_kept();
        write_both(self.storage(), &blob, &config, &key, self.env(), Blobs::Changed).await?;
        self.shared().format.forget_kept();
        self.shared().format.reload().await?;
        Ok(())
    }
}

fn nonce(env: &Env) -> [u8; NONCE_LEN] {
    random(env)
}

/// Kopia turns error correction off where the version can't have it; asked for by percent, that is
/// an error here.
fn format_options(options: &CreateOptions) -> Result<FormatOptions> {
    if options.format_version == 1 && options.ecc_overhead_percent > 0 {
        return Err(RepoError::Unsupported {
            op: "error correction",
            reason: "format version 1 has none".into(),
        });
    }
    Ok(FormatOptions {
        hash: options.hash.clone(),
        encryption: options.encryption.clone(),
        ecc: options.ecc.clone(),
        ecc_overhead_percent: options.ecc_overhead_percent,
        splitter: options.splitter.clone(),
        version: options.format_version,
        max_pack_size: options.max_pack_size,
    })
}

fn blob_config(options: &CreateOptions) -> Result<BlobConfig> {
    let mut config = BlobConfig::default();
    if let Some(retention) = options.retention {
        config.retention_mode = Some(retention.mode.as_str().to_owned());
        config.retention_period = retention.period;
    }
    config.check()?;
    Ok(config)
}

async fn refuse_existing(storage: &DynStorage, env: &Env) -> Result<Blobs> {
    let name = || storage.info().name.clone();
    let blob = fixed_id(FORMAT_BLOB);
    match storage.head(&blob).await {
        Err(BlobError::NotFound { .. }) => {}
        Err(other) => return Err(other.into()),
        Ok(_) => return Err(RepoError::AlreadyExists { storage: name(), blob }),
    }
    match storage.head(&fixed_id(BLOBCFG_BLOB)).await {
        Err(BlobError::NotFound { .. }) => Ok(Blobs::New),
        Err(other) => Err(other.into()),
        // Of a repository that has lost its format blob everything is kept: a copy may be put back.
        Ok(_) if holds_packs(storage).await? => Err(RepoError::FormatBlobLost { storage: name() }),
        Ok(left) => {
            let until = left.modified.saturating_add(GIVEN_UP_AFTER);
            match until.since(env.clock.now()) {
                Duration::ZERO => Ok(Blobs::GivenUp),
                wait => Err(RepoError::BeingCreated { storage: name(), wait }),
            }
        }
    }
}

async fn derive(blob: &FormatBlob, password: &SecretString) -> Result<FormatKey> {
    let (blob, password) = (blob.clone(), password.clone());
    let derived =
        tokio::task::spawn_blocking(move || blob.derive_key(password.expose_secret().as_bytes()));
    match derived.await {
        Ok(key) => Ok(key?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Are the format blobs made, or made anew?
#[derive(Clone, Copy)]
enum Blobs {
    New,
    /// There is a `kopia.blobcfg` that nobody will use.
    GivenUp,
    Changed,
}

async fn write_both(
    storage: &DynStorage,
    blob: &FormatBlob,
    config: &BlobConfig,
    key: &FormatKey,
    env: &Env,
    blobs: Blobs,
) -> Result<()> {
    let sealed = config.encrypt(key, &blob.unique_id, nonce(env));
    let [blobcfg_is_new, format_is_new] = match blobs {
        Blobs::New => [true, true],
        Blobs::GivenUp => [false, true],
        Blobs::Changed => [false, false],
    };
    let both =
        [(BLOBCFG_BLOB, sealed, blobcfg_is_new), (FORMAT_BLOB, blob.to_bytes(), format_is_new)];
    for (id, bytes, is_new) in both {
        let id = fixed_id(id);
        let options = put_options(config, &id);
        if is_new {
            put_new(storage, &id, bytes.into(), options).await?;
        } else {
            storage.put(&id, bytes.into(), &options).await?;
        }
    }
    Ok(())
}

/// Seals both blobs with another key, `format` and `blobcfg`.
///
/// No client opens a repository whose two blobs have different keys, while all open one without a
/// `kopia.blobcfg` (docs/format/02 §9): it goes first and comes last.
async fn seal_anew(
    storage: &DynStorage,
    config: &BlobConfig,
    old: Option<Bytes>,
    [format, blobcfg]: [Vec<u8>; 2],
) -> Result<()> {
    let (format_id, blobcfg_id) = (fixed_id(FORMAT_BLOB), fixed_id(BLOBCFG_BLOB));
    let put = async |id: &BlobId, bytes: Bytes| {
        storage.put(id, bytes.into(), &put_options(config, id)).await.map(drop)
    };
    storage.delete(&blobcfg_id).await?;
    let (format, blobcfg) = (Bytes::from(format), Bytes::from(blobcfg));
    if let Err(error) = put(&format_id, format.clone()).await {
        // An error may come of a put that had its effect. What is there says which key is in force;
        // where nobody says, a blob that does not fit would be worse than none.
        let now = storage.get(&format_id, ReadRange::Full).await;
        let is_new = now.as_ref().is_ok_and(|now| *now == format);
        return match (now, old) {
            (Ok(_), _) if is_new => Ok(put(&blobcfg_id, blobcfg).await?),
            (Ok(_), Some(old)) => put(&blobcfg_id, old).await.and(Err(error)).map_err(Into::into),
            _ => Err(error.into()),
        };
    }
    Ok(put(&blobcfg_id, blobcfg).await?)
}

/// Of two clients that create a repository at the same time one must fail: the second one would
/// take from the first one the keys that its packs are sealed with.
async fn put_new(
    storage: &DynStorage,
    id: &BlobId,
    bytes: Bytes,
    options: PutOptions,
) -> Result<()> {
    let new = PutOptions { if_absent: true, ..options.clone() };
    match storage.put(id, bytes.clone().into(), &new).await {
        Ok(_) => Ok(()),
        Err(BlobError::AlreadyExists { id }) => {
            let storage = storage.info().name.clone();
            Err(RepoError::AlreadyExists { storage, blob: id })
        }
        // A storage that can't tell; it was empty a moment ago.
        Err(BlobError::Unsupported { .. } | BlobError::InvalidOption { .. }) => {
            storage.put(id, bytes.into(), &options).await?;
            Ok(())
        }
        Err(other) => Err(other.into()),
    }
}
