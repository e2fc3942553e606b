//! Tarballs as a registry would get them, and what must be in one.
//!
//! The list of files is checked without building anything, so `cargo xtask lint` does it, too.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{
    steps::Outcome,
    workspace::{self, Package, Workspace},
};

/// A crate's tarball, unpacked.
#[derive(Debug)]
pub struct Tarball {
    pub name: String,
    /// The tarball itself.
    pub file: PathBuf,
    pub bytes: u64,
    /// Where it is unpacked.
    pub folder: PathBuf,
    /// All files in it, seen from `folder`.
    pub files: Vec<PathBuf>,
}

/// Our crates that are made into tarballs: all published ones, and what their tests need.
pub fn packed(ours: &Workspace) -> Vec<&Package> {
    let wanted = |package: &&Package| {
        let is_needed = |user: &Package| user.dependencies.iter().any(|it| it.name == package.name);
        package.is_published()
            || !package.is_facade() && ours.members().any(|it| it.is_published() && is_needed(it))
    };
    ours.members().filter(wanted).collect()
}

/// Makes the tarballs of all packages and unpacks each once.
pub fn pack(folder: &Path, packages: &[&Package]) -> anyhow::Result<Vec<Tarball>> {
    let unpacked = folder.join("unpacked");
    // Together, since none of ours is in a registry in which cargo could look up the others.
    let status = Command::new(workspace::cargo())
        .args(["package", "--no-verify", "--allow-dirty", "--target-dir"])
        .arg(folder.join("build"))
        .args(packages.iter().flat_map(|package| ["--package", &package.name]))
        .current_dir(workspace::root())
        .status()
        .context("can't run cargo package")?;
    ensure!(status.success(), "cargo package failed");
    let tarball = |package: &&Package| {
        let name = format!("{}-{}", package.name, package.version);
        let file = folder.join("build/package").join(format!("{name}.crate"));
        let folder = unpack(&file, &unpacked)?;
        let bytes = fs::metadata(&file)?.len();
        let files = files_below(&folder)?;
        Ok(Tarball { name: package.name.clone(), file, bytes, folder, files })
    };
    packages.iter().map(tarball).collect()
}

/// The tarball of a crate.
pub fn find<'a>(tarballs: &'a [Tarball], name: &str) -> anyhow::Result<&'a Tarball> {
    tarballs.iter().find(|it| it.name == name).with_context(|| format!("{name} has no tarball"))
}

/// Unpacks a tarball into its own folder below `parent`, and gives that.
pub fn unpack(file: &Path, parent: &Path) -> anyhow::Result<PathBuf> {
    let name = file.file_stem().context("a tarball has a name")?;
    let folder = parent.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(parent)?;
    // `m`: with the times of the tarball, which are always the same, cargo would rebuild nothing.
    let status = Command::new("tar")
        .arg("-xzmf")
        .arg(file)
        .arg("-C")
        .arg(parent)
        .status()
        .context("can't run tar")?;
    ensure!(status.success() && folder.is_dir(), "can't unpack {}", file.display());
    Ok(folder)
}

fn files_below(top: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![top.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(top)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// For `lint`: the lists of files of all crates that are published, without making a tarball.
pub fn check_lists(ours: &Workspace) -> anyhow::Result<Outcome> {
    let (mut wrong, mut crates) = (Vec::new(), 0);
    for package in ours.members().filter(|package| package.is_published()) {
        let output = Command::new(workspace::cargo())
            .args(["package", "--list", "--allow-dirty", "--package", &package.name])
            .current_dir(workspace::root())
            .output()
            .context("can't run cargo package")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo package --list failed:\n{errors}");
        let list = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
        let files: Vec<PathBuf> = list.lines().map(PathBuf::from).collect();
        let missing = missing(&files, &workspace::root().join(package.folder()))?;
        wrong.extend(missing.iter().map(|line| format!("  {}: {}", package.name, line.trim())));
        crates += 1;
    }
    ensure!(wrong.is_empty(), "these tarballs would not be whole:\n{}", wrong.join("\n"));
    Ok(Outcome::Done(format!("{crates} crates")))
}

/// What a tarball with these files lacks; their text is read below `folder`.
pub fn missing(files: &[PathBuf], folder: &Path) -> anyhow::Result<Vec<String>> {
    let has: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut wrong = Vec::new();
    for name in ["README.md", "LICENSE"] {
        if !has.contains(Path::new(name)) {
            wrong.push(format!("  there is no {name}"));
        }
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "rs")) {
        let text = fs::read_to_string(folder.join(file))?;
        for named in named_files(&text) {
            let found = beside(file, named);
            if !found.as_deref().is_some_and(|path| has.contains(path)) {
                wrong.push(format!("  {} includes {named}, which is not there", file.display()));
            }
        }
    }
    Ok(wrong)
}

/// The files that code takes in while it is compiled.
fn named_files(code: &str) -> Vec<&str> {
    let openings = ["include_str!(", "include_bytes!(", "include!(", "#[path ="];
    let named = |opening| {
        let places = code.match_indices(opening);
        places.filter_map(move |(at, _)| {
            let rest = code[at + str::len(opening)..].trim_start().strip_prefix('"')?;
            Some(&rest[..rest.find('"')?])
        })
    };
    openings.into_iter().flat_map(named).collect()
}

/// The path that a file names, seen from the same top; `None` if it leads out.
fn beside(file: &Path, named: &str) -> Option<PathBuf> {
    let mut path = file.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(named).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Scratch;

    #[test]
    fn what_code_includes_must_be_in_the_tarball() {
        let scratch = Scratch::new("tarball", false).expect("there is a place for such");
        let code = "#[doc = include_str!(\"../README.md\")]\n\
                    const A: &[u8] = include_bytes!(\n    \"data/a.bin\");\n\
                    const B: &str = include_str!(\"../../other/b\");";
        fs::create_dir(scratch.path().join("src")).expect("the folder is new");
        fs::write(scratch.path().join("src/lib.rs"), code).expect("the file is new");
        let missing_of = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            missing(&files, scratch.path()).expect("the code can be read")
        };
        let wrong = missing_of(&["LICENSE", "README.md", "src/lib.rs", "src/data/a.bin"]);
        assert_eq!(wrong, ["  src/lib.rs includes ../../other/b, which is not there"]);
        assert_eq!(missing_of(&["src/lib.rs"]).len(), 5, "and both texts, and the data");
    }
}
