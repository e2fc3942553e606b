//! Says whose task the maintenance of a new repository is, and what is due.
//!
//! Run it with `cargo run -p kopia-maintenance --example status`.

use std::{error::Error, sync::Arc};

use blob_core::{DynStorage, MemoryStorage};
use kopia_format::time::GoTime;
use kopia_maintenance::{Change, Changes, Due, Status};
use kopia_repo::{CreateOptions, OpenOptions, Repository};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage: DynStorage = Arc::new(MemoryStorage::new());
    let password = "a password".into();
    Repository::create(storage.clone(), &password, CreateOptions::default()).await?;
    let repo = Repository::open(storage, &password, OpenOptions::default()).await?;
    let now = repo.env().clock.now();

    let status = Status::read(&repo).await?;
    println!("owner {:?}, due {:?}", status.parameters.owner, status.due(now));
    assert_eq!(status.due(now), Due::Full);

    let all =
        [Change::Owner("me@here".into()), Change::PauseFull(std::time::Duration::from_secs(3600))];
    Changes::of(&status, GoTime::from_unix_nanos(now.nanos()), &all)?.write(&repo).await?;
    let status = Status::read(&repo).await?;
    println!("owner {:?}, due {:?}", status.parameters.owner, status.due(now));
    assert!(status.is_owned_by("me@here") && status.due(now) == Due::Quick);
    Ok(())
}
