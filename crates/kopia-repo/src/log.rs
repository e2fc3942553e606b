//! Logs in the repository: written beside the work, read again, and which of them are old.
//!
//! A [`RepositoryLog`] takes lines at once and sends chunks of them in the background, so that who
//! does the work never waits for its log. A chunk that could not be put stays and is put again by the
//! next [`flush`](RepositoryLog::flush). Format: `docs/format/08-maintenance.md`, section 9;
//! [`kopia_format::log`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use blob_core::{BlobId, ReadRange};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    FormatError,
    log::{
        ExpiredLogs, LOG_BLOB_PREFIX, LogBlob, LogBlobName, LogChunk, LogSessions, LogText,
        RETAINED_PREFIX, client_span, expired_logs, log_line, log_sessions, random_span,
        session_id,
    },
    maintenance::LogRetention,
    time::GoTime,
};
use serde::Serialize;

use crate::{
    RepoError, Repository, Result,
    create::put_options,
    state::{Shared, blob_id, random},
};

/// Chunks that are full and not yet in the storage: 16 MiB of memory at most. While there are as
/// many, and the open one is full, lines are counted instead of kept.
const CLOSED_MAX: usize = 4;

/// A log blob with more bytes than this is none: a chunk has 4 MiB, a long line, and error
/// correction.
const LOG_BLOB_BYTES_MAX: u64 = 64 << 20;

/// One log of one process. Clones write to the same.
///
/// Lines that were not flushed when the last clone is dropped are lost.
#[derive(Debug, Clone)]
pub struct RepositoryLog {
    /// What every line says: who, in which repository session, which part of the program.
    about: Vec<(String, String)>,
    /// `None`: lines go nowhere.
    writing: Option<Arc<Writing>>,
}

#[derive(Debug)]
struct Writing {
    shared: Arc<Shared>,
    chunks: Mutex<Chunks>,
    /// Held by the one who puts, so that chunks are put in their order and one at a time.
    putting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Chunks {
    /// The ID of the log.
    session: String,
    open: Option<Open>,
    closed: VecDeque<Closed>,
    /// Chunks of this log so far.
    count: u64,
    /// Lines that there was no room for since the last that was taken.
    lost: u64,
}

#[derive(Debug)]
struct Open {
    chunk: LogChunk,
    start_secs: i64,
}

#[derive(Debug, Clone)]
struct Closed {
    name: LogBlobName,
    bytes: Bytes,
}

impl Chunks {
    fn new(session: String) -> Self {
        Self { session, open: None, closed: VecDeque::new(), count: 0, lost: 0 }
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.chunk.is_full())
    }

    /// Takes a line that was made at `now`, whatever there is already.
    fn push(&mut self, line: &[u8], now: i64) {
        let new = || Open { chunk: LogChunk::default(), start_secs: now };
        if self.open.get_or_insert_with(new).chunk.push(line).is_err() {
            self.lost += 1;
        }
    }

    fn close(&mut self, now: i64) {
        let Some(Open { chunk, start_secs }) = self.open.take() else { return };
        let Ok(bytes) = chunk.finish() else {
            self.lost += 1;
            return;
        };
        self.count += 1;
        let (session, chunk) = (self.session.clone(), self.count);
        let name = LogBlobName { session, start_secs, end_secs: now, chunk };
        self.closed.push_back(Closed { name, bytes: bytes.into() });
    }
}

