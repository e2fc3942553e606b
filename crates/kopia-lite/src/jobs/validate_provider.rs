//! Does a storage do what clients of Kopia's format rely on? Blobs are written, read and listed below
//! an ID that nothing else has, by several connections at once, and deleted in the end.
//!
//! The stages are those of Kopia's `repository validate-provider`.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use blob_core::{
    BlobError, BlobId, Clock, DynStorage, Entropy, OsEntropy, Payload, PutOptions, ReadRange,
    SeededEntropy, SystemClock,
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long many work at once.
    pub duration: Duration,
    /// Who put blobs meanwhile.
    pub put_workers: usize,
    /// Who read them.
    pub get_workers: usize,
    /// Who ask for their metadata.
    pub head_workers: usize,
}

/// The time of a blob may differ by so much from this machine's, as in Kopia.
const DRIFT_MAX: Duration = Duration::from_secs(3 * 60);
/// Bytes of the blob that ranges are read of.
const BLOB_BYTES: usize = 5_000_000;
/// Bytes of the longest blob while many work at once, as in Kopia.
const CONCURRENT_BYTES_MAX: u64 = 10_000_000;
/// Deletions at once.
const DELETING: usize = 8;

/// Tries `storages`, connections to one storage, until `stop` is there. `tell` hears the stages.
/// Deletes what it wrote, however it ends.
///
/// # Errors
/// What the storage does not do, in a sentence; or that it was stopped.
pub async fn validate(
    storages: &[DynStorage],
    options: &Options,
    tell: &(dyn Fn(&str) + Sync),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut random = [0; 16];
    OsEntropy.fill(&mut random);
    let trial = Trial { storages, prefix: format!("z{}", hex::encode(random)), tell };
    let tried = tokio::select! {
        tried = trial.run(options) => tried,
        () = stop => Err(anyhow::anyhow!("stopped")),
    };
    let cleaned = trial.clean_up().await.context("error deleting what was written");
    tried.and(cleaned)
}

struct Trial<'a> {
    storages: &'a [DynStorage],
    prefix: String,
    tell: &'a (dyn Fn(&str) + Sync),
}

/// A number below `below`, which is not 0.
fn below(below: u64) -> u64 {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes);
    u64::from_le_bytes(bytes) % below
}

