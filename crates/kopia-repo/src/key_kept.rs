//! The key made of the password, kept on this machine from one command to the next.
//!
//! Making it is meant to be slow: 64 MiB and a tenth of a second and more, which is most of what an
//! unchanged snapshot costs. Where the password itself lies readable on this machine, its key beside
//! the cache gives away nothing more: it opens the same format blob, and the password can't be
//! computed from it faster than from that blob. Kopia, too, deletes the cache when it disconnects.
//! The file is of one repository; anything odd about it is a miss, and a key that does not open the
//! format blob is made anew.

use std::path::{Path, PathBuf};

use fs_err as fs;
use kopia_format::{format_blob::FormatBlob, keys::FormatKey};
use zeroize::Zeroizing;

use crate::cache::write_private;

/// The first bytes of the file; they change with its layout.
const MAGIC: &[u8; 8] = b"klkey001";
const KEY_LEN: usize = 32;

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptKey {
    path: PathBuf,
}

impl KeptKey {
    /// A file below the cache folder `cache`.
    pub(crate) fn new(cache: &Path) -> Self {
        Self { path: cache.join("kopia-lite").join("key") }
    }

    /// The key that is kept for a format blob, if it opens it.
    pub(crate) fn read(&self, blob: &FormatBlob) -> Option<FormatKey> {
        let bytes = Zeroizing::new(fs::read(&self.path).ok()?);
        let key = bytes.strip_prefix(&*heading(blob))?;
        let key = FormatKey::new(key.try_into().ok()?);
        blob.decrypt(&key).is_ok().then_some(key)
    }

    /// Keeps the key of a format blob, readable by this user alone. A file that can't be written is
    /// one that isn't there.
    pub(crate) fn store(&self, blob: &FormatBlob, key: &FormatKey) {
        let mut bytes = Zeroizing::new(heading(blob));
        // No reallocation that would leave a copy of the key behind.
        bytes.reserve_exact(KEY_LEN);
        bytes.extend_from_slice(key.as_bytes());
        if let Err(error) = write_private(&self.path, &bytes) {
            tracing::debug!(%error, "the key was not kept");
            self.forget();
        }
    }

    /// Keeps nothing any more.
    pub(crate) fn forget(&self) {
        // What isn't there need not be deleted.
        let _ = fs::remove_file(&self.path);
    }
}

/// What the file says of the key: of which repository it is, and how it was made.
fn heading(blob: &FormatBlob) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for part in [&blob.unique_id[..], blob.key_algo.as_bytes()] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use kopia_format::format_blob::{FormatOptions, RepositoryFormat};

    use super::*;

    fn sealed(unique_id: u8, password: &str) -> (FormatBlob, FormatKey) {
        let format = RepositoryFormat::new(&FormatOptions::default(), [1; 32], [2; 32]);
        let algorithm = kopia_format::keys::KEY_DERIVATIONS[0];
        let mut blob = FormatBlob::new("kopia-lite", "0", &[unique_id; 32], algorithm);
        let key = blob.derive_key(password.as_bytes()).unwrap();
        blob.encrypt(&format, &key, [3; 12]).unwrap();
        (blob, key)
    }

    #[test]
    fn the_key_of_a_format_blob_is_found_again_and_no_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptKey::new(folder.path());
        let (blob, key) = sealed(7, "password");
        assert_eq!(kept.read(&blob), None);
        kept.store(&blob, &key);
        assert_eq!(kept.read(&blob), Some(key));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&kept.path), 0o600);
        assert_eq!(mode(kept.path.parent().unwrap()), 0o700);

        assert_eq!(kept.read(&sealed(8, "password").0), None, "of another repository");
        assert_eq!(kept.read(&sealed(7, "changed").0), None, "the password was changed");
        kept.forget();
        kept.forget();
        assert_eq!(kept.read(&blob), None);
    }

    #[test]
    fn a_damaged_file_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptKey::new(folder.path());
        let (blob, key) = sealed(7, "password");
        kept.store(&blob, &key);
        let whole = fs::read(&kept.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&kept.path, &whole[..length]).unwrap();
            assert_eq!(kept.read(&blob), None, "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&kept.path, bytes).unwrap();
            assert_eq!(kept.read(&blob), None, "bit flipped at {at}");
        }
        fs::write(&kept.path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(kept.read(&blob), None);
    }
}
