//! The format blobs, kept on this machine from one command to the next.
//!
//! They may be taken from memory for as long as the connection says (docs/format/02-format-blob.md
//! §5.1), and as with Kopia also from a file: its age counts from when the storage was asked. What
//! is kept is what the storage gave, sealed as it was. The file is of one storage; anything odd about
//! it is a miss, and whoever can't open with what it holds asks the storage.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use blob_core::Timestamp;
use bytes::{Buf, BufMut, Bytes};
use fs_err as fs;

use crate::cache::write_private;

/// The first bytes of the file; they change with its layout.
const MAGIC: &[u8; 8] = b"klformt1";

/// Both format blobs as the storage gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormatBytes {
    /// `kopia.repository`.
    pub repository: Bytes,
    /// `kopia.blobcfg`, if there is one.
    pub blobcfg: Option<Bytes>,
    /// When the storage was asked.
    pub read_at: Timestamp,
}

/// Where they are kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptFormat {
    path: PathBuf,
    storage: String,
    valid_for: Duration,
}

impl KeptFormat {
    /// A file below the cache folder `cache`, for the storage of this name.
    pub(crate) fn new(cache: &Path, storage: &str, valid_for: Duration) -> Self {
        let path = cache.join("kopia-lite").join("format");
        Self { path, storage: storage.to_owned(), valid_for }
    }

    /// What is kept, if it is of this storage and not too old.
    pub(crate) fn read(&self, now: Timestamp) -> Option<FormatBytes> {
        let kept = parse(fs::read(&self.path).ok()?.into(), &self.storage)?;
        let is_valid = kept.read_at <= now && now.since(kept.read_at) < self.valid_for;
        is_valid.then_some(kept)
    }

    /// Keeps what was read. A file that can't be written is one that isn't there.
    pub(crate) fn store(&self, format: &FormatBytes) {
        if let Err(error) = write_private(&self.path, &encode(format, &self.storage)) {
            tracing::debug!(%error, "the format blobs were not kept");
            self.forget();
        }
    }

    /// Keeps nothing any more: somebody changed them.
    pub(crate) fn forget(&self) {
        // What isn't there need not be deleted.
        let _ = fs::remove_file(&self.path);
    }
}

fn encode(format: &FormatBytes, storage: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.put_i64(format.read_at.nanos());
    // Told, not guessed from what follows: without its settings nothing would be locked.
    out.put_u8(u8::from(format.blobcfg.is_some()));
    let parts = [Some(storage.as_bytes()), Some(&format.repository), format.blobcfg.as_deref()];
    for part in parts.into_iter().flatten() {
        out.put_u64(part.len() as u64);
        out.extend_from_slice(part);
    }
    out
}

fn parse(mut bytes: Bytes, storage: &str) -> Option<FormatBytes> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    bytes.advance(MAGIC.len());
    let read_at = Timestamp::from_nanos(bytes.try_get_i64().ok()?);
    let has_blobcfg = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut part = || {
        let length = usize::try_from(bytes.try_get_u64().ok()?).ok()?;
        (length <= bytes.len()).then(|| bytes.split_to(length))
    };
    if part()? != storage.as_bytes() {
        return None;
    }
    let repository = part()?;
    let blobcfg = if has_blobcfg { Some(part()?) } else { None };
    bytes.is_empty().then_some(FormatBytes { repository, blobcfg, read_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(blobcfg: Option<&'static [u8]>) -> FormatBytes {
        FormatBytes {
            repository: Bytes::from_static(b"repository"),
            blobcfg: blobcfg.map(Bytes::from_static),
            read_at: Timestamp::from_nanos(1_000_000_000_000),
        }
    }

    #[test]
    fn what_is_kept_is_found_again_until_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptFormat::new(folder.path(), "S3 bucket b", Duration::from_secs(10));
        let at = |secs: i64| Timestamp::from_nanos(1_000_000_000_000 + secs * 1_000_000_000);
        assert_eq!(kept.read(at(0)), None);
        for format in [format(None), format(Some(b"")), format(Some(b"settings"))] {
            kept.store(&format);
            assert_eq!(kept.read(at(0)), Some(format.clone()));
            assert_eq!(kept.read(at(9)), Some(format));
        }
        assert_eq!(kept.read(at(10)), None, "too old");
        assert_eq!(kept.read(at(-1)), None, "of a clock that went back");
        let other = KeptFormat::new(folder.path(), "S3 bucket c", Duration::from_secs(10));
        assert_eq!(other.read(at(0)), None, "of another storage");
        kept.forget();
        assert_eq!(kept.read(at(0)), None);
    }

    #[test]
    fn a_damaged_file_is_a_miss() {
        let whole = encode(&format(Some(b"settings")), "storage");
        assert!(parse(whole.clone().into(), "storage").is_some());
        for length in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert_eq!(parse(cut, "storage"), None, "cut at {length}");
        }
        assert_eq!(parse([&whole[..], b"x"].concat().into(), "storage"), None);
        let mut huge = whole;
        huge[17..25].fill(0xff);
        assert_eq!(parse(huge.into(), "storage"), None);
    }
}