impl Writing {
    fn chunks(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts all closed chunks.
    async fn put_closed(&self) -> Result<()> {
        let _one_at_a_time = self.putting.lock().await;
        loop {
            let Some(next) = self.chunks().closed.front().cloned() else { return Ok(()) };
            self.put(next).await?;
            self.chunks().closed.pop_front();
        }
    }

    async fn put(&self, closed: Closed) -> Result<()> {
        let (prefix, bytes) = (closed.name.prefix(), closed.bytes);
        let (codec, nonce) = (Arc::clone(&self.shared.codec), self.shared.nonce());
        let seal = move || codec.seal_blob(&prefix, "", nonce, &bytes);
        let (id, sealed) = self.shared.cpu.run(seal).await;
        let id = blob_id(&id)?;
        let options = put_options(&self.shared.format.loaded().blob_config, &id);
        self.shared.storage.put(&id, sealed.into(), &options).await?;
        Ok(())
    }
}

impl RepositoryLog {
    /// A log that keeps nothing, for those who ask for none.
    pub fn nowhere() -> Self {
        Self { about: Vec::new(), writing: None }
    }

    /// The same log for another part of the program: the `n` of its lines.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let mut other = self.clone();
        // Spans of an inner part come behind the name, as Kopia has them.
        match other.about.iter_mut().find(|(key, _)| key == "n") {
            Some((_, value)) => name.clone_into(value),
            None => other.about.push(("n".to_owned(), name.to_owned())),
        }
        other
    }

    /// The same log for something that has a beginning and an end: all its lines have the same
    /// random value for `span:` and `kind`.
    #[must_use]
    pub fn span(&self, kind: &str) -> Self {
        let mut other = self.clone();
        if let Some(writing) = &self.writing {
            let value = random_span(random(writing.shared.env()));
            other.about.push((format!("span:{kind}"), value));
        }
        other
    }

    /// Takes a line: what happened, and the fields that go with it, a structure or a map.
    ///
    /// It never waits and never fails. If the storage takes chunks more slowly than they are filled,
    /// and some 20 MiB of them wait, lines are lost, and a line says how many.
    pub fn append(&self, message: &str, fields: &impl Serialize) {
        let Some(writing) = &self.writing else { return };
        let now = writing.shared.env().clock.now();
        let line = log_line(GoTime::from_unix_nanos(now.nanos()), &self.about, message, fields);
        let now = now.secs();
        let mut chunks = writing.chunks();
        let is_full = chunks.is_full();
        if is_full && chunks.closed.len() >= CLOSED_MAX {
            chunks.lost += 1;
            return;
        }
        if is_full {
            chunks.close(now);
        }
        self.tell_what_was_lost(writing, &mut chunks);
        chunks.push(&line, now);
        drop(chunks);
        if is_full {
            self.put_soon();
        }
    }

    fn tell_what_was_lost(&self, writing: &Writing, chunks: &mut Chunks) {
        let lines = std::mem::take(&mut chunks.lost);
        if lines == 0 {
            return;
        }
        let now = writing.shared.env().clock.now();
        let lost = BTreeMap::from([("lines", lines)]);
        let time = GoTime::from_unix_nanos(now.nanos());
        let line = log_line(time, &self.about, "lines of this log were lost", &lost);
        chunks.push(&line, now.secs());
    }

    /// Puts what is closed in the background, where there is a runtime for that. What fails is
    /// told to the next who flushes.
    fn put_soon(&self) {
        let Some(writing) = self.writing.clone() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = writing.put_closed().await {
                    tracing::warn!(%error, "a chunk of the repository's log is kept back");
                }
            });
        }
    }

    /// Puts all lines taken so far; then they are in the repository. Without lines it does nothing.
    /// Each flush makes a blob, so it is for the end, or for before something that must not go
    /// unexplained.
    ///
    /// # Errors
    /// What the storage may give. Then nothing is lost, and another flush tries again.
    pub async fn flush(&self) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        {
            let mut chunks = writing.chunks();
            self.tell_what_was_lost(writing, &mut chunks);
            chunks.close(writing.shared.now_secs());
        }
        writing.put_closed().await
    }
}

