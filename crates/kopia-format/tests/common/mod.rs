//! A fixture's repository folder as a map from blob IDs to bytes.

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex};

use kopia_fixtures::Unpacked;
use kopia_format::{FormatBlob, FormatKey, RepositoryFormat};

/// All blobs of a repository folder, whatever its `.shards` say: an ID is its path without
/// slashes and without `.f`.
pub fn blobs(repo: &Unpacked) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    walk(&repo.path(), "", &mut found);
    found
}

fn walk(folder: &Path, id: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            walk(&path, &format!("{id}{name}"), found);
        } else if let Some(name) = name.strip_suffix(".f") {
            found.insert(format!("{id}{name}"), fs::read(&path).unwrap());
        }
    }
}

/// The opened format blob of a repository.
#[derive(Debug)]
pub struct Opened {
    pub blob: FormatBlob,
    pub key: FormatKey,
    pub format: RepositoryFormat,
}

/// Opens the format blob `bytes`. Several tests open the same one, and deriving its key is slow
/// on purpose, so keys are remembered.
pub fn open(bytes: &[u8], password: &str) -> kopia_format::Result<Opened> {
    static KEYS: Mutex<BTreeMap<(String, Vec<u8>), FormatKey>> = Mutex::new(BTreeMap::new());
    let blob = FormatBlob::parse(bytes)?;
    let name = (password.to_owned(), blob.unique_id.clone());
    let known = KEYS.lock().unwrap().get(&name).cloned();
    let key = match known {
        Some(key) => key,
        None => blob.derive_key(password.as_bytes())?,
    };
    KEYS.lock().unwrap().insert(name, key.clone());
    let format = blob.decrypt(&key)?;
    Ok(Opened { blob, key, format })
}
