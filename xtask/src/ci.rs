//! `cargo xtask ci`: what every change must pass, with the time of each step.

use xshell::Shell;

use crate::{lint, steps::Steps, test};

/// Lint, then test.
pub fn run(sh: &Shell) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    lint::steps(sh, &mut steps)?;
    steps.run("test", || test::all(&[], None))?;
    print!("{}", steps.table());
    Ok(())
}
