//! Rules of this tree that no other tool checks.
//!
//! Every module says at its top what is in it; files stay readable in one sitting; links lead
//! somewhere, and so do citations; no code decides by the name of a storage class; no dependency is declared in vain; nothing names a folder of one
//! machine; every library has a README and an example; the top level holds what belongs there and
//! no more. Reasons: CONTRIBUTING.md.

mod citations;
mod classes;
mod links;
mod unused;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{
    steps::Outcome,
    workspace::{self, Workspace},
};

/// Longest file of code, in lines.
const LINES_MAX: usize = 600;
/// Files that may be longer: tables.
const LONG_FILES: &[&str] = &[];
/// What may lie at the top, dot files aside.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "crates",
    "deny.toml",
    "docs",
    "rust-toolchain.toml",
    "xtask",
];
/// Data made elsewhere; only its size is ours.
const DATA: &[&str] = &["crates/kopia-fixtures/fixtures", "crates/kopia-fixtures/vectors"];

/// Checks all files that git knows or would add.
pub fn check(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let files = files()?;
    let documents = citations::Documents::read(&files);
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.display().to_string();
        if !TOP.contains(&top_of(path)) && !name.starts_with('.') {
            wrong.push(format!("{name}: does not belong at the top level"));
        }
        let Ok(text) = std::fs::read_to_string(workspace::root().join(path)) else { continue };
        if path.extension().is_some_and(|ext| ext == "rs") {
            wrong.extend(code(&name, &text));
            wrong.extend(classes::check(&name, &text));
        }
        if !DATA.iter().any(|data| path.starts_with(data)) {
            wrong.extend(machine_paths(&name, &text));
            wrong.extend(documents.check(&name, &text));
            if path.extension().is_some_and(|ext| ext == "md") {
                wrong.extend(links::check(path, &text));
                wrong.extend(citations::check_files(path, &text));
            }
        }
    }
    wrong.extend(packages(workspace, &files));
    wrong.extend(unused::check(workspace, &files));
    wrong.sort();
    ensure!(wrong.is_empty(), "{} things are untidy:\n{}", wrong.len(), wrong.join("\n"));
    Ok(Outcome::Done(format!("{} files", files.len())))
}

/// All files of the project, from the top: tracked ones, and new ones that are not ignored.
pub fn files() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace::root())
        .output()
        .context("can't run git ls-files")?;
    ensure!(output.status.success(), "git ls-files failed: this must be a git work tree");
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let names: BTreeSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    let exists = |path: &PathBuf| workspace::root().join(path).is_file();
    Ok(names.into_iter().map(PathBuf::from).filter(exists).collect())
}

fn top_of(path: &Path) -> &str {
    path.components().next().and_then(|part| part.as_os_str().to_str()).unwrap_or("")
}

fn code(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#![doc") {
        wrong.push(format!("{name}:1: a module opens with `//!` that says what is in it"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !LONG_FILES.contains(&name) {
        wrong.push(format!("{name}:{lines}: longer than {LINES_MAX} lines"));
    }
    wrong
}

/// Folders that exist on one machine and no other.
fn machine_paths(name: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file has none itself.
    let folders = ["work", "root", "Users"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in &folders {
            let begins = line.match_indices(folder.as_str()).any(|(at, _)| {
                // A folder of that name inside another path is none of a machine.
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"/.-_~$}:*)>".contains(c))
            });
            if begins {
                wrong
                    .push(format!("{name}:{}: names a folder of one machine, {folder}", index + 1));
            }
        }
    }
    wrong
}

fn packages(workspace: &Workspace, files: &[PathBuf]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in workspace.members().filter(|package| !package.is_facade()) {
        let folder = package.folder();
        let has = |file: &Path| files.iter().any(|path| path == file);
        if package.is_published() && (package.readme.is_none() || !has(&folder.join("README.md"))) {
            wrong.push(format!("{}: has no README.md, or does not name it", folder.display()));
        }
        if package.rank().is_some()
            && package.has("lib")
            && !package.has("example")
            && !is_app(package)
        {
            wrong.push(format!("{}: has no example", folder.display()));
        }
        let manifest = std::fs::read_to_string(workspace::root().join(&folder).join("Cargo.toml"));
        if !manifest.is_ok_and(|text| text.contains("[lints]\nworkspace = true")) {
            wrong.push(format!(
                "{}/Cargo.toml: does not take the workspace's lints",
                folder.display()
            ));
        }
    }
    wrong
}

fn is_app(package: &workspace::Package) -> bool {
    package.has("bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_header_and_a_long_one_are_found() {
        assert_eq!(code("a.rs", "//! What.\n"), Vec::<String>::new());
        assert_eq!(code("a.rs", "use x;\n").len(), 1);
        assert_eq!(code("a.rs", &format!("//! a\n{}", "x\n".repeat(600))).len(), 1);
    }

    #[test]
    fn folders_of_one_machine_are_found_and_others_are_not() {
        let folder = format!("/{}/", "work");
        for bad in [format!("see {folder}x"), format!("`{folder}`"), format!("p={folder}a")] {
            assert_eq!(machine_paths("a", &bad).len(), 1, "{bad}");
        }
        for good in [format!("a{folder}x"), format!("https://host{folder}"), format!("..{folder}")]
        {
            assert_eq!(machine_paths("a", &good), Vec::<String>::new(), "{good}");
        }
    }
}
