//! `man`: manual pages, from the same definition as the help.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::{
    cli::argv,
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// Write manual pages: that of the program to stdout, or one a command to a folder.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for the pages.
    folder: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlags,
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut definition = super::definition().disable_help_subcommand(true);
        definition.build();
        let Some(folder) = self.folder else {
            text::raw(&page(&definition, "kopia-lite")?);
            return Ok(Exit::Done);
        };
        fs_err::create_dir_all(&folder)?;
        let mut written = Vec::new();
        write_all(&definition, "kopia-lite", &folder, &mut written)?;
        if self.json.json {
            self.json.print_list(&written);
        } else {
            text::note(format!("Wrote {} pages to {}.", written.len(), folder.display()));
        }
        Ok(Exit::Done)
    }
}

fn write_all(
    command: &clap::Command,
    name: &str,
    folder: &std::path::Path,
    written: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let file = folder.join(format!("{name}.1"));
    fs_err::write(&file, page(command, name)?)?;
    written.push(file);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_all(sub, &format!("{name}-{}", sub.get_name()), folder, written)?;
    }
    Ok(())
}

/// The page of one command, named like its words joined by hyphens.
fn page(command: &clap::Command, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let man = clap_mangen::Man::new(command.clone().name(name.to_owned()));
    man.render(&mut bytes).with_context(|| format!("the manual page of {name}"))?;
    Ok(argv::shown(&String::from_utf8_lossy(&bytes)).into_bytes())
}
