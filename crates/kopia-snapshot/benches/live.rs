//! How long it takes to mark what snapshots need, how much memory, and how many requests.
//!
//! `cargo bench -p kopia-snapshot --bench live -- --contents 1000000 --blobs 12 --snapshots 10`
//! makes a repository of so many contents of data in so many index blobs, in memory: folders of a
//! thousand, nine tenths of them files of their own, the others pieces of files of ten. Each
//! snapshot has all folders but one of the one before. Folders, lists and indexes are real; there
//! are no data packs, for no walk reads one. With `--cached` metadata packs and index blobs come
//! from a cache in a temporary folder that is warm. Memory is what the process's peak rises by.
//! Without arguments nothing is done: a test run of all targets ends at once.

use std::{
    error::Error,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use blob_core::{
    BlobId, DynStorage, MemoryStorage, Payload, PutOptions, StorageStack,
    layers::{Metrics, Operation},
};
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    epoch::{compaction_suffix, uncompacted_prefix},
    index::{IndexBuilder, IndexEntry},
    indirect::IndirectObject,
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{
    CacheOptions, CreateOptions, Marks, ObjectOptions, OpenOptions, Repository, RepositoryWriter,
};
use kopia_snapshot::{
    live::{live_roots, mark_live},
    manifests,
    tree::made_up_entry,
};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a password";
/// Contents of the files of a folder.
const FOLDER: u64 = 1_000;
/// Of these, so many are files of their own.
const SINGLE: u64 = 900;
/// Pieces of each other file.
const PIECES: u64 = 10;
/// Bytes of a content.
const CONTENT_BYTES: u32 = 1 << 20;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let Some(contents) = number("--contents") else {
        println!("usage: --contents N [--blobs N] [--snapshots N] [--cached]");
        return Ok(());
    };
    let (blobs, snapshots) = (number("--blobs").unwrap_or(12), number("--snapshots").unwrap_or(10));
    let is_cached = words.iter().any(|word| word == "--cached");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let metrics = Metrics::new();
        let memory = Arc::new(MemoryStorage::new());
        let storage: DynStorage = StorageStack::over(memory).layer(metrics.clone()).build();
        let begun = Instant::now();
        generate(&storage, contents, blobs.max(1), snapshots.max(1)).await?;
        println!("# {contents} contents of data made in {:.1?}", begun.elapsed());
        let cache = tempfile::tempdir()?;
        let cache = is_cached.then_some(cache.path());
        if cache.is_some() {
            measure(&storage, &metrics, cache).await?;
        }
        measure(&storage, &metrics, cache).await
    })
}

async fn open(storage: &DynStorage, cache: Option<&Path>) -> Outcome<Repository> {
    let cache = cache.map(|directory| CacheOptions {
        directory: directory.to_owned(),
        content_bytes_max: 1 << 30,
        metadata_bytes_max: 8 << 30,
    });
    let options = OpenOptions { cache, ..OpenOptions::default() };
    Ok(Repository::open(storage.clone(), &PASSWORD.into(), options).await?)
}

async fn measure(storage: &DynStorage, metrics: &Metrics, cache: Option<&Path>) -> Outcome<()> {
    let repo = open(storage, cache).await?;
    let view = repo.index().await?;
    let (before, counted) = (reset_peak()?, metrics.snapshot());
    let begun = Instant::now();
    let roots = live_roots(&repo).await?;
    let marks = Marks::new(view);
    let told = AtomicUsize::new(0);
    let progress = |_: &_| _ = told.fetch_add(1, Relaxed);
    let stats = mark_live(&repo, &marks, &roots, &progress, &CancellationToken::new()).await?;
    let walked = begun.elapsed();
    let risen = (peak()? - before) as f64 / 1024.0;
    let begun = Instant::now();
    let unmarked = marks.entries().filter(|(_, is_marked)| !is_marked).count();
    let iterated = begun.elapsed();
    let requests = metrics.snapshot().since(&counted);
    let gets = |prefix| requests.of(Operation::Get, prefix).attempts;
    println!("{stats:?}, told {} times", told.into_inner());
    println!(
        "marked {} of {} in {walked:.2?}, {risen:.1} MiB more, {} GET q, {} GET p; {unmarked} \
         unmarked among all in {iterated:.2?}",
        marks.count(),
        marks.view().entry_count(),
        gets("q"),
        gets("p"),
    );
    Ok(())
}

