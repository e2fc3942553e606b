//! How long full maintenance takes by the number of contents, how much memory, how many requests.
//!
//! `cargo bench -p kopia-lite --bench maintenance -- --contents 100000,1000000` makes a repository of
//! so many contents in memory, ten snapshots of nine tenths of them, and the other tenth garbage in
//! packs of its own; and maintains it without margins, so that all is done in one cycle: the walk,
//! marks, dropping, deletion of the dead packs, moving of metadata. Folders, indexes and metadata
//! packs are real; a data pack has no more than its name, for none is read. Memory is what the
//! process's peak rises by. With `--make FOLDER` a repository of that kind is left in the folder
//! instead, for other programs to maintain. Without arguments nothing is done: a test run of all
//! targets ends at once.

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use blob_core::{
    BlobId, DynStorage, MemoryStorage, PutOptions, StorageStack,
    layers::{Metrics, Operation},
};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_fixtures::made::{hash, peak, reset_peak};
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    index::IndexEntry,
    snapshot::{SnapshotManifest, Source},
};
use kopia_lite::jobs::maintenance::Snapshots;
use kopia_maintenance::{
    Event, Maintenance, MaintenanceError, Mode, Options, Which, plan::TaskPlan, safety::Margins,
};
use kopia_repo::{CreateOptions, ObjectOptions, OpenOptions, Repository, RepositoryWriter};
use kopia_snapshot::{manifests, tree::made_up_entry};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a password for tests";
/// Contents of a folder.
const FOLDER: u64 = 1_000;
/// Contents of a pack.
const PACK: u64 = 20;
/// Of so many packs one is garbage.
const GARBAGE: u64 = 10;
const SNAPSHOTS: u64 = 10;
/// Index blobs of data.
const BLOBS: u64 = 12;
/// Bytes of a content, so that packs are not short.
const CONTENT_BYTES: u32 = 1 << 20;
/// Long ago.
const WRITTEN: i64 = 1_700_000_000;
/// What is to be known.
const GOAL: f64 = 75e6;

/// What one cycle took.
struct Sample {
    contents: f64,
    seconds: f64,
    mib: f64,
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let Some(contents) = after("--contents") else {
        println!("usage: --contents N[,N...] [--make FOLDER]");
        return Ok(());
    };
    let contents: Vec<u64> = contents.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(folder) = after("--make") {
            let options = FilesystemOptions::at(PathBuf::from(folder));
            let storage = Arc::new(FilesystemStorage::create(options, None).await?);
            return generate(&(storage as DynStorage), contents[0]).await;
        }
        println!(
            "  contents   seconds   more MiB   us/content   bytes/content   GET  PUT  DELETE  LIST"
        );
        let mut samples = Vec::new();
        for contents in contents {
            samples.push(measure(contents).await?);
        }
        extrapolate(&samples);
        Ok(())
    })
}

/// By the line through the last two: what comes with each further content.
fn extrapolate(samples: &[Sample]) {
    let [.., a, b] = samples else { return };
    let per = |of: fn(&Sample) -> f64| (of(b) - of(a)) / (b.contents - a.contents);
    let at = |of: fn(&Sample) -> f64| of(b) + per(of) * (GOAL - b.contents);
    println!(
        "each further content: {:.2} us, {:.0} bytes; so 75 million: {:.0} s, {:.0} MiB",
        per(|it| it.seconds) * 1e6,
        per(|it| it.mib) * f64::from(1 << 20),
        at(|it| it.seconds),
        at(|it| it.mib),
    );
}

async fn measure(contents: u64) -> Outcome<Sample> {
    let metrics = Metrics::new();
    let storage: DynStorage =
        StorageStack::over(Arc::new(MemoryStorage::new())).layer(metrics.clone()).build();
    generate(&storage, contents).await?;
    let counted = metrics.snapshot();
    let lists = metrics.usage().lists;
    let (before, begun) = (reset_peak()?, Instant::now());
    let repo = open(&storage).await?;
    let (reach, stop) = (Snapshots(&repo), CancellationToken::new());
    let options = Options { margins: Margins::NONE, force: true, ..Options::default() };
    let log = repo.log("maintenance", 0)?;
    let last = std::sync::Mutex::new(Instant::now());
    let events = |event: &Event<'_>| tell(event, &last);
    let maintenance = Maintenance::new(&repo, &options, &reach, &events, &log, &stop);
    let report = maintenance.run(Which::This(Mode::Full)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mib = (peak()? - before) as f64 / 1024.0;
    if let Some((task, error)) = report.failed.first() {
        return Err(format!("{task} failed: {error}").into());
    }
    let dead = contents / PACK / GARBAGE;
    assert!(report.deleted().count >= dead, "{dead} dead packs must go");
    let requests = metrics.snapshot().since(&counted);
    let of = |operation| requests.total(operation).attempts;
    println!(
        "{contents:>10} {seconds:>9.2} {mib:>10.1} {:>12.2} {:>15.0} {:>5} {:>4} {:>7} {:>5}",
        seconds * 1e6 / contents as f64,
        mib * f64::from(1 << 20) / contents as f64,
        of(Operation::Get),
        of(Operation::Put),
        of(Operation::Delete),
        metrics.usage().lists - lists,
    );
    Ok(Sample { contents: contents as f64, seconds, mib })
}

/// How long each task took.
fn tell(event: &Event<'_>, last: &std::sync::Mutex<Instant>) {
    let since = |mut last: std::sync::MutexGuard<'_, Instant>| {
        let took = last.elapsed();
        *last = Instant::now();
        took
    };
    let done = |plan: &TaskPlan, what: &str| {
        let Ok(last) = last.lock() else { return };
        let took = since(last);
        if took.as_millis() >= 10 {
            println!("  # {:>8.2} s  {} {what}", took.as_secs_f64(), plan.task);
        }
    };
    match event {
        Event::Planned(plan) => done(plan, "planned"),
        Event::Done(plan, _) => done(plan, "done"),
        Event::Failed(task, error) => {
            let error: &MaintenanceError = error;
            println!("  # {task}: {error}");
        }
        _ => {}
    }
}

