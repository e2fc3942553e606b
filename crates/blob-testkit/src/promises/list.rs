//! A list gives all blobs whose IDs begin with the prefix, each once, over any number of pages.

use std::collections::BTreeMap;

use blob_core::BlobId;

use super::{Fresh, Verdict, ensure, id, list, pattern, put_many, writable};

pub(super) async fn a_list_gives_every_blob_once(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    ensure!(list(storage, "").await?.is_empty(), "the fresh storage has blobs in it already");
    let blobs: Vec<_> = (0..fresh.blobs_to_list())
        .map(|n| {
            // Names of the lengths and beginnings of Kopia's packs and indexes.
            let kind = ["p", "q", "xn0_", "xn12_", "_log_"][n % 5];
            let name = format!("{kind}{:032x}-s{n:016x}147", n.wrapping_mul(0x9e37_79b9));
            (id(&name), pattern(n as u64, n % 7))
        })
        .collect();
    put_many(storage, &blobs).await?;
    for prefix in ["", "p", "q", "x", "xn", "xn1", "xn12_", "_", "_log_", "none"] {
        let expected: BTreeMap<&BlobId, u64> = blobs
            .iter()
            .filter(|(id, _)| id.starts_with(prefix))
            .map(|(id, bytes)| (id, bytes.len() as u64))
            .collect();
        let mut seen: BTreeMap<&BlobId, u64> = BTreeMap::new();
        let listed = list(storage, prefix).await?;
        for meta in &listed {
            let twice = seen.insert(&meta.id, meta.size).is_some();
            ensure!(!twice, "the list of {prefix:?} gives {} twice", meta.id);
        }
        let missing: Vec<_> = expected.keys().filter(|id| !seen.contains_key(*id)).collect();
        ensure!(
            missing.is_empty(),
            "the list of {prefix:?} misses {} of {} blobs, among them {}",
            missing.len(),
            expected.len(),
            missing[0]
        );
        let strange: Vec<_> = seen.keys().filter(|id| !expected.contains_key(*id)).collect();
        ensure!(strange.is_empty(), "the list of {prefix:?} gives {} too", strange[0]);
        ensure!(seen == expected, "the list of {prefix:?} tells wrong sizes");
    }
    Ok(())
}

pub(super) async fn a_prefix_is_any_beginning_of_an_id(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let name = "p0123456789abcdef0123456789abcdef-s0123456789abcdef147";
    let blobs = [(id(name), pattern(1, 3)), (id("p01"), pattern(2, 3)), (id("P01"), pattern(3, 3))];
    put_many(storage, &blobs).await?;
    for end in 0..=name.len() {
        let prefix = &name[..end];
        let mut got: Vec<_> = list(storage, prefix).await?.into_iter().map(|m| m.id).collect();
        let mut expected: Vec<_> = blobs.iter().map(|(id, _)| id.clone()).collect();
        expected.retain(|id| id.starts_with(prefix));
        got.sort();
        expected.sort();
        ensure!(got == expected, "the list of {prefix:?} gives {got:?} instead of {expected:?}");
    }
    let longer = list(storage, &format!("{name}0")).await?;
    ensure!(longer.is_empty(), "a prefix longer than every ID gives {} blobs", longer.len());
    Ok(())
}
