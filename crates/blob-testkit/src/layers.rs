//! Does a layer leave whole what it wraps?
//!
//! A layer can go wrong in two ways that its own tests miss: it *drops* a capability that the
//! storage beneath it has, or it hands the capability out *bypassing* itself, so that a thaw is
//! neither retried nor counted nor refused where a get is. [`check`] finds both without knowing
//! what the layer is for: whatever it does to a get, it must do to a call of a capability.

use std::sync::Arc;

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobStorage, DynStorage, Layer, LockMode, MemoryStorage, Payload,
    PutAttributes, PutOptions, ReadRange, Result, Retain, StorageClass, ThawRequest, Tier,
    Timestamp, Volume, VolumeCapacity, forward, layers::Operation,
};
use futures::{FutureExt, StreamExt};

use crate::{CountingStorage, Fault, FaultyStorage, Rule};

const THAW: ThawRequest = ThawRequest { tier: Tier::Bulk, days: 1 };
/// Far in the future, whatever clock a layer goes by.
const UNTIL: Timestamp = Timestamp::from_secs(9_000_000_000);
const STRICT: LockMode = LockMode::Compliance;

/// What a layer does wrong, in sentences; empty if nothing.
///
/// A layer that waits should do so on a clock that can be moved
/// ([`blob_core::ManualClock`]); it is put through failing calls.
pub async fn check(layer: &dyn Layer) -> Vec<String> {
    let mut wrong = Vec::new();
    capabilities(layer, &mut wrong);
    passes_through(layer, &mut wrong).await;
    same_ids(layer, &mut wrong).await;
    same_attempts(layer, &mut wrong).await;
    same_crowd(layer, &mut wrong).await;
    same_refusal(layer, &mut wrong).await;
    wrong
}

/// Checks `layer` as [`check`] does.
///
/// # Panics
/// With all that it does wrong.
pub async fn run(layer: &dyn Layer) {
    let wrong = check(layer).await;
    assert!(wrong.is_empty(), "{layer:?} does wrong:\n  {}", wrong.join("\n  "));
}

/// A storage with or without each capability.
#[derive(Debug)]
struct Probe {
    inner: DynStorage,
    has_archive: bool,
    has_retain: bool,
    has_volume: bool,
}

impl Probe {
    fn over(inner: DynStorage) -> DynStorage {
        Arc::new(Self { inner, has_archive: true, has_retain: true, has_volume: true })
    }
}

#[async_trait]
impl BlobStorage for Probe {
    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().filter(|_| self.has_archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().filter(|_| self.has_retain)
    }

    fn volume(&self) -> Option<&dyn Volume> {
        self.has_volume.then_some(self as &dyn Volume)
    }

    forward!(inner: info, get, head, list, put, delete, close);
}

#[async_trait]
impl Volume for Probe {
    async fn capacity(&self) -> Result<VolumeCapacity> {
        Ok(VolumeCapacity { capacity: 2, available: 1 })
    }
}

fn capabilities(layer: &dyn Layer, wrong: &mut Vec<String>) {
    for which in 0..8_u8 {
        let (has_archive, has_retain, has_volume) =
            (which & 1 != 0, which & 2 != 0, which & 4 != 0);
        let inner = Arc::new(MemoryStorage::new());
        let probe = Probe { inner, has_archive, has_retain, has_volume };
        let wrapped = layer.wrap(Arc::new(probe));
        let pairs = [
            ("archive()", has_archive, wrapped.archive().is_some()),
            ("retain()", has_retain, wrapped.retain().is_some()),
            ("volume()", has_volume, wrapped.volume().is_some()),
        ];
        for (name, inner, outer) in pairs {
            match (inner, outer) {
                (true, false) => wrong.push(format!("it drops {name}, which the storage has")),
                (false, true) => wrong.push(format!("it gives {name}, which the storage has not")),
                _ => {}
            }
        }
    }
}

fn blob(text: &str) -> BlobId {
    BlobId::new(text).expect("the suite's IDs are valid")
}

