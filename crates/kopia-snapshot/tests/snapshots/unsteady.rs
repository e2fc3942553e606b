//! Sources that do not hold still, and trees that the system itself can hardly hold: files that
//! change while they are read, kinds that no snapshot can hold, paths longer than a call takes.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::OwnedFd,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use kopia_fixtures::skip;
use kopia_format::directory::{DirEntry, Directory, EntryKind};
use kopia_repo::ObjectOptions;
use kopia_snapshot::{
    create::CreateRequest,
    restore::RestoreOptions,
    upload::{UploadEvent, UploadSink},
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, mknodat, openat};

use crate::support::{Memory, is_root, noise, request, tree, write};

/// What is done to a file.
type Meddling = fn(&Path);

/// Does something to a file after it was listed and before it is opened.
struct Meddler {
    root: PathBuf,
    todo: Mutex<BTreeMap<&'static str, Meddling>>,
}

impl UploadSink for Meddler {
    fn event(&self, event: UploadEvent<'_>) {
        if let UploadEvent::Hashing { path, .. } = event
            && let Some(meddle) = self.todo.lock().unwrap().remove(path)
        {
            meddle(&self.root.join(path));
        }
    }
}

fn fifo(path: &Path) {
    mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Files of 400,000 and of 3,000,000 bytes are meddled with (shorter ones are read in one go); the
/// number is the size that is stored.
const MEDDLING: [(&str, Meddling, Option<u64>); 9] = [
    ("big-cut", |path| fs::write(path, "x").unwrap(), Some(1)),
    ("big-emptied", |path| fs::write(path, "").unwrap(), Some(0)),
    ("big-grown", |path| fs::write(path, noise(5, 4 << 20)).unwrap(), Some(4 << 20)),
    ("cut", |path| fs::write(path, "x").unwrap(), Some(1)),
    (
        "folder",
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        None,
    ),
    ("gone", |path| fs::remove_file(path).unwrap(), None),
    ("grown", |path| fs::write(path, noise(6, 3 << 20)).unwrap(), Some(3 << 20)),
    (
        "pipe",
        |path| {
            fs::remove_file(path).unwrap();
            fifo(path);
        },
        None,
    ),
    (
        "to-link",
        |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        },
        None,
    ),
];

#[tokio::test]
async fn a_file_that_changes_after_it_was_listed_is_stored_as_it_is_read_or_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (name, ..) in MEDDLING {
        let length = if name.starts_with("big") { 3_000_000 } else { 400_000 };
        write(root.join(name), noise(1, length));
    }
    write(root.join("zzz-last"), "reached");
    let memory = Memory::new().await;
    let todo = MEDDLING.iter().map(|(name, meddle, _)| (*name, *meddle)).collect();
    let meddler = Arc::new(Meddler { root: root.to_owned(), todo: Mutex::new(todo) });
    let request = CreateRequest { sink: meddler.clone(), ..request(root) };
    let created = memory.create(request).await.unwrap();
    assert!(meddler.todo.lock().unwrap().is_empty(), "every file was announced");
    let root_entry = created.manifest.root_entry.unwrap();
    let errors: BTreeMap<_, _> = root_entry
        .summary
        .as_ref()
        .unwrap()
        .errors
        .iter()
        .map(|e| {
            (
                String::from_utf8_lossy(&e.path).into_owned(),
                String::from_utf8_lossy(&e.error).into_owned(),
            )
        })
        .collect();
    let stored = memory.directory(root_entry.object).await;
    for (name, _, size) in MEDDLING {
        let entry = stored.find(name.as_bytes());
        assert_eq!(entry.map(|entry| entry.size), size, "{name}: {errors:?}");
        assert_eq!(errors.contains_key(name), size.is_none(), "{name}: {errors:?}");
    }
    let path = root.display();
    let open = "unable to open file: unable to open local file: open";
    assert_eq!(errors["gone"], format!("{open} {path}/gone: no such file or directory"));
    assert_eq!(errors["folder"], format!("read {path}/folder: is a directory"));
    assert_eq!(errors["pipe"], format!("{open} {path}/pipe: no longer a regular file"));
    assert_eq!(
        errors["to-link"],
        format!("{open} {path}/to-link: too many levels of symbolic links")
    );
    assert!(stored.find(b"zzz-last").is_some());
    // What was stored is whole: it comes back, and what changed is read again by the next one.
    let target = tempfile::tempdir().unwrap();
    memory.restore(&root_entry, target.path(), &RestoreOptions::default()).await.unwrap();
    for (name, _, size) in MEDDLING.iter().filter(|(.., size)| size.is_some()) {
        let (was, is) = (fs::read(root.join(name)), fs::read(target.path().join(name)));
        assert!(was.unwrap() == is.unwrap(), "{name} of {size:?} bytes");
    }
    let again = memory.snapshot(root).await.manifest.stats;
    assert_eq!((again.cached_files, again.non_cached_files), (1, 5));
}

/// What is left of a folder in its snapshot: the regular file, and no failure.
async fn only_the_file(root: &Path) {
    let memory = Memory::new().await;
    let created = memory.snapshot(root).await;
    let entry = created.manifest.root_entry.unwrap();
    let names: Vec<_> =
        memory.directory(entry.object).await.entries.into_iter().map(|e| e.name).collect();
    assert_eq!(names, [b"file"]);
    assert_eq!(entry.summary.unwrap().failed, 0);
}

