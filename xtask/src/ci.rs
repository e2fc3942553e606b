//! `cargo xtask ci`: what every change must pass, with the time of each step.

use xshell::Shell;

use crate::{lint, sim, steps::Steps, test};

/// Lint, then test, then simulate.
pub fn run(sh: &Shell) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    lint::steps(sh, &mut steps)?;
    steps.run("test", || test::all(&[], None))?;
    sim::steps(&mut steps)?;
    print!("{}", steps.table());
    Ok(())
}
