//! Comparing two folders byte for byte, name for name, time for time.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::Context;

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub struct Comparison {
    pub files: u64,
    pub folders: u64,
    pub links: u64,
    pub bytes: u64,
    /// One line for each difference.
    pub differences: Vec<String>,
}

/// What may differ.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    /// Times of folders below the top: Kopia restores those of their newest content.
    pub folder_times: bool,
}

/// Compares `found` with `expected`: names, kinds, modes, owners, times, link targets, bytes.
pub fn compare(expected: &Path, found: &Path, leave: Leave) -> anyhow::Result<Comparison> {
    let mut out = Comparison::default();
    folder(expected, found, Path::new(""), leave, &mut out)?;
    Ok(out)
}

type Entries = BTreeMap<OsString, Metadata>;

fn entries(folder: &Path) -> anyhow::Result<Entries> {
    let list = fs::read_dir(folder).with_context(|| format!("can't list {}", folder.display()))?;
    list.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name(), entry.path().symlink_metadata()?))
    })
    .collect()
}

fn folder(
    expected: &Path,
    found: &Path,
    inner: &Path,
    leave: Leave,
    out: &mut Comparison,
) -> anyhow::Result<()> {
    let (left, mut right) = (entries(&expected.join(inner))?, entries(&found.join(inner))?);
    for (name, left) in left {
        let path = inner.join(&name);
        let Some(right) = right.remove(&name) else {
            out.differences.push(format!("{path:?} is missing"));
            continue;
        };
        if left.file_type() != right.file_type() {
            out.differences.push(format!("{path:?} is of another kind"));
            continue;
        }
        attributes(&path, &left, &right, leave, out);
        if left.is_dir() {
            out.folders += 1;
            folder(expected, found, &path, leave, out)?;
        } else if left.is_symlink() {
            out.links += 1;
            if fs::read_link(expected.join(&path))? != fs::read_link(found.join(&path))? {
                out.differences.push(format!("{path:?} leads elsewhere"));
            }
        } else if left.is_file() {
            out.files += 1;
            out.bytes += left.len();
            if !same_bytes(&expected.join(&path), &found.join(&path))? {
                out.differences.push(format!("{path:?} has other bytes"));
            }
        }
    }
    let more = right.into_keys().map(|name| format!("{:?} is too many", inner.join(name)));
    out.differences.extend(more);
    Ok(())
}

fn attributes(path: &Path, left: &Metadata, right: &Metadata, leave: Leave, out: &mut Comparison) {
    let mut differs = |what: &str, left: String, right: String| {
        if left != right {
            out.differences.push(format!("{path:?}: {what} is {right}, not {left}"));
        }
    };
    if !left.is_symlink() {
        differs("the mode", format!("{:o}", left.mode()), format!("{:o}", right.mode()));
        if !(left.is_dir() && leave.folder_times) {
            let time = |of: &Metadata| format!("{}.{:09}", of.mtime(), of.mtime_nsec());
            differs("the time", time(left), time(right));
        }
    }
    let owner = |of: &Metadata| format!("{}:{}", of.uid(), of.gid());
    differs("the owner", owner(left), owner(right));
}

fn same_bytes(left: &Path, right: &Path) -> anyhow::Result<bool> {
    let (mut left, mut right) = (fs::File::open(left)?, fs::File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let n = left.read(&mut a)?;
        if n == 0 {
            return Ok(true);
        }
        right.read_exact(&mut b[..n])?;
        if a[..n] != b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, FileTimes, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        time::SystemTime,
    };

    use super::*;
    use crate::programs::Scratch;

    fn plant(folder: &Path) {
        fs::create_dir_all(folder.join("sub")).expect("the folder is new");
        for name in ["sub/a", "b", "c"] {
            fs::write(folder.join(name), name).expect("the file is new");
            let time = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
            File::open(folder.join(name))
                .expect("it is there")
                .set_times(time)
                .expect("it is ours");
        }
        symlink("b", folder.join("link")).expect("the link is new");
        let time = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::open(folder.join("sub")).expect("it is there").set_times(time).expect("it is ours");
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let scratch = Scratch::new("compare", false).expect("there is a place for such");
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        plant(&one);
        plant(&two);
        let differences = |folder_times| {
            compare(&one, &two, Leave { folder_times }).expect("both are there").differences
        };
        assert_eq!(differences(false), Vec::<String>::new());

        fs::write(two.join("sub/new"), "").expect("the file is new");
        assert_eq!(differences(true), ["\"sub/new\" is too many"]);
        assert_eq!(differences(false).len(), 2, "and the folder's time");
        fs::remove_file(two.join("sub/new")).expect("it is there");

        fs::write(two.join("b"), "B").expect("it is ours");
        fs::set_permissions(two.join("c"), Permissions::from_mode(0o600)).expect("it is ours");
        fs::remove_file(two.join("link")).expect("it is there");
        symlink("c", two.join("link")).expect("the link is new");
        fs::remove_file(two.join("sub/a")).expect("it is there");
        let found = differences(true).join("; ");
        for part in [
            "\"b\": the time",
            "\"b\" has other",
            "\"c\": the mode",
            "\"link\" leads",
            "\"sub/a\" is missing",
        ] {
            assert!(found.contains(part), "{part} is not in {found}");
        }
    }
}
