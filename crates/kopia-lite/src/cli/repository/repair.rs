//! `repository repair`: a lost `kopia.repository` from the copy that packs carry.
//!
//! Only repositories whose password can't be changed have such copies: those of format version 1.
//! Packs of folders are looked at first, archived ones never.

use std::ffi::OsString;

use anyhow::{Context, bail};
use blob_core::{BlobId, BlobMeta, DynStorage, PutOptions, ReadRange};
use clap::{Args, Subcommand, ValueEnum};
use fs_backend::FilesystemStorage;
use futures::TryStreamExt;
use kopia_format::format_blob::{
    FORMAT_BLOB_ID, FormatBlob, RECOVERY_CHUNK_LEN, recover_from_head, recover_from_tail,
};

use super::{connect::not_built, flags::FilesystemFlags, s3_flags::S3Flags};
use crate::{
    cli::App,
    compose::{ClientBuilder, ClientOptions},
    connect::backends,
    exit::Exit,
};

/// When to recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recover {
    /// If it is lost.
    Auto,
    /// Whether it is there or not.
    Yes,
    /// Never.
    No,
}

/// Recover a lost kopia.repository from the packs of an old repository.
#[derive(Debug, Args)]
pub struct Repair {
    /// When to recover the format blob.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    recover_format: Recover,
    /// Look only into blobs whose IDs begin so; into all packs if there is none.
    #[arg(long, global = true, value_name = "PREFIX")]
    recover_format_block_prefixes: Vec<String>,
    /// Only say what would be recovered.
    #[arg(short = 'n', long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    provider: Provider,
}

#[derive(Debug, Subcommand)]
enum Provider {
    /// In a bucket on S3.
    #[command(mut_arg("bucket", |bucket| bucket.required(true)))]
    S3(Box<S3Flags>),
    /// In a folder.
    Filesystem(FilesystemFlags),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

impl Repair {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        app.allow_dangerous()?;
        let backend = match &self.provider {
            Provider::S3(flags) => backends::s3(flags.options()?)?,
            Provider::Filesystem(flags) => {
                backends::filesystem(FilesystemStorage::open(flags.options()?).await?)
            }
            Provider::Other(words) => return Err(not_built(words)),
        };
        let options = ClientOptions {
            extra_keys: app.globals.storage_config_extra_keys,
            read_only: self.dry_run,
            ..ClientOptions::default()
        };
        let storage = ClientBuilder::over(backend).options(options).stack().await?.full;
        let id = BlobId::new(FORMAT_BLOB_ID)?;
        match self.recover_format {
            Recover::No => return Ok(Exit::Done),
            Recover::Yes => {}
            Recover::Auto => {
                app.info("looking for format blob...");
                match storage.head(&id).await {
                    Ok(_) => {
                        app.info(
                            "format blob already exists, not recovering, pass --recover-format=yes",
                        );
                        return Ok(Exit::Done);
                    }
                    Err(error) if error.is_not_found() => {}
                    // What can't be looked for may be there: it is not written over.
                    Err(error) => return Err(error).context("cannot look for the format blob"),
                }
            }
        }
        let (pack, copy) = self.find(app, &storage).await?;
        let length = copy.len();
        if self.dry_run {
            app.info(format!(
                "Would write {FORMAT_BLOB_ID} ({length} bytes) from its copy in {pack}."
            ));
            return Ok(Exit::Done);
        }
        app.info(format!("Writing {FORMAT_BLOB_ID} ({length} bytes) from its copy in {pack}."));
        let written = storage.put(&id, copy.into(), &PutOptions::default()).await;
        written.context("error writing format blob")?;
        app.info(format!("recovered replica block from {pack}"));
        Ok(Exit::Done)
    }

    /// The first copy that is found, and where.
    async fn find(&self, app: &App, storage: &DynStorage) -> anyhow::Result<(BlobId, Vec<u8>)> {
        let all = ["q".to_owned(), "p".to_owned()];
        let given = &self.recover_format_block_prefixes;
        let prefixes = if given.is_empty() { &all[..] } else { given };
        let mut cold = 0_usize;
        for prefix in prefixes {
            let mut packs = storage.list(prefix);
            while let Some(pack) = app.unless_stopped(async { Ok(packs.try_next().await?) }).await?
            {
                if pack.is_cold() {
                    cold += 1;
                    continue;
                }
                app.info(format!("looking for replica of format blob in {}...", pack.id));
                match app.unless_stopped(async { copy_in(storage, &pack).await }).await {
                    Ok(Some(copy)) => return Ok((pack.id, copy)),
                    Ok(None) => {}
                    Err(error) if app.stop.is_cancelled() => return Err(error),
                    // Another pack may be whole.
                    Err(error) => app.warn(format!("{}: {error:#}", pack.id)),
                }
            }
        }
        if cold > 0 {
            bail!(
                "could not find a replica of a format blob; {cold} packs are archived and were not \
                 read"
            );
        }
        bail!("could not find a replica of a format blob")
    }
}

/// The copy in a pack, if there is one that is a format blob.
async fn copy_in(storage: &DynStorage, pack: &BlobMeta) -> anyhow::Result<Option<Vec<u8>>> {
    let length = pack.size.min(RECOVERY_CHUNK_LEN as u64);
    let is_whole = |copy: &Vec<u8>| FormatBlob::parse(copy).is_ok();
    let head = storage.get(&pack.id, ReadRange::Bytes { offset: 0, length }).await?;
    if let Some(copy) = recover_from_head(&head).filter(is_whole) {
        return Ok(Some(copy));
    }
    let range = ReadRange::Bytes { offset: pack.size - length, length };
    let tail = storage.get(&pack.id, range).await?;
    Ok(recover_from_tail(&tail).filter(is_whole))
}
