//! The two format blobs, as last read, and when to read them again.
//!
//! `kopia.repository` and `kopia.blobcfg` are the only blobs that change in place. They are read at
//! open and again when what is known is older than the refresh time (Kopia's is 15 minutes,
//! docs/format/02 §5.1), and may be kept on this machine for as long (`format_kept`); the key made of
//! the password is kept in memory and not derived again, and on this machine if that is asked for
//! (`key_kept`). Every reload looks for an upgrade lock and for features that this version doesn't
//! understand, so a client that runs for days stops in time.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use blob_core::{BlobError, BlobId, DynStorage, ReadRange};
use bytes::Bytes;
use dataplane::task;
use kopia_format::{
    FormatError,
    blobcfg::BlobConfig,
    format_blob::{FormatBlob, RepositoryFormat, Warning, pack_copy},
    keys::FormatKey,
    time::GoTime,
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Env, OpenOptions, RepoError, Result,
    format_kept::{FormatBytes, KeptFormat},
    key_kept::KeptKey,
};

/// The ID of the format blob.
pub(crate) const FORMAT_BLOB: &str = "kopia.repository";
/// The ID of the blob with the retention settings.
pub(crate) const BLOBCFG_BLOB: &str = "kopia.blobcfg";

const WAY_OUT_FORMAT: &str = "put back a copy of it; packs of a repository of format version 1 \
    hold copies, which `kopia repository repair` finds";
const WAY_OUT_BLOBCFG: &str = "or kopia.repository is another repository's; if a change of the \
    password was cut short, delete kopia.blobcfg and open with the old password; object lock must \
    then be set again";

/// One reading of both format blobs.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What packs begin with where the password can't change: a copy of `kopia.repository`.
    pub pack_copy: Option<Vec<u8>>,
    pub blob: FormatBlob,
    pub format: Arc<RepositoryFormat>,
    /// Features that this version lacks and that the repository says can be lacking.
    pub warnings: Vec<Warning>,
    pub blob_config: Arc<BlobConfig>,
    /// What all this was read from.
    pub bytes: FormatBytes,
}

/// What is known of the format, shared by everything above.
#[derive(Debug)]
pub(crate) struct FormatState {
    storage: DynStorage,
    env: Env,
    upgrade_owner: Option<String>,
    refresh_after: Duration,
    key: RwLock<FormatKey>,
    loaded: RwLock<Arc<Loaded>>,
    kept: Kept,
    reloading: tokio::sync::Mutex<()>,
}

/// What this machine keeps from one command to the next.
#[derive(Debug, Clone)]
struct Kept {
    /// The folder in which Kopia keeps both blobs by their names.
    folder: Option<PathBuf>,
    format: Option<KeptFormat>,
    key: Option<KeptKey>,
}

impl Kept {
    fn of(storage: &DynStorage, options: &OpenOptions) -> Self {
        let Some(cache) = &options.cache else {
            return Self { folder: None, format: None, key: None };
        };
        let format = options.keep_format.then(|| {
            KeptFormat::new(&cache.directory, &storage.info().name, options.format_refresh)
        });
        let key = KeptKey::new(&cache.directory);
        if !options.keep_key {
            // It may have been asked for once.
            key.forget();
        }
        let folder = Some(cache.directory.clone());
        Self { folder, format, key: options.keep_key.then_some(key) }
    }

    /// The key of a format blob: kept, or derived from the password.
    async fn key(&self, blob: &FormatBlob, password: &SecretString) -> Result<FormatKey> {
        match self.key.as_ref().and_then(|kept| kept.read(blob)) {
            Some(key) => Ok(key),
            None => derive_key(blob, password).await,
        }
    }

    fn store_format(&self, bytes: &FormatBytes) {
        if let Some(kept) = &self.format {
            kept.store(bytes);
        }
    }

    fn store_key(&self, blob: &FormatBlob, key: &FormatKey) {
        if let Some(kept) = self.key.as_ref().filter(|kept| kept.read(blob).is_none()) {
            kept.store(blob, key);
        }
    }
}

pub(crate) fn fixed_id(text: &'static str) -> BlobId {
    BlobId::new(text).expect("a constant that is a valid ID")
}

