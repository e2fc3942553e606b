//! Makes a repository in a folder older: as if hours had passed since all that is in it.
//!
//! `age FOLDER SECONDS`, with the password in `KOPIA_PASSWORD`, moves every time back that a client
//! compares with a clock: of blobs, of index entries, of deletion watermarks, of the history of
//! maintenance and of session markers. What hashes name is sealed anew, under its new name. So the
//! margins of maintenance can be seen at work on real clients with their real clocks, which no flag
//! moves (`cargo xtask interop`). Nobody else may use the repository meanwhile, and what clients
//! remember of names of index blobs is wrong afterwards. Times that no margin looks at stay: of
//! snapshots, of manifests, in the names of logs.

use std::{
    collections::HashMap,
    error::Error,
    fs::{self, File, FileTimes},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use blob_core::{BlobId, BlobMeta, Payload, PutOptions, ReadRange, Timestamp};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use futures::TryStreamExt;
use kopia_format::{
    epoch::{IndexBlobName, watermark_name},
    index::{Index, IndexBlob, IndexEntry, encode_sorted},
    legacy::{CleanupSchedule, CompactionLog},
    maintenance::{MAINTENANCE_BLOB_ID, MaintenanceSchedule},
    session::SessionMarker,
    time::GoTime,
};
use kopia_repo::{OpenOptions, Repository};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seconds] = &words[..] else {
        println!("usage: KOPIA_PASSWORD=... age FOLDER SECONDS");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(age(Path::new(folder), Duration::from_secs(seconds.parse()?)))
}

async fn age(folder: &Path, by: Duration) -> Outcome<()> {
    let storage = FilesystemStorage::open(FilesystemOptions::at(folder)).await?;
    let password = std::env::var("KOPIA_PASSWORD")?.into();
    let repo = Repository::open(Arc::new(storage), &password, OpenOptions::default()).await?;
    let blobs: Vec<BlobMeta> = repo.storage().list("").try_collect().await?;
    let mut ageing = Ageing { repo: &repo, by, renamed: HashMap::new(), times: HashMap::new() };
    for blob in &blobs {
        ageing.times.insert(blob.id.as_str().to_owned(), blob.modified);
    }
    // Compaction logs name index blobs, and cleanup schedules name logs: in this order.
    for kind in ["x", "n", "m", "l", "s", MAINTENANCE_BLOB_ID] {
        for blob in blobs.iter().filter(|blob| blob.id.as_str().starts_with(kind)) {
            ageing.blob(blob).await?;
        }
    }
    let count = set_times(folder, "", &ageing)?;
    println!(
        "{count} blobs are older by {} s, {} under new names",
        by.as_secs(),
        ageing.renamed.len()
    );
    Ok(())
}

struct Ageing<'a> {
    repo: &'a Repository,
    by: Duration,
    /// Blobs by the names that they had.
    renamed: HashMap<String, String>,
    /// When each blob was written, by its name now.
    times: HashMap<String, Timestamp>,
}

