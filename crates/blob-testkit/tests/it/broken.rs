//! A storage or a layer that breaks a promise does not pass, and the right promise tells.

use std::{future::ready, sync::Arc};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, Layer, LockMode, MemoryStorage,
    Payload, PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain,
    StorageInfo, ThawOutcome, ThawRequest, Timestamp, Volume, forward,
};
use blob_testkit::{Report, conformance};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

/// How the storage of these tests is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    ShortRanges,
    DropsAnEntry,
    ListsTwice,
    ForgetsPrefix,
    ReplacesNew,
    UntypedNotFound,
    AbsentDeleteFails,
    WrongSize,
    TearsPuts,
    IgnoresRefusal,
    ColdAsOther,
    CaseFolds,
    MovesNothing,
    LocksNothing,
}

#[derive(Debug)]
struct Broken {
    inner: DynStorage,
    flaw: Flaw,
}

impl Broken {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn name(&self, id: &BlobId) -> BlobId {
        let folds = self.has(Flaw::CaseFolds);
        if folds { BlobId::new(id.as_str().to_lowercase()).unwrap() } else { id.clone() }
    }
}

fn other(op: &'static str) -> BlobError {
    BlobError::Other { op, id: None, source: "something".into() }
}

#[async_trait]
impl BlobStorage for Broken {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        let result = self.inner.get(&self.name(id), range).await;
        match result {
            Err(BlobError::InvalidRange { .. }) if self.has(Flaw::ShortRanges) => {
                self.inner.get(id, ReadRange::Full).await
            }
            Err(BlobError::NotFound { .. }) if self.has(Flaw::UntypedNotFound) => Err(other("get")),
            Err(BlobError::Archived { .. }) if self.has(Flaw::ColdAsOther) => Err(other("get")),
            result => result,
        }
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let meta = self.inner.head(&self.name(id)).await?;
        Ok(BlobMeta { size: meta.size + u64::from(self.has(Flaw::WrongSize)), ..meta })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        match self.flaw {
            Flaw::DropsAnEntry => {
                let lost = |(at, item)| ready((at != 1000).then_some(item));
                self.inner.list(prefix).enumerate().filter_map(lost).boxed()
            }
            Flaw::ListsTwice => {
                let again = self.inner.list(prefix).skip(1999).take(1);
                self.inner.list(prefix).chain(again).boxed()
            }
            Flaw::ForgetsPrefix if prefix.len() > 3 => self.inner.list(&prefix[..3]),
            _ => self.inner.list(prefix),
        }
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let mut options = options.clone();
        if self.has(Flaw::ReplacesNew) {
            let exists = self.inner.head(id).await.is_ok();
            if exists && options.if_absent {
                return Err(BlobError::AlreadyExists { id: id.clone() });
            }
            tokio::task::yield_now().await;
            options.if_absent = false;
        }
        if self.has(Flaw::IgnoresRefusal) {
            options.attributes.refusal = None;
        }
        if self.has(Flaw::TearsPuts) {
            let half = data.to_bytes().expect("it is in memory").slice(..data.len() as usize / 2);
            self.inner.put(id, half.into(), &options).await?;
            tokio::task::yield_now().await;
        }
        self.inner.put(&self.name(id), data, &options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        if self.has(Flaw::AbsentDeleteFails) {
            self.inner.head(id).await?;
        }
        self.inner.delete(&self.name(id)).await
    }

    fn archive(&self) -> Option<&dyn Archive> {
        if self.has(Flaw::MovesNothing) { Some(self) } else { self.inner.archive() }
    }

    fn retain(&self) -> Option<&dyn Retain> {
        if self.has(Flaw::LocksNothing) { Some(self) } else { self.inner.retain() }
    }

    forward!(inner: info, close; volume);
}

#[async_trait]
impl Archive for Broken {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        self.inner.archive().unwrap().thaw(id, request).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        self.inner.archive().unwrap().read_state(id).await
    }

    async fn reclass(&self, _: &BlobId, _: &PutAttributes) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Retain for Broken {
    async fn extend_retention(&self, _: &BlobId, _: Timestamp, _: LockMode) -> Result<()> {
        Ok(())
    }
}

fn suite(flaw: Flaw) -> Report {
    blob_testkit::block_on(conformance::check(async || {
        Arc::new(Broken { inner: Arc::new(MemoryStorage::new()), flaw })
    }))
}

#[test]
fn each_flaw_is_found_by_the_promise_it_breaks() {
    let expected = [
        (Flaw::ShortRanges, "a_range_gives_exactly_its_bytes_or_fails"),
        (Flaw::DropsAnEntry, "a_list_gives_every_blob_once"),
        (Flaw::ListsTwice, "a_list_gives_every_blob_once"),
        (Flaw::ForgetsPrefix, "a_prefix_is_any_beginning_of_an_id"),
        (Flaw::ReplacesNew, "of_many_puts_that_must_be_new_one_wins"),
        (Flaw::UntypedNotFound, "an_absent_blob_is_not_found_by_type"),
        (Flaw::AbsentDeleteFails, "a_deleted_blob_is_gone_and_deleting_again_is_fine"),
        (Flaw::WrongSize, "a_head_tells_what_was_put"),
        (Flaw::TearsPuts, "a_reader_sees_no_torn_blob"),
        (Flaw::IgnoresRefusal, "attributes_that_are_refused_write_nothing"),
        (Flaw::ColdAsOther, "an_archived_blob_is_unreadable_and_says_so"),
        (Flaw::CaseFolds, "every_valid_id_names_its_own_blob"),
        (Flaw::MovesNothing, "a_change_of_class_keeps_the_blob_whole"),
        (Flaw::LocksNothing, "a_lock_is_extended_and_never_shortened"),
    ];
    std::thread::scope(|scope| {
        for (flaw, promise) in expected {
            scope.spawn(move || {
                let report = suite(flaw);
                let found = report.broken().any(|(broken, _)| broken == promise);
                assert!(found, "{flaw:?} was not found by {promise}:\n{report}");
            });
        }
    });
}

