//! Contents handed over on the threads that open them.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use dataplane::{Grant, task};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::index::IndexEntry;
use tokio::sync::Semaphore;

use super::{
    Cutting, FetchFrom, Fetched, RUN_CONTENTS, Sealed,
    ahead::{Ahead, Turn, in_turns},
    missing, opened_bytes,
    range::{Got, Wanted},
    runs,
};
use crate::{ReadPlan, RepoError, Repository};

/// Takes contents, on several threads at once, each of which may block.
pub trait TakeContents: Send + Sync + 'static {
    /// Why it takes no more.
    type Error: Send + 'static;

    /// Takes contents that lie one after the other in a pack. Each is opened when it is asked for,
    /// and its memory is the caller's until it is dropped: one at a time is what is reckoned with. It
    /// may hold that of all that was fetched together with it.
    ///
    /// # Errors
    /// The first one ends the fetching.
    fn take(&self, contents: &mut dyn Iterator<Item = Fetched>) -> Result<(), Self::Error>;
}

impl<E, F> TakeContents for F
where
    E: Send + 'static,
    F: Fn(&mut dyn Iterator<Item = Fetched>) -> Result<(), E> + Send + Sync + 'static,
{
    type Error = E;

    fn take(&self, contents: &mut dyn Iterator<Item = Fetched>) -> Result<(), E> {
        self(contents)
    }
}

impl Repository {
    /// Fetches all that `plan` names, some ranges at a time, and gives each content to `take` on the
    /// thread that opened it, with at most `jobs_max` such threads at once. Contents that no index
    /// knows come first. A content that is damaged doesn't hold up the others.
    ///
    /// Ends when all were taken, when `take` fails, or with what `stop` gives; however it ends,
    /// `take` is not running any more. A future that is dropped instead does not wait for that.
    ///
    /// # Errors
    /// The first that `take` gives, or what `stop` gives.
    pub async fn fetch_each<T: TakeContents>(
        &self,
        from: FetchFrom,
        plan: &ReadPlan,
        jobs_max: usize,
        stop: impl Future<Output = T::Error> + Send,
        take: T,
    ) -> Result<(), T::Error> {
        let jobs_max = jobs_max.clamp(1, 1 << 16);
        let jobs = Arc::new(Jobs {
            repository: self.clone(),
            from,
            take,
            slots: Arc::new(Semaphore::new(jobs_max)),
            over: AtomicBool::new(false),
            ahead: Ahead::default(),
        });
        let ended = tokio::select! {
            error = stop => Err(error),
            done = jobs.all(plan) => done,
        };
        jobs.over.store(true, Relaxed);
        // Jobs that were begun go on by themselves: each has a slot.
        let all = u32::try_from(jobs_max).expect("clamped above");
        let idle = jobs.slots.acquire_many(all).await;
        drop(idle.expect("the semaphore is never closed"));
        ended
    }
}

/// What the jobs of one call share.
struct Jobs<T> {
    repository: Repository,
    from: FetchFrom,
    take: T,
    /// One for each job that runs.
    slots: Arc<Semaphore>,
    /// Nothing is to be taken any more.
    over: AtomicBool,
    ahead: Ahead,
}

impl<T: TakeContents> Jobs<T> {
    async fn all(self: &Arc<Self>, plan: &ReadPlan) -> Result<(), T::Error> {
        for unknown in plan.missing.chunks(RUN_CONTENTS) {
            let unknown = unknown.iter().map(|id| missing(&self.repository, *id)).collect();
            self.hand_over(unknown).await?;
        }
        // Boxed, or the compiler can't tell that the whole may be sent to another thread.
        let wanted: Box<dyn Iterator<Item = Wanted> + Send + '_> =
            Box::new(in_turns(plan).map(|(pack, range)| Wanted::of(pack, range)));
        stream::iter(wanted)
            .map(|wanted| {
                let jobs = Arc::clone(self);
                task::owned(async move { jobs.range(wanted).await })
            })
            .buffer_unordered(self.repository.shared().requests_max().max(2))
            .try_collect()
            .await
    }