#[tokio::test]
async fn sockets_and_pipes_are_left_out_and_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root.join("file"), "x");
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    fifo(&root.join("pipe")); // whoever opens it for reading waits for ever
    only_the_file(root).await;
}

#[tokio::test]
async fn devices_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root.join("file"), "x");
    let (kind, random) = (FileType::CharacterDevice, rustix::fs::makedev(1, 8));
    let made = mknodat(rustix::fs::CWD, root.join("random"), kind, Mode::RUSR, random);
    if let Err(error) = made {
        assert!(!is_root() || error == rustix::io::Errno::PERM, "{error}");
        return skip("unsteady::devices_are_left_out", "this user may not make a device");
    }
    only_the_file(root).await;
}

/// How many folders of 200 bytes each: longer than the 4096 bytes that a call takes.
const LONG: usize = 30;

fn long_name(level: usize) -> String {
    format!("{level:0200}")
}

/// Walks down the folders of long names as far as they go, making them if asked to.
fn walk_down(root: &Path, make: bool) -> (usize, OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut folder = openat(rustix::fs::CWD, root, flags, Mode::empty()).unwrap();
    for level in 0..LONG {
        if make {
            mkdirat(&folder, long_name(level), Mode::RWXU).unwrap();
        }
        match openat(&folder, long_name(level), flags, Mode::empty()) {
            Ok(next) => folder = next,
            Err(_) => return (level, folder),
        }
    }
    (LONG, folder)
}

#[tokio::test]
async fn a_folder_whose_path_is_too_long_to_be_listed_fails_alone_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("file"), "x");
    assert_eq!(walk_down(folder.path(), true).0, LONG);
    let memory = Memory::new().await;
    let root = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
    let errors = root.summary.as_ref().unwrap().errors.clone();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].path.starts_with(long_name(0).as_bytes()));
    let text = String::from_utf8_lossy(&errors[0].error);
    assert!(text.ends_with(": file name too long"), "{text}");
    let target = tempfile::tempdir().unwrap();
    memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    assert!(tree_of_short_paths(target.path()).contains(&"file".to_owned()));
}

/// Names of the target itself: the paths below it are too long to be asked for.
fn tree_of_short_paths(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap();
    names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A snapshot of folders in folders that no walk over paths could have made.
async fn deep(memory: &Memory, levels: usize, name: impl Fn(usize) -> String) -> DirEntry {
    let writer = memory.repo.writer().unwrap();
    let bytes =
        writer.write_object("at the bottom".into(), ObjectOptions::default()).await.unwrap();
    let file = DirEntry {
        name: "f".into(),
        kind: EntryKind::File,
        size: 13,
        mode: 0o644,
        object: bytes,
        ..DirEntry::default()
    };
    let link = writer.write_object("f".into(), ObjectOptions::default()).await.unwrap();
    let link = DirEntry {
        name: "link".into(),
        kind: EntryKind::Symlink,
        size: 1,
        mode: 0o777,
        object: link,
        ..DirEntry::default()
    };
    let mut entries = vec![file, link];
    for level in (0..=levels).rev() {
        let directory = Directory { entries, ..Directory::default() };
        let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
        let object = writer.write_object(directory.to_bytes().into(), options).await.unwrap();
        let name = if level == 0 { "root".to_owned() } else { name(level - 1) };
        entries = vec![DirEntry {
            name: name.into(),
            kind: EntryKind::Directory,
            mode: 0o755,
            object,
            ..DirEntry::default()
        }];
    }
    writer.flush().await.unwrap();
    entries.pop().unwrap()
}

#[tokio::test]
async fn a_snapshot_with_paths_longer_than_a_call_takes_is_restored() {
    let memory = Memory::new().await;
    let root = deep(&memory, LONG, long_name).await;
    for write_files_atomically in [false, true] {
        let target = tempfile::tempdir().unwrap();
        let options = RestoreOptions {
            skip_owners: true,
            write_files_atomically,
            ..RestoreOptions::default()
        };
        // Twice: over what is there.
        for _ in 0..2 {
            let report = memory.restore(&root, target.path(), &options).await.unwrap();
            assert_eq!((report.files, report.links, report.folders), (1, 1, LONG as u64 + 1));
        }
        let (levels, bottom) = walk_down(target.path(), false);
        assert_eq!(levels, LONG);
        let file = openat(&bottom, "f", OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(std::io::read_to_string(fs::File::from(file)).unwrap(), "at the bottom");
        let link = rustix::fs::statat(&bottom, "link", AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(FileType::from_raw_mode(link.st_mode), FileType::Symlink);
    }
}

#[tokio::test]
async fn a_name_that_the_system_does_not_take_fails_by_its_path_and_alone() {
    let memory = Memory::new().await;
    let root = deep(&memory, 1, |_| "n".repeat(300)).await;
    let target = tempfile::tempdir().unwrap();
    let strict = RestoreOptions::default();
    let error = memory.restore(&root, target.path(), &strict).await.unwrap_err().to_string();
    assert!(error.contains("nnn") && error.contains("name too long"), "{error}");
    let options = RestoreOptions { ignore_errors: true, ..strict };
    let report = memory.restore(&root, target.path(), &options).await.unwrap();
    assert_eq!(report.failures.len(), 1);
    assert!(tree(target.path()).is_empty());
}
