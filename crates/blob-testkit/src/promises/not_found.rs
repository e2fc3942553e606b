//! What is not there is told by type, with its ID.

use blob_core::{BlobError, ReadRange};

use super::{Fresh, Verdict, ensure, fails_as, id, list};

pub(super) async fn an_absent_blob_is_not_found_by_type(fresh: &Fresh) -> Verdict {
    let storage = fresh.storage();
    for name in ["absent", "p0123456789abcdef0123456789abcdef-s0123456789abcdef147"] {
        let blob = id(name);
        let is = |error: &BlobError| matches!(error, BlobError::NotFound { id } if *id == blob);
        let part = ReadRange::Bytes { offset: 3, length: 4 };
        for range in [ReadRange::Full, part, ReadRange::Suffix(5)] {
            let what = format!("reading {range:?} of an absent blob");
            fails_as(what, storage.get(&blob, range).await, "NotFound of this blob", is)?;
        }
        fails_as("the head of an absent blob", storage.head(&blob).await, "NotFound", is)?;
        ensure!(list(storage, name).await?.is_empty(), "an absent blob is listed");
    }
    Ok(())
}
