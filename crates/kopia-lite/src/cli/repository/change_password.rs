//! `repository change-password`.

use anyhow::Context;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    cli::{App, app::Access, repository::lock_text},
    connect::password,
    exit::Exit,
};

/// Change the password of the repository.
#[derive(Debug, Args)]
pub struct ChangePassword {
    /// The new password; asked for where it is not given.
    #[arg(long, env = "KOPIA_NEW_PASSWORD", hide_env_values = true)]
    new_password: Option<SecretString>,
    /// Only see whether it can be changed.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl ChangePassword {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(Access::Write).await?;
        let given = self.new_password.filter(|new| !new.expose_secret().trim().is_empty());
        let new = match given {
            Some(new) => new.expose_secret().trim().into(),
            None => app.password(password::Purpose::Change).await?,
        };
        client.repo.refresh().await?;
        let (config, format) = (client.repo.blob_config(), client.repo.format());
        if self.dry_run && format.enable_password_change {
            app.info("The password would be changed.");
            return Ok(Exit::Done);
        }
        if let Some(lock) = lock_text(&config) {
            // For whoever reads this after a cut.
            app.info(format!(
                "New blobs are not locked until the password is changed. If this is cut off, lock \
                 them again: kopia-lite repository set-parameters {lock}"
            ));
        }
        client.repo.change_password(&new).await.context(
            "the password may be the old one or the new one; change it again with the one that opens",
        )?;
        app.info("NOTE: Repository password has been changed.");
        if app.globals.persist_credentials {
            password::store(&app.config_file, app.globals.use_keyring, &new)?;
        } else {
            // The old one opens nothing any more.
            password::forget(&app.config_file)?;
        }
        Ok(Exit::Done)
    }
}
