//! A storage that fails by script: before or after the effect, late, or for good.
//!
//! For tests of what stands on a storage. [`FaultyStorage::kill_after`] cuts the caller off after a
//! number of calls; what lies in the inner storage then is what a crash at that moment leaves, and
//! a test can walk through all such moments.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, LockMode, Payload,
    PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain, ThawOutcome,
    ThawRequest, Timestamp, forward, layers::Operation,
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;

type MakeError = Arc<dyn Fn() -> BlobError + Send + Sync>;

/// What goes wrong with a call.
#[derive(Clone)]
pub enum Fault {
    /// It fails, and nothing happened.
    Before(MakeError),
    /// It fails although it had its effect: the answer was lost. A list gives its blobs and then
    /// fails.
    After(MakeError),
    /// It works, this much later.
    Late(Duration),
    /// It waits until [`FaultyStorage::heal`], before its effect or, with `after`, before its answer.
    Held {
        /// It has had its effect by then.
        after: bool,
    },
    /// A list breaks off with the error after so many blobs; for other calls as [`Fault::Before`].
    Midway(usize, MakeError),
}

impl Fault {
    /// Fails with the error that `make` gives, without effect.
    pub fn before(make: impl Fn() -> BlobError + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(make))
    }

    /// Fails with the error that `make` gives, after the effect.
    pub fn after(make: impl Fn() -> BlobError + Send + Sync + 'static) -> Self {
        Self::After(Arc::new(make))
    }

    /// Fails a list with the error that `make` gives after `items` blobs.
    pub fn midway(items: usize, make: impl Fn() -> BlobError + Send + Sync + 'static) -> Self {
        Self::Midway(items, Arc::new(make))
    }

    /// A passing error, worth a retry.
    pub fn transient() -> BlobError {
        BlobError::Transient { op: "a call", source: "the script says so".into() }
    }
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Before(make) => write!(f, "Before({:?})", make()),
            Self::After(make) => write!(f, "After({:?})", make()),
            Self::Late(time) => write!(f, "Late({time:?})"),
            Self::Held { after } => write!(f, "Held {{ after: {after} }}"),
            Self::Midway(items, make) => write!(f, "Midway({items}, {:?})", make()),
        }
    }
}

/// Which calls a fault meets.
#[derive(Debug, Clone)]
pub struct Rule {
    op: Option<Operation>,
    prefix: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// The fault meets every call until told otherwise.
    pub fn new(fault: Fault) -> Self {
        Self { op: None, prefix: String::new(), skip: 0, times: usize::MAX, fault }
    }

    /// Only calls of this kind.
    #[must_use]
    pub fn on(self, op: Operation) -> Self {
        Self { op: Some(op), ..self }
    }

    /// Only IDs (for a list: prefixes) that begin so.
    #[must_use]
    pub fn of(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// Lets the first `count` of these calls go well.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        Self { skip: count, ..self }
    }

    /// Meets `count` calls and then no more.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self { times: count, ..self }
    }

    fn meets(&mut self, op: Operation, id: &str) -> bool {
        if self.op.is_some_and(|mine| mine != op) || !id.starts_with(&self.prefix) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let meets = self.times > 0;
        self.times = self.times.saturating_sub(1);
        meets
    }
}

/// The error of a call to a storage that was killed: not worth a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed;

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the storage was killed by script")
    }
}

impl std::error::Error for Killed {}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    kill: Option<Kill>,
    /// Calls since the beginning, and those that change something.
    calls: usize,
    writes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Kill {
    /// How many more calls go through.
    left: usize,
    /// Only puts, deletes and thaws count.
    writes_only: bool,
    /// The call that finds none left has its effect all the same; its answer is lost.
    with_effect: bool,
}

/// What the script says of one call.
enum Sentence {
    Go,
    Meet(Fault),
    Die { with_effect: bool },
}

