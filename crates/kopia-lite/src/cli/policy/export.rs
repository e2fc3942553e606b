//! `policy export`: policies as one JSON object, to be taken by `policy import`.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use kopia_snapshot::policies;

use super::Targets;
use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Write policies as one JSON object, to a file or to stdout.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    targets: Targets,
    /// The file to write; without it stdout.
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new())]
    to_file: Option<std::ffi::OsString>,
    /// Write over the file if it exists.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Export {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let file = self.to_file.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from);
        match &file {
            None if self.overwrite => bail!("overwrite was passed but no file path was given"),
            Some(file) if !self.overwrite && file.symlink_metadata().is_ok() => {
                return Err(exists(file));
            }
            _ => {}
        }
        let client = app.open(Access::Read).await?;
        let mut exported = BTreeMap::new();
        if self.targets.are_given() {
            for target in self.targets.resolve(&client.repo).await? {
                let found = policies::defined(&client.repo, &target).await?;
                let found = found.with_context(|| {
                    let target = target.to_string();
                    format!("can't get defined policy for {target:?}: policy not found")
                })?;
                exported.insert(target.to_string(), found);
            }
        } else {
            let all = policies::all(&client.repo).await?;
            exported.extend(all.into_iter().map(|it| (it.target.to_string(), it.policy)));
        }
        let line = self.json.render(&exported);
        match file {
            // All is read by now: a repository that can't be read leaves the old file as it is.
            Some(file) => write(&file, self.overwrite, &format!("{line}\n"))?,
            None => text::line(line),
        }
        Ok(Exit::Done)
    }
}

fn exists(file: &Path) -> anyhow::Error {
    let file = file.display();
    anyhow::anyhow!("{file}: file already exists and overwrite flag is not set")
}

/// Writes the file, for nobody else's eyes: scripts of actions may hold secrets.
fn write(file: &Path, overwrite: bool, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    let options = match overwrite {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    match options.open(file).and_then(|mut open| open.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(file)),
        Err(error) => {
            Err(error).with_context(|| format!("unable to write policy to {}", file.display()))
        }
    }
}