#[test]
fn a_failure_says_in_a_sentence_what_came_instead() {
    let report = suite(Flaw::DropsAnEntry);
    let how: Vec<_> = report.broken().map(|(_, how)| how).collect();
    assert!(how.iter().any(|how| how.contains("misses 1 of 2500 blobs, among them ")), "{how:?}");
    assert!(report.to_string().contains("BROKEN   a_list_gives_every_blob_once: the list of"));
}

#[test]
#[should_panic(expected = "a promise was broken")]
fn the_suite_panics_with_its_report() {
    blob_testkit::block_on(conformance::run(async || {
        let inner = Arc::new(MemoryStorage::new());
        Arc::new(Broken { inner, flaw: Flaw::WrongSize })
    }));
}

/// How the layer of these tests is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LayerFlaw {
    ForgetsArchive,
    ForgetsVolume,
    ForgetsRetain,
    ReadOnlyButThaws,
    RetriesGetsOnly,
    RenamesAllButThaws,
    ForgetsOptions,
    ForgetsClose,
    SwallowsListErrors,
}

impl Layer for LayerFlaw {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        let read_only = *self == Self::ReadOnlyButThaws;
        let info = StorageInfo { read_only, ..inner.info().clone() };
        Arc::new(BrokenLayer { inner, info, flaw: *self })
    }
}

#[derive(Debug)]
struct BrokenLayer {
    inner: DynStorage,
    info: StorageInfo,
    flaw: LayerFlaw,
}

#[async_trait]
impl BlobStorage for BrokenLayer {
    fn info(&self) -> &StorageInfo {
        &self.info
    }

    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        match self.flaw {
            LayerFlaw::RetriesGetsOnly => match self.inner.get(id, range).await {
                Err(BlobError::Transient { .. }) => self.inner.get(id, range).await,
                other => other,
            },
            LayerFlaw::RenamesAllButThaws => {
                let id = BlobId::new(format!("x{id}")).unwrap();
                self.inner.get(&id, range).await
            }
            _ => self.inner.get(id, range).await,
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        if self.flaw == LayerFlaw::SwallowsListErrors {
            return self.inner.list(prefix).filter(|item| ready(item.is_ok())).boxed();
        }
        stream::once(ready(self.inner.list(prefix))).flatten().boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        match self.flaw {
            LayerFlaw::ReadOnlyButThaws => Err(BlobError::ReadOnly { op: "put" }),
            LayerFlaw::ForgetsOptions => self.inner.put(id, data, &PutOptions::default()).await,
            _ => self.inner.put(id, data, options).await,
        }
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        match self.flaw {
            LayerFlaw::ReadOnlyButThaws => Err(BlobError::ReadOnly { op: "delete" }),
            _ => self.inner.delete(id).await,
        }
    }

    async fn close(&self) -> Result<()> {
        match self.flaw {
            LayerFlaw::ForgetsClose => Ok(()),
            _ => self.inner.close().await,
        }
    }

    fn archive(&self) -> Option<&dyn Archive> {
        (self.flaw != LayerFlaw::ForgetsArchive).then(|| self.inner.archive()).flatten()
    }

    fn retain(&self) -> Option<&dyn Retain> {
        (self.flaw != LayerFlaw::ForgetsRetain).then(|| self.inner.retain()).flatten()
    }

    fn volume(&self) -> Option<&dyn Volume> {
        (self.flaw != LayerFlaw::ForgetsVolume).then(|| self.inner.volume()).flatten()
    }

    forward!(inner: head);
}

#[test]
fn each_flaw_of_a_layer_is_found() {
    let expected = [
        (LayerFlaw::ForgetsArchive, "it drops archive(), which the storage has"),
        (LayerFlaw::ForgetsVolume, "it drops volume(), which the storage has"),
        (LayerFlaw::ForgetsRetain, "it drops retain(), which the storage has"),
        (LayerFlaw::ReadOnlyButThaws, "it refuses puts, but a longer lock gives"),
        (LayerFlaw::RetriesGetsOnly, "it tries a failing extend_retention 1 times"),
        (LayerFlaw::RenamesAllButThaws, "a extend_retention asks the storage for \"name\""),
        (LayerFlaw::ReadOnlyButThaws, "it refuses puts, but a thaw gives"),
        (LayerFlaw::RetriesGetsOnly, "it tries a failing thaw 1 times, a failing get 2"),
        (LayerFlaw::RenamesAllButThaws, "a thaw asks the storage for \"name\", a get for"),
        (LayerFlaw::ForgetsOptions, "it passes on other put options than the caller's"),
        (LayerFlaw::ForgetsClose, "it does not close the storage"),
        (LayerFlaw::SwallowsListErrors, "a list that is denied gives []"),
    ];
    for (flaw, sentence) in expected {
        let wrong = blob_testkit::block_on(blob_testkit::layers::check(&flaw));
        assert!(wrong.iter().any(|found| found.contains(sentence)), "{flaw:?}: {wrong:?}");
    }
}
