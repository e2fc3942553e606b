//! `repository`: create, connect, disconnect, status.

mod connect;
mod create;
pub mod flags;
pub(super) mod status;

use clap::Subcommand;

use super::App;
use crate::{
    connect::{config, password, paths},
    exit::{Exit, Failure},
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
    Disconnect,
    /// Show the connection and the repository.
    Status(status::Status),
}

impl Command {
    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(app).await,
            Self::Connect(connect) => connect.run(app).await,
            Self::Disconnect => disconnect(app),
            Self::Status(status) => status.run(app).await,
        }
    }
}

/// Deletes the connection file, what lies beside it, and our part of its cache.
fn disconnect(app: &App) -> anyhow::Result<Exit> {
    let file = &app.config_file;
    match config::load(file) {
        Ok(connection) => {
            if let Some(cache) = config::cache_of(&connection, file)
                && cache.directory.is_absolute()
            {
                remove(&cache.directory, |path| std::fs::remove_dir_all(path))?;
            }
        }
        Err(error) if error.downcast_ref::<Failure>().is_some() => return Err(error),
        // A file that can't be understood must not keep its password on this machine.
        Err(error) => text::warn(format!("{error:#}; forgetting the connection all the same")),
    }
    password::forget(file)?;
    let lock = file.with_file_name(format!(
        "{}.mlock",
        file.file_name().unwrap_or_default().to_string_lossy()
    ));
    remove(&lock, |path| std::fs::remove_file(path))?;
    remove(&paths::clean(file), |path| std::fs::remove_file(path))?;
    Ok(Exit::Done)
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
