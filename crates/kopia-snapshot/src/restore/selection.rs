//! Which files of a tree a plan is about: patterns, as those of ignore rules.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Result, SnapshotError},
    policy::wildcard::{PathChars, Pattern},
};

/// Which files of a tree a plan is about. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    include: Arc<[Pattern]>,
    exclude: Arc<[Pattern]>,
}

impl Selection {
    /// Files that one of `include` matches, or a folder above them, where there is any; without those
    /// that one of `exclude` matches, or a folder above them. Patterns are those of ignore rules, and
    /// a leading slash is the root of the tree.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`]: a pattern can't be read.
    pub fn of<T: AsRef<str>>(include: &[T], exclude: &[T]) -> Result<Self> {
        let compile = |rules: &[T]| -> Result<Arc<[Pattern]>> {
            let pattern = |rule: &T| {
                Pattern::new(rule.as_ref().as_bytes(), "").map_err(|error| {
                    SnapshotError::Invalid(format!("the pattern {:?}: {error}", rule.as_ref()))
                })
            };
            rules.iter().map(pattern).collect()
        };
        Ok(Self { include: compile(include)?, exclude: compile(exclude)? })
    }

    /// Is it about all files?
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Is nothing at `path` or below it wanted? It is relative to the root of the tree.
    pub(super) fn rules_out(&self, path: &Path, is_dir: bool) -> bool {
        !self.exclude.is_empty() && matches(&self.exclude, path, is_dir)
    }

    /// Is the file or link at `path` wanted, as far as it is not ruled out?
    pub(super) fn takes(&self, path: &Path) -> bool {
        let mut above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        let is_file = |at: &Path| at == path;
        self.include.is_empty() || above.any(|at| matches(&self.include, at, !is_file(at)))
    }
}

fn matches(patterns: &[Pattern], path: &Path, is_dir: bool) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = PathChars::new(&[b"/", path.as_os_str().as_bytes()].concat());
    patterns.iter().any(|pattern| pattern.ignores(&path, is_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(include: &[&str], exclude: &[&str], path: &str) -> bool {
        let selection = Selection::of(include, exclude).unwrap();
        let path = Path::new(path);
        let mut above = path.ancestors().filter(|at| !at.as_os_str().is_empty());
        !above.any(|at| selection.rules_out(at, at != path)) && selection.takes(path)
    }

    #[test]
    fn a_pattern_matches_a_file_and_all_below_a_folder() {
        assert!(wanted(&[], &[], "a/b"));
        assert!(wanted(&["/photos"], &[], "photos/2024/a.jpg"));
        assert!(!wanted(&["/photos"], &[], "other/photos/a.jpg"));
        assert!(wanted(&["photos"], &[], "other/photos/a.jpg"));
        assert!(wanted(&["*.jpg"], &[], "x/a.jpg") && !wanted(&["*.jpg"], &[], "x/a.png"));
        assert!(!wanted(&["/photos"], &["*.raw"], "photos/a.raw"));
        assert!(!wanted(&[], &["/photos/"], "photos/a.jpg"));
        assert!(wanted(&[], &["/photos/"], "photos"), "a file of that name is no folder");
        assert!(Selection::of(&["["], &[]).is_err());
        assert_eq!(Selection::of(&["a"], &[]).unwrap(), Selection::of(&["a"], &[]).unwrap());
        assert_ne!(Selection::of(&["a"], &[]).unwrap(), Selection::default());
    }
}
