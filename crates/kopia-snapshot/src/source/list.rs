//! Listing a directory together with the metadata of its entries.

use std::{ffi::OsString, fs::DirEntry, io, path::Path};

use super::{
    entry::{EntryKind, LocalEntry},
    go_error::go_path_error,
};

/// One name of a directory, and what could be learned about it.
#[derive(Debug)]
pub struct ListedEntry {
    /// Base name.
    pub name: OsString,
    /// What it is by the listing alone; decides which rule an error falls under.
    pub listed_kind: EntryKind,
    /// Its metadata, or Go's text of why it has none.
    pub entry: Result<LocalEntry, String>,
}

/// The names of a directory, before anything is known of them but what they are called.
pub struct Names(Vec<DirEntry>);

impl Names {
    /// Lists the directory `path`, in the order of the file system.
    ///
    /// # Errors
    /// Go's text (`cannot create iterator: …`) when the directory can't be listed.
    pub fn of(path: &Path) -> Result<Self, String> {
        let cannot_open = |error: &io::Error| {
            let cause = go_path_error("open", path, error);
            format!("cannot create iterator: unable to read directory: {cause}")
        };
        let all = std::fs::read_dir(path).map_err(|error| cannot_open(&error))?;
        let all: io::Result<_> = all.collect();
        Ok(Self(all.map_err(|error| go_path_error("readdirent", path, &error))?))
    }

    /// Might the system find an entry by this name? Not every one of its file systems tells small
    /// letters from capitals, or knows one spelling only of a letter that is not ASCII.
    pub fn may_hold(&self, name: &str) -> bool {
        !name.is_ascii()
            || name.contains('/')
            || self.0.iter().any(|entry| entry.file_name().eq_ignore_ascii_case(name))
    }

    /// Stats every entry.
    ///
    /// An entry that has vanished is left out. One whose metadata is denied is kept with its error.
    ///
    /// # Errors
    /// Go's text when an entry can't be stat'ed for another reason than a missing right: Kopia fails
    /// the whole directory then.
    pub fn stat(self) -> Result<Vec<ListedEntry>, String> {
        let mut all = Vec::with_capacity(self.0.len());
        for item in self.0 {
            let name = item.file_name();
            let entry = match item.metadata() {
                Ok(metadata) => Ok(LocalEntry::new(&name, &metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let text = go_path_error("lstat", &item.path(), &error);
                    if error.kind() != io::ErrorKind::PermissionDenied {
                        return Err(format!("error reading directory: {text}"));
                    }
                    Err(text)
                }
            };
            let listed_kind = match (&entry, item.file_type()) {
                (Ok(entry), _) => entry.kind,
                (Err(_), Ok(kind)) => kind.into(),
                (Err(_), Err(_)) => EntryKind::File,
            };
            all.push(ListedEntry { name, listed_kind, entry });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_every_entry_with_its_metadata() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "12345").unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let mut all = Names::of(folder.path()).unwrap().stat().unwrap();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = all.iter().map(|e| e.entry.as_ref().unwrap().kind).collect();
        assert_eq!(kinds, [EntryKind::File, EntryKind::Directory]);
        assert_eq!(all[0].entry.as_ref().unwrap().size, 5);
    }

    #[test]
    fn a_name_is_found_as_a_file_system_may_find_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("CacheDir.tag"), "").unwrap();
        let names = Names::of(folder.path()).unwrap();
        for (name, found) in [
            ("CacheDir.tag", true),
            ("CACHEDIR.TAG", true),
            ("CACHEDIR.TA", false),
            ("a/b", true),
            ("ü", true),
        ] {
            assert_eq!(names.may_hold(name), found, "{name}");
        }
    }

    #[test]
    fn a_missing_directory_is_told_in_gos_words() {
        let error = Names::of(Path::new("/nowhere/at/all")).err().unwrap();
        let wanted = "cannot create iterator: unable to read directory: open /nowhere/at/all: \
                      no such file or directory";
        assert_eq!(error, wanted);
    }
}
