//! How long the plan of a thaw takes, and how much memory it holds.
//!
//! `cargo bench -p kopia-lite --bench thaw_plan -- --contents 1000000 --packs 50000` makes a repository
//! of so many files of one content each, in so many packs of an archive, in memory; and plans to thaw
//! one folder, a tenth, and all of it. Folders and indexes are real; a pack has no more than its name,
//! for no plan reads one. Memory is what the process's peak rises by. Without arguments nothing is
//! done: a test run of all targets ends at once.

use std::{error::Error, sync::Arc, time::Instant};

use blob_core::{
    BlobId, DynStorage, MemoryStorage, Payload, PutAttributes, PutOptions, StorageClass,
    StorageStack, Tier, Timestamp,
    layers::{Metrics, Operation},
};
use cold_storage::{
    PriceTable, Transfer,
    thaw::{Need, ThawOptions, ThawPlan},
};
use kopia_fixtures::made::{hash, peak, reset_peak};
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    index::IndexEntry,
};
use kopia_lite::jobs::thaw::need_of;
use kopia_repo::{CreateOptions, ObjectOptions, OpenOptions, Repository, RepositoryWriter};
use kopia_snapshot::{
    restore::{RestoreOptions, RestorePlan},
    tree::made_up_entry,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a password";
/// Files of a folder.
const FOLDER: u64 = 1_000;
/// Bytes of a file.
const FILE_BYTES: u32 = 1 << 20;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let (Some(contents), Some(packs)) = (number("--contents"), number("--packs")) else {
        println!("usage: --contents N --packs N");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(contents, packs))
}

async fn measure(contents: u64, packs: u64) -> Outcome<()> {
    let metrics = Metrics::new();
    let storage: DynStorage =
        StorageStack::over(Arc::new(MemoryStorage::new())).layer(metrics.clone()).build();
    let begun = Instant::now();
    let (root, tenth, folder) = generate(&storage, contents, packs).await?;
    println!("# {contents} contents in {packs} packs made in {:.1?}", begun.elapsed());
    println!(
        "  plan of        files   packs   open s   plan s   more MiB   GET p   pages of lists"
    );
    for (name, entry) in [("one folder", &folder), ("a tenth", &tenth), ("all", &root)] {
        let begun = Instant::now();
        let repo =
            Repository::open(storage.clone(), &PASSWORD.into(), OpenOptions::default()).await?;
        drop(repo.index().await?);
        let opened = begun.elapsed();
        let (before, counted, listed) = (reset_peak()?, metrics.snapshot(), metrics.usage().lists);
        let begun = Instant::now();
        let options = RestoreOptions { ignore_errors: true, ..RestoreOptions::default() };
        let plan = RestorePlan::of(&repo, entry, None, &options).await?;
        let needs: Vec<Need> = plan.packs.iter().map(need_of).collect();
        let options = ThawOptions {
            tier: Tier::Bulk,
            days: 7,
            now: Timestamp::from_secs(1_795_525_531),
            extend: false,
            upgrade: false,
        };
        let table = PriceTable::built_in();
        let tiers = ThawPlan::estimates(&needs, &options, table, Transfer::Internet);
        let thaw = ThawPlan::new(needs, &options, table)?;
        let took = begun.elapsed();
        assert_eq!((tiers.len(), thaw.requests().count()), (2, plan.packs.len()));
        let gets = metrics.snapshot().since(&counted).of(Operation::Get, "p").attempts;
        println!(
            "  {name:<11} {:>8} {:>7} {:>8.2} {:>8.2} {:>10.1} {gets:>7} {:>8}",
            plan.files,
            plan.packs.len(),
            opened.as_secs_f64(),
            took.as_secs_f64(),
            (peak()? - before) as f64 / 1024.0,
            metrics.usage().lists - listed,
        );
    }
    Ok(())
}

/// Makes the repository; gives its root, a tenth of it, and one folder.
async fn generate(
    storage: &DynStorage,
    contents: u64,
    packs: u64,
) -> Outcome<(DirEntry, DirEntry, DirEntry)> {
    let password = PASSWORD.into();
    Repository::create(storage.clone(), &password, CreateOptions::default()).await?;
    let repo = Repository::open(storage.clone(), &password, OpenOptions::default()).await?;
    put_packs(&repo, contents, contents.div_ceil(packs.max(1))).await?;
    let repo = Repository::open(storage.clone(), &password, OpenOptions::default()).await?;
    let writer = repo.writer()?;
    let mut folders = Vec::new();
    for first in (0..contents).step_by(FOLDER as usize) {
        let mut builder = DirectoryBuilder::new();
        for n in first..(first + FOLDER).min(contents) {
            let name = format!("file {n:07}").into_bytes();
            let (kind, size) = (EntryKind::File, FILE_BYTES.into());
            let object = ObjectId::direct(content(n));
            builder.add(DirEntry { name, kind, size, ..made_up_entry(object) });
        }
        let name = format!("folder {:06}", folders.len());
        folders.push(folder(&writer, builder, &name).await?);
    }
    let top = async |folders: &[DirEntry], name: &str| {
        let mut builder = DirectoryBuilder::new();
        folders.iter().for_each(|folder| builder.add(folder.clone()));
        folder(&writer, builder, name).await
    };
    let root = top(&folders, "root").await?;
    let tenth = top(&folders[..folders.len().div_ceil(10)], "tenth").await?;
    writer.flush().await?;
    Ok((root, tenth, folders[folders.len() / 2].clone()))
}

/// Puts the packs, and an index of what would be in them.
async fn put_packs(repo: &Repository, contents: u64, per_pack: u64) -> Outcome<()> {
    let pack = |n: u64| -> Arc<str> {
        let number = n / per_pack;
        format!("p{:032x}-s{:019x}", hash(number ^ 1 << 63), number / 1000).into()
    };
    let attributes =
        PutAttributes { class: Some(StorageClass::DEEP_ARCHIVE), ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    let mut numbers: Vec<(ContentId, u64)> = (0..contents).map(|n| (content(n), n)).collect();
    // In the order of IDs, which a builder takes ten times faster than in any other.
    numbers.sort_unstable();
    let entries = numbers
        .into_iter()
        .map(|(id, n)| IndexEntry {
            id,
            pack: pack(n),
            offset: (n % per_pack) as u32 * (FILE_BYTES + 28),
            packed_length: FILE_BYTES + 28,
            original_length: FILE_BYTES,
            timestamp: 1_700_000_000,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        })
        .collect();
    repo.write_entries(entries).await?;
    for n in (0..contents).step_by(per_pack as usize) {
        let id = BlobId::new(&*pack(n))?;
        repo.storage().put(&id, Payload::from(vec![0]), &options).await?;
    }
    Ok(())
}

/// The content number `n`.
fn content(n: u64) -> ContentId {
    ContentId::new(None, &hash(n).to_be_bytes()).expect("sixteen bytes")
}

async fn folder(
    writer: &RepositoryWriter,
    builder: DirectoryBuilder,
    name: &str,
) -> Outcome<DirEntry> {
    let bytes = builder.build(0, "").to_bytes();
    let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let object = writer.write_object(bytes.into(), options).await?;
    let name = name.as_bytes().to_vec();
    Ok(DirEntry { name, kind: EntryKind::Directory, ..made_up_entry(object) })
}
