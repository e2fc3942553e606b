//! `cargo xtask lint`: all that can be said about the code without running it.

use xshell::{Shell, cmd};

use crate::{
    deps,
    dist::tarball,
    layers,
    steps::{Outcome, Steps, done},
    tidy,
    workspace::{self, Workspace},
};

/// Runs every check and prints the table.
pub fn run(sh: &Shell) -> anyhow::Result<()> {
    let mut all = Steps::default();
    steps(sh, &mut all)?;
    print!("{}", all.table());
    Ok(())
}

/// Every check, the quick ones first; all run, whatever one says.
pub fn steps(sh: &Shell, steps: &mut Steps) -> anyhow::Result<()> {
    let cargo = &workspace::cargo();
    let workspace = Workspace::read()?;
    let exclude = &exclude_facades(&workspace);
    steps.check("format", || {
        cmd!(sh, "{cargo} fmt --all --check").run()?;
        done()
    });
    steps.check("layers", || layers::check(&workspace));
    steps.check("dependencies", || deps::check(&workspace));
    steps.check("tidy", || tidy::check(&workspace));
    steps.check("tarballs", || tarball::check_lists(&workspace));
    steps.check("cargo deny", || deny(sh, cargo));
    steps.check("clippy", || {
        // The façades have the shape of what they stand in for, not the one clippy would like.
        cmd!(sh, "{cargo} clippy --locked --workspace {exclude...} --no-deps --all-targets")
            .args(["--", "-D", "warnings"])
            .run()?;
        done()
    });
    steps.check("rustdoc", || {
        cmd!(sh, "{cargo} doc --locked --workspace {exclude...} --no-deps --quiet")
            .env("RUSTDOCFLAGS", "-D warnings")
            .run()?;
        done()
    });
    steps.finish()
}

/// Advisories and licences, where the tool is there.
fn deny(sh: &Shell, cargo: &str) -> anyhow::Result<Outcome> {
    if cmd!(sh, "{cargo} deny --version").quiet().ignore_stderr().read().is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    cmd!(sh, "{cargo} deny check").run()?;
    done()
}

/// Flags that leave the façades out: they bear the names of other crates.
pub fn exclude_facades(workspace: &Workspace) -> Vec<String> {
    let facades = workspace.members().filter(|package| package.is_facade());
    facades.map(|package| format!("--exclude={}", package.name)).collect()
}
