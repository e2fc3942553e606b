//! A storage in memory under all layers: a policy, a count of what was asked, a thaw.

use std::{sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobId, FnPolicy, ManualClock, MemoryStorage, Payload, PutAttributes, PutOptions,
    ReadRange, StorageClass, StorageStack, ThawRequest, Tier, Timestamp,
    layers::{Hide, Limit, Metrics, Retry, WithPolicy},
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let packs_are_cold = FnPolicy::new(|id: &BlobId, _| PutAttributes {
        class: id.starts_with("p").then_some(StorageClass::GLACIER),
        ..PutAttributes::default()
    });
    let metrics = Metrics::new();
    let storage = StorageStack::over(Arc::new(MemoryStorage::with_clock(clock.clone())))
        .layer(metrics.clone())
        .layer(Limit::requests(16))
        .layer(Retry::new())
        .layer(WithPolicy::new(Arc::new(packs_are_cold)))
        .layer(Hide::named(".storageconfig"))
        .build();

    let pack = BlobId::new("p0123456789abcdef")?;
    storage.put(&pack, Payload::from("the bytes of a pack"), &PutOptions::default()).await?;

    match storage.get(&pack, ReadRange::Full).await {
        Err(error @ BlobError::Archived { .. }) => println!("as it should be: {error}"),
        other => return Err(format!("a cold blob was read: {other:?}").into()),
    }
    let archive = storage.archive().ok_or("the storage has no archive")?;
    let outcome = archive.thaw(&pack, &ThawRequest { tier: Tier::Bulk, days: 1 }).await?;
    println!("the thaw: {outcome:?}");
    clock.advance(Duration::from_secs(12 * 60 * 60));
    println!("12 h later: {:?}", storage.get(&pack, ReadRange::Full).await?);

    for (operation, kind, count) in metrics.snapshot().iter() {
        println!("{operation:<10} {kind:<4} {} attempts, {} errors", count.attempts, count.errors);
    }
    Ok(())
}
