//! Threads for work that keeps a core busy.
//!
//! As many threads as there are cores take jobs from one queue; the caller awaits the result. A job
//! never blocks: what waits (for memory, for a socket) stays on the async side. In a simulation the
//! pool is [inline](CpuPool::inline): the job runs where it is awaited, so that one seed gives one
//! run.
//!
//! The queue itself has no bound, on purpose. A job that waits in it holds what its caller held
//! before, so a bound would save no memory; the [`Budget`](crate::Budget) does that. And a place in
//! a bounded queue is given to a future, which may never be polled again (a stream's buffer, while
//! its consumer works): then everybody behind it waits for ever.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

/// Runs jobs on a fixed number of threads. Clones share them; the last one to go ends them.
#[derive(Clone)]
pub struct CpuPool(Option<Arc<Threads>>);

struct Threads {
    queue: Option<Sender<Job>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    count: usize,
}

impl CpuPool {
    /// A pool of `threads` threads; 0 gives the [inline](Self::inline) one.
    pub fn new(threads: usize) -> Self {
        if threads == 0 {
            return Self::inline();
        }
        let (queue, jobs) = crossbeam_channel::unbounded();
        let handles = (0..threads).map(|number| start(number, jobs.clone())).collect();
        Self(Some(Arc::new(Threads {
            queue: Some(queue),
            handles: Mutex::new(handles),
            count: threads,
        })))
    }

    /// A pool without threads: a job runs on the task that awaits it.
    pub fn inline() -> Self {
        Self(None)
    }

    /// How many threads it has; 0 if it is inline.
    pub fn threads(&self) -> usize {
        self.0.as_ref().map_or(0, |threads| threads.count)
    }

    /// Runs `work` and waits for its result.
    ///
    /// Once queued, the work runs to its end even if the caller stops waiting.
    ///
    /// # Panics
    /// If `work` panics, with its panic.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(threads) = &self.0 else { return work() };
        let outcome = threads.submit(work).await;
        match outcome.expect("a job always answers") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Threads {
    fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<Outcome<T>> {
        let (answer, outcome) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more: then the result is not needed.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let queue = self.queue.as_ref().expect("the queue lives as long as the pool");
        let sent = queue.send(job);
        assert!(sent.is_ok(), "threads live as long as the pool");
        outcome
    }
}

fn start(number: usize, jobs: Receiver<Job>) -> JoinHandle<()> {
    thread::Builder::new()
        .name(format!("cpu-{number}"))
        .spawn(move || jobs.iter().for_each(|job| job()))
        .expect("the operating system gives threads")
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.queue.take());
        let handles =
            std::mem::take(self.handles.get_mut().unwrap_or_else(PoisonError::into_inner));
        // A job may hold the last clone: a thread can't wait for itself.
        let here = thread::current().id();
        for handle in handles.into_iter().filter(|handle| handle.thread().id() != here) {
            // Jobs catch their panics, so a thread ends without one.
            let _ = handle.join();
        }
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuPool({} threads)", self.threads())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn jobs_run_on_the_threads_of_the_pool() {
        let pool = CpuPool::new(2);
        let name = pool.run(|| thread::current().name().map(str::to_owned)).await;
        assert!(name.unwrap().starts_with("cpu-"));
        assert_eq!(CpuPool::inline().run(|| thread::current().id()).await, thread::current().id());
    }

    #[tokio::test]
    async fn no_more_jobs_run_at_once_than_there_are_threads() {
        let pool = CpuPool::new(3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..40).map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            pool.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures::future::join_all(jobs).await;
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_one_who_waits_and_the_pool_lives_on() {
        let pool = CpuPool::new(1);
        let task = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| panic!("by design")).await }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(pool.run(|| 7).await, 7);
    }

    #[tokio::test]
    async fn futures_that_nobody_polls_hold_up_nobody() {
        let pool = CpuPool::new(1);
        let forgotten: Vec<_> = (0..10)
            .map(|_| {
                let mut job = Box::pin(pool.run(|| ()));
                let _ = futures::FutureExt::now_or_never(job.as_mut());
                job
            })
            .collect();
        assert_eq!(pool.run(|| 7).await, 7);
        drop(forgotten);
    }

    #[tokio::test]
    async fn a_job_may_hold_the_last_clone_of_its_pool() {
        let pool = CpuPool::new(1);
        let inner = pool.clone();
        pool.run(move || drop(inner)).await;
    }
}
