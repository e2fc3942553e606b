//! `--memory-limit` is kept, whatever the tree: the peak of the real program, as the system counts
//! it.

use std::{process::Stdio, sync::Arc, time::Duration};

use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_format::{
    ObjectId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{ObjectOptions, OpenOptions, Repository, RepositoryWriter};
use kopia_snapshot::manifests;

use crate::env::{PASSWORD, S3Env, TestEnv, files, noise};

/// What the program may take besides its working memory and what it takes to do nothing: code and
/// stacks of the work, and the lists of one folder.
const BESIDES: u64 = 3 << 20;

/// The peak that is allowed under a limit of so many MiB, asked while the repository is new. How much
/// a program takes to do nothing is its build's affair: half as much where it is optimised.
fn allowed(env: &TestEnv, limit: u64) -> u64 {
    (limit << 20) + peak(env, "repository status") + BESIDES
}

/// A big file, files of one piece, and many that are tiny; other ones for another seed.
fn write_tree(env: &TestEnv, seed: u64) {
    let seed = seed * 1_000_000;
    env.write("src/big", noise(seed, 120 << 20));
    for number in 0..24 {
        env.write(&format!("src/pieces/f{number}"), noise(seed + 100 + number, 2_500_000));
    }
    for number in 0..4000 {
        let (folder, length) = (number / 200, usize::try_from(number % 900).unwrap());
        env.write(&format!("src/tiny/d{folder}/f{number}"), noise(seed + 1000 + number, length));
    }
}

/// Runs a command to its end and gives its peak in bytes. The system's mark only rises, so the last
/// look before the end misses what the last millisecond added.
fn peak(env: &TestEnv, line: &str) -> u64 {
    let mut command = env.command(line.split_whitespace());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{line}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stays_within_the_limit(env: &TestEnv) {
    if !std::path::Path::new("/proc/self/status").exists() {
        kopia_fixtures::skip("memory", "the system does not tell the peak of a process in /proc");
        return;
    }
    for (limit, allowed) in [64, 128].map(|limit| (limit, allowed(env, limit))) {
        write_tree(env, limit);
        for what in ["new", "unchanged"] {
            let line = format!("snapshot create src --memory-limit={limit}MiB");
            let peak = peak(env, &line);
            println!("{what}, limit {limit} MiB: {} MiB", peak >> 20);
            assert!(peak > 10 << 20, "the mark was read: {peak}");
            assert!(peak <= allowed, "{what}: {peak} bytes, and {allowed} are allowed");
        }
        let peak = peak(env, &format!("restore src back --memory-limit={limit}MiB"));
        println!("restored, limit {limit} MiB: {} MiB", peak >> 20);
        assert!(peak <= allowed, "restored: {peak} bytes, and {allowed} are allowed");
    }
}

#[test]
fn a_snapshot_to_a_folder_takes_no_more_than_its_limit() {
    stays_within_the_limit(&TestEnv::with_repository());
}

#[test]
fn a_snapshot_to_s3_takes_no_more_than_its_limit() {
    // Over plain HTTP the bytes are signed, and a pack is copied for that while it is sent.
    let s3 = S3Env::over_tls();
    s3.create("");
    stays_within_the_limit(&s3);
}

/// Kopia takes packs of up to 120 MiB, and its longest splitter makes pieces of up to 16 MiB.
#[test]
fn long_packs_and_long_pieces_take_no_more() {
    let env = TestEnv::with_packs_of(120 << 20);
    env.write("src/long", noise(7, 150 << 20));
    stays_within_the_limit(&env);
    let packs = files(&env.path("repo")).into_iter();
    let longest = packs.map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!(longest > 120 << 20, "no pack was long: {longest}");
    env.ok("snapshot verify --verify-files-percent=100");
}

/// Packs are copied whole, a few at once: never more of them than there is room for.
#[test]
fn a_copy_of_a_repository_takes_no_more_than_its_limit() {
    let env = TestEnv::with_packs_of(40 << 20);
    let allowed = allowed(&env, 64);
    env.write("src/long", noise(8, 250 << 20));
    env.ok("snapshot create src --no-auto-maintenance");
    let bytes: usize = files(&env.path("repo")).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes as u64 > 2 * allowed, "more is copied than it may take: {bytes}");
    let to = env.text("copy");
    fs_err::create_dir(&to).unwrap();
    let line = format!(
        "repository sync-to filesystem --path={to} --parallel=16 --memory-limit=64MiB --no-progress"
    );
    let peak = peak(&env, &line);
    println!("copied {} MiB: {} MiB", bytes >> 20, peak >> 20);
    assert!(peak > 10 << 20, "the mark was read: {peak}");
    assert!(peak <= allowed, "{peak} bytes, and {allowed} are allowed");
}

/// Writes a folder with files that all have the same bytes; gives its entry and its length.
async fn folder(writer: &RepositoryWriter, mtime: i64, entries: Vec<DirEntry>) -> (DirEntry, u64) {
    let mut builder = DirectoryBuilder::new();
    entries.into_iter().for_each(|entry| builder.add(entry));
    let directory = builder.build(mtime, "");
    let bytes = directory.to_bytes();
    let length = bytes.len() as u64;
    let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let object = writer.write_object(bytes.into(), options).await.unwrap();
    let (kind, summary) = (EntryKind::Directory, Some(directory.summary));
    let entry = DirEntry { kind, mode: 0o755, mtime, object, summary, ..DirEntry::default() };
    (entry, length)
}

/// Writes snapshots whose folders are all different ones, past the program; gives the bytes of all
/// folders.
async fn many_folders(env: &TestEnv, generations: i64, folders: i64, in_each: i64) -> u64 {
    let storage = FilesystemStorage::open(FilesystemOptions::at(env.path("repo"))).await.unwrap();
    let password = PASSWORD.to_owned().into();
    let repo = Repository::open(Arc::new(storage), &password, OpenOptions::default());
    let writer = repo.await.unwrap().writer().unwrap();
    let object = writer.write_object("x".into(), ObjectOptions::default()).await.unwrap();
    let file = |name: String, mtime, object: ObjectId| {
        let kind = EntryKind::File;
        DirEntry {
            name: name.into(),
            kind,
            mode: 0o644,
            size: 1,
            mtime,
            object,
            ..Default::default()
        }
    };
    let mut bytes = 0;
    for generation in 0..generations {
        let mut all = Vec::new();
        for number in 0..folders {
            let mtime = |n: i64| (generation * 1_000_000_000 + number * 10_000 + n) * 1_000;
            let names = (0..in_each).map(|n| (format!("a file with number {n:06}.txt"), mtime(n)));
            let entries = names.map(|(name, mtime)| file(name, mtime, object)).collect();
            let (entry, length) = folder(&writer, generation, entries).await;
            bytes += length;
            all.push(DirEntry { name: format!("folder {number}").into(), ..entry });
        }
        let (root, _) = folder(&writer, generation, all).await;
        let mut manifest = SnapshotManifest {
            source: Source::new("h", "u", "/s"),
            root_entry: Some(root),
            ..SnapshotManifest::default()
        };
        manifest.start_time = kopia_format::time::GoTime::from_secs(1_700_000_000 + generation);
        manifests::save(&writer, &manifest).await.unwrap();
    }
    writer.flush().await.unwrap();
    bytes
}

/// What a folder says is forgotten but for what fits, some hundred bytes each.
#[test]
fn finding_takes_no_more_however_much_is_read() {
    let env = TestEnv::with_repository();
    let allowed = allowed(&env, 64);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bytes = runtime.block_on(many_folders(&env, 4, 150, 1500));
    assert!(bytes > allowed * 5 / 4, "more is read than it may take: {bytes}");
    let found = env.ok("find *000007.txt");
    assert_eq!(found.lines().count(), 150);
    let peak = peak(&env, "find *000007.txt --memory-limit=64MiB");
    println!("read {} MiB of folders: {} MiB", bytes >> 20, peak >> 20);
    assert!(peak > 10 << 20, "the mark was read: {peak}");
    assert!(peak <= allowed, "{peak} bytes, and {allowed} are allowed");
}

#[test]
fn a_limit_that_is_none_is_refused_with_the_reason() {
    let env = TestEnv::new();
    for (value, reason) in
        [("1MiB", "it must be 64MiB at least"), ("much", "it must be a number of bytes")]
    {
        let run = env.line(&format!("snapshot list --memory-limit={value}"));
        assert_eq!(run.code, 2, "{run:#?}");
        assert!(run.stderr.contains(reason), "{run:#?}");
    }
}