async fn passes_through(layer: &dyn Layer, wrong: &mut Vec<String>) {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let wrapped = layer.wrap(Probe::over(counting.clone()));
    if let Some(volume) = wrapped.volume()
        && volume.capacity().await.ok() != Some(VolumeCapacity { capacity: 2, available: 1 })
    {
        wrong.push("volume() tells another capacity than the storage".to_owned());
    }
    let absent = blob("absent");
    for error in
        [wrapped.get(&absent, ReadRange::Full).await.err(), wrapped.head(&absent).await.err()]
    {
        if !matches!(&error, Some(BlobError::NotFound { id }) if *id == absent) {
            wrong.push(format!("it makes {error:?} of NotFound"));
        }
    }
    if !wrapped.info().read_only {
        let options = PutOptions {
            attributes: PutAttributes {
                class: Some(StorageClass::GLACIER),
                ..PutAttributes::default()
            },
            if_absent: true,
            content_type: Some("text/x-suite"),
            modified: Some(Timestamp::from_secs(1_500_000_000)),
        };
        let put = wrapped.put(&blob("options"), Payload::from(&b"x"[..]), &options).await;
        let seen = counting.calls().into_iter().find_map(|call| call.options);
        if put.is_err() || seen.as_ref() != Some(&options) {
            wrong.push(format!("it passes on other put options than the caller's: {seen:?}"));
        }
    }
    if let (Some(archive), false) = (wrapped.archive(), wrapped.info().read_only) {
        let class = Some(StorageClass::GLACIER_IR);
        let to = PutAttributes { class, ..PutAttributes::default() };
        _ = archive.reclass(&blob("options"), &to).await;
        let seen = counting.calls().into_iter().find(|call| call.op == Operation::Reclass);
        let seen = seen.and_then(|call| call.options).map(|options| options.attributes);
        if seen.as_ref() != Some(&to) {
            wrong.push(format!("it passes on another class than the caller's: {seen:?}"));
        }
    }
    if let (Some(retain), false) = (wrapped.retain(), wrapped.info().read_only) {
        _ = retain.extend_retention(&blob("options"), UNTIL, STRICT).await;
        let seen = counting.calls().into_iter().find_map(|call| call.retention);
        if seen != Some((STRICT, UNTIL)) {
            wrong.push(format!("it passes on another lock than the caller's: {seen:?}"));
        }
    }
    let closed = wrapped.close().await;
    if closed.is_err() || counting.closed() != 1 {
        wrong.push("it does not close the storage".to_owned());
    }
    let failing = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    let denied = || BlobError::AccessDenied { op: "list", id: None, reason: "suite".into() };
    failing.rule(Rule::new(Fault::before(denied)).on(Operation::List));
    let wrapped = layer.wrap(failing);
    let items: Vec<_> = wrapped.list("").collect().await;
    if !matches!(items.as_slice(), [Err(BlobError::AccessDenied { .. })]) {
        wrong.push(format!("a list that is denied gives {items:?}"));
    }
}

/// Reads and, where the storage can do that, asks for the state, a thaw, another class and a longer
/// lock, all of the same blob.
async fn touch(storage: &DynStorage, id: &BlobId) {
    _ = storage.get(id, ReadRange::Full).await;
    _ = storage.head(id).await;
    if let Some(archive) = storage.archive() {
        _ = archive.read_state(id).await;
        _ = archive.thaw(id, &THAW).await;
        _ = archive.reclass(id, &PutAttributes::default()).await;
    }
    if let Some(retain) = storage.retain() {
        _ = retain.extend_retention(id, UNTIL, STRICT).await;
    }
}

/// A layer that renames blobs renames them alike in every call.
async fn same_ids(layer: &dyn Layer, wrong: &mut Vec<String>) {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    touch(&layer.wrap(Probe::over(counting.clone())), &blob("name")).await;
    let calls = counting.calls();
    let of = |op| calls.iter().find(|call| call.op == op).map(|call| call.id.clone());
    let expected = of(Operation::Get);
    use Operation::{ExtendRetention, Head, ReadState, Reclass, Thaw};
    for op in [Head, ReadState, Thaw, Reclass, ExtendRetention] {
        if let Some(id) = of(op)
            && Some(&id) != expected.as_ref()
        {
            wrong.push(format!("a {op} asks the storage for {id:?}, a get for {expected:?}"));
        }
    }
}

/// A layer that repeats failed calls repeats those of a capability as often.
async fn same_attempts(layer: &dyn Layer, wrong: &mut Vec<String>) {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let failing = FaultyStorage::over(counting.clone());
    let wrapped = layer.wrap(Probe::over(failing.clone()));
    let mut attempts = Vec::new();
    use Operation::{ExtendRetention, Get, Head, ReadState, Reclass, Thaw};
    for op in [Get, Head, ReadState, Thaw, Reclass, ExtendRetention] {
        failing.heal();
        failing.rule(Rule::new(Fault::before(Fault::transient)).times(2));
        let before = failing.calls();
        let id = blob("attempts");
        match (op, wrapped.archive()) {
            (Operation::Get, _) => _ = wrapped.get(&id, ReadRange::Full).await,
            (Operation::Head, _) => _ = wrapped.head(&id).await,
            (Operation::ReadState, Some(archive)) => _ = archive.read_state(&id).await,
            (Operation::Thaw, Some(archive)) if !wrapped.info().read_only => {
                _ = archive.thaw(&id, &THAW).await;
            }
            (Operation::Reclass, Some(archive)) if !wrapped.info().read_only => {
                _ = archive.reclass(&id, &PutAttributes::default()).await;
            }
            (Operation::ExtendRetention, _) if !wrapped.info().read_only => {
                let Some(retain) = wrapped.retain() else { continue };
                _ = retain.extend_retention(&id, UNTIL, STRICT).await;
            }
            _ => continue,
        }
        attempts.push((op, failing.calls() - before));
    }
    for (op, count) in &attempts {
        if *count != attempts[0].1 {
            let expected = attempts[0].1;
            wrong.push(format!("it tries a failing {op} {count} times, a failing get {expected}"));
        }
    }
}

