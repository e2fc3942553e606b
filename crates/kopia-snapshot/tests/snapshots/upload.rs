//! Trees become the objects that Kopia would make of them, odd entries and failures included.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use kopia_format::{
    directory::EntryKind,
    policy::Policy,
    snapshot::{SnapshotManifest, SnapshotStats},
};
use kopia_snapshot::{
    SnapshotError,
    create::{CreateRequest, Created, Input},
    policies,
    policy::tree::PolicyTree,
    restore::RestoreOptions,
    upload::{self, UploadOptions, UploadRequest, UploadSource, Uploaded},
};
use rustix::fs::{FileType, Mode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Heard, Memory, as_an_ordinary_user, for_each, noise, plant, request, source, tree, write,
};

/// Uploads `folder` under a policy tree, with no snapshot before.
async fn upload(
    memory: &Memory,
    folder: &Path,
    policy: &PolicyTree,
) -> Result<Uploaded, SnapshotError> {
    let writer = memory.repo.writer().unwrap();
    let request = UploadRequest {
        writer: &writer,
        policy,
        previous: &[],
        prototype: &SnapshotManifest::default(),
        options: UploadOptions::default(),
        sink: Arc::new(upload::Silent),
        stop: CancellationToken::new(),
    };
    let uploaded = upload::upload(request, UploadSource::Local(folder)).await?;
    writer.flush().await.unwrap();
    Ok(uploaded)
}

/// What a snapshot holds: paths, those of folders with a slash at the end.
async fn paths(memory: &Memory, root: &Uploaded) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![(String::new(), root.root.object)];
    while let Some((path, id)) = folders.pop() {
        for entry in memory.directory(id).await.entries {
            let mut path = format!("{path}{}", entry.name_lossy());
            if entry.is_dir() {
                path.push('/');
                folders.push((path.clone(), entry.object));
            }
            all.push(path);
        }
    }
    all.sort();
    all
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .unwrap();
}

