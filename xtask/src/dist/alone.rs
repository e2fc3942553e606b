//! An empty workspace with one crate in it, from its tarball.
//!
//! A registry would resolve our other crates; here `[patch]` leads to their unpacked tarballs, and
//! to nothing else of ours. The façades are patched in exactly as s3-backend's README tells a
//! stranger to do it, so the README is tested with it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::tarball::{self, Tarball};
use crate::{
    steps::Outcome,
    test,
    workspace::{self, Package, Workspace},
};

/// Does the workspace take the façades?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facades {
    /// As for everybody who just depends on the crate.
    Absent,
    /// As the README of s3-backend says.
    OfReadme,
}

/// The workspace.
#[derive(Debug)]
pub struct Alone {
    name: String,
    top: PathBuf,
    /// The crate's own folder below it.
    member: PathBuf,
    workspace: Workspace,
}

impl Alone {
    /// Makes the workspace anew.
    pub fn make(
        ours: &Workspace,
        package: &Package,
        tarballs: &[Tarball],
        facades: Facades,
    ) -> anyhow::Result<Self> {
        let kind = if facades == Facades::Absent { "alone" } else { "alone-with-facades" };
        let top = super::dist_dir().join(kind).join(&package.name);
        if top.exists() {
            fs::remove_dir_all(&top)?;
        }
        let tarball = tarball::find(tarballs, &package.name)?;
        let member = tarball::unpack(&tarball.file, &top)?;
        let mut patches = String::from("[patch.crates-io]\n");
        if facades == Facades::OfReadme {
            patches = patch_of_readme(&tarball::find(tarballs, "s3-backend")?.folder)?;
            copy(&workspace::root().join("crates/third-party"), &top.join("third-party"))?;
        }
        let manifest = fs::read_to_string(member.join("Cargo.toml"))?;
        for name in needed(ours, package, &manifest) {
            let folder = match name == package.name {
                true => &member,
                false => &tarball::find(tarballs, name)?.folder,
            };
            patches.push_str(&format!("{name} = {{ path = {folder:?} }}\n"));
        }
        let member_name = member.file_name().context("the crate has a folder")?;
        let text =
            format!("[workspace]\nresolver = \"3\"\nmembers = [{member_name:?}]\n\n{patches}\n");
        fs::write(top.join("Cargo.toml"), &text)?;
        // The versions that were tested here; cargo drops what is not needed.
        fs::copy(workspace::root().join("Cargo.lock"), top.join("Cargo.lock"))?;
        let workspace = Workspace::read_at(&top, &[])?;
        let profiles = profiles(&workspace)?;
        fs::write(top.join("Cargo.toml"), text + &profiles)?;
        Ok(Self { name: package.name.clone(), top, member, workspace })
    }

    /// All packages of its lock file.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Gives the crate's tests the testkits back, which `cargo package` drops; returns their names.
    pub fn add_testkits(
        &mut self,
        ours: &Workspace,
        package: &Package,
        tarballs: &[Tarball],
    ) -> anyhow::Result<Vec<String>> {
        let file = self.member.join("Cargo.toml");
        let mut manifest = fs::read_to_string(&file)?;
        let dropped: Vec<String> = dropped(package, &manifest).map(str::to_owned).collect();
        for name in &dropped {
            let folder = &tarball::find(tarballs, name)?.folder;
            manifest.push_str(&format!("\n[dev-dependencies.{name}]\npath = {folder:?}\n"));
        }
        if dropped.is_empty() {
            return Ok(dropped);
        }
        fs::write(&file, &manifest)?;
        // What the testkits themselves need.
        let top_file = self.top.join("Cargo.toml");
        let mut text = fs::read_to_string(&top_file)?;
        let mut more = String::new();
        for name in needed(ours, package, &manifest) {
            let line = format!("\n{name} = ");
            // The testkits are no registry's: they need no patch.
            if !text.contains(&line) && !dropped.iter().any(|it| it == name) {
                let folder = match name == package.name {
                    true => &self.member,
                    false => &tarball::find(tarballs, name)?.folder,
                };
                more.push_str(&format!("{name} = {{ path = {folder:?} }}\n"));
            }
        }
        text = text.replacen("[patch.crates-io]\n", &format!("[patch.crates-io]\n{more}"), 1);
        fs::write(&top_file, text)?;
        self.workspace = Workspace::read_at(&self.top, &[])?;
        Ok(dropped)
    }