impl Repository {
    /// Begins a log of this process, whose lines have `name` as their `n` until another is
    /// [`named`](RepositoryLog::named). Nothing is put before there is a line.
    ///
    /// `utc_offset_secs` is how far the local time is ahead of UTC, in seconds: the names of logs
    /// begin with the local time, for people. Nothing reads it.
    ///
    /// # Errors
    /// [`RepoError::ReadOnly`].
    pub fn log(&self, name: &str, utc_offset_secs: i32) -> Result<RepositoryLog> {
        self.check_writable("writing a log")?;
        let (shared, env) = (self.shared(), self.env());
        let local = env.clock.now().secs().saturating_add(i64::from(utc_offset_secs));
        let session = session_id(GoTime::from_secs(local), random(env));
        let writing = Writing {
            shared: Arc::clone(shared),
            chunks: Mutex::new(Chunks::new(session)),
            putting: tokio::sync::Mutex::default(),
        };
        let about = [
            ("span:client", client_span(self.username(), self.hostname())),
            ("span:repo", random_span(random(env))),
            ("n", name.to_owned()),
        ];
        let about = about.map(|(key, value)| (key.to_owned(), value)).into();
        Ok(RepositoryLog { about, writing: Some(Arc::new(writing)) })
    }

    /// The logs in the repository, by their names.
    ///
    /// # Errors
    /// What listing may give.
    pub async fn log_sessions(&self) -> Result<LogSessions> {
        Ok(log_sessions(self.log_blobs(LOG_BLOB_PREFIX).await?))
    }

    /// Reads a chunk of a log.
    ///
    /// # Errors
    /// [`RepoError::BlobDamaged`] when it does not decrypt, or is longer than a log can be (64 MiB);
    /// and what the storage may give.
    pub async fn read_log(&self, chunk: &LogBlob) -> Result<LogText> {
        let id = blob_id(&chunk.id)?;
        let damaged = |source| RepoError::BlobDamaged { blob: id.clone(), source };
        if chunk.length > LOG_BLOB_BYTES_MAX {
            let reason = format!("{} bytes are too many", chunk.length);
            return Err(damaged(FormatError::malformed("log", reason)));
        }
        let sealed = self.storage().get(&id, ReadRange::Full).await?;
        let plain = self.codec().open_blob(id.as_str(), &sealed).map_err(damaged)?;
        Ok(LogText::new(plain))
    }

    /// The logs that `retention` has no room for, by the clock of this machine and the times of the
    /// storage. Nothing is deleted.
    ///
    /// # Errors
    /// What listing may give.
    pub async fn expired_logs(&self, retention: &LogRetention) -> Result<ExpiredLogs> {
        let blobs = self.log_blobs(RETAINED_PREFIX).await?;
        let now = GoTime::from_unix_nanos(self.env().clock.now().nanos());
        Ok(expired_logs(blobs, retention, now))
    }

    /// Deletes logs, oldest last, several at once. Gives how many.
    ///
    /// # Errors
    /// [`RepoError::ReadOnly`]; [`RepoError::Unsupported`] for a blob that retention is not about,
    /// before anything is deleted; and what the storage may give, which ends it.
    pub async fn delete_logs(&self, logs: &[LogBlob]) -> Result<usize> {
        self.check_writable("deleting logs")?;
        let ids: Vec<BlobId> = logs.iter().map(|log| blob_id(&log.id)).collect::<Result<_>>()?;
        if let Some(other) = ids.iter().find(|id| !id.starts_with(RETAINED_PREFIX)) {
            let reason = format!("blob {other} is no log");
            return Err(RepoError::Unsupported { op: "deleting logs", reason });
        }
        let deletes = stream::iter(&ids).map(|id| self.storage().delete(id));
        deletes.buffer_unordered(self.shared().requests_max()).try_collect::<()>().await?;
        Ok(ids.len())
    }

    async fn log_blobs(&self, prefix: &str) -> Result<Vec<LogBlob>> {
        let blobs = self.storage().list(prefix).map_ok(|meta| LogBlob {
            timestamp: GoTime::from_unix_nanos(meta.modified.nanos()),
            id: meta.id.as_str().to_owned(),
            length: meta.size,
        });
        Ok(blobs.try_collect().await?)
    }
}
