//! What the operating system says, as errors of blobs.
//!
//! Kopia tries again after any error of a path but "not there", "there already" and a stale handle
//! (docs/format/01-blob-storage.md §3.5), and so all that is not known to be lasting is
//! [`BlobError::Transient`] here.

use std::io::{self, ErrorKind};

use blob_core::{BlobError, BlobId};

/// The blob error for `error` of the operation `op` on `id`. That a file is missing must have been
/// dealt with: what it means depends on the operation.
pub(crate) fn from_io(op: &'static str, id: Option<&BlobId>, error: io::Error) -> BlobError {
    let id = id.cloned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            BlobError::NoSpace { source: Box::new(error) }
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            BlobError::AccessDenied { op, id, reason: error.to_string() }
        }
        ErrorKind::InvalidFilename => BlobError::InvalidOption {
            option: id.map_or_else(|| "the path".into(), |id| format!("the ID {id}")),
            reason: error.to_string(),
        },
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidInput
        | ErrorKind::Unsupported
        | ErrorKind::FileTooLarge
        | ErrorKind::StaleNetworkFileHandle => BlobError::Other { op, id, source: Box::new(error) },
        _ => BlobError::Transient { op, source: Box::new(error) },
    }
}

/// Is there no such file, nor a folder that it could be in?
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use blob_core::Retry;
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_systems_word_becomes_a_type_and_keeps_its_text() {
        let id = BlobId::new("p1").unwrap();
        let of = |errno: Errno| from_io("put", Some(&id), errno.into());
        assert!(matches!(of(Errno::NOSPC), BlobError::NoSpace { .. }));
        assert!(matches!(of(Errno::DQUOT), BlobError::NoSpace { .. }));
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            assert!(matches!(of(errno), BlobError::AccessDenied { op: "put", .. }), "{errno}");
        }
        assert!(matches!(of(Errno::NAMETOOLONG), BlobError::InvalidOption { .. }));
        for errno in [Errno::STALE, Errno::FBIG] {
            assert!(matches!(of(errno), BlobError::Other { .. }), "{errno}");
            assert_eq!(of(errno).retry(), Retry::Never, "{errno}");
        }
        for errno in [Errno::IO, Errno::MFILE, Errno::TIMEDOUT, Errno::AGAIN] {
            assert_eq!(of(errno).retry(), Retry::Backoff, "{errno}");
        }
        assert!(of(Errno::IO).to_string().starts_with("put failed: Input/output error"));
    }
}