/// Passes every call on unless the script says otherwise.
///
/// ```
/// # blob_testkit::block_on(async {
/// use std::sync::Arc;
/// use blob_core::{BlobId, BlobStorage, MemoryStorage, PutOptions, layers::Operation};
/// use blob_testkit::{Fault, FaultyStorage, Rule};
/// let storage = FaultyStorage::over(Arc::new(MemoryStorage::new()));
/// storage.rule(Rule::new(Fault::after(Fault::transient)).on(Operation::Put).of("p").times(1));
/// let id = BlobId::new("p1").unwrap();
/// let put = storage.put(&id, b"x".as_slice().into(), &PutOptions::default()).await;
/// assert!(put.is_err());
/// assert_eq!(storage.head(&id).await.unwrap().size, 1, "it had its effect all the same");
/// # });
/// ```
#[derive(Debug)]
pub struct FaultyStorage {
    inner: DynStorage,
    script: Mutex<Script>,
    /// How many calls were held so far.
    held: watch::Sender<usize>,
    /// How often all was healed.
    healed: watch::Sender<usize>,
}

impl FaultyStorage {
    /// Stands before `inner`, with no faults yet.
    pub fn over(inner: DynStorage) -> Arc<Self> {
        let (held, healed) = (watch::Sender::new(0), watch::Sender::new(0));
        Arc::new(Self { inner, script: Mutex::default(), held, healed })
    }

    /// Adds a rule. The first rule that meets a call decides.
    pub fn rule(&self, rule: Rule) {
        self.script().rules.push(rule);
    }

    /// Lets `calls` more calls through; the next one and all later ones fail without effect.
    pub fn kill_after(&self, calls: usize) {
        self.kill(Kill { left: calls, writes_only: false, with_effect: false });
    }

    /// Lets `writes` more puts, deletes and thaws through, and any number of reads until then; the
    /// next write and all later calls fail. `with_effect`: that next write is done, but its answer
    /// is lost.
    pub fn kill_after_writes(&self, writes: usize, with_effect: bool) {
        self.kill(Kill { left: writes, writes_only: true, with_effect });
    }

    /// Takes all rules and the kill back, and lets go of the calls that are held.
    pub fn heal(&self) {
        let mut script = self.script();
        script.rules.clear();
        script.kill = None;
        drop(script);
        self.healed.send_modify(|count| *count += 1);
    }

    /// Waits until a call is held that was not when this was called.
    pub fn holds_one(&self) -> impl Future<Output = ()> + use<> {
        let mut held = self.held.subscribe();
        let before = *held.borrow_and_update();
        async move {
            // An error says that the storage is gone, and with it all calls.
            _ = held.wait_for(|count| *count > before).await;
        }
    }

    async fn hold(&self) {
        let mut healed = self.healed.subscribe();
        let before = *healed.borrow_and_update();
        self.held.send_modify(|count| *count += 1);
        _ = healed.wait_for(|count| *count > before).await;
    }

    /// How many calls came in so far.
    pub fn calls(&self) -> usize {
        self.script().calls
    }

    /// How many puts, deletes and thaws came in so far.
    pub fn writes(&self) -> usize {
        self.script().writes
    }

    fn kill(&self, kill: Kill) {
        self.script().kill = Some(kill);
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no holder of this lock panics")
    }

    fn sentence(&self, op: Operation, id: &str) -> Sentence {
        let mut script = self.script();
        let writes = matches!(
            op,
            Operation::Put
                | Operation::Delete
                | Operation::Thaw
                | Operation::Reclass
                | Operation::ExtendRetention
        );
        script.calls += 1;
        script.writes += usize::from(writes);
        if let Some(kill) = &mut script.kill {
            let counts = writes || !kill.writes_only;
            if kill.left == usize::MAX {
                return Sentence::Die { with_effect: false };
            }
            if counts && kill.left == 0 {
                kill.left = usize::MAX;
                return Sentence::Die { with_effect: kill.with_effect };
            }
            kill.left -= usize::from(counts);
        }
        let met = script.rules.iter_mut().find_map(|rule| {
            let meets = rule.meets(op, id);
            meets.then(|| rule.fault.clone())
        });
        met.map_or(Sentence::Go, Sentence::Meet)
    }