/// A layer that limits how many calls run at once limits those of a capability too.
async fn same_crowd(layer: &dyn Layer, wrong: &mut Vec<String>) {
    let slow = FaultyStorage::over(Arc::new(MemoryStorage::new()));
    slow.rule(Rule::new(Fault::Late(std::time::Duration::from_millis(5))));
    let counting = CountingStorage::over(slow);
    let wrapped = layer.wrap(Probe::over(counting.clone()));
    let id = blob("crowd");
    let ids: Vec<_> = (0..32).map(|_| &id).collect();
    let gets = ids.iter().map(|id| wrapped.get(id, ReadRange::Full).map(drop));
    futures::future::join_all(gets).await;
    let of_gets = counting.at_once_max();
    if let (Some(retain), false) = (wrapped.retain(), wrapped.info().read_only) {
        counting.clear();
        let locks = ids.iter().map(|id| retain.extend_retention(id, UNTIL, STRICT).map(drop));
        futures::future::join_all(locks).await;
        let of_locks = counting.at_once_max();
        if of_gets != of_locks {
            wrong.push(format!("it lets {of_gets} gets run at once, but {of_locks} locks"));
        }
    }
    let Some(archive) = wrapped.archive() else { return };
    counting.clear();
    futures::future::join_all(ids.iter().map(|id| archive.read_state(id).map(drop))).await;
    let of_states = counting.at_once_max();
    if of_gets != of_states {
        wrong.push(format!("it lets {of_gets} gets run at once, but {of_states} read_states"));
    }
    counting.clear();
    let to = PutAttributes::default();
    futures::future::join_all(ids.iter().map(|id| archive.reclass(id, &to).map(drop))).await;
    let of_moves = counting.at_once_max();
    if of_gets != of_moves && !wrapped.info().read_only {
        wrong.push(format!("it lets {of_gets} gets run at once, but {of_moves} reclasses"));
    }
}

/// A layer that refuses writes refuses a thaw and a change of class or lock too, by the same type,
/// and says so of itself.
async fn same_refusal(layer: &dyn Layer, wrong: &mut Vec<String>) {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let wrapped = layer.wrap(Probe::over(counting.clone()));
    let id = blob("refusal");
    let put = wrapped.put(&id, Payload::from(&b"x"[..]), &PutOptions::default()).await;
    let refuses = matches!(put, Err(BlobError::ReadOnly { .. }));
    if refuses != wrapped.info().read_only {
        wrong.push(format!("its info says read_only = {}, a put gives {put:?}", !refuses));
    }
    if !refuses {
        return;
    }
    let delete = wrapped.delete(&id).await;
    if !matches!(delete, Err(BlobError::ReadOnly { .. })) {
        wrong.push(format!("it refuses puts, but a delete gives {delete:?}"));
    }
    if let Some(archive) = wrapped.archive() {
        let thaw = archive.thaw(&id, &THAW).await;
        if !matches!(thaw, Err(BlobError::ReadOnly { .. })) {
            wrong.push(format!("it refuses puts, but a thaw gives {thaw:?}"));
        }
        let reclass = archive.reclass(&id, &PutAttributes::default()).await;
        if !matches!(reclass, Err(BlobError::ReadOnly { .. })) {
            wrong.push(format!("it refuses puts, but a reclass gives {reclass:?}"));
        }
    }
    if let Some(retain) = wrapped.retain() {
        let locked = retain.extend_retention(&id, UNTIL, STRICT).await;
        if !matches!(locked, Err(BlobError::ReadOnly { .. })) {
            wrong.push(format!("it refuses puts, but a longer lock gives {locked:?}"));
        }
    }
    use Operation::{Delete, ExtendRetention, Put, Reclass, Thaw};
    let writes = [Put, Delete, Thaw, Reclass, ExtendRetention];
    if writes.iter().any(|&op| counting.count(op) > 0) {
        wrong.push("it refuses a write after the storage has heard of it".to_owned());
    }
}
