//! A call that is dropped at any moment leaves nothing half done: not in the storage, and not in
//! the writer, which goes on.

use std::{pin::pin, sync::Arc};

use crate::common::{check_whole, create_in, ids, noise, reopen, text};
use blob_core::MemoryStorage;
use blob_testkit::{Fault, FaultyStorage, Rule};
use futures::future::{Either, select};
use kopia_format::ObjectId;
use kopia_repo::{CreateOptions, ObjectOptions, Repository, RepositoryWriter, Result};

/// Two packs of data, metadata, a manifest that takes the place of the one before.
async fn steps(writer: &RepositoryWriter, seed: u64) -> Result<ObjectId> {
    let object = writer.write_object(noise(seed, 50_000), ObjectOptions::default()).await?;
    let folder = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    writer.write_object(text(1_000), folder).await?;
    writer.replace_manifest(&[("type", "newest")], &object).await?;
    writer.flush().await?;
    Ok(object)
}

async fn newest(repository: &Repository) -> ObjectId {
    repository.refresh().await.unwrap();
    let found = repository.manifests().find(&[("type", "newest")]).await.unwrap();
    assert_eq!(found.len(), 1);
    found[0].payload().unwrap()
}

/// Drops a session in one of its calls of the storage, before or after the call's effect. Says
/// whether it came to its end before.
async fn drop_in(call: usize, after: bool) -> bool {
    let moment = format!("call {call}, after: {after}");
    let memory = Arc::new(MemoryStorage::new());
    let observer = create_in(memory.clone(), CreateOptions::default()).await;
    let faulty = FaultyStorage::over(memory.clone());
    let client = reopen(faulty.clone()).await;
    let writer = client.writer().unwrap();
    let old = steps(&writer, 1).await.unwrap();
    faulty.rule(Rule::new(Fault::Held { after }).skip(call).times(1));
    let done = {
        let held = pin!(faulty.holds_one());
        let session = pin!(steps(&writer, 2));
        match select(session, held).await {
            Either::Left((done, _)) => Some(done.unwrap()),
            Either::Right(_) => None, // and the session is dropped
        }
    };
    let seen = newest(&observer).await;
    let bytes = observer.read_object(&seen, u64::MAX).await.unwrap();
    assert_eq!(bytes, noise(if seen == old { 1 } else { 2 }, 50_000), "{moment}");
    check_whole(&observer).await;
    faulty.heal();
    if let Some(done) = done {
        assert_eq!(seen, done, "{moment}");
        return true;
    }
    // The same writer does it all again, and what it had begun is no hindrance.
    let last = steps(&writer, 3).await.unwrap_or_else(|error| panic!("{moment}: {error}"));
    assert_eq!(newest(&observer).await, last, "{moment}");
    let bytes = observer.read_object(&last, u64::MAX).await.unwrap();
    assert_eq!(bytes, noise(3, 50_000), "{moment}");
    check_whole(&observer).await;
    assert!(ids(&memory, "s").is_empty(), "{moment}: a session marker is left");
    false
}

async fn drop_everywhere(after: bool) {
    let mut calls = 0;
    while !drop_in(calls, after).await {
        calls += 1;
    }
    assert!(calls >= 5, "{calls} calls are too few for a session");
    println!("a session was dropped in each of its {calls} calls, after: {after}");
}

#[tokio::test]
async fn a_session_may_be_dropped_before_the_effect_of_any_call() {
    drop_everywhere(false).await;
}

#[tokio::test]
async fn a_session_may_be_dropped_after_the_effect_of_any_call() {
    drop_everywhere(true).await;
}