impl Trial<'_> {
    /// One of the connections.
    fn any(&self) -> &DynStorage {
        &self.storages[usize::try_from(below(self.storages.len() as u64)).unwrap_or(0)]
    }

    fn id(&self, rest: &str) -> BlobId {
        BlobId::new(format!("{}{rest}", self.prefix)).expect("hexadecimal digits make an ID")
    }

    async fn run(&self, options: &Options) -> anyhow::Result<()> {
        (self.tell)("Validating storage capacity and usage");
        if let Some(volume) = self.any().volume() {
            let disk = volume.capacity().await?;
            ensure!(
                disk.available <= disk.capacity,
                "expected volume's free space ({}B) to be at most volume size ({}B)",
                disk.available,
                disk.capacity
            );
        }
        (self.tell)("Validating blob list responses");
        self.count("", 0).await?;
        (self.tell)("Validating non-existent blob responses");
        self.absent().await?;
        let bytes = [1, 2, 3, 4, 5].repeat(BLOB_BYTES / 5);
        (self.tell)(&format!("Writing blob ({} bytes)", bytes.len()));
        let id = self.id("a1");
        let put = self.any().put(&id, bytes.clone().into(), &PutOptions::default()).await;
        put.context("error writing blob #1")?;
        (self.tell)("Validating conditional creates...");
        let options_new = PutOptions { if_absent: true, ..PutOptions::default() };
        match self.any().put(&id, Payload::from("c"), &options_new).await {
            Err(BlobError::AlreadyExists { .. } | BlobError::InvalidOption { .. }) => {}
            other => bail!("unexpected answer to a put of a blob that must be new: {other:?}"),
        }
        (self.tell)("Validating list responses...");
        for (rest, expected) in [("", 1), ("a", 1), ("b", 0)] {
            self.count(rest, expected).await?;
        }
        (self.tell)("Validating partial reads...");
        self.ranges(&id, &bytes).await?;
        (self.tell)("Validating full reads...");
        let read = self.any().get(&id, ReadRange::Full).await.context("error reading a blob")?;
        ensure!(read == bytes, "got unexpected data after reading a blob");
        (self.tell)("Validating metadata...");
        self.metadata(&id, bytes.len() as u64).await?;
        let seconds = options.duration.as_secs();
        (self.tell)(&format!("Running concurrency test for {seconds}s..."));
        self.at_once(options).await.context("error validating concurrency")?;
        (self.tell)("All good.");
        Ok(())
    }

    async fn count(&self, rest: &str, expected: usize) -> anyhow::Result<()> {
        let prefix = format!("{}{rest}", self.prefix);
        let found: Vec<_> = self.any().list(&prefix).try_collect().await?;
        let count = found.len();
        ensure!(count == expected, "invalid blob count with {prefix}: {count}, wanted {expected}");
        Ok(())
    }

    async fn absent(&self) -> anyhow::Result<()> {
        let id = self.id("a1");
        let part = ReadRange::Bytes { offset: 0, length: 5 };
        let answers = [
            self.any().get(&id, ReadRange::Full).await.err(),
            self.any().get(&id, part).await.err(),
            self.any().head(&id).await.err(),
        ];
        for error in answers {
            let is_not_found = error.as_ref().is_some_and(BlobError::is_not_found);
            ensure!(is_not_found, "got unexpected answer for a non-existent blob: {error:?}");
        }
        Ok(())
    }

    async fn ranges(&self, id: &BlobId, bytes: &[u8]) -> anyhow::Result<()> {
        for (offset, length) in [(0, 10), (1, 10), (2, 1), (5, 0), (bytes.len() - 5, 5)] {
            let range = ReadRange::Bytes { offset: offset as u64, length: length as u64 };
            let read = self.any().get(id, range).await;
            let read = read.with_context(|| format!("error reading {length} bytes at {offset}"))?;
            ensure!(
                read == bytes[offset..offset + length],
                "got unexpected data after reading partial blob @{offset}+{length}"
            );
        }
        Ok(())
    }

    async fn metadata(&self, id: &BlobId, length: u64) -> anyhow::Result<()> {
        let meta = self.any().head(id).await.context("error getting metadata for blob")?;
        ensure!(meta.size == length, "invalid length in metadata: {}, wanted {length}", meta.size);
        let now = SystemClock.now();
        let drift = now.since(meta.modified).max(meta.modified.since(now));
        ensure!(
            drift <= DRIFT_MAX,
            "newly-written blob has a timestamp very different from local clock: {} s; the most is \
             {} s",
            drift.as_secs(),
            DRIFT_MAX.as_secs()
        );
        Ok(())
    }

    async fn at_once(&self, options: &Options) -> anyhow::Result<()> {
        let (known, end) = (Known::default(), Instant::now() + options.duration);
        let puts = try_join_all((0..options.put_workers).map(|_| self.put_until(end, &known)));
        let gets = try_join_all((0..options.get_workers).map(|_| self.get_until(end, &known)));
        let heads = try_join_all((0..options.head_workers).map(|_| self.head_until(end, &known)));
        futures::try_join!(puts, gets, heads)?;
        Ok(())
    }

    async fn put_until(&self, end: Instant, known: &Known) -> anyhow::Result<()> {
        while Instant::now() < end {
            let seed = below(u64::MAX);
            let bytes = bytes_of(seed);
            let id = self.id(&format!("b{seed:016x}"));
            let number = known.add(&id, seed);
            // Long enough for readers to ask for it before it is there.
            pause().await;
            let put = self.any().put(&id, bytes.into(), &PutOptions::default()).await;
            put.context("error writing blob")?;
            known.is_written(number);
        }
        Ok(())
    }

    async fn get_until(&self, end: Instant, known: &Known) -> anyhow::Result<()> {
        while Instant::now() < end {
            pause().await;
            let Some(blob) = known.any() else { continue };
            match self.any().get(&blob.id, ReadRange::Full).await {
                Ok(read) => {
                    ensure!(read == bytes_of(blob.seed), "invalid data read for {}", blob.id);
                }
                Err(error) if error.is_not_found() && !blob.is_written => {}
                Err(error) => bail!("unexpected error when reading {}: {error}", blob.id),
            }
        }
        Ok(())
    }

    async fn head_until(&self, end: Instant, known: &Known) -> anyhow::Result<()> {
        while Instant::now() < end {
            pause().await;
            let Some(blob) = known.any() else { continue };
            match self.any().head(&blob.id).await {
                Ok(meta) => {
                    let length = bytes_of(blob.seed).len() as u64;
                    ensure!(meta.size == length, "unexpected length of {}: {}", blob.id, meta.size);
                }
                Err(error) if error.is_not_found() && !blob.is_written => {}
                Err(error) => bail!("unexpected error about {}: {error}", blob.id),
            }
        }
        Ok(())
    }

    async fn clean_up(&self) -> anyhow::Result<()> {
        let storage = &self.storages[0];
        let found: Vec<_> = storage.list(&self.prefix).try_collect().await?;
        let deletes: Vec<_> = found.iter().map(|meta| storage.delete(&meta.id)).collect();
        stream::iter(deletes).buffer_unordered(DELETING).try_collect::<()>().await?;
        Ok(())
    }
}