async fn open(storage: &DynStorage) -> Outcome<Repository> {
    let options = OpenOptions::default();
    Ok(Repository::open(storage.clone(), &PASSWORD.into(), options).await?)
}

/// Makes the repository.
async fn generate(storage: &DynStorage, contents: u64) -> Outcome<()> {
    Repository::create(storage.clone(), &PASSWORD.into(), CreateOptions::default()).await?;
    let repo = open(storage).await?;
    for blob in 0..BLOBS {
        put_index(&repo, blob, contents).await?;
    }
    let packs = (0..contents).step_by(PACK as usize).map(|n| BlobId::new(pack(n)));
    let packs: Vec<BlobId> = packs.collect::<Result<_, _>>()?;
    let put = |id: &BlobId| {
        let (id, storage) = (id.clone(), repo.storage());
        async move { storage.put(&id, vec![0].into(), &PutOptions::default()).await }
    };
    stream::iter(&packs).map(put).buffer_unordered(16).try_for_each(async |_| Ok(())).await?;
    let repo = open(storage).await?;
    let writer = repo.writer()?;
    let mut folders = Vec::new();
    for first in (0..contents).step_by(FOLDER as usize) {
        folders.push(files(&writer, first, contents, folders.len() as u64).await?);
    }
    for n in 0..SNAPSHOTS {
        if n > 0 {
            let at = (n * 7 % folders.len() as u64) as usize;
            folders[at] = files(&writer, at as u64 * FOLDER, contents, contents + n).await?;
        }
        let mut builder = DirectoryBuilder::new();
        folders.iter().for_each(|folder| builder.add(folder.clone()));
        let manifest = SnapshotManifest {
            source: Source::new("host", "user", "/made"),
            root_entry: Some(folder(&writer, builder, "").await?),
            ..SnapshotManifest::default()
        };
        manifests::save(&writer, &manifest).await?;
    }
    writer.flush().await?;
    Ok(())
}

/// A folder of the files of the contents from `first` on, without garbage; `age` makes it another
/// one.
async fn files(
    writer: &RepositoryWriter,
    first: u64,
    contents: u64,
    age: u64,
) -> Outcome<DirEntry> {
    let mut builder = DirectoryBuilder::new();
    for n in (first..(first + FOLDER).min(contents)).filter(|n| !is_garbage(*n)) {
        let (name, kind) = (format!("file {n:07}").into_bytes(), EntryKind::File);
        let mtime = WRITTEN * 1_000_000_000 + (age * FOLDER + n) as i64;
        let (object, size) = (content(n).into(), CONTENT_BYTES.into());
        builder.add(DirEntry { name, kind, size, mtime, ..made_up_entry(object) });
    }
    folder(writer, builder, &format!("folder {first:09}")).await
}

async fn folder(
    writer: &RepositoryWriter,
    builder: DirectoryBuilder,
    name: &str,
) -> Outcome<DirEntry> {
    let bytes = builder.build(0, "").to_bytes();
    let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let object: ObjectId = writer.write_object(bytes.into(), options).await?;
    let name = name.as_bytes().to_vec();
    Ok(DirEntry { name, kind: EntryKind::Directory, ..made_up_entry(object) })
}

fn is_garbage(n: u64) -> bool {
    n / PACK % GARBAGE == GARBAGE - 1
}

/// The pack of content number `n`.
fn pack(n: u64) -> String {
    format!("p{:032x}-s{:019x}", hash(n / PACK), n / PACK / 1000)
}

/// Puts an index blob of every so many-th content.
async fn put_index(repo: &Repository, blob: u64, contents: u64) -> Outcome<()> {
    let numbers = (blob..contents).step_by(BLOBS as usize);
    let mut numbers: Vec<(ContentId, u64)> = numbers.map(|n| (content(n), n)).collect();
    // In the order of IDs, which a builder takes ten times faster than in any other.
    numbers.sort_unstable();
    let entries = numbers
        .into_iter()
        .map(|(id, n)| IndexEntry {
            id,
            pack: pack(n).into(),
            offset: (n % PACK) as u32 * (CONTENT_BYTES + 28),
            packed_length: CONTENT_BYTES + 28,
            original_length: CONTENT_BYTES,
            timestamp: WRITTEN,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        })
        .collect();
    Ok(repo.write_entries(entries).await?)
}

/// The content number `n`.
fn content(n: u64) -> ContentId {
    ContentId::new(None, &hash(n).to_be_bytes()).expect("sixteen bytes")
}