/// Ignore rules over a virtual tree are tested beside the code, these go through real files, links
/// and policies.
#[test]
fn ignore_files_and_policies_leave_out_what_they_leave_out_in_kopia() {
    let file = kopia_fixtures::folder("kopiaignore").join("cases.json");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let names = |key: &str| -> Vec<String> { serde_json::from_value(all[key].clone()).unwrap() };
    let (files, dirs) = (names("baseFiles"), names("baseDirs"));
    let is_whole = |case: &&serde_json::Value| {
        !case["links"].is_null() || !case["policies"].is_null() || !case["error"].is_null()
    };
    let cases: Vec<_> = all["cases"].as_array().unwrap().iter().filter(is_whole).collect();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for_each(&cases, async |case| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        files.iter().for_each(|name| write(root.join(name), ""));
        dirs.iter().for_each(|name| std::fs::create_dir_all(root.join(name)).unwrap());
        let texts = |key: &str| -> BTreeMap<String, String> {
            serde_json::from_value(case[key].clone()).unwrap_or_default()
        };
        texts("files").iter().for_each(|(name, text)| write(root.join(name), text));
        for (name, target) in texts("links") {
            symlink(target, root.join(name)).unwrap();
        }
        let mut policies: BTreeMap<String, Policy> =
            serde_json::from_value(case["policies"].clone()).unwrap_or_default();
        let mut top = Policy::default_global();
        if let Some(own) = policies.remove("") {
            top.files = kopia_format::policy::Files {
                ignore_dot_files: match own.files.ignore_dot_files.is_empty() {
                    true => top.files.ignore_dot_files,
                    false => own.files.ignore_dot_files.clone(),
                },
                ..own.files
            };
        }
        let memory = Memory::new().await;
        let uploaded = upload(&memory, root, &PolicyTree::build(top, policies)).await;
        let is = match uploaded {
            Ok(uploaded) => Ok(paths(&memory, &uploaded).await),
            Err(error) => Err(error.to_string()),
        };
        let name = &case["name"];
        match (is, case["error"].as_str()) {
            (Err(is), Some(wanted)) => {
                let cause = wanted.strip_prefix("upload error: ").unwrap();
                let complaint = format!("{name}: {is} instead of {cause}");
                if is.ends_with(cause) { Vec::new() } else { vec![complaint] }
            }
            (Ok(is), None) => {
                let mut wanted: Vec<String> =
                    serde_json::from_value(case["included"].clone()).unwrap();
                wanted.sort();
                let complaint = format!("{name}: {is:?} instead of {wanted:?}");
                if is == wanted { Vec::new() } else { vec![complaint] }
            }
            (is, wanted) => vec![format!("{name}: {is:?} instead of {wanted:?}")],
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_the_same_however_many_tasks_made_it() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    let mut policy = Policy::default();
    policy.upload.parallel_upload_above_size = Some(1 << 20);
    let writer = memory.repo.writer().unwrap();
    policies::save(&writer, &source(folder.path()), &policy).await.unwrap();
    writer.flush().await.unwrap();
    let mut roots = Vec::new();
    for parallel in [1, 2, 16] {
        let options =
            UploadOptions { parallel, force_hash_percent: 100.0, ..UploadOptions::default() };
        let request = CreateRequest { options, ..request(folder.path()) };
        let created = memory.create(request).await.unwrap();
        // 5 MiB in parts of 1 MiB, the last one empty; the other three files and the empty one.
        let SnapshotStats { file_count, non_cached_files, .. } = created.manifest.stats;
        assert_eq!((file_count, non_cached_files), (4 + 6, 5));
        roots.push(created.manifest.root_object().unwrap());
    }
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    let beside = tempfile::tempdir().unwrap();
    let target = beside.path().join("big");
    let root = memory.snapshots().await.pop().unwrap().root_entry.unwrap();
    let big = memory.directory(root.object).await;
    let big = big.find(b"big").unwrap().clone();
    memory.restore(&big, &target, &RestoreOptions::default()).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), noise(2, 5 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_tree_is_no_deep_stack() {
    let folder = tempfile::tempdir().unwrap();
    let deep = (0..400).fold(folder.path().to_owned(), |path, _| path.join("d"));
    write(deep.join("bottom"), "x");
    let memory = Memory::new().await;
    let created = memory.snapshot(folder.path()).await;
    let root = created.manifest.root_entry.unwrap();
    assert_eq!(root.summary.as_ref().unwrap().dirs, 401);
    let target = tempfile::tempdir().unwrap();
    memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(tree(folder.path()), tree(target.path()));
}

#[tokio::test]
async fn names_that_are_no_utf8_are_kept_as_far_as_they_can_be() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join(OsStr::from_bytes(b"a\xff\xfeb")), "x");
    write(folder.path().join("a\u{2028}<&>\u{1}"), "y");
    let memory = Memory::new().await;
    let root = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
    let names: Vec<_> =
        memory.directory(root.object).await.entries.into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a\u{2028}<&>\u{1}".as_bytes(), "a\u{fffd}\u{fffd}b".as_bytes()]);
    // The stored name is another one, so the file is read again each time.
    let stats = memory.snapshot(folder.path()).await.manifest.stats;
    assert_eq!((stats.cached_files, stats.non_cached_files), (1, 1));
}

#[tokio::test]
async fn what_is_no_file_is_left_out_or_fails_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    fifo(&folder.path().join("fifo"));
    fifo(&folder.path().join("sub/fifo"));
    let memory = Memory::new().await;
    let mut top = Policy::default_global();
    let quiet = upload(&memory, folder.path(), &PolicyTree::uniform(top.clone())).await.unwrap();
    let summary = quiet.root.summary.unwrap();
    assert_eq!((summary.failed, summary.ignored_errors, summary.errors.len()), (0, 0, 0));
    top.error_handling.ignore_unknown_types = Some(false);
    let strict = PolicyTree::uniform(top);
    let loud = upload(&memory, folder.path(), &strict).await.unwrap();
    let summary = loud.root.summary.unwrap();
    let errors: Vec<_> = summary.errors.iter().map(|e| String::from_utf8_lossy(&e.path)).collect();
    assert_eq!(errors, ["fifo", "sub/fifo"]);
    assert_eq!(summary.errors[0].error, b"unknown or unsupported entry type");
    assert_eq!((summary.failed, loud.stats.error_count, loud.stats.ignored_error_count), (2, 2, 0));
    let directory = memory.directory(loud.root.object).await;
    assert_eq!(directory.entries[0].summary.as_ref().unwrap().failed, 1);
    assert!(loud.incomplete.is_empty());
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Entries that an ordinary user can't read, each for a reason of its own.
fn plant_trouble(root: &Path) {
    write(root.join("fine"), "x");
    write(root.join("file"), "x");
    write(root.join("parts"), noise(3, 2 << 20));
    write(root.join("listed/x"), "x");
    write(root.join("closed/x"), "x");
    write(root.join("rules/.kopiaignore"), "*.o");
    write(root.join("pattern/.kopiaignore"), "[a\n");
    std::fs::create_dir(root.join("dangling")).unwrap();
    symlink("nowhere", root.join("dangling/.kopiaignore")).unwrap();
    for (name, mode) in
        [("file", 0), ("parts", 0), ("listed", 0o444), ("closed", 0), ("rules/.kopiaignore", 0)]
    {
        set_mode(&root.join(name), mode);
    }
}

#[test]
fn what_cannot_be_read_is_told_in_kopias_words() {
    as_an_ordinary_user(async || {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        plant_trouble(root);
        let mut policy = Policy::default_global();
        policy.upload.parallel_upload_above_size = Some(1 << 20);
        let memory = Memory::new().await;
        let uploaded = upload(&memory, root, &PolicyTree::uniform(policy)).await.unwrap();
        set_mode(&root.join("closed"), 0o700);
        set_mode(&root.join("listed"), 0o700);
        let at = root.display();
        let open = "unable to open file: unable to open local file: open";
        let parse = "unable to parse ignore file .kopiaignore:";
        let wanted = [
            (
                "closed",
                format!(
                    "cannot create iterator: unable to read directory: \
                     open {at}/closed: permission denied"
                ),
            ),
            (
                "dangling",
                format!(
                    "when resolving symlink .kopiaignore of type *localfs.filesystemSymlink, which \
                 points to nowhere: cannot resolve symlink for '\"{at}/dangling/.kopiaignore\"': \
                 lstat {at}/dangling/nowhere: no such file or directory"
                ),
            ),
            ("file", format!("{open} {at}/file: permission denied")),
            ("listed/x", format!("lstat {at}/listed/x: permission denied")),
            (
                "parts",
                format!(
                    "error uploading parts: {open} {at}/parts: permission denied\n\
                 {open} {at}/parts: permission denied\n{open} {at}/parts: permission denied"
                ),
            ),
            (
                "pattern",
                format!(
                    "{parse} unable to parse ignore entry [a: invalid pattern \"[a\": unterminated \
                 sequence, expected ']'"
                ),
            ),
            (
                "rules",
                format!(
                    "{parse} unable to open ignore file: unable to open local file: open \
                 {at}/rules/.kopiaignore: permission denied"
                ),
            ),
        ];
        let errors = uploaded.root.summary.unwrap().errors;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let errors: Vec<_> = errors.into_iter().map(|e| (text(e.path), text(e.error))).collect();
        let wanted: Vec<_> =
            wanted.into_iter().map(|(path, error)| (path.to_owned(), error)).collect();
        assert_eq!(errors, wanted);
        assert_eq!((uploaded.stats.error_count, uploaded.stats.dir_count), (7, 6));
    });
}

#[test]
fn errors_are_ignored_where_the_policy_says_so() {
    as_an_ordinary_user(async || {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root.join("file"), "x");
        write(root.join("closed/x"), "x");
        write(root.join("own/file"), "x");
        ["file", "closed", "own/file"].iter().for_each(|name| set_mode(&root.join(name), 0));
        let mut policy = Policy::default_global();
        policy.error_handling.ignore_file_errors = Some(true);
        policy.error_handling.ignore_directory_errors = Some(true);
        // A folder's own policy replaces what holds above, and says nothing of errors.
        let policy = PolicyTree::build(policy, [("own".to_owned(), Policy::default())]);
        let memory = Memory::new().await;
        let uploaded = upload(&memory, root, &policy).await.unwrap();
        set_mode(&root.join("closed"), 0o700);
        let summary = uploaded.root.summary.unwrap();
        assert_eq!((summary.ignored_errors, summary.failed, summary.errors.len()), (2, 1, 3));
        let stats = uploaded.stats;
        assert_eq!((stats.ignored_error_count, stats.error_count), (2, 1));
        set_mode(root, 0);
        let error = upload(&memory, root, &policy).await.unwrap_err();
        set_mode(root, 0o700);
        assert!(matches!(&error, SnapshotError::Source { path, .. } if path == root), "{error}");
        assert!(error.to_string().ends_with("permission denied"), "{error}");
    });
}

