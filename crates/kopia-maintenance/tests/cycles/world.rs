//! A repository in memory, a clock that is set, and whoever says which contents are needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use blob_core::{
    BlobId, BlobStorage, Clock, DynStorage, Entropy, MemoryStorage, PutAttributes, PutOptions,
    ReadRange, SeededEntropy, StorageClass, Timestamp, layers::Operation,
};
use blob_testkit::CountingStorage;
use bytes::Bytes;
use futures::future::BoxFuture;
use kopia_format::{
    ContentId,
    index::IndexEntry,
    maintenance::{MaintenanceRun, MaintenanceSchedule},
    time::GoTime,
};
use kopia_maintenance::{
    Change, Changes, Event, Events, Maintenance, MaintenancePlan, Mode, Options, Reachability,
    Report, Result, Status, Task, Which, plan::TaskPlan,
};
use kopia_repo::{
    CreateOptions, EntryFilter, Env, Marked, Marks, OpenOptions, Repository, RepositoryLog,
};
use tokio_util::sync::CancellationToken;

pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);
const BEGINNING: i64 = 1_795_525_531;

/// A clock that is set, back too: a state of a repository can be gone back to with its times.
#[derive(Debug)]
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Timestamp::from_secs(BEGINNING).nanos())))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(SeqCst))
    }

    pub fn set(&self, time: Timestamp) {
        self.0.store(time.nanos(), SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
    fn sleep(&self, pause: Duration) -> BoxFuture<'static, ()> {
        self.advance(pause);
        Box::pin(std::future::ready(()))
    }
}

/// The contents that are needed.
#[derive(Debug, Clone, Default)]
pub struct Needed(Arc<Mutex<BTreeSet<ContentId>>>);

impl Needed {
    pub fn add(&self, id: ContentId) {
        self.0.lock().unwrap().insert(id);
    }
    pub fn remove(&self, id: &ContentId) {
        self.0.lock().unwrap().remove(id);
    }
    pub fn all(&self) -> Vec<ContentId> {
        self.0.lock().unwrap().iter().copied().collect()
    }
}

#[async_trait]
impl Reachability for Needed {
    async fn mark(
        &self,
        marks: &Marks,
        _: &dyn Events,
        _: &CancellationToken,
    ) -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
        for id in self.all() {
            if marks.mark(&id)? == Marked::Missing {
                return Err(format!("content {id} is missing").into());
            }
        }
        Ok(())
    }
}

/// All blobs of a storage with their times, to be gone back to.
pub struct Saved {
    blobs: Vec<(Timestamp, BlobId, Bytes, Option<StorageClass>)>,
    now: Timestamp,
}

impl Saved {
    /// Which blobs, of when, with which bytes.
    pub fn listing(&self) -> Vec<(Timestamp, BlobId, Bytes)> {
        let blobs = self.blobs.iter();
        blobs.map(|(time, id, bytes, _)| (*time, id.clone(), bytes.clone())).collect()
    }
}

/// A repository whose maintenance is the task of `user@host`, who has it open.
pub struct World {
    pub clock: Arc<SetClock>,
    pub memory: MemoryStorage,
    pub counting: Arc<CountingStorage>,
    pub repo: Repository,
    pub needed: Needed,
    pub options: Options,
    /// What was heard of tasks that left something as it was.
    pub kept: Mutex<Vec<String>>,
    seed: AtomicI64,
}

pub fn open_options(clock: &Arc<SetClock>) -> OpenOptions {
    let env = Env { clock: clock.clone(), ..Env::default() };
    OpenOptions { env, ..OpenOptions::default() }
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.into()
}

impl World {
    /// With epochs.
    pub async fn new() -> Self {
        Self::of_version(3).await
    }

    /// Of format version 1: without epochs.
    pub async fn legacy() -> Self {
        Self::of_version(1).await
    }

    async fn of_version(format_version: u32) -> Self {
        let clock = SetClock::new();
        let memory = MemoryStorage::with_clock(clock.clone());
        let env = Env { clock: clock.clone(), ..Env::default() };
        let create = CreateOptions { format_version, env, ..CreateOptions::default() };
        let storage: DynStorage = Arc::new(memory.clone());
        Repository::create(storage, &"fixture".to_owned().into(), create).await.unwrap();
        let counting = CountingStorage::over(Arc::new(memory.clone()));
        let repo = open(counting.clone(), open_options(&clock)).await;
        let world = Self {
            clock,
            memory,
            counting,
            repo,
            needed: Needed::default(),
            options: Options::default(),
            kept: Mutex::default(),
            seed: AtomicI64::new(1),
        };
        world.change(&[Change::Owner("user@host".into())]).await;
        world
    }

    pub async fn change(&self, changes: &[Change]) {
        let status = Status::read(&self.repo).await.unwrap();
        let now = GoTime::from_unix_nanos(self.clock.now().nanos());
        Changes::of(&status, now, changes).unwrap().write(&self.repo).await.unwrap();
    }

