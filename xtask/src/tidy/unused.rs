//! Dependencies that a crate declares and its code does not name.
//!
//! They cost everybody who builds the crate. The check reads text: a name anywhere in the code
//! counts, so it finds less than there may be, and nothing that is used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::workspace::{self, Package, Workspace};

/// What each package of ours declares in vain.
pub fn check(workspace: &Workspace, files: &[PathBuf]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in workspace.members().filter(|package| !package.is_facade()) {
        let folder = package.folder();
        let code = read(files, &folder, &["src"]);
        let tests = read(files, &folder, &["tests", "examples", "README.md"]);
        for dependency in &package.dependencies {
            let name = name_in_code(workspace, package, &dependency.name, &dependency.rename);
            let is_for_tests = dependency.kind.as_deref() == Some("dev");
            let used = names(&code, &name) || is_for_tests && names(&tests, &name);
            if !used {
                wrong.push(format!(
                    "{}/Cargo.toml: nothing uses {}",
                    folder.display(),
                    dependency.name
                ));
            }
        }
    }
    wrong
}

/// How code names the dependency: by its new name here, or by that of its library.
fn name_in_code(
    workspace: &Workspace,
    user: &Package,
    name: &str,
    rename: &Option<String>,
) -> String {
    let mut found = workspace.all().iter().filter(|it| it.name == name && it.name != user.name);
    let library = found.find_map(|it| it.library());
    rename.as_deref().or(library).unwrap_or(name).replace('-', "_")
}

/// All code of a package below some of its folders.
fn read(files: &[PathBuf], folder: &Path, below: &[&str]) -> String {
    let wanted = |path: &&PathBuf| below.iter().any(|it| path.starts_with(folder.join(it)));
    let texts = files.iter().filter(wanted);
    texts.filter_map(|path| fs::read_to_string(workspace::root().join(path)).ok()).collect()
}

/// Is there a path that begins with `name`, or a `use` of it alone?
fn names(code: &str, name: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || "_:.-".contains(c);
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        let goes_on = ["::", ";", " as "].iter().any(|it| after.starts_with(it));
        goes_on && !code[..at].ends_with(is_inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_where_a_path_begins() {
        for used in ["use bytes::Bytes;", "#[bytes::main]", "use bytes as b;", "(bytes::new())"] {
            assert!(names(used, "bytes"), "{used}");
        }
        for other in ["let bytes = 1", "ring::bytes::new()", "total_bytes::x", "self.bytes;"] {
            assert!(!names(other, "bytes"), "{other}");
        }
    }
}
