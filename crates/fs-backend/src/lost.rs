//! Where `.shards` is missing, the blobs that are there tell how IDs are cut.
//!
//! Kopia takes the cuts of its first versions then, and writes them down. Where the file was lost
//! and the folder is younger, every blob is out of reach from that moment on, for all clients. The
//! names of the folders above a blob are the cuts themselves. Rules of their own for some prefixes,
//! which nothing but a hand writes into that file, show as blobs that lie differently.

use std::{io, path::Path};

use fs_err as fs;

use crate::shards::{SUFFIX, UNSHARDED_LENGTH};

/// How many blobs are looked at below each folder of the root, so that all kinds are among them.
const BLOBS_MAX: usize = 10;

/// What the blobs tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is no blob whose ID would be cut.
    Nothing,
    /// All lie by these cuts.
    Cuts(Vec<u32>),
    /// They lie by different ones: two IDs that show it.
    Several(String, String),
}

/// Looks at the blobs below `root`.
pub(crate) fn cuts_below(root: &Path) -> io::Result<Told> {
    let mut looking = Looking { found: None, left: BLOBS_MAX };
    Ok(match looking.walk(root, "", &mut Vec::new())? {
        Some((first, other)) => Told::Several(first, other),
        None => looking.found.map_or(Told::Nothing, |(cuts, _)| Told::Cuts(cuts)),
    })
}

struct Looking {
    /// The cuts, and an ID that is cut so.
    found: Option<(Vec<u32>, String)>,
    left: usize,
}

impl Looking {
    /// Gives two IDs that are cut differently.
    fn walk(
        &mut self,
        folder: &Path,
        beginning: &str,
        cuts: &mut Vec<u32>,
    ) -> io::Result<Option<(String, String)>> {
        let is_root = cuts.is_empty();
        let listed = fs::read_dir(folder).and_then(|all| all.collect::<io::Result<Vec<_>>>());
        let mut entries = match listed {
            // Somebody else's, or gone since it was listed; of ours, the listing of blobs says so.
            Err(error) if !is_root && is_passed_over(&error) => return Ok(None),
            listed => listed?,
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if is_root {
                self.left = BLOBS_MAX;
            } else if self.left == 0 {
                break;
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if entry.file_type()?.is_dir() {
                cuts.push(u32::try_from(name.len()).unwrap_or(u32::MAX));
                let inner = format!("{beginning}{name}");
                // Deeper than any layout: somebody else's.
                let differs =
                    if cuts.len() > 8 { None } else { self.walk(&entry.path(), &inner, cuts)? };
                cuts.pop();
                if differs.is_some() {
                    return Ok(differs);
                }
            } else if let Some(rest) = name.strip_suffix(SUFFIX) {
                let id = format!("{beginning}{rest}");
                if id.len() as i64 <= UNSHARDED_LENGTH {
                    continue;
                }
                self.left -= 1;
                match &self.found {
                    None => self.found = Some((cuts.clone(), id)),
                    Some((known, _)) if known == cuts => {}
                    Some((_, other)) => return Ok(Some((other.clone(), id))),
                }
            }
        }
        Ok(None)
    }
}

fn is_passed_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = "p444534a7e547c5b29dd4-s4aa2";
    const INDEX: &str = "xn0_44db27da0123456789";

    fn folder(paths: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    fn cut(id: &str, cuts: &[usize]) -> String {
        let (mut path, mut rest) = (String::new(), id);
        for &size in cuts {
            path += &format!("{}/", &rest[..size]);
            rest = &rest[size..];
        }
        format!("{path}{rest}.f")
    }

    #[test]
    fn folders_tell_their_cuts() {
        for cuts in [&[][..], &[3, 3], &[1, 3], &[2], &[1, 1, 1]] {
            let paths = [cut(PACK, cuts), cut(INDEX, cuts), "kopia.repository.f".to_owned()];
            let root = folder(&paths.each_ref().map(String::as_str));
            let wanted = cuts.iter().map(|&size| u32::try_from(size).unwrap()).collect();
            assert_eq!(cuts_below(root.path()).unwrap(), Told::Cuts(wanted));
        }
    }

    #[test]
    fn nothing_is_told_by_short_names_and_strangers() {
        let root =
            folder(&["kopia.repository.f", "kopia.blobcfg.f", "notes/of/mine/long-name.txt"]);
        assert_eq!(cuts_below(root.path()).unwrap(), Told::Nothing);
    }

    #[test]
    fn cuts_that_differ_are_named_however_many_are_alike() {
        let root = folder(&[&cut(PACK, &[1, 3]), &cut(INDEX, &[3, 3])]);
        let told = cuts_below(root.path()).unwrap();
        assert_eq!(told, Told::Several(PACK.into(), INDEX.into()));
        let alike = (0..50).map(|n| cut(&format!("p{n:03}{PACK}"), &[1, 3]));
        let all: Vec<String> = alike.chain([cut(INDEX, &[1])]).collect();
        let root = folder(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            matches!(cuts_below(root.path()).unwrap(), Told::Several(_, other) if other == INDEX)
        );
    }
}