impl FormatState {
    /// Reads both blobs, from this machine where they may be kept, and derives the key.
    pub(crate) async fn open(
        storage: &DynStorage,
        password: &SecretString,
        options: &OpenOptions,
    ) -> Result<Self> {
        let kept = Kept::of(storage, options);
        let now = options.env.clock.now();
        if let Some(bytes) = kept.format.as_ref().and_then(|kept| kept.read(now))
            && let Ok(state) = Self::of_bytes(storage, password, options, kept.clone(), bytes).await
        {
            return Ok(state);
        }
        let bytes = read_format(storage, &options.env).await?;
        let state = Self::of_bytes(storage, password, options, kept, bytes.clone()).await?;
        state.kept.store_format(&bytes);
        Ok(state)
    }

    async fn of_bytes(
        storage: &DynStorage,
        password: &SecretString,
        options: &OpenOptions,
        kept: Kept,
        bytes: FormatBytes,
    ) -> Result<Self> {
        let blob = parse_format_blob(&bytes.repository)?;
        let key = kept.key(&blob, password).await?;
        let loaded = load(bytes, blob, &key).map_err(|error| match error {
            RepoError::PasswordChanged => RepoError::WrongPassword,
            other => other,
        })?;
        kept.store_key(&loaded.blob, &key);
        let state = Self {
            storage: Arc::clone(storage),
            env: options.env.clone(),
            upgrade_owner: options.upgrade_owner.clone(),
            refresh_after: options.format_refresh,
            key: RwLock::new(key),
            loaded: RwLock::new(Arc::new(loaded)),
            kept,
            reloading: tokio::sync::Mutex::new(()),
        };
        state.check_lock(&state.loaded())?;
        Ok(state)
    }