    /// Another client of the same repository, with an index of its own.
    pub async fn other(&self) -> Repository {
        open(Arc::new(self.memory.clone()), open_options(&self.clock)).await
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Writes new contents of `length` bytes into one pack, and does not say that they are needed.
    pub async fn write(&self, prefix: Option<u8>, count: usize, length: usize) -> Vec<ContentId> {
        let writer = self.repo.writer().unwrap();
        let mut ids = Vec::new();
        for _ in 0..count {
            let bytes = noise(self.seed.fetch_add(1, SeqCst) as u64, length);
            ids.push(writer.put_content(bytes, prefix, None).await.unwrap());
        }
        writer.flush().await.unwrap();
        ids
    }

    /// The same, and they are needed.
    pub async fn write_needed(
        &self,
        prefix: Option<u8>,
        count: usize,
        length: usize,
    ) -> Vec<ContentId> {
        let ids = self.write(prefix, count, length).await;
        ids.iter().for_each(|id| self.needed.add(*id));
        ids
    }

    pub async fn entry(&self, id: &ContentId) -> Option<IndexEntry> {
        self.repo.content_entry(id).await.unwrap()
    }

    pub async fn pack_of(&self, id: &ContentId) -> BlobId {
        self.entry(id).await.unwrap().pack.parse().unwrap()
    }

    pub async fn is_deleted(&self, id: &ContentId) -> bool {
        self.entry(id).await.unwrap().deleted
    }

    pub fn has(&self, blob: &BlobId) -> bool {
        self.memory.ids().contains(blob)
    }

    /// The names of blobs that begin so.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let ids = self.memory.ids();
        ids.iter().map(|id| id.as_str().to_owned()).filter(|id| id.starts_with(prefix)).collect()
    }

    /// Everything that the index says, in the order of IDs.
    pub async fn index(repo: &Repository) -> Vec<IndexEntry> {
        repo.refresh().await.unwrap();
        repo.entries(&EntryFilter::with_deleted()).await.unwrap()
    }

    /// The plain bytes of all contents that are needed, read by `repo`.
    pub async fn needed_bytes(&self, repo: &Repository) -> BTreeMap<ContentId, Bytes> {
        let mut all = BTreeMap::new();
        for id in self.needed.all() {
            let bytes = repo.content(&id).await.unwrap_or_else(|e| panic!("{id}: {e}"));
            all.insert(id, bytes);
        }
        all
    }

    pub async fn plan(&self, mode: Mode) -> MaintenancePlan {
        let (stop, log) = (CancellationToken::new(), RepositoryLog::nowhere());
        let events = |_: &Event<'_>| {};
        Maintenance::new(&self.repo, &self.options, &self.needed, &events, &log, &stop)
            .plan(mode)
            .await
            .unwrap()
    }

    pub async fn try_run(&self, which: Which) -> Result<Report> {
        self.try_run_by(&self.repo, which).await
    }

    pub async fn try_run_by(&self, repo: &Repository, which: Which) -> Result<Report> {
        let stop = CancellationToken::new();
        let events = |event: &Event<'_>| {
            if let Event::Kept(_, message) = event {
                self.kept.lock().unwrap().push(message.clone());
            }
        };
        let log = match repo.is_read_only() {
            true => RepositoryLog::nowhere(),
            false => repo.log("maintenance", 0).unwrap(),
        };
        Maintenance::new(repo, &self.options, &self.needed, &events, &log, &stop).run(which).await
    }

    /// A cycle in which no task fails.
    pub async fn run(&self, mode: Mode) -> Report {
        let report = self.try_run(Which::This(mode)).await.unwrap();
        assert_eq!(report.failed, [], "{mode} maintenance");
        report
    }

    pub async fn full(&self) -> Report {
        self.run(Mode::Full).await
    }

    pub async fn quick(&self) -> Report {
        self.run(Mode::Quick).await
    }

    pub async fn schedule(&self) -> MaintenanceSchedule {
        Status::read(&self.repo).await.unwrap().schedule
    }

    /// The runs of a task, newest first.
    pub async fn runs(&self, task: &str) -> Vec<MaintenanceRun> {
        self.schedule().await.runs.remove(task).unwrap_or_default()
    }

    /// A number of the newest run of a task.
    pub async fn number(&self, task: &str, key: &str) -> u64 {
        let runs = self.runs(task).await;
        let data = runs[0].statistics[0].data.clone().unwrap();
        data[key].as_u64().unwrap_or_else(|| panic!("{task}: {key}: {data}"))
    }

    pub fn gets(&self, prefix: &str) -> usize {
        self.counting.count_of(Operation::Get, prefix)
    }

    pub fn class(&self, blob: &BlobId, class: StorageClass) {
        assert!(self.memory.set_class(blob, class), "{blob}");
    }

    /// All blobs as they are.
    pub async fn save(&self) -> Saved {
        let mut blobs = Vec::new();
        for id in self.memory.ids() {
            let meta = self.memory.head(&id).await.unwrap();
            let bytes = self.memory.get(&id, ReadRange::Full).await.unwrap();
            blobs.push((meta.modified, id, bytes, meta.class));
        }
        Saved { blobs, now: self.clock.now() }
    }

    /// Makes all as it was when it was saved, the time too.
    pub async fn go_back(&self, saved: &Saved) {
        for id in self.memory.ids() {
            self.memory.delete(&id).await.unwrap();
        }
        for (time, id, bytes, class) in &saved.blobs {
            self.clock.set(*time);
            let attributes = PutAttributes { class: class.clone(), ..PutAttributes::default() };
            let options = PutOptions { attributes, ..PutOptions::default() };
            self.memory.put(id, bytes.clone().into(), &options).await.unwrap();
        }
        self.clock.set(saved.now);
    }
}

pub async fn open(storage: DynStorage, options: OpenOptions) -> Repository {
    Repository::open(storage, &"fixture".to_owned().into(), options).await.unwrap()
}

/// What was planned of a task and, if it was due, done.
pub fn of(tasks: &[TaskPlan], task: Task) -> &TaskPlan {
    tasks.iter().find(|plan| plan.task == task).unwrap_or_else(|| panic!("no {task}"))
}
