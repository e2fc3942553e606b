//! Takes a snapshot of a folder, keeps it in memory, and restores it into another folder.
//!
//! ```text
//! cargo run -p kopia-snapshot --example snapshot_and_restore -- src /tmp/restored
//! ```

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use blob_core::MemoryStorage;
use kopia_format::snapshot::Source;
use kopia_repo::{CreateOptions, OpenOptions, Repository};
use kopia_snapshot::{
    create::{CreateRequest, Input, create},
    restore::{self, RestoreOptions, RestorePlan},
    upload::{self, UploadOptions},
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder =
        arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/src").into());
    let target = arguments.next().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("kopia-snapshot-example-{}", std::process::id()))
    });

    let storage = Arc::new(MemoryStorage::new());
    let password = "correct horse".to_owned().into();
    Repository::create(storage.clone(), &password, CreateOptions::default()).await?;
    let repo = Repository::open(storage, &password, OpenOptions::default()).await?;

    let writer = repo.writer()?;
    let request = CreateRequest {
        source: Source::new("host", "user", std::path::absolute(&folder)?.to_string_lossy()),
        input: Input::Local(folder),
        description: "an example".into(),
        tags: BTreeMap::new(),
        pins: Vec::new(),
        times: (None, None),
        options: UploadOptions::default(),
        sink: Arc::new(upload::Silent),
        stop: CancellationToken::new(),
    };
    let snapshot = create(&writer, request).await?.manifest;
    writer.flush().await?;
    let root = snapshot.root_entry.ok_or("a snapshot has a root")?;
    println!("snapshot {} has the root {}", snapshot.id, root.object);

    let options = RestoreOptions::default();
    let plan = RestorePlan::of(&repo, &root, Some(&target), &options).await?;
    println!("{} bytes will be fetched with {} requests", plan.fetched_bytes, plan.requests);
    let (sink, stop) = (Arc::new(restore::Silent), CancellationToken::new());
    let report = plan.run(&repo, &target, &options, sink, &stop).await?;
    println!("{} files are in {}", report.files, target.display());
    Ok(())
}