/// Up to half a second, as in Kopia.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(below(500))).await;
}

fn bytes_of(seed: u64) -> Vec<u8> {
    let length = 16 + seed % (CONCURRENT_BYTES_MAX - 16);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(16)];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes
}

/// A blob that somebody writes or has written.
#[derive(Debug, Clone)]
struct Written {
    id: BlobId,
    seed: u64,
    is_written: bool,
}

/// The blobs that all know of.
#[derive(Debug, Default)]
struct Known(Mutex<Vec<Written>>);

impl Known {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: &BlobId, seed: u64) -> usize {
        let mut all = self.all();
        all.push(Written { id: id.clone(), seed, is_written: false });
        all.len() - 1
    }

    fn is_written(&self, number: usize) {
        self.all()[number].is_written = true;
    }

    fn any(&self) -> Option<Written> {
        let all = self.all();
        let number = below((all.len() as u64).max(1));
        all.get(usize::try_from(number).unwrap_or(0)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use blob_core::{MemoryStorage, layers::Operation};
    use blob_testkit::{Fault, FaultyStorage, Rule};

    use super::*;

    const SHORT: Options = Options {
        duration: Duration::from_millis(600),
        put_workers: 2,
        get_workers: 2,
        head_workers: 2,
    };

    #[tokio::test]
    async fn a_good_storage_passes_and_keeps_nothing() {
        let memory = Arc::new(MemoryStorage::new());
        let storage: DynStorage = memory.clone();
        let stages = Mutex::new(Vec::new());
        let tell = |stage: &str| stages.lock().unwrap().push(stage.to_owned());
        validate(&[storage.clone(), storage], &SHORT, &tell, pending()).await.unwrap();
        assert!(memory.is_empty());
        assert_eq!(stages.lock().unwrap().last().unwrap(), "All good.");
    }

    #[tokio::test]
    async fn what_a_storage_does_wrong_is_named() {
        let cases: [(Operation, usize, &str); 3] = [
            (Operation::Put, 0, "error writing blob #1"),
            (Operation::Head, 1, "error getting metadata for blob"),
            (Operation::Get, 2, "error reading 10 bytes at 0"),
        ];
        for (op, skip, expected) in cases {
            let memory = Arc::new(MemoryStorage::new());
            let faulty = FaultyStorage::over(memory.clone());
            faulty.rule(Rule::new(Fault::before(Fault::transient)).on(op).skip(skip).times(1));
            let storage: DynStorage = faulty;
            let error = validate(&[storage], &SHORT, &|_| {}, pending()).await.unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
            assert!(memory.is_empty(), "{expected}");
        }
    }

    #[tokio::test]
    async fn what_is_stopped_leaves_nothing_behind() {
        let memory = Arc::new(MemoryStorage::new());
        let storage: DynStorage = memory.clone();
        let long = Options { duration: Duration::from_secs(3600), ..SHORT };
        let stop = tokio::time::sleep(Duration::from_millis(700));
        let error = validate(&[storage], &long, &|_| {}, stop).await.unwrap_err();
        assert_eq!(error.to_string(), "stopped");
        assert!(memory.is_empty());
    }
}
