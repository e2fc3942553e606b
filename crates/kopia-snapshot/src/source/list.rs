//! Listing a directory together with the metadata of its entries.

use std::{ffi::OsString, io, path::Path};

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

/// Lists the directory `path` and stats every entry, in the order of the file system.
///
/// An entry that vanished between the two is left out. One whose metadata is denied is kept with
/// its error.
///
/// # Errors
/// Go's text (`cannot create iterator: …`) when the directory can't be listed, or when an entry
/// can't be stat'ed for another reason than a missing right: Kopia fails the whole directory then.
pub fn list_directory(path: &Path) -> Result<Vec<ListedEntry>, String> {
    let cannot_open = |error: &io::Error| {
        let cause = go_path_error("open", path, error);
        format!("cannot create iterator: unable to read directory: {cause}")
    };
    let mut all = Vec::new();
    for item in std::fs::read_dir(path).map_err(|error| cannot_open(&error))? {
        let item = item.map_err(|error| go_path_error("readdirent", path, &error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_every_entry_with_its_metadata() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "12345").unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let mut all = list_directory(folder.path()).unwrap();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = all.iter().map(|e| e.entry.as_ref().unwrap().kind).collect();
        assert_eq!(kinds, [EntryKind::File, EntryKind::Directory]);
        assert_eq!(all[0].entry.as_ref().unwrap().size, 5);
    }

    #[test]
    fn a_missing_directory_is_told_in_gos_words() {
        let error = list_directory(Path::new("/nowhere/at/all")).unwrap_err();
        let wanted = "cannot create iterator: unable to read directory: open /nowhere/at/all: \
                      no such file or directory";
        assert_eq!(error, wanted);
    }
}