/// Makes the repository.
async fn generate(storage: &DynStorage, contents: u64, blobs: u64, snapshots: u64) -> Outcome<()> {
    Repository::create(storage.clone(), &PASSWORD.into(), CreateOptions::default()).await?;
    let repo = open(storage, None).await?;
    for blob in 0..blobs {
        put_index(&repo, blob, contents, blobs).await?;
    }
    let repo = open(storage, None).await?;
    let writer = repo.writer()?;
    let mut folders = Vec::new();
    for first in (0..contents).step_by(FOLDER as usize) {
        folders.push(files(&writer, first, contents, folders.len() as u64).await?);
    }
    for n in 0..snapshots {
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

/// A folder of the files of the contents from `first` on; `age` makes it another one.
async fn files(
    writer: &RepositoryWriter,
    first: u64,
    contents: u64,
    age: u64,
) -> Outcome<DirEntry> {
    let mut builder = DirectoryBuilder::new();
    let mut add = |n: u64, object, size: u64| {
        let (name, kind) = (format!("file {n:07}").into_bytes(), EntryKind::File);
        let mtime = 1_700_000_000_000_000_000 + (age * FOLDER + n) as i64;
        builder.add(DirEntry { name, kind, size, mtime, ..made_up_entry(object) });
    };
    let end = (first + FOLDER).min(contents);
    let single = (first + SINGLE).min(end);
    (first..single).for_each(|n| add(n, content(n).into(), CONTENT_BYTES.into()));
    for n in (single..end).step_by(PIECES as usize) {
        let mut list = IndirectObject::default();
        let pieces = n..(n + PIECES).min(end);
        pieces.for_each(|n| list.push(content(n).into(), CONTENT_BYTES.into()));
        let object = object(writer, list.to_bytes(), b'x').await?.wrapped();
        add(n, object, list.total_length());
    }
    folder(writer, builder, &format!("folder {first:09}")).await
}

async fn folder(
    writer: &RepositoryWriter,
    builder: DirectoryBuilder,
    name: &str,
) -> Outcome<DirEntry> {
    let object = object(writer, builder.build(0, "").to_bytes(), b'k').await?;
    let name = name.as_bytes().to_vec();
    Ok(DirEntry { name, kind: EntryKind::Directory, ..made_up_entry(object) })
}

async fn object(writer: &RepositoryWriter, bytes: Vec<u8>, prefix: u8) -> Outcome<ObjectId> {
    let options = ObjectOptions { prefix: Some(prefix), ..ObjectOptions::default() };
    Ok(writer.write_object(bytes.into(), options).await?)
}

/// Puts an index blob of every `blobs`-th content, sealed as a writer seals it.
async fn put_index(repo: &Repository, blob: u64, contents: u64, blobs: u64) -> Outcome<()> {
    let numbers = (blob..contents).step_by(blobs as usize);
    let mut numbers: Vec<(ContentId, u64)> = numbers.map(|n| (content(n), n)).collect();
    // In the order of IDs, which a builder takes ten times faster than in any other.
    numbers.sort_unstable();
    let builder: IndexBuilder = numbers
        .into_iter()
        .map(|(id, n)| IndexEntry {
            id,
            pack: format!("p{:032x}-s{blob:019x}", hash(n / 20)).into(),
            offset: (n % 20) as u32 * (CONTENT_BYTES + 28),
            packed_length: CONTENT_BYTES + 28,
            original_length: CONTENT_BYTES,
            timestamp: 1_700_000_000,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        })
        .collect();
    if builder.is_empty() {
        return Ok(());
    }
    let plain = builder.build(repo.format().index_version, None)?;
    let mut nonce = [0; 12];
    repo.env().entropy.fill(&mut nonce);
    let (prefix, suffix) = (uncompacted_prefix(0), compaction_suffix([7; 8], 1));
    let (name, sealed) = repo.codec().seal_blob(&prefix, &suffix, nonce, &plain);
    let index = BlobId::new(name)?;
    repo.storage().put(&index, Payload::from(sealed), &PutOptions::default()).await?;
    Ok(())
}

/// The content number `n`.
fn content(n: u64) -> ContentId {
    ContentId::new(None, &hash(n).to_be_bytes()).expect("sixteen bytes")
}

/// A good mixer stands for the hash.
fn hash(n: u64) -> u128 {
    let mixed = |n: u64| {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    u128::from(mixed(n + 1)) << 64 | u128::from(mixed(n ^ 0x5555_5555_5555_5555))
}

/// Lets the kernel's peak begin anew; gives the memory now, in KiB.
fn reset_peak() -> Outcome<u64> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    field("VmRSS:")
}

/// The kernel's peak, in KiB.
fn peak() -> Outcome<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
