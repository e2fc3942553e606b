//! Plans a change of class, prints what it costs, and does it, on a storage in memory.

use std::{future, io};

use blob_core::{
    BlobId, BlobStorage, FnPolicy, MemoryStorage, PutAttributes, PutOptions, StorageClass,
};
use cold_storage::{
    PriceTable,
    reclass::{Journal, Movable, Planner, ReclassOptions, run},
};
use futures::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = MemoryStorage::new();
    for name in ["photos-1", "photos-2", "notes"] {
        storage.put(&BlobId::new(name)?, vec![0; 1 << 20].into(), &PutOptions::default()).await?;
    }
    let policy = FnPolicy::new(|id: &BlobId, _| PutAttributes {
        class: id.starts_with("photos").then_some(StorageClass::GLACIER_IR),
        ..PutAttributes::default()
    });
    let options = ReclassOptions {
        now: std::time::SystemTime::now().into(),
        older_than_seconds: 0,
        min_bytes: 0,
        keeps_versions: Some(false),
        moved_by_rules: false,
    };
    let movable = |_: &BlobId| Movable::Anywhere;
    let mut planner = Planner::new(&policy, &movable, PriceTable::built_in(), options);
    let mut all = storage.list("");
    while let Some(meta) = all.try_next().await? {
        planner.look(&meta);
    }
    let plan = planner.finish();
    println!("{} blobs, at most {} USD", plan.moves.len(), plan.cost.total_most);
    let mut journal = Journal::resume(io::stdout(), b"")?;
    let report = run(&plan, &storage, &policy, &mut journal, 4, future::pending(), |_| {}).await?;
    println!("{} moved, {} left", report.moved, report.left);
    Ok(())
}
