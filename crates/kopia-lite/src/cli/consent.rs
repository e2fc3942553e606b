//! Asking before money is spent or the bucket is changed.

use std::io::{BufRead, IsTerminal};

use super::App;
use crate::{
    exit::{Exit, Failure},
    ui::text,
};

impl App {
    /// Is it agreed to? With `yes` it is; else somebody is asked who sits at a terminal, and must
    /// answer `y` or `yes`.
    ///
    /// # Errors
    /// [`Exit::Limit`] when the answer is another one, or there is no terminal.
    pub async fn consent(&self, yes: bool, question: &str) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !text::stderr_is_terminal() {
            let message =
                format!("{question} Nobody can be asked here: add --yes; it was not done");
            return Err(Failure::new(Exit::Limit, message).into());
        }
        text::prompt(format!("{question} [y/N] "));
        // Off the async threads: somebody has to type it.
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = self.unless_stopped(async { Ok(answer.await??) }).await?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Limit, "not agreed to; it was not done").into()),
        }
    }
}