impl Ageing<'_> {
    async fn blob(&mut self, blob: &BlobMeta) -> Outcome<()> {
        let name = blob.id.as_str();
        if let Some(IndexBlobName::Watermark(seconds)) = IndexBlobName::parse(name) {
            let body = self.read(&blob.id).await?;
            let older = watermark_name(seconds - self.seconds());
            return self.replace(blob, older, body).await;
        }
        if name == MAINTENANCE_BLOB_ID {
            let key = self.repo.maintenance_key()?;
            let mut schedule = MaintenanceSchedule::decrypt(&self.read(&blob.id).await?, &key)?;
            self.schedule(&mut schedule);
            let sealed = schedule.encrypt(&key, self.nonce());
            return self.replace(blob, name.to_owned(), sealed).await;
        }
        let sealed = self.read(&blob.id).await?;
        let Some(plain) = self.older(name, &sealed)? else { return Ok(()) };
        // The name: a prefix, the hash of the plain bytes, and what a session appends.
        let (stem, suffix) = name.find('-').map_or((name, ""), |at| name.split_at(at));
        let digits = 2 * self.repo.codec().hasher().output_len();
        let prefix = &stem[..stem.len() - digits];
        let (older, sealed) = self.repo.codec().seal_blob(prefix, suffix, self.nonce(), &plain);
        self.replace(blob, older, sealed).await
    }

    /// The plain bytes of a blob with older times; `None` for one that has none.
    fn older(&self, name: &str, sealed: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let open = || self.repo.codec().open_blob(name, sealed);
        let is_index = match IndexBlobName::parse(name) {
            Some(IndexBlobName::Marker(_) | IndexBlobName::Watermark(_)) => return Ok(None),
            Some(_) => true,
            None => name.starts_with('n'),
        };
        Ok(match name.as_bytes()[0] {
            _ if is_index => Some(self.index(&open()?)?),
            b'm' => {
                let mut log = CompactionLog::parse(&open()?)?;
                let all = log.input_metadata.iter_mut().chain(&mut log.output_metadata);
                all.for_each(|blob| self.index_blob(blob));
                Some(log.to_bytes())
            }
            b'l' => {
                let mut schedule = CleanupSchedule::parse(&open()?)?;
                self.time(&mut schedule.cleanup_schedule_time);
                schedule.blob_ids.iter_mut().for_each(|id| self.name(id));
                Some(schedule.to_bytes())
            }
            b's' => {
                let mut marker = SessionMarker::parse(&open()?)?;
                self.time(&mut marker.start_time);
                self.time(&mut marker.checkpoint_time);
                Some(marker.to_bytes())
            }
            _ => None,
        })
    }

    fn index(&self, plain: &[u8]) -> Outcome<Vec<u8>> {
        let index = Index::parse(plain)?;
        let seconds = self.seconds();
        let entries: Vec<IndexEntry> = index
            .iter()
            .map(|entry| IndexEntry { timestamp: entry.timestamp - seconds, ..entry })
            .collect();
        Ok(encode_sorted(index.version(), || entries.iter(), None)?)
    }

    fn index_blob(&self, blob: &mut IndexBlob) {
        self.name(&mut blob.id);
        self.time(&mut blob.timestamp);
    }

    fn name(&self, name: &mut String) {
        if let Some(now) = self.renamed.get(name) {
            name.clone_from(now);
        }
    }

    fn schedule(&self, schedule: &mut MaintenanceSchedule) {
        self.time(&mut schedule.next_full);
        self.time(&mut schedule.next_quick);
        for run in schedule.runs.values_mut().flatten() {
            self.time(&mut run.start);
            self.time(&mut run.end);
        }
    }

    fn time(&self, time: &mut GoTime) {
        if !time.is_zero() {
            *time = time.saturating_sub(self.by);
        }
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.by.as_secs()).unwrap_or(i64::MAX)
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        self.repo.env().entropy.fill(&mut nonce);
        nonce
    }

    async fn read(&self, id: &BlobId) -> Outcome<Vec<u8>> {
        Ok(self.repo.storage().get(id, ReadRange::Full).await?.to_vec())
    }

    async fn replace(&mut self, blob: &BlobMeta, name: String, bytes: Vec<u8>) -> Outcome<()> {
        let id = BlobId::new(name.as_str())?;
        self.repo.storage().put(&id, Payload::from(bytes), &PutOptions::default()).await?;
        self.times.insert(name.clone(), blob.modified);
        if id != blob.id {
            self.repo.storage().delete(&blob.id).await?;
            self.renamed.insert(blob.id.as_str().to_owned(), name);
        }
        Ok(())
    }
}

/// Sets the times of all files of blobs: the names of folders and file together are the ID.
fn set_times(folder: &Path, before: &str, ageing: &Ageing<'_>) -> Outcome<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a name is no text")?;
        let id = format!("{before}{name}");
        if entry.file_type()?.is_dir() {
            count += set_times(&entry.path(), &id, ageing)?;
        } else if let Some(written) = id.strip_suffix(".f").and_then(|id| ageing.times.get(id)) {
            let nanos = u64::try_from(written.nanos())?;
            let older = Duration::from_nanos(nanos).saturating_sub(ageing.by);
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + older);
            File::options().write(true).open(entry.path())?.set_times(times)?;
            count += 1;
        }
    }
    Ok(count)
}