#[tokio::test]
async fn a_single_file_is_a_root_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.txt");
    write(&file, "hello");
    symlink("f.txt", folder.path().join("link")).unwrap();
    let memory = Memory::new().await;
    for path in [file.clone(), folder.path().join("link")] {
        let created = memory.snapshot(&path).await;
        let root = created.manifest.root_entry.unwrap();
        assert_eq!(
            (root.kind, root.size, root.name.as_slice()),
            (EntryKind::File, 5, &b"f.txt"[..])
        );
        let summary = root.summary.as_ref().unwrap();
        assert_eq!((summary.files, summary.dirs, summary.size), (1, 0, 5));
        assert_eq!(summary.max_time, root.mtime);
        assert_eq!(created.manifest.source.path, path.to_str().unwrap());
        // Not even a file that did not change is taken over: there is no folder to find it in.
        let stats = memory.snapshot(&path).await.manifest.stats;
        assert_eq!((stats.file_count, stats.non_cached_files, stats.cached_files), (1, 0, 0));
        let target = folder.path().join("restored");
        memory.restore(&root, &target, &RestoreOptions::default()).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"hello");
    }
    let missing = memory.create(request(&folder.path().join("missing"))).await.unwrap_err();
    assert!(missing.to_string().ends_with("no such file or directory"), "{missing}");
}

