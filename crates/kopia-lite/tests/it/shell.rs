//! A shell in which `kopia-lite`, and a link to it named `kopia`, are this program.

use std::{os::unix::fs::symlink, process::Command};

use crate::env::{Run, TestEnv};

/// Runs a script in the home of `env`; the first command that fails ends it.
pub fn run(env: &TestEnv, script: &str) -> Run {
    Run::of(&mut command(env, script))
}

/// The same, not begun yet.
pub fn command(env: &TestEnv, script: &str) -> Command {
    let folder = env.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["kopia", "kopia-lite"] {
        let link = folder.join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_kopia-lite"), &link).unwrap();
        }
    }
    let template = env.command([""]);
    let mut command = Command::new("sh");
    command.arg("-euc").arg(script).env_clear();
    command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    command.current_dir(env.path(".")).stdin(std::process::Stdio::null());
    command
}
