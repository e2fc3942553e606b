//! Folders that have not changed are taken over whole. What comes of that is what comes of reading
//! everything.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use kopia_format::snapshot::{SnapshotManifest, SnapshotStats};
use kopia_snapshot::{
    create::CreateRequest,
    upload::{UploadEvent, UploadOptions, UploadSink},
};

use crate::support::{Heard, Memory, noise, request, write};

/// Twelve folders of eight folders of three files, with rules and odd names among them.
fn plant(root: &Path) {
    for outer in 0..12 {
        for inner in 0..8 {
            let folder = root.join(format!("d{outer}/e{inner}"));
            for file in 0..3 {
                let seed = outer * 100 + inner * 10 + file;
                write(folder.join(format!("f{file}")), noise(seed, 500));
            }
        }
    }
    write(root.join("d1/.kopiaignore"), "*.tmp\n");
    write(root.join("d1/e1/left-out.tmp"), "never stored");
    write(root.join("d1/e2/left-out.tmp"), "never stored");
    write(root.join("d2/e3/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55");
    std::os::unix::fs::symlink("f0", root.join("d3/e3/link")).unwrap();
    // Both are stored as the same text, and so are not known again.
    for odd in [b"odd-\xfe", b"odd-\xff"] {
        write(root.join("d4").join(OsStr::from_bytes(odd)).join("f"), odd);
    }
    fs::create_dir(root.join("d5/e5/empty")).unwrap();
}

async fn taken(memory: &Memory, folder: &Path) -> (SnapshotManifest, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let request = CreateRequest { sink: heard.clone(), ..request(folder) };
    (memory.create(request).await.unwrap().manifest, heard)
}

/// Takes a snapshot after `folder` has changed, and one of it that knows nothing of earlier ones:
/// they must be the same, and `read` the files that were read for the first, besides the odd ones.
async fn check(memory: &Memory, folder: &Path, read: &[&str]) {
    let mut read = [read, &["d4/odd-\u{fffd}/f"; 2]].concat();
    read.sort_unstable();
    let (later, heard) = taken(memory, folder).await;
    let (anew, all) = taken(&Memory::new().await, folder).await;
    assert_eq!(later.root_entry, anew.root_entry);
    assert_eq!(heard.of("hashing"), read);
    let links = later.root_entry.unwrap().summary.unwrap().symlinks;
    let (later, anew) = (later.stats, anew.stats);
    let read_links = read.iter().filter(|path| path.ends_with("link")).count() as u64;
    let files = later.cached_files + later.non_cached_files;
    assert_eq!(files, anew.non_cached_files + links - read_links);
    assert_eq!(later.cached_files, heard.of("cached").len() as u64);
    assert_eq!(all.of("hashing").len() as u64, anew.non_cached_files + links);
    let rest = |stats: &SnapshotStats| {
        let folders = (stats.dir_count, stats.excluded_dir_count);
        (folders, stats.excluded_file_count, stats.excluded_total_size, stats.error_count)
    };
    assert_eq!(rest(&later), rest(&anew));
}

#[tokio::test]
async fn whatever_changes_the_snapshot_is_the_one_that_reading_everything_gives() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root);
    let memory = Memory::new().await;
    taken(&memory, root).await;
    check(&memory, root, &[]).await;

    write(root.join("d0/e7/f1"), "another length");
    check(&memory, root, &["d0/e7/f1"]).await;

    fs::remove_file(root.join("d6/e0/f2")).unwrap();
    check(&memory, root, &[]).await;

    fs::remove_dir_all(root.join("d6/e1")).unwrap();
    fs::rename(root.join("d7/e1"), root.join("d7/moved")).unwrap();
    check(&memory, root, &["d7/moved/f0", "d7/moved/f1", "d7/moved/f2"]).await;

    // Only the folder's own mode and time are others.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(root.join("d8/e2")).unwrap().set_modified(time).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(root.join("d8/e3"), mode).unwrap();
    check(&memory, root, &[]).await;

    // What is a file becomes a folder, and the other way round.
    fs::remove_file(root.join("d9/e0/f0")).unwrap();
    write(root.join("d9/e0/f0/inner"), "inner");
    fs::remove_dir_all(root.join("d9/e1")).unwrap();
    write(root.join("d9/e1"), "a file now");
    check(&memory, root, &["d9/e0/f0/inner", "d9/e1"]).await;

    write(root.join("d4").join(OsStr::from_bytes(b"odd-\xff")).join("f"), "changed");
    check(&memory, root, &[]).await;

    // Rules that change what is below them, though nothing there has changed.
    write(root.join("d1/.kopiaignore"), "f0\n");
    let read = ["d1/.kopiaignore", "d1/e1/left-out.tmp", "d1/e2/left-out.tmp"];
    check(&memory, root, &read).await;
    fs::remove_file(root.join("d2/e3/CACHEDIR.TAG")).unwrap();
    check(&memory, root, &["d2/e3/f0", "d2/e3/f1", "d2/e3/f2"]).await;
    check(&memory, root, &[]).await;
}

