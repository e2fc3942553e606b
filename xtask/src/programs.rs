//! Running kopia-lite and Kopia, each in a home of its own.
//!
//! Both take the same flags and the same environment; neither sees the settings, caches or
//! credentials of the user who runs us.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::workspace;

/// The password of every repository made here.
pub const PASSWORD: &str = "a password for tests";

/// A client and its home.
#[derive(Debug, Clone)]
pub struct Client {
    /// For people: `Kopia`, `kopia-lite`.
    pub name: &'static str,
    /// What the program says of itself.
    pub version: String,
    program: PathBuf,
    home: PathBuf,
    /// It restores the time of every folder, as Kopia does not.
    pub restores_folder_times: bool,
}

impl Client {
    /// A client with the home `home`, made if need be.
    pub fn new(name: &'static str, program: &Path, home: PathBuf) -> anyhow::Result<Self> {
        Self::asked(name, program, home, "--version")
    }

    /// A client that says its version when it is asked by `ask`.
    pub fn asked(
        name: &'static str,
        program: &Path,
        home: PathBuf,
        ask: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&home)?;
        let program = program
            .canonicalize()
            .with_context(|| format!("there is no program at {}", program.display()))?;
        let version = String::new();
        let mut client = Self { name, version, program, home, restores_folder_times: false };
        client.version = client.run(&[ask])?.trim().to_owned();
        client.restores_folder_times = client.version.contains("kopia-lite");
        Ok(client)
    }

    /// The same program in another home.
    pub fn at_home(&self, home: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&home)?;
        Ok(Self { home, ..self.clone() })
    }

    /// Where its settings and caches are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// This program with the connection of `other`.
    pub fn with_connection_of(&self, other: &Self) -> Self {
        Self { home: other.home.clone(), ..self.clone() }
    }

    /// The program's command line, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_clear()
            .envs(
                std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "RUST_BACKTRACE"),
            )
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("XDG_CACHE_HOME", self.home.join("cache"))
            .env("KOPIA_CONFIG_PATH", self.home.join("repository.config"))
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .env("TZ", "UTC")
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end and gives what it printed on standard output.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args).output().context("can't run it")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} {} ended with {}:\n{}",
            self.name,
            args.join(" "),
            output.status,
            tail(&stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and reads its standard output as JSON.
    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let text = self.run(args)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} {} printed no JSON: {text:?}", self.name, args.join(" ")))
    }

    /// Snapshots a folder; gives the snapshot's ID and its root object.
    pub fn snapshot(&self, source: &Path, flags: &[&str]) -> anyhow::Result<Snapshot> {
        let source = source.to_str().context("the path is not UTF-8")?;
        let args = [&["snapshot", "create", "--json", "--no-progress"], flags, &[source]].concat();
        let value = self.json(&args)?;
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (id, root) = (text("/id"), text("/rootEntry/obj"));
        let no_id = || format!("{} names no snapshot: {value}", self.name);
        Ok(Snapshot { id: id.with_context(no_id)?, root: root.with_context(no_id)? })
    }

    /// Restores a snapshot into a folder.
    pub fn restore(&self, id: &str, target: &Path) -> anyhow::Result<()> {
        let target = target.to_str().context("the path is not UTF-8")?;
        self.run(&["restore", "--no-progress", id, target]).map(|_| ())
    }

    /// The IDs of all snapshots of everybody, sorted.
    pub fn snapshot_ids(&self) -> anyhow::Result<Vec<String>> {
        let list = self.json(&["snapshot", "list", "--all", "--show-identical", "--json"])?;
        let ids = list.as_array().context("the list is no array")?.iter();
        let mut ids: Vec<_> = ids.filter_map(|it| it["id"].as_str()).map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    }
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    pub root: String,
}

/// The last lines of a long text.
pub fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Builds programs of the workspace and gives their paths.
pub fn build(sh: &Shell, packages: &[&str], release: bool) -> anyhow::Result<Vec<PathBuf>> {
    let cargo = workspace::cargo();
    let (profile, release) = if release { ("release", Some("--release")) } else { ("debug", None) };
    for package in packages {
        // One by one: built together, they would share features that the released program lacks.
        cmd!(sh, "{cargo} build --quiet --locked --package {package} --bins {release...}").run()?;
    }
    Ok(packages.iter().map(|name| workspace::target_dir().join(profile).join(name)).collect())
}

/// Builds an example of a package and gives its path.
pub fn build_example(
    sh: &Shell,
    package: &str,
    example: &str,
    release: bool,
) -> anyhow::Result<PathBuf> {
    let cargo = workspace::cargo();
    let (profile, release) = if release { ("release", Some("--release")) } else { ("debug", None) };
    let build = ["build", "--quiet", "--locked", "--package", package, "--example", example];
    cmd!(sh, "{cargo} {build...} {release...}").run()?;
    Ok(workspace::target_dir().join(profile).join("examples").join(example))
}

/// A folder for one run, removed at its end unless it is to be kept.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes the folder in the system's place for such.
    pub fn new(name: &str, keep: bool) -> anyhow::Result<Self> {
        Self::below(&std::env::temp_dir(), name, keep)
    }

    /// Makes it somewhere else.
    pub fn below(parent: &Path, name: &str, keep: bool) -> anyhow::Result<Self> {
        let path = parent.join(format!("kopia-lite-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path: path.canonicalize()?, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            println!("kept: {}", self.path.display());
        } else {
            // What can't be removed is left to the system.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
