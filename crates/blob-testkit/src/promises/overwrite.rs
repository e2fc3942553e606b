//! A put replaces what was there, longer or shorter, and nothing of it stays.

use super::{Fresh, Must, Verdict, ensure, id, list, pattern, put, read, same_bytes, writable};

pub(super) async fn a_put_replaces_the_blob_whole(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let blob = id("overwritten-by-something-else");
    let mut last = None;
    for (seed, length) in [(1, 100), (2, 100_000), (3, 10), (4, 0), (5, 10)] {
        let bytes = pattern(seed, length);
        put(storage, &blob, &bytes).await?;
        same_bytes("reading a blob put anew", &read(storage, &blob).await?, &bytes)?;
        let meta = storage.head(&blob).await.must("a head of a blob put anew")?;
        ensure!(meta.size == length as u64, "a head still tells {} bytes, not {length}", meta.size);
        let listed = list(storage, "overwritten").await?;
        ensure!(listed.len() == 1, "a blob put anew is listed {} times", listed.len());
        ensure!(listed[0].size == meta.size, "a list still tells {} bytes", listed[0].size);
        let backwards = last.is_some_and(|last| meta.modified < last);
        ensure!(!backwards, "a blob put anew has an earlier time than before");
        last = Some(meta.modified);
    }
    Ok(())
}
