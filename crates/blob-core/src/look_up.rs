//! What is known of many blobs, in as few requests as it takes.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};

use crate::{BlobId, BlobMeta, DynStorage, Result, StorageClass};

/// Up to so many blobs are listed one by one.
const LISTED_SINGLY: usize = 16;
/// From so many blobs on, 16 lists run side by side, one for each next hexadecimal digit.
const LISTED_IN_PARTS: usize = 2_000;

/// Length, class and state of the blobs of these names; one that does not exist is left out.
///
/// Few blobs are listed one by one, many by the prefixes that they share; only the blobs asked for are
/// kept. Where a listing does not tell whether a blob can be read (a class that may sink, a storage
/// that does not tell restore states), a head does, `at_once` at a time.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use std::sync::Arc;
/// use blob_core::{look_up, *};
/// let storage: DynStorage = Arc::new(MemoryStorage::new());
/// let id = BlobId::new("p1")?;
/// storage.put(&id, b"hello".as_slice().into(), &PutOptions::default()).await?;
/// let found = look_up(&storage, ["p1", "p2"], 8).await?;
/// assert_eq!((found.len(), found["p1"].size), (1, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Errors
/// What lists and heads may give.
pub async fn look_up<'a>(
    storage: &DynStorage,
    names: impl IntoIterator<Item = &'a str>,
    at_once: usize,
) -> Result<HashMap<String, BlobMeta>> {
    let names: HashSet<&str> = names.into_iter().collect();
    let prefixes = prefixes(&names);
    let lists = prefixes.iter().map(|prefix| listed(storage, prefix, &names));
    let lists: Vec<_> = lists.collect();
    let mut found: HashMap<String, BlobMeta> = HashMap::with_capacity(names.len());
    let mut metas = stream::iter(lists).buffer_unordered(at_once.max(1));
    while let Some(metas) = metas.try_next().await? {
        found.extend(metas.into_iter().map(|meta| (meta.id.as_str().to_owned(), meta)));
    }
    drop(metas);
    if storage.archive().is_some() {
        let unsure: Vec<BlobId> =
            found.values().filter(|meta| is_unsure(meta)).map(|meta| meta.id.clone()).collect();
        let heads: Vec<_> = unsure.iter().map(|id| storage.head(id)).collect();
        let mut heads = stream::iter(heads).buffer_unordered(at_once.max(1));
        while let Some(head) = heads.next().await {
            match head {
                Ok(meta) => _ = found.insert(meta.id.as_str().to_owned(), meta),
                // Deleted since it was listed: the listing's word is the best there is.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Did the listing tell a class and not whether the blob can be read, where that is not plain?
fn is_unsure(meta: &BlobMeta) -> bool {
    let unclear =
        |class: &StorageClass| class.is_archive() || class.may_sink() || !class.is_known();
    meta.state.is_none() && meta.class.as_ref().is_some_and(unclear)
}

async fn listed(
    storage: &DynStorage,
    prefix: &str,
    names: &HashSet<&str>,
) -> Result<Vec<BlobMeta>> {
    let mut wanted = Vec::new();
    let mut all = storage.list(prefix);
    while let Some(meta) = all.try_next().await? {
        if names.contains(meta.id.as_str()) {
            wanted.push(meta);
        }
    }
    Ok(wanted)
}

/// The prefixes to list, none of which is the beginning of another.
fn prefixes(names: &HashSet<&str>) -> Vec<String> {
    let letters = match names.len() {
        few if few <= LISTED_SINGLY => usize::MAX,
        many if many < LISTED_IN_PARTS => 1,
        _ => 2,
    };
    let cut = |name: &&str| name.chars().take(letters).collect::<String>();
    let mut all: Vec<String> = names.iter().map(cut).collect();
    all.sort_unstable();
    // What begins with another one is listed with it.
    all.dedup_by(|later, earlier| later.starts_with(earlier.as_str()));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        MemoryStorage, PutOptions, ReadState, StorageStack,
        layers::{Metrics, Operation},
    };

    async fn asked(count: u32, wanted: u32) -> (HashMap<String, BlobMeta>, u64, u64) {
        let metrics = Metrics::new();
        let memory = MemoryStorage::new();
        let storage = StorageStack::over(Arc::new(memory.clone())).layer(metrics.clone()).build();
        let name = |n: u32| format!("p{:08x}", n.wrapping_mul(0x9e37_79b9));
        for n in 0..count {
            let id = BlobId::new(name(n)).unwrap();
            memory.put(&id, b"x".as_slice().into(), &PutOptions::default()).await.unwrap();
        }
        let names: Vec<String> = (0..wanted).map(name).chain(["pnone".to_owned()]).collect();
        let found = look_up(&storage, names.iter().map(String::as_str), 4).await.unwrap();
        let snapshot = metrics.snapshot();
        let count = |operation| snapshot.total(operation).attempts;
        (found, count(Operation::List), count(Operation::Head))
    }

    use crate::BlobStorage;

    #[tokio::test]
    async fn few_are_listed_singly_and_many_together() {
        for (count, wanted, lists) in [(30, 5, 6), (30, 20, 1), (2500, 2400, 17)] {
            let (found, listed, heads) = asked(count, wanted).await;
            assert_eq!((found.len(), listed, heads), (wanted as usize, lists, 0), "{wanted}");
            assert!(found.values().all(|meta| meta.state == Some(ReadState::Ready)));
        }
    }

    #[test]
    fn a_prefix_of_another_is_listed_once() {
        let names = HashSet::from(["p1", "p12", "q"]);
        assert_eq!(prefixes(&names), ["p1", "q"]);
    }
}