    /// What this machine keeps is not to be used any more, by Kopia neither: the blobs change. Whoever
    /// writes one deletes all copies (docs/format/02 §5.1), before, and after for those who read
    /// meanwhile.
    pub(crate) fn forget_kept(&self) {
        for (folder, blob) in
            self.kept.folder.iter().flat_map(|it| [(it, FORMAT_BLOB), (it, BLOBCFG_BLOB)])
        {
            // What isn't there need not be deleted.
            let _ = fs_err::remove_file(folder.join(blob));
        }
        if let Some(kept) = &self.kept.format {
            kept.forget();
        }
        if let Some(kept) = &self.kept.key {
            kept.forget();
        }
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn format(&self) -> Arc<RepositoryFormat> {
        Arc::clone(&self.loaded().format)
    }

    pub(crate) fn key(&self) -> FormatKey {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the blobs again if what is known is too old. Cheap when it is not.
    pub(crate) async fn ensure_fresh(self: &Arc<Self>) -> Result<Arc<Loaded>> {
        let loaded = self.loaded();
        let now = self.env.clock.now();
        if now.since(loaded.bytes.read_at) < self.refresh_after {
            self.check_lock(&loaded)?;
            return Ok(loaded);
        }
        // A task of its own: whoever holds the turn must get on, polled or not.
        let state = Arc::clone(self);
        task::owned(async move {
            let _turn = state.reloading.lock().await;
            let loaded = state.loaded();
            if now.since(loaded.bytes.read_at) < state.refresh_after {
                return Ok(loaded);
            }
            state.reload().await
        })
        .await
    }

    /// Reads the blobs again now.
    pub(crate) async fn reload(&self) -> Result<Arc<Loaded>> {
        let bytes = read_format(&self.storage, &self.env).await?;
        let blob = parse_format_blob(&bytes.repository)?;
        if blob.unique_id != self.loaded().blob.unique_id {
            self.forget_kept();
            return Err(RepoError::RepositoryReplaced);
        }
        let loaded = Arc::new(load(bytes.clone(), blob, &self.key())?);
        self.check_lock(&loaded)?;
        self.kept.store_format(&bytes);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&loaded);
        Ok(loaded)
    }

    /// Takes over a key that this client has just written.
    pub(crate) fn set_key(&self, key: FormatKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn check_lock(&self, loaded: &Loaded) -> Result<()> {
        let Some(lock) = &loaded.format.upgrade_lock else { return Ok(()) };
        let now = GoTime::from_unix_nanos(self.env.clock.now().nanos());
        if !lock.is_locked(now) || self.upgrade_owner.as_deref() == Some(lock.owner_id.as_str()) {
            return Ok(());
        }
        Err(RepoError::UpgradeLocked {
            owner: lock.owner_id.clone(),
            since: lock.creation_time,
            message: lock.message.clone(),
        })
    }
}

/// Both blobs, from the storage.
async fn read_format(storage: &DynStorage, env: &Env) -> Result<FormatBytes> {
    let read_at = env.clock.now();
    let (repository, blobcfg) = futures::join!(read_format_blob(storage), read_blobcfg(storage));
    // Without a repository, that is what is to be said.
    Ok(FormatBytes { repository: repository?, blobcfg: blobcfg?, read_at })
}

async fn read_format_blob(storage: &DynStorage) -> Result<Bytes> {
    match storage.get(&fixed_id(FORMAT_BLOB), ReadRange::Full).await {
        Ok(bytes) => Ok(bytes),
        Err(BlobError::NotFound { .. }) => Err(missing(storage).await),
        Err(other) => Err(other.into()),
    }
}

/// A storage without the format blob is empty, or has lost it: that makes two messages.
async fn missing(storage: &DynStorage) -> RepoError {
    let name = storage.info().name.clone();
    match holds_any(storage, &["q", "p", BLOBCFG_BLOB]).await {
        Ok(true) => RepoError::FormatBlobLost { storage: name },
        Ok(false) => RepoError::NoRepository { storage: name },
        Err(error) => error.into(),
    }
}

/// Are there packs?
pub(crate) async fn holds_packs(storage: &DynStorage) -> Result<bool> {
    Ok(holds_any(storage, &["q", "p"]).await?)
}

async fn holds_any(storage: &DynStorage, prefixes: &[&str]) -> blob_core::Result<bool> {
    use futures::StreamExt;
    for prefix in prefixes {
        if let Some(first) = storage.list(prefix).next().await {
            return first.map(|_| true);
        }
    }
    Ok(false)
}

fn parse_format_blob(bytes: &[u8]) -> Result<FormatBlob> {
    FormatBlob::parse(bytes).map_err(new_or_damaged)
}

/// What stands outside of the sealed part may have been changed by anything.
fn new_or_damaged(error: FormatError) -> RepoError {
    match error {
        FormatError::Unsupported { what, name } => {
            let reason = format!("{what} {name}, or blob {FORMAT_BLOB} is damaged");
            RepoError::TooNew { reason }
        }
        other => damaged(&other),
    }
}

fn damaged(error: &FormatError) -> RepoError {
    let reason = error.to_string();
    RepoError::FormatBlobDamaged { blob: fixed_id(FORMAT_BLOB), reason, way_out: WAY_OUT_FORMAT }
}

/// The key derivation takes a tenth of a second and 64 MiB: off the async threads.
async fn derive_key(blob: &FormatBlob, password: &SecretString) -> Result<FormatKey> {
    let (blob, password) = (blob.clone(), password.clone());
    let derived =
        tokio::task::spawn_blocking(move || blob.derive_key(password.expose_secret().as_bytes()));
    match derived.await {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(error)) => Err(damaged(&error)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn load(bytes: FormatBytes, blob: FormatBlob, key: &FormatKey) -> Result<Loaded> {
    let format = blob.decrypt(key).map_err(|error| match error {
        FormatError::WrongPassword | FormatError::Damaged { .. } => RepoError::PasswordChanged,
        other => new_or_damaged(other),
    })?;
    let warnings = format.check().map_err(too_new)?;
    for warning in &warnings {
        tracing::warn!(%warning, "the repository asks for attention");
    }
    let blob_config = open_blobcfg(bytes.blobcfg.as_deref(), &blob, key)?;
    let pack_copy = match format.enable_password_change {
        true => None,
        false => Some(pack_copy(&bytes.repository)?),
    };
    Ok(Loaded {
        pack_copy,
        blob,
        format: Arc::new(format),
        warnings,
        blob_config: Arc::new(blob_config),
        bytes,
    })
}

fn too_new(error: FormatError) -> RepoError {
    match error {
        FormatError::Unsupported { what, name } => {
            RepoError::TooNew { reason: format!("{what} {name}") }
        }
        other => RepoError::Format(other),
    }
}

async fn read_blobcfg(storage: &DynStorage) -> Result<Option<Bytes>> {
    match storage.get(&fixed_id(BLOBCFG_BLOB), ReadRange::Full).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(BlobError::NotFound { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn open_blobcfg(bytes: Option<&[u8]>, blob: &FormatBlob, key: &FormatKey) -> Result<BlobConfig> {
    let Some(bytes) = bytes else { return Ok(BlobConfig::default()) };
    BlobConfig::decrypt(bytes, key, &blob.unique_id).map_err(|error| RepoError::FormatBlobDamaged {
        blob: fixed_id(BLOBCFG_BLOB),
        reason: error.to_string(),
        way_out: WAY_OUT_BLOBCFG,
    })
}