async fn stream(memory: &Memory, pieces: Vec<Result<Bytes, String>>) -> Created {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        // The empty piece is the end.
        for piece in pieces.into_iter().chain([Ok(Bytes::new())]) {
            // The receiver goes when a piece is an error.
            let _ = send.send(piece).await;
        }
    });
    let input =
        Input::Stream { root: "/asked".to_owned(), name: "x.tar".to_owned(), pieces: receive };
    let request = CreateRequest { input, ..request(Path::new("/virtual")) };
    memory.create(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_becomes_a_file_in_a_folder_of_its_own() {
    let memory = Memory::new().await;
    let bytes = noise(9, 3 << 20);
    let pieces = bytes.chunks(100_003).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let created = stream(&memory, pieces).await;
    let root = created.manifest.root_entry.unwrap();
    assert_eq!((root.name.as_slice(), root.mode), (&b"/asked"[..], 0o777));
    // Go's zero time, cut to 64 bits of nanoseconds.
    assert_eq!(root.mtime, -6_795_364_578_871_345_152);
    let directory = memory.directory(root.object).await;
    let file = &directory.entries[0];
    assert_eq!((file.name.as_slice(), file.size, file.mode), (&b"x.tar"[..], 3 << 20, 0o777));
    assert_eq!(memory.repo.read_object(&file.object, 4 << 20).await.unwrap(), bytes);
    let stats = created.manifest.stats;
    assert_eq!((stats.file_count, stats.non_cached_files, stats.dir_count), (1, 1, 1));
}

#[tokio::test]
async fn a_stream_that_breaks_is_a_failed_entry() {
    let memory = Memory::new().await;
    let pieces = vec![Ok("begun".into()), Err("read /dev/stdin: input/output error".to_owned())];
    let created = stream(&memory, pieces).await;
    let summary = created.manifest.root_entry.unwrap().summary.unwrap();
    assert_eq!((summary.failed, summary.files), (1, 0));
    assert_eq!(summary.errors[0].error, b"read /dev/stdin: input/output error");
}

#[tokio::test]
async fn what_the_rules_leave_out_is_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root.join(".kopiaignore"), "*.o\n/out/\n");
    write(root.join("a.o"), "123");
    write(root.join("out/x"), "x");
    write(root.join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
    write(root.join("cache/x"), "x");
    let (memory, heard) = (Memory::new().await, Arc::new(Heard::default()));
    let request = CreateRequest { sink: heard.clone(), ..request(root) };
    let stats = memory.create(request).await.unwrap().manifest.stats;
    assert_eq!(heard.of("excluded"), ["a.o", "cache", "out"]);
    let excluded = (stats.excluded_file_count, stats.excluded_total_size, stats.excluded_dir_count);
    assert_eq!(excluded, (1, 3, 2));
}
