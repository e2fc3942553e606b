//! Thaws a few archived blobs of a storage in memory: plan, price, ask, wait.
//!
//! Run it with `cargo run -p cold-storage --example thaw`.

use std::{sync::Arc, time::Duration};

use blob_core::{
    BlobId, BlobStorage, Clock, DynStorage, ManualClock, MemoryStorage, PutAttributes, PutOptions,
    StorageClass, Tier, Timestamp, look_up,
};
use cold_storage::{
    PriceTable, Transfer,
    thaw::{Need, Progress, RunOptions, ThawOptions, ThawPlan, run},
    tier_name,
};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A clock that stands still until it is moved.
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_525_531)));
    let memory = MemoryStorage::with_clock(clock.clone());
    let class = Some(StorageClass::DEEP_ARCHIVE);
    let attributes = PutAttributes { class, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    let names: Vec<String> = (0..3).map(|n| format!("p{n}")).collect();
    for name in &names {
        memory.put(&BlobId::new(name.as_str())?, vec![7; 20 << 20].into(), &options).await?;
    }
    let storage: DynStorage = Arc::new(memory);
    let blobs = || names.iter().map(String::as_str);

    let found = look_up(&storage, blobs(), 8).await?;
    let needs: Vec<Need> = found.values().map(Need::whole).collect();
    let (tier, days, now) = (Tier::Bulk, 7, clock.now());
    let options = ThawOptions { tier, days, now, extend: false, upgrade: false };
    let table = PriceTable::built_in();
    for one in ThawPlan::estimates(&needs, &options, table, Transfer::Internet) {
        let hours = one.expected_seconds / 3600;
        println!("{}: within {hours} h, {} USD", tier_name(one.tier), one.cost.total());
    }

    let plan = ThawPlan::new(needs, &options, table)?;
    let pace = RunOptions { per_second: 100, at_once: 4, clock: clock.clone() };
    let stop = CancellationToken::new();
    run(&plan, &storage, &pace, &stop, |asked| {
        println!("{}: {:?}", asked.blob, asked.outcome);
        Ok(())
    })
    .await?;
    clock.advance(Duration::from_secs(plan.expected_seconds));
    let progress = Progress::of(blobs(), &look_up(&storage, blobs(), 8).await?);
    println!("{} of {} blobs can be read", progress.readable(), names.len());
    assert_eq!(progress.readable(), 3);
    Ok(())
}
