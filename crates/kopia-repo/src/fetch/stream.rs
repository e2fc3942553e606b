//! Contents as a stream.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dataplane::task;
use futures::{FutureExt, Stream, StreamExt, stream};
use kopia_format::index::IndexEntry;
use tokio::sync::mpsc;

use super::{
    FetchFrom, Fetched,
    ahead::{Ahead, Turn, in_turns},
    missing, opened_bytes,
    range::{Got, Wanted},
    runs, slice_of,
};
use crate::{RangeRead, ReadPlan, RepoError, Repository};

/// Batches of opened contents that wait, for each range.
const BATCHES_WAITING: usize = 1;

/// Where a range puts what was opened.
type Opened = mpsc::Sender<Vec<Fetched>>;

impl Repository {
    /// Fetches all that `plan` names, some ranges at a time, and gives the contents as they come.
    /// Whoever doesn't take them holds up the fetching, and all other reading by plan with it: the
    /// memory is shared.
    pub fn fetch_all<'a>(&'a self, plan: &'a ReadPlan) -> impl Stream<Item = Fetched> + Send + 'a {
        self.stream_from(FetchFrom::Anywhere, plan)
    }

    /// Like [`fetch_all`](Self::fetch_all), but from the storage whatever the cache has.
    pub fn fetch_all_stored<'a>(
        &'a self,
        plan: &'a ReadPlan,
    ) -> impl Stream<Item = Fetched> + Send + 'a {
        self.stream_from(FetchFrom::Storage, plan)
    }

    fn stream_from<'a>(
        &'a self,
        from: FetchFrom,
        plan: &'a ReadPlan,
    ) -> impl Stream<Item = Fetched> + Send + 'a {
        let ahead = Arc::new(Ahead::default());
        let at_once = self.shared().requests_max().max(2);
        let ranges = stream::iter(in_turns(plan)).map(move |(pack, range)| {
            let (repository, wanted) = (self.clone(), Wanted::of(pack, range));
            let ahead = ahead.clone();
            let (send, receive) = mpsc::channel(BATCHES_WAITING);
            // It reads ahead, polled or not, and ends with the stream.
            let work =
                task::owned(
                    async move { repository.stream_range(from, wanted, send, &ahead).await },
                );
            let batches = stream::unfold(receive, async |mut receive| {
                receive.recv().await.map(|batch| (stream::iter(batch), receive))
            });
            let end = work.into_stream().filter_map(async |()| None);
            Box::pin(stream::select(batches, end))
        });
        stream::iter(plan.missing.iter().map(|id| missing(self, *id)))
            .chain(ranges.flatten_unordered(at_once).flatten())
    }

    async fn stream_range(self, from: FetchFrom, wanted: Wanted, send: Opened, ahead: &Ahead) {
        // With no memory in hand: the first read of the pack may wait for some.
        let turn = ahead.turn(&wanted).await;
        if let Turn::Refused(error) = &turn {
            // Nobody may be listening any more: then this task is at its end, too.
            return drop(send.send(wanted.failed(error)).await);
        }
        let _grant = self.shared().fetching.ranges.acquire(wanted.range.length).await;
        let got = self.fetch_range(from, &wanted).await;
        let turn = turn.done(&got);
        match got {
            Got::Bytes(bytes) => self.stream_opened(from, wanted, &bytes, &send).await,
            Got::Each => self.stream_each(from, wanted.entries, &send, turn).await,
            // Nobody may be listening any more: then this task is at its end, too.
            Got::Failed(error) => drop(send.send(wanted.failed(&error)).await),
        }
    }

    async fn stream_opened(&self, from: FetchFrom, wanted: Wanted, bytes: &Bytes, send: &Opened) {
        let Wanted { pack, range, entries, .. } = wanted;
        let again = self.may_be_cached(from, &pack);
        let range = Arc::new(range);
        let mut left = Vec::new();
        for run in runs(entries) {
            let memory = run.iter().map(opened_bytes).sum();
            let opened = self.shared().fetching.opened.acquire(memory).await;
            let (batch, failed) = self.open_run(run, &range, bytes, again).await;
            // From here on it is the stream's, which nothing may wait for with memory in hand.
            drop(opened);
            left.extend(failed);
            if send.send(batch).await.is_err() {
                return;
            }
        }
        self.stream_each(from, left, send, None).await;
    }

    /// Opens a run on a thread of the pool. Gives what is to be read by itself besides: where it is
    /// worth it to try `again`, what doesn't open.
    async fn open_run(
        &self,
        run: Vec<IndexEntry>,
        range: &Arc<RangeRead>,
        bytes: &Bytes,
        again: bool,
    ) -> (Vec<Fetched>, Vec<IndexEntry>) {
        let (shared, range, bytes) = (self.shared().clone(), range.clone(), bytes.clone());
        let open = move || {
            let (mut opened, mut failed) = (Vec::with_capacity(run.len()), Vec::new());
            for entry in run {
                let sealed = slice_of(&range, &entry, &bytes);
                match sealed.map(|sealed| shared.open_sealed(&entry, &sealed)) {
                    None => failed.push(entry),
                    Some(Err(_)) if again => failed.push(entry),
                    Some(result) => opened.push((entry.id, result)),
                }
            }
            (opened, failed)
        };
        self.cpu().run(open).await
    }

    async fn stream_each(
        &self,
        from: FetchFrom,
        entries: Vec<IndexEntry>,
        send: &Opened,
        mut turn: Option<Turn>,
    ) {
        let outage: OnceLock<RepoError> = OnceLock::new();
        for run in runs(entries) {
            let read = self.read_each(from, &run, &outage).await;
            if let Some(turn) = turn.take() {
                turn.done_each(&read);
            }
            if send.send(read).await.is_err() {
                return;
            }
        }
    }
}