    /// Runs a command of cargo on the crate.
    pub fn cargo(&self, args: &[&str]) -> anyhow::Result<()> {
        let status = self.command(args).stdin(Stdio::null()).status().context("can't run cargo")?;
        ensure!(status.success(), "cargo {} failed", args.join(" "));
        Ok(())
    }

    /// Runs all tests of the crate and counts them.
    pub fn test(&self) -> anyhow::Result<Outcome> {
        test::counted(self.command(&["test", "--no-fail-fast"]))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(workspace::cargo());
        command
            .args(args)
            .args(["--package", &self.name])
            .current_dir(&self.top)
            // One for all, so that what two crates need is built once.
            .env("CARGO_TARGET_DIR", super::dist_dir().join("build"))
            .env("CARGO_INCREMENTAL", "0");
        command
    }
}

/// Our crates that this one needs, and itself if one of those needs it.
fn needed<'a>(ours: &'a Workspace, package: &'a Package, manifest: &str) -> BTreeSet<&'a str> {
    let lost: Vec<&str> = dropped(package, manifest).collect();
    let (mut found, mut to_do) = (BTreeSet::new(), vec![package]);
    while let Some(user) = to_do.pop() {
        for dependency in user.dependencies.iter().filter(|it| it.path.is_some()) {
            let is_dev = dependency.kind.as_deref() == Some("dev");
            let counts = !is_dev || user.name == package.name;
            let target = ours.members().find(|it| it.name == dependency.name && !it.is_facade());
            let Some(target) = target.filter(|_| counts) else { continue };
            if !(is_dev && lost.contains(&target.name.as_str())) && found.insert(&*target.name) {
                to_do.push(target);
            }
        }
    }
    found
}

/// The dev-dependencies of ours that are not in the manifest of the tarball.
fn dropped<'a>(package: &'a Package, manifest: &str) -> impl Iterator<Item = &'a str> {
    let is_there = |name: &str| manifest.contains(&format!("[dev-dependencies.{name}]"));
    let dev = package.dependencies.iter();
    let dev = dev.filter(|it| it.path.is_some() && it.kind.as_deref() == Some("dev"));
    let names: Vec<&str> = dev.map(|it| it.name.as_str()).filter(|it| !is_there(it)).collect();
    names.into_iter()
}

/// The block that the README tells a stranger to copy.
fn patch_of_readme(folder: &Path) -> anyhow::Result<String> {
    let readme = fs::read_to_string(folder.join("README.md"))?;
    let mut blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("[patch.crates-io]"));
    block.map(str::to_owned).context("the README of s3-backend has no [patch.crates-io] to copy")
}

/// How our workspace builds, as far as it is about packages that are there: tests of hashes and
/// ciphers take for ever otherwise, and cargo warns of names that it does not find.
fn profiles(workspace: &Workspace) -> anyhow::Result<String> {
    let manifest = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
    let names: BTreeSet<&str> = workspace.all().iter().map(|it| it.name.as_str()).collect();
    Ok(profiles_for(&manifest, &names))
}

fn profiles_for(manifest: &str, names: &BTreeSet<&str>) -> String {
    let (mut out, mut table) = (String::new(), "");
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            table = line;
        }
        let name = line.split(" =").next().unwrap_or_default();
        let is_there = table != "[profile.dev.package]"
            || line == table
            || name == "\"*\""
            || names.contains(name);
        if table.starts_with("[profile.") && is_there && !line.is_empty() {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("can't list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_of_s3_backend_has_lines_to_copy() {
        let lines = patch_of_readme(&workspace::root().join("crates/s3-backend"));
        let lines = lines.expect("the README has them");
        assert!(lines.starts_with("[patch.crates-io]\n") && lines.ends_with('\n'), "{lines}");
        for folder in ["hyper-facade", "hyper-rustls-facade"] {
            assert!(lines.contains(&format!("path = \"third-party/{folder}\"")), "{lines}");
            assert!(workspace::root().join("crates/third-party").join(folder).is_dir());
        }
    }

    #[test]
    fn profiles_name_only_what_is_there() {
        let manifest = "[workspace]\na = 1\n# c\n[profile.dev]\ndebug = 1\n[profile.dev.package]\n\
                        \"*\" = { debug = false }\nring = 2\nother = 2\n[profile.release]\nlto = 1\n";
        let profiles = profiles_for(manifest, &BTreeSet::from(["ring"]));
        assert_eq!(
            profiles,
            "[profile.dev]\ndebug = 1\n[profile.dev.package]\n\"*\" = { debug = false }\n\
             ring = 2\n[profile.release]\nlto = 1\n"
        );
    }
}
