//! Repositories to begin with: cheap to open, with small packs and quick epochs.
//!
//! All seeds share the keys of one repository of each kind, for making a key of a password takes
//! longer than simulating a week. The key is made once and kept in a folder, as a client keeps it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use blob_core::{BlobId, BlobStorage, MemoryStorage, PutOptions, SeededEntropy};
use kopia_format::{
    blobcfg::BlobConfig,
    format_blob::{FormatBlob, FormatOptions, RepositoryFormat},
    keys::{FormatKey, KEY_DERIVATIONS},
};
use kopia_repo::{CacheOptions, Env, OpenOptions, Repository};

use crate::chance::Chance;

/// The password of all of them.
pub const PASSWORD: &str = "sim";
const UNIQUE_ID: [u8; 32] = [7; 32];

/// What all seeds of a process share.
#[derive(Debug)]
pub struct Template {
    key: FormatKey,
    folder: tempfile::TempDir,
}

impl Template {
    /// Makes the key.
    ///
    /// # Errors
    /// There can't be a folder.
    pub fn new() -> anyhow::Result<Self> {
        let key = blob().derive_key(PASSWORD.as_bytes())?;
        let folder = tempfile::tempdir().context("there can't be a folder for the key")?;
        Ok(Self { key, folder })
    }

    /// Puts a new repository of `format` into `storage`.
    pub async fn put(
        &self,
        storage: &MemoryStorage,
        format: &RepositoryFormat,
    ) -> anyhow::Result<()> {
        let mut blob = blob();
        blob.encrypt(format, &self.key, [5; 12])?;
        let config = BlobConfig::default().encrypt(&self.key, &UNIQUE_ID, [6; 12]);
        for (id, bytes) in [("kopia.blobcfg", config), ("kopia.repository", blob.to_bytes())] {
            storage.put(&BlobId::new(id)?, bytes.into(), &PutOptions::default()).await?;
        }
        Ok(())
    }

    /// How the repository is opened by `user@host`.
    pub fn options(&self, host: &str, env: Env) -> OpenOptions {
        // It keeps the key and nothing else: a kept index would hide one that is gone.
        let cache = CacheOptions {
            directory: self.folder.path().to_owned(),
            content_bytes_max: 0,
            metadata_bytes_max: 0,
        };
        OpenOptions {
            cache: Some(cache),
            keep_key: true,
            username: "user".into(),
            hostname: host.into(),
            env,
            threads: 0,
            ..OpenOptions::default()
        }
    }

    /// Opens what `storage` holds.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub async fn open(
        &self,
        storage: blob_core::DynStorage,
        host: &str,
        env: Env,
    ) -> Result<Repository, kopia_repo::RepoError> {
        Repository::open(storage, &PASSWORD.to_owned().into(), self.options(host, env)).await
    }
}

fn blob() -> FormatBlob {
    FormatBlob::new("repo-sim", "0", &UNIQUE_ID, KEY_DERIVATIONS[0])
}

/// A format by a seed: one in five has no epochs, the others quick ones within Kopia's bounds
/// (docs/format/04 §6).
pub fn format(chance: &mut Chance) -> RepositoryFormat {
    const MINUTE: Duration = Duration::from_secs(60);
    let legacy = chance.one_in(5);
    let options = FormatOptions {
        version: if legacy { 1 } else { 3 },
        splitter: "FIXED-128K".into(),
        ..FormatOptions::default()
    };
    let mut format = RepositoryFormat::new(&options, [1; 32], [2; 32]);
    // Smaller than any that Kopia makes, for trees are: clients take what the format says.
    format.max_pack_size = [6_000, 20_000, 60_000][chance.below(3)];
    if !legacy {
        let epoch = &mut format.epoch;
        epoch.min_epoch_duration = MINUTE * [60, 180, 600, 1440][chance.below(4)] as u32;
        epoch.advance_on_count = 10 + chance.below(11) as u32;
        epoch.full_checkpoint_frequency = [2, 3, 7][chance.below(3)];
        epoch.cleanup_safety_margin = MINUTE * [60, 240][chance.below(2)] as u32;
    }
    format
}

/// Time by `clock`, and chance by a seed: nonces, names of packs.
pub fn env(clock: Arc<crate::clock::SimClock>, chance: &mut Chance) -> Env {
    Env { clock, entropy: Arc::new(SeededEntropy::new(chance.next())) }
}