#[tokio::test]
async fn folders_that_have_become_many_times_larger_are_uploaded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for number in 0..3 {
        write(root.join(format!("d{number}/f")), noise(number, 100));
    }
    let memory = Memory::new().await;
    taken(&memory, root).await;
    // More than one survey looks at.
    for number in 0..10_000 {
        write(root.join(format!("d1/g{number}")), "");
    }
    let (later, heard) = taken(&memory, root).await;
    let (anew, _) = taken(&Memory::new().await, root).await;
    assert_eq!(later.root_entry, anew.root_entry);
    assert_eq!(heard.of("hashing").len(), 10_000);
    assert_eq!(heard.of("cached"), ["d0/f", "d1/f", "d2/f"]);
}

#[tokio::test]
async fn whoever_wants_files_read_again_has_them_read() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    let (first, heard) = taken(&memory, folder.path()).await;
    let options = UploadOptions { force_hash_percent: 100.0, ..UploadOptions::default() };
    let again = Arc::new(Heard::default());
    let request = CreateRequest { options, sink: again.clone(), ..request(folder.path()) };
    let second = memory.create(request).await.unwrap().manifest;
    assert_eq!(first.root_entry, second.root_entry);
    assert_eq!(heard.of("hashing"), again.of("hashing"));
}

/// Changes a file while another one is read, and lets time go by.
struct Meddler {
    file: PathBuf,
    text: Mutex<Option<&'static str>>,
}

impl UploadSink for Meddler {
    fn event(&self, event: UploadEvent<'_>) {
        if !matches!(event, UploadEvent::Hashing { .. }) {
            return;
        }
        if let Some(text) = self.text.lock().unwrap().take() {
            std::thread::sleep(Duration::from_millis(2500));
            write(&self.file, text);
        }
    }
}

#[tokio::test]
async fn a_folder_that_was_looked_at_long_ago_is_listed_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // Too long to be read with others, so that it is told of before the rest is uploaded.
    for number in 0..2 {
        write(root.join(format!("d{number}/changed")), noise(number, 400_000));
        write(root.join(format!("d{number}/stays")), noise(number, 100));
    }
    let memory = Memory::new().await;
    taken(&memory, root).await;
    for number in 0..2 {
        write(root.join(format!("d{number}/changed")), noise(number + 2, 400_001));
    }
    // The folder that comes last gets another file while the first one is uploaded.
    let names: Vec<_> = fs::read_dir(root).unwrap().map(|it| it.unwrap().path()).collect();
    let late = names.last().unwrap().join("stays");
    let sink = Arc::new(Meddler { file: late.clone(), text: Mutex::new(Some("meddled with")) });
    let options = UploadOptions { parallel: 1, ..UploadOptions::default() };
    let request = CreateRequest { options, sink, ..request(root) };
    let later = memory.create(request).await.unwrap().manifest;
    assert_eq!(fs::read(&late).unwrap(), b"meddled with");
    let (anew, _) = taken(&Memory::new().await, root).await;
    assert_eq!(later.root_entry, anew.root_entry);
}
