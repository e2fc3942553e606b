//! A blob may have no bytes and is a blob all the same.

use blob_core::{BlobError, ReadRange};

use super::{Fresh, Must, Verdict, ensure, fails_as, id, list, pattern, put, read, writable};

pub(super) async fn a_blob_may_have_no_bytes(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let blob = id("empty");
    put(storage, &blob, &pattern(0, 0)).await?;
    ensure!(read(storage, &blob).await?.is_empty(), "an empty blob reads as something");
    for range in [ReadRange::Suffix(10), ReadRange::Bytes { offset: 0, length: 0 }] {
        let got = storage.get(&blob, range).await.must(format!("{range:?} of an empty blob"))?;
        ensure!(got.is_empty(), "{range:?} of an empty blob gave {} bytes", got.len());
    }
    let one = storage.get(&blob, ReadRange::Bytes { offset: 0, length: 1 }).await;
    fails_as("reading one byte of an empty blob", one, "InvalidRange", |error| {
        matches!(error, BlobError::InvalidRange { .. })
    })?;
    let meta = storage.head(&blob).await.must("the head of an empty blob")?;
    ensure!(meta.size == 0, "the head of an empty blob tells {} bytes", meta.size);
    let listed = list(storage, "").await?;
    ensure!(listed.len() == 1 && listed[0].size == 0, "an empty blob is listed as {listed:?}");
    Ok(())
}