    async fn play<T>(
        &self,
        op: Operation,
        id: &BlobId,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.sentence(op, id.as_str()) {
            Sentence::Go => call.await,
            Sentence::Meet(Fault::Before(make) | Fault::Midway(_, make)) => Err(make()),
            Sentence::Meet(Fault::After(make)) => call.await.and_then(|_| Err(make())),
            Sentence::Meet(Fault::Late(time)) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Sentence::Meet(Fault::Held { after: false }) => {
                self.hold().await;
                call.await
            }
            Sentence::Meet(Fault::Held { after: true }) => {
                let answer = call.await;
                self.hold().await;
                answer
            }
            Sentence::Die { with_effect } => {
                if with_effect {
                    _ = call.await;
                }
                Err(killed(op, Some(id.clone())))
            }
        }
    }

    fn archive_or_fail(&self) -> Result<&dyn Archive> {
        let storage = || self.inner.info().name.clone();
        self.inner
            .archive()
            .ok_or_else(|| BlobError::Unsupported { op: "thaw", storage: storage() })
    }

    fn retain_or_fail(&self) -> Result<&dyn Retain> {
        let storage = || self.inner.info().name.clone();
        let op = Operation::ExtendRetention.as_str();
        self.inner.retain().ok_or_else(|| BlobError::Unsupported { op, storage: storage() })
    }
}

fn killed(op: Operation, id: Option<BlobId>) -> BlobError {
    BlobError::Other { op: op.as_str(), id, source: Box::new(Killed) }
}

#[async_trait]
impl BlobStorage for FaultyStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.play(Operation::Get, id, self.inner.get(id, range)).await
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        self.play(Operation::Head, id, self.inner.head(id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let listed = self.inner.list(prefix);
        let end = |make: MakeError| stream::once(async move { Err(make()) });
        match self.sentence(Operation::List, prefix) {
            Sentence::Go => listed,
            Sentence::Meet(Fault::Before(make)) => end(make).boxed(),
            Sentence::Meet(Fault::After(make)) => listed.chain(end(make)).boxed(),
            Sentence::Meet(Fault::Midway(items, make)) => {
                listed.take(items).chain(end(make)).boxed()
            }
            Sentence::Meet(Fault::Late(time)) => {
                let late = async move {
                    tokio::time::sleep(time).await;
                    listed
                };
                stream::once(late).flatten().boxed()
            }
            Sentence::Meet(Fault::Held { after: false }) => {
                let held = async move {
                    self.hold().await;
                    listed
                };
                stream::once(held).flatten().boxed()
            }
            Sentence::Meet(Fault::Held { after: true }) => {
                let held = stream::once(self.hold()).filter_map(|()| async { None });
                listed.chain(held).boxed()
            }
            Sentence::Die { .. } => {
                stream::once(async { Err(killed(Operation::List, None)) }).boxed()
            }
        }
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.play(Operation::Put, id, self.inner.put(id, data, options)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.play(Operation::Delete, id, self.inner.delete(id)).await
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: info, close; volume);
}

#[async_trait]
impl Archive for FaultyStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        self.play(Operation::Thaw, id, self.archive_or_fail()?.thaw(id, request)).await
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        self.play(Operation::ReadState, id, self.archive_or_fail()?.read_state(id)).await
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        self.play(Operation::Reclass, id, self.archive_or_fail()?.reclass(id, to)).await
    }
}

#[async_trait]
impl Retain for FaultyStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let call = self.retain_or_fail()?.extend_retention(id, until, mode);
        self.play(Operation::ExtendRetention, id, call).await
    }
}
