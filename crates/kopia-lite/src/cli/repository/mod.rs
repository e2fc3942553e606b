//! `repository`: create, connect, and what can be changed of a connection or of a repository.

mod change_password;
pub(super) mod check;
mod connect;
mod create;
pub mod flags;
mod from_config;
mod list;
mod permissions;
mod repair;
pub mod s3_flags;
mod set_client;
mod set_parameters;
pub(super) mod status;
mod sync_to;
mod throttle;
mod validate_provider;

use clap::Subcommand;
use kopia_format::{blobcfg::BlobConfig, time::duration_text};

use super::App;
use crate::{
    connect::{config, keyring, password, paths},
    exit::{Exit, Failure},
    jobs::kept_place,
    ui::text,
};

/// The verbs of `repository`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a repository and connect to it.
    Create(create::Create),
    /// Connect to a repository.
    Connect(connect::Connect),
    /// Forget the connection, its password and its cache.
    Disconnect {
        /// Only say what would be forgotten.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Show the connection and the repository.
    Status(status::Status),
    /// Change how this client uses the repository.
    SetClient(set_client::SetClient),
    /// Change parameters of the repository, for all its clients.
    #[command(visible_alias = "set-params")]
    SetParameters(set_parameters::SetParameters),
    /// Change the password of the repository.
    ChangePassword(change_password::ChangePassword),
    /// Copy the repository's blobs to another storage.
    SyncTo(sync_to::SyncTo),
    /// List the connections of this user: profiles.
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Look whether everything is as it should be; writes nothing.
    Check(check::Check),
    /// Print the least S3 policy that a key needs.
    Permissions(permissions::Permissions),
    /// See whether the storage does what clients rely on.
    ValidateProvider(validate_provider::ValidateProvider),
    /// How much this client asks of the storage.
    #[command(subcommand)]
    Throttle(throttle::Throttle),
    /// Recover a lost kopia.repository from the packs of an old repository.
    Repair(repair::Repair),
}

impl Command {
    /// May the verb be cut anywhere? Connecting writes last, and all at once.
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::Status(_)
                | Self::List(_)
                | Self::Check(_)
                | Self::Permissions(_)
        )
    }

    /// How the verb ends when all went well but for manifests or index blobs that can't be read.
    pub fn what_is_lost_means(&self) -> Exit {
        match self {
            // What it was asked for is whole.
            Self::Status(_) => Exit::Done,
            _ => Exit::Incomplete,
        }
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(app).await,
            Self::Connect(connect) => connect.run(app).await,
            Self::Disconnect { dry_run: false } => disconnect(app),
            Self::Disconnect { dry_run: true } => would_disconnect(app),
            Self::Status(status) => status.run(app).await,
            Self::SetClient(set) => set.run(app),
            Self::SetParameters(set) => set.run(app).await,
            Self::ChangePassword(change) => change.run(app).await,
            Self::SyncTo(sync) => sync.run(app).await,
            Self::List(list) => list.run(app),
            Self::Check(check) => check.run(app).await,
            Self::Permissions(permissions) => permissions.run(app),
            Self::ValidateProvider(validate) => validate.run(app).await,
            Self::Throttle(throttle) => throttle.run(app),
            Self::Repair(repair) => repair.run(app).await,
        }
    }
}

/// The flags that ask for the object lock of `config`, if it asks for one.
fn lock_text(config: &BlobConfig) -> Option<String> {
    let (mode, period) = (config.retention_mode.as_deref()?, config.retention_period);
    let nanos = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
    Some(format!("--retention-mode={mode} --retention-period={}", duration_text(nanos)))
}

/// What Kopia and kopia-lite have in the folder of a cache.
const CACHED: [&str; 10] = [
    "CACHEDIR.TAG",
    "blob-list",
    "contents",
    "indexes",
    "kopia-lite",
    "kopia.blobcfg",
    "kopia.repository",
    "metadata",
    "own-writes",
    "server-contents",
];

/// Says what [`disconnect`] would forget.
fn would_disconnect(app: &App) -> anyhow::Result<Exit> {
    let file = &app.config_file;
    let connection = config::load(file)?;
    app.info(format!("Would forget the connection {} and its password.", file.display()));
    if let Some(cache) = config::cache_of(&connection, file) {
        app.info(format!("Would delete the cache {}.", cache.directory.display()));
    }
    Ok(Exit::Done)
}

/// Deletes the connection file, what lies beside it, and its cache.
fn disconnect(app: &App) -> anyhow::Result<Exit> {
    let file = &app.config_file;
    match config::load(file) {
        Ok(connection) => {
            if let Some(cache) = config::cache_of(&connection, file)
                && cache.directory.is_absolute()
            {
                remove_cache(&cache.directory)?;
            }
        }
        Err(error) if error.downcast_ref::<Failure>().is_some() => return Err(error),
        // A file that can't be understood must not keep its password on this machine.
        Err(error) => text::warn(format!("{error:#}; forgetting the connection all the same")),
    }
    if app.globals.use_keyring {
        keyring::forget(file)?;
    }
    password::forget(file)?;
    for beside in [".mlock", ".update-info.json", kept_place::SUFFIX] {
        let mut name = file.as_os_str().to_owned();
        name.push(beside);
        remove(std::path::Path::new(&name), |path| std::fs::remove_file(path))?;
    }
    remove(&paths::clean(file), |path| std::fs::remove_file(path))?;
    Ok(Exit::Done)
}

/// Deletes a cache, and its folder if nothing else is in it: the user may have named one that holds
/// more.
fn remove_cache(folder: &std::path::Path) -> anyhow::Result<()> {
    for name in CACHED {
        remove(&folder.join(name), |path| match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        })?;
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            text::note(format!("{} holds other things and stays.", folder.display()));
            Ok(())
        }
        done => remove(folder, |_| done),
    }
}

fn remove(
    path: &std::path::Path,
    how: impl FnOnce(&std::path::Path) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(anyhow::Error::new(error).context(format!("cannot delete {}", path.display())))
        }
        _ => Ok(()),
    }
}
