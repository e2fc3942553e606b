//! A deleted blob is gone, and deleting what is not there is fine.

use super::{
    Fresh, Must, Verdict, ensure, fails_as, id, list, pattern, put, read, same_bytes, writable,
};
use blob_core::ReadRange;

pub(super) async fn a_deleted_blob_is_gone_and_deleting_again_is_fine(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let (blob, near) = (id("p0123456789abcdef0123-deleted"), id("p0123456789abcdef0123-deleted2"));
    storage.delete(&blob).await.must("the delete of a blob that never was")?;
    put(storage, &blob, &pattern(1, 50)).await?;
    put(storage, &near, &pattern(2, 50)).await?;
    storage.delete(&blob).await.must("a delete")?;
    let gone = |error: &blob_core::BlobError| error.is_not_found();
    fails_as("a get after a delete", storage.get(&blob, ReadRange::Full).await, "NotFound", gone)?;
    fails_as("a head after a delete", storage.head(&blob).await, "NotFound", gone)?;
    let left: Vec<_> = list(storage, "p").await?.into_iter().map(|meta| meta.id).collect();
    ensure!(left == [near.clone()], "after a delete the list gives {left:?}");
    storage.delete(&blob).await.must("a second delete")?;
    same_bytes("reading its neighbour", &read(storage, &near).await?, &pattern(2, 50))?;
    put(storage, &blob, &pattern(3, 60)).await?;
    same_bytes("a blob put after its delete", &read(storage, &blob).await?, &pattern(3, 60))
}
