//! `cargo xtask build`: the program, optimised.

use xshell::{Shell, cmd};

use crate::{flags, workspace};

/// Builds kopia-lite and says where it is.
pub fn run(sh: &Shell, flags: &flags::Build) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    let (profile, release) =
        if flags.debug { ("debug", None) } else { ("release", Some("--release")) };
    cmd!(sh, "{cargo} build --locked --package kopia-lite {release...}").run()?;
    let program = workspace::target_dir().join(profile).join("kopia-lite");
    let bytes = std::fs::metadata(&program)?.len();
    println!("{} ({:.1} MB)", program.display(), bytes as f64 / 1e6);
    Ok(())
}
