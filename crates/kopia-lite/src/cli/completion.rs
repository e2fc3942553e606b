//! `completion`: scripts by which shells complete command lines.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::{exit::Exit, ui::text};

/// Write a script to stdout that lets a shell complete command lines.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self) -> Exit {
        let mut definition = super::definition();
        let (name, mut script) = (definition.get_name().to_owned(), Vec::new());
        generate(self.shell, &mut definition, name, &mut script);
        text::raw(&script);
        Exit::Done
    }
}
