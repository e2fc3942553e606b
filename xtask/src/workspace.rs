//! The workspace as `cargo metadata` tells it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The top folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The cargo that runs us, so that one toolchain does everything.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// All files below the top folder, by their paths from there, without what is built or hidden.
pub fn files() -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("can't list {}", folder.display()))? {
            let (path, kind) = entry.and_then(|it| Ok((it.path(), it.file_type()?)))?;
            if kind.is_dir() && !is_hidden(&path) && path != target_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path.strip_prefix(root())?.to_owned());
            }
        }
    }
    Ok(found)
}

fn is_hidden(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// All packages of the lock file, and which of them are ours.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    id: String,
    /// `None` = a folder of this workspace.
    pub source: Option<String>,
    manifest_path: PathBuf,
    #[serde(default)]
    metadata: Option<serde_json::Value>,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
    pub readme: Option<String>,
    /// Where it may be published; an empty list = nowhere.
    #[serde(default)]
    publish: Option<Vec<String>>,
}

/// One line under `[dependencies]`.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` = normal; else `dev` or `build`.
    pub kind: Option<String>,
    /// The name that this package gives it.
    #[serde(default)]
    pub rename: Option<String>,
    /// The folder, for crates of this workspace.
    pub path: Option<PathBuf>,
}

/// A library, program, test or example.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
}

impl Workspace {
    /// Asks cargo about ours.
    pub fn read() -> anyhow::Result<Self> {
        Self::read_at(root(), &["--locked"])
    }

    /// Asks cargo about the workspace in a folder.
    pub fn read_at(folder: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let output = Command::new(cargo())
            .args(["metadata", "--format-version=1"])
            .args(flags)
            .current_dir(folder)
            .output()
            .context("can't run cargo metadata")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed:\n{errors}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Every package of the lock file.
    pub fn all(&self) -> &[Package] {
        &self.packages
    }

    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// The package's folder, seen from the top.
    pub fn folder(&self) -> PathBuf {
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        folder.strip_prefix(root()).unwrap_or(folder).to_owned()
    }

    /// The layer it says it lies in.
    pub fn rank(&self) -> Option<u64> {
        self.metadata.as_ref()?.pointer("/layer/rank")?.as_u64()
    }

    /// Is it for others, too?
    pub fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|places| !places.is_empty())
    }

    /// Stands in for somebody else's crate, under its name.
    pub fn is_facade(&self) -> bool {
        self.folder().starts_with("crates/third-party")
    }

    /// Major and minor version.
    pub fn major_minor(&self) -> (u64, u64) {
        let mut parts = self.version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// The name of its library.
    pub fn library(&self) -> Option<&str> {
        let is_library = |kind: &String| kind.contains("lib") || kind == "proc-macro";
        let mut targets = self.targets.iter();
        targets.find(|it| it.kind.iter().any(is_library)).map(|it| it.name.as_str())
    }

    /// Has it a target of this kind?
    pub fn has(&self, kind: &str) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|it| it == kind))
    }
}
