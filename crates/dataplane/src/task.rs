//! Work that goes on by itself, and ends with the one who waits for it.
//!
//! A future makes progress only while it is polled, and one in a stream's buffer is not while the
//! stream's consumer is busy. If it holds a lock or a permit then, and the consumer wants that too,
//! both wait for ever. So whatever waits for a shared lock, and whatever is read ahead, runs as a
//! task of its own.

use std::future::Future;

use tokio::task::JoinHandle;

/// Aborts its task when it is dropped.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `work` as a task; the future given back waits for its result. Dropping that future ends
/// the task.
///
/// # Panics
/// If `work` panics, with its panic, when the result is awaited. At once, outside of a tokio
/// runtime.
pub fn owned<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    let mut task = Owned(tokio::spawn(work));
    async move {
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => unreachable!("only dropping the owner cancels the task"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn it_goes_on_without_being_polled_and_ends_when_dropped() {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let waiting = owned(async move { flag.store(true, Ordering::SeqCst) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(done.load(Ordering::SeqCst));
        waiting.await;

        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        drop(owned(async move {
            std::future::pending::<()>().await;
            drop(alive);
        }));
        assert!(gone.await.is_err(), "the task was dropped with what it held");
    }

    #[tokio::test]
    async fn a_panic_reaches_the_one_who_waits() {
        let waiting = tokio::spawn(async { owned(async { panic!("by design") }).await });
        assert!(waiting.await.unwrap_err().is_panic());
    }
}
