//! What a head tells is what was put, and what a list tells too.

use super::{Fresh, Must, Verdict, ensure, id, list, pattern, put, writable};

pub(super) async fn a_head_tells_what_was_put(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let blob = id("head");
    put(storage, &blob, &pattern(1, 777)).await?;
    let meta = storage.head(&blob).await.must("a head")?;
    ensure!(meta.id == blob, "the head of {blob} is one of {}", meta.id);
    ensure!(meta.size == 777, "the head tells {} bytes of a blob of 777", meta.size);
    ensure!(!meta.is_cold(), "a blob put with the storage's defaults is said to be cold");
    let listed = list(storage, "head").await?;
    ensure!(listed.len() == 1, "the list gives {} blobs where there is one", listed.len());
    let listed = &listed[0];
    ensure!(listed.size == 777, "the list tells {} bytes of a blob of 777", listed.size);
    // A head may tell whole seconds where the list tells parts of them.
    let apart = listed.modified.nanos().abs_diff(meta.modified.nanos());
    ensure!(apart <= 1_000_000_000, "head and list tell times that are {apart} ns apart");
    if let (Some(by_list), Some(by_head)) = (&listed.class, &meta.class) {
        ensure!(by_list == by_head, "the list tells the class {by_list}, the head {by_head}");
    }
    let again = storage.head(&blob).await.must("a second head")?;
    ensure!(again == meta, "a second head of an unchanged blob tells something else");
    Ok(())
}
