//! A question that has to be answered with yes before something is done that costs.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;

use super::App;
use crate::{
    exit::{Exit, Failure},
    ui::text,
};

impl App {
    /// Goes on where `yes` was given or somebody at a terminal says so.
    ///
    /// # Errors
    /// [`Exit::Limit`]: nobody did.
    pub async fn consent(&self, yes: bool, question: &str) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            let message = format!("{question} Nobody is there to answer: add --yes");
            return Err(Failure::new(Exit::Limit, message).into());
        }
        text::note(format!("{question} [y/N]"));
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = self.unless_stopped(async { Ok(answer.await??) }).await.context("asking")?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Limit, "not confirmed; nothing was done").into()),
        }
    }
}
