//! A storage that is named by another connection file, or by a token that one client printed.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::token::RepositoryToken;
use zeroize::Zeroizing;

use super::connect::Named;
use crate::connect::{backends, config};

/// Another connection, or a token.
#[derive(Debug, Clone, Args)]
pub struct FromConfig {
    /// A connection file.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// A token: what `repository status --reconnect-token` prints.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds a token.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Read the token from standard input.
    #[arg(long)]
    token_stdin: bool,
}

impl FromConfig {
    /// Opens the storage. A token may hold the password, too: it goes before any other.
    ///
    /// # Errors
    /// Nothing is named, it can't be read, or it is a connection to a server.
    pub(super) async fn open(&self) -> anyhow::Result<Named> {
        if let Some(file) = &self.file {
            let connection = config::storage_of(&config::load(file)?, file)?.clone();
            let backend = backends::open(&connection).await?;
            return Ok(Named { backend, connection, password: None });
        }
        let token = self.token().context("invalid token")?;
        let backend = backends::open(&token.storage).await?;
        let password = token.password.map(|password| password.as_str().into());
        Ok(Named { backend, connection: token.storage, password })
    }

    fn token(&self) -> anyhow::Result<RepositoryToken> {
        let text = if let Some(token) = &self.token {
            Zeroizing::new(token.clone())
        } else if let Some(file) = &self.token_file {
            Zeroizing::new(fs_err::read_to_string(file)?)
        } else if self.token_stdin {
            let mut text = Zeroizing::new(String::new());
            io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        } else {
            bail!("one of --file, --token-file, --token-stdin or --token must be provided")
        };
        // Kopia passes over line ends, not over blanks around: nobody means those.
        Ok(RepositoryToken::decode(text.trim())?)
    }
}