    async fn range(self: Arc<Self>, wanted: Wanted) -> Result<(), T::Error> {
        // With no memory in hand: the first read of the pack may wait for some.
        let turn = self.ahead.turn(&wanted).await;
        if let Turn::Refused(error) = &turn {
            return self.hand_over(wanted.failed(error)).await;
        }
        let memory = &self.repository.shared().fetching;
        let grant = Arc::new(memory.ranges.acquire(wanted.range.length).await);
        let got = self.repository.fetch_range(self.from, &wanted).await;
        let turn = turn.done(&got);
        match got {
            Got::Bytes(bytes) => self.open(wanted, bytes, grant).await,
            Got::Each => self.read_each(wanted.entries, turn).await,
            Got::Failed(error) => self.hand_over(wanted.failed(&error)).await,
        }
    }

    /// Opens what was fetched, run by run, each run on a thread.
    async fn open(
        self: &Arc<Self>,
        wanted: Wanted,
        bytes: Bytes,
        grant: Arc<Grant>,
    ) -> Result<(), T::Error> {
        let Wanted { pack, range, entries, .. } = wanted;
        let again = self.repository.may_be_cached(self.from, &pack);
        let mut cutting = Cutting::of(range, bytes);
        let opens_in_place = cutting.is_own() && !self.repository.shared().codec.has_ecc();
        let mut running = Vec::new();
        for run in runs(entries) {
            let opened = |entry: &IndexEntry| match (opens_in_place, entry.compression) {
                (true, 0) => 0,
                (true, _) => u64::from(entry.original_length),
                (false, _) => opened_bytes(entry),
            };
            let largest = run.iter().map(opened).max().unwrap_or(0);
            let cut = |entry| (cutting.take(&entry), entry);
            let run: Vec<_> = run.into_iter().map(cut).collect();
            let (memory, grant) = (&self.repository.shared().fetching.opened, grant.clone());
            let slot = self.slot().await;
            let opened = memory.acquire(largest).await;
            let jobs = Arc::clone(self);
            running.push(tokio::task::spawn_blocking(move || {
                let _held = (slot, opened, grant);
                jobs.take_run(run, again)
            }));
        }
        drop((cutting, grant));
        let mut left = Vec::new();
        for job in running {
            left.extend(job.await.expect("taking does not panic")?);
        }
        // With nothing held: here the cache may be put right and the pack be fetched once more.
        self.read_each(left, None).await
    }

    /// Gives the contents that are to be read by themselves: where it is worth it to try `again`,
    /// those that don't open.
    fn take_run(
        &self,
        run: Vec<(Option<Sealed>, IndexEntry)>,
        again: bool,
    ) -> Result<Vec<IndexEntry>, T::Error> {
        let mut left = Vec::new();
        let shared = self.repository.shared();
        let mut opened = run.into_iter().filter_map(|(sealed, entry)| {
            let opened = sealed.map(|sealed| match sealed {
                Sealed::Shared(sealed) => shared.open_sealed(&entry, &sealed),
                Sealed::Own(sealed) => shared.open_in_place(&entry, sealed),
            });
            match opened {
                Some(result) if result.is_ok() || !again => Some((entry.id, result)),
                _ => {
                    left.push(entry);
                    None
                }
            }
        });
        let mut opened = std::iter::from_fn(|| match self.over.load(Relaxed) {
            true => None,
            false => opened.next(),
        });
        let taken = self.take.take(&mut opened);
        if taken.is_err() {
            self.over.store(true, Relaxed);
        }
        taken.map(|()| left)
    }

    /// Reads each by itself, a few at a time. If it is its turn, the first ones tell what they gave.
    async fn read_each(
        self: &Arc<Self>,
        entries: Vec<IndexEntry>,
        mut turn: Option<Turn>,
    ) -> Result<(), T::Error> {
        let outage: OnceLock<RepoError> = OnceLock::new();
        for run in runs(entries) {
            let read = self.repository.read_each(self.from, &run, &outage).await;
            if let Some(turn) = turn.take() {
                turn.done_each(&read);
            }
            self.hand_over(read).await?;
        }
        Ok(())
    }

    /// Gives contents that are opened already, or can't be.
    async fn hand_over(self: &Arc<Self>, contents: Vec<Fetched>) -> Result<(), T::Error> {
        let slot = self.slot().await;
        let jobs = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || {
            let _held = slot;
            let mut contents = contents.into_iter().take_while(|_| !jobs.over.load(Relaxed));
            jobs.take.take(&mut contents)
        });
        job.await.expect("taking does not panic")
    }

    async fn slot(&self) -> tokio::sync::OwnedSemaphorePermit {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }
}
