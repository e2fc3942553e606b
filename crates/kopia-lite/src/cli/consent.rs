//! Asking before something is done that costs or that others feel.

use std::io::{self, BufRead, IsTerminal};

use super::App;
use crate::{
    exit::{Exit, Failure},
    ui::text,
};

impl App {
    /// Goes on only if the user agrees: by `--yes`, or by typing `y` at a terminal.
    ///
    /// # Errors
    /// [`Exit::Limit`]: there is no terminal, or another answer came.
    pub fn consent(&self, yes: bool, question: &str) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        let refused = |why: &str| Failure::new(Exit::Limit, format!("nothing was done: {why}"));
        if !io::stdin().is_terminal() || !text::stderr_is_terminal() {
            return Err(refused("there is no terminal to ask on; give --yes").into());
        }
        text::note(format!("{question} [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(refused("no consent").into()),
        }
    }
}
