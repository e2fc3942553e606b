//! What snapshots need is marked, all of it and nothing else; what can't be told ends the walk.

use std::collections::{BTreeSet, HashSet};

use blob_core::{BlobId, BlobStorage, layers::Operation};
use bytes::Bytes;
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    indirect::IndirectObject,
    snapshot::SnapshotManifest,
};
use kopia_repo::{EntryFilter, Marked, Marks, ObjectOptions, Repository, RepositoryWriter};
use kopia_snapshot::{
    Result, SnapshotError,
    live::{LiveMarks, LiveRoot, LiveStats, live_roots, mark_live, mark_more},
    manifests,
    tree::{made_up_entry, read_directory},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, for_each, noise, open, plant, source, write};

/// Marks what all snapshots need.
async fn marked(repo: &Repository) -> Result<(Marks, LiveStats)> {
    let roots = live_roots(repo).await?;
    mark_roots(repo, &roots).await
}

async fn mark_roots(repo: &Repository, roots: &[LiveRoot]) -> Result<(Marks, LiveStats)> {
    let marks = Marks::new(repo.index().await?);
    let stats = mark_live(repo, &marks, roots, &|_| {}, &CancellationToken::new()).await?;
    Ok((marks, stats))
}

fn ids(marks: &Marks) -> BTreeSet<ContentId> {
    let entries = marks.entries().filter(|(_, is_marked)| *is_marked);
    entries.map(|(entry, _)| entry.id).collect()
}

/// The same by the shortest way: one object after the other, with sets. Gives the number of folders
/// besides.
async fn naive(repo: &Repository, roots: &[LiveRoot]) -> Result<(BTreeSet<ContentId>, u64)> {
    let (mut needed, mut folders) = (BTreeSet::new(), HashSet::new());
    let mut left: Vec<DirEntry> = roots.iter().map(|root| root.entry.clone()).collect();
    while let Some(entry) = left.pop() {
        let contents = repo.object_contents(&entry.object).await?;
        needed.extend(contents.indexes);
        needed.extend(contents.chunks.iter().map(|chunk| chunk.content));
        if entry.is_dir() && folders.insert(entry.object) {
            left.extend(read_directory(repo, &entry.object).await?.entries);
        }
    }
    let index = repo.index().await?;
    if let Some(id) = needed.iter().find(|id| !matches!(index.find(id), Ok(Some(_)))) {
        return Err(SnapshotError::Invalid(format!("{id} is in no index")));
    }
    Ok((needed, folders.len() as u64))
}

#[test]
fn of_every_fixture_what_a_naive_walk_finds_is_marked() {
    let mut names = kopia_fixtures::names();
    // A walk is the same whatever the hash and the cipher.
    names.retain(|name| !name.starts_with("hash-") || name.ends_with("128-chacha-v1"));
    let walked = std::sync::atomic::AtomicUsize::new(0);
    for_each(&names, async |name| {
        let unpacked = kopia_fixtures::repo(name);
        let Ok(repo) = open(&unpacked).await else { return Vec::new() };
        let roots = live_roots(&repo).await.unwrap();
        match (mark_roots(&repo, &roots).await, naive(&repo, &roots).await) {
            (Ok((marks, stats)), Ok((expected, folders))) => {
                walked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let is = ids(&marks);
                let counts = (stats.contents, marks.count(), stats.directories);
                let should = (is.len() as u64, is.len() as u64, folders);
                let done = (stats.roots_done, stats.roots_total);
                if is == expected && counts == should && done == (roots.len(), roots.len()) {
                    return Vec::new();
                }
                vec![format!("{name}: {stats:?}, marked {is:?}, expected {expected:?}")]
            }
            // Its contents are fewer than what is in the packs.
            (Err(SnapshotError::NotWalked { path, .. }), Err(_))
                if *name == "damaged-index-missing"
                    && path.ends_with("of user@host:/src/tree/c d") =>
            {
                Vec::new()
            }
            (is, should) => vec![format!("{name}: {is:?}, expected {should:?}")],
        }
    });
    let walked = walked.into_inner();
    assert!(walked > 50, "{walked} fixtures");
}

/// Two snapshots of one folder, the second with a file more; and what is below them.
async fn two_snapshots() -> Memory {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    write(folder.path().join("late"), noise(8, 50_000));
    memory.snapshot(folder.path()).await;
    memory
}

#[tokio::test]
async fn shared_folders_are_read_once_and_no_data_pack_is_asked_for() {
    let memory = two_snapshots().await.reopened().await;
    for id in memory.blobs.ids().iter().filter(|id| id.as_str().starts_with('p')) {
        memory.blobs.delete(id).await.unwrap();
    }
    memory.calls.clear();
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    for op in [Operation::Get, Operation::Head, Operation::List] {
        assert_eq!(memory.calls.count_of(op, "p"), 0, "{op:?}");
    }
    let bytes = 5 + 70_000 + 11 + (5 << 20);
    let expected = LiveStats {
        // The root, three folders below it, the root of the second.
        directories: 5,
        // Five files and a link; of the second those at the top, and one more.
        files: 6 + 5,
        bytes: bytes + 9 + (bytes - 70_000 - 11) + 9 + 50_000,
        contents: marks.count(),
        roots_done: 2,
        roots_total: 2,
    };
    assert_eq!(stats, expected);
    // The two manifests, and policies if there are any, are all that no snapshot needs.
    let unmarked = marks.entries().filter(|(_, is_marked)| !is_marked);
    let prefixes: Vec<_> = unmarked.map(|(entry, _)| entry.id.prefix()).collect();
    assert!(prefixes.iter().all(|prefix| *prefix == Some(b'm')), "{prefixes:?}");
    let (again, _) = marked(&memory.repo).await.unwrap();
    assert_eq!(ids(&again), ids(&marks));
}

#[tokio::test]
async fn contents_of_no_snapshot_stay_unmarked_and_a_second_walk_counts_none() {
    let memory = two_snapshots().await;
    let writer = memory.repo.writer().unwrap();
    let garbage = object(&writer, noise(9, 3_000), None).await;
    writer.flush().await.unwrap();
    let roots = live_roots(&memory.repo).await.unwrap();
    let (marks, first) = mark_roots(&memory.repo, &roots).await.unwrap();
    assert!(!marks.is_marked(&garbage.content_id()).unwrap());
    let stop = CancellationToken::new();
    let second = mark_live(&memory.repo, &marks, &roots, &|_| {}, &stop).await.unwrap();
    assert_eq!(second, LiveStats { contents: 0, ..first });
}

#[tokio::test]
async fn deleted_contents_that_can_be_read_are_as_good_as_any() {
    let memory = two_snapshots().await;
    let writer = memory.repo.writer().unwrap();
    for entry in memory.repo.entries(&EntryFilter::default()).await.unwrap() {
        if entry.id.prefix() != Some(b'm') {
            writer.delete_content(&entry.id).await.unwrap();
        }
    }
    writer.flush().await.unwrap();
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    assert!(marks.entries().all(|(entry, is_marked)| entry.deleted == is_marked));
    assert_eq!(stats.directories, 5);
}

async fn object(writer: &RepositoryWriter, bytes: Vec<u8>, prefix: Option<u8>) -> ObjectId {
    let options = ObjectOptions { prefix, ..ObjectOptions::default() };
    writer.write_object(Bytes::from(bytes), options).await.unwrap()
}

fn named(name: &str, kind: EntryKind, object: ObjectId) -> DirEntry {
    DirEntry { name: name.into(), kind, ..made_up_entry(object) }
}

async fn folder(
    writer: &RepositoryWriter,
    entries: impl IntoIterator<Item = DirEntry>,
) -> ObjectId {
    let mut builder = DirectoryBuilder::new();
    entries.into_iter().for_each(|entry| builder.add(entry));
    object(writer, builder.build(0, "").to_bytes(), Some(b'k')).await
}

async fn list(writer: &RepositoryWriter, pieces: &[(ObjectId, u64)]) -> ObjectId {
    let mut list = IndirectObject::default();
    pieces.iter().for_each(|(object, length)| list.push(*object, *length));
    object(writer, list.to_bytes(), Some(b'x')).await
}

/// Saves a snapshot of this root and makes all visible.
async fn save(writer: &RepositoryWriter, root: DirEntry) {
    let manifest = SnapshotManifest {
        source: source("/made".as_ref()),
        root_entry: Some(root),
        ..SnapshotManifest::default()
    };
    manifests::save(writer, &manifest).await.unwrap();
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn a_content_met_as_a_file_first_is_walked_when_it_is_a_folder_elsewhere() {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let leaf = object(&writer, noise(1, 100), None).await;
    let below = folder(&writer, [named("leaf", EntryKind::File, leaf)]).await;
    let as_file = folder(&writer, [named("copy", EntryKind::File, below)]).await;
    save(&writer, named("", EntryKind::Directory, as_file)).await;
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    assert_eq!((stats.directories, stats.files), (1, 1));
    assert!(marks.is_marked(&below.content_id()).unwrap());
    assert!(!marks.is_marked(&leaf.content_id()).unwrap());
    save(&writer, named("", EntryKind::Directory, below)).await;
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    assert_eq!((stats.directories, stats.files), (2, 2));
    assert_eq!(marks.mark(&leaf.content_id()).unwrap(), Marked::Again);
}

/// A file of two pieces whose list is cut in two: its bytes, and the object of the list of lists.
async fn list_of_lists(writer: &RepositoryWriter) -> (Vec<ObjectId>, ObjectId) {
    let pieces =
        [object(writer, noise(1, 900), None).await, object(writer, noise(2, 80), None).await];
    let mut whole = IndirectObject::default();
    whole.push(pieces[0], 900);
    whole.push(pieces[1], 80);
    let text = whole.to_bytes();
    let (head, tail) = text.split_at(text.len() / 2);
    let halves = [
        object(writer, head.to_vec(), Some(b'x')).await,
        object(writer, tail.to_vec(), Some(b'x')).await,
    ];
    let lengths = [head.len() as u64, tail.len() as u64];
    let top = list(writer, &[(halves[0], lengths[0]), (halves[1], lengths[1])]).await;
    ([pieces, halves].concat(), top)
}

#[tokio::test]
async fn lists_of_lists_are_marked_at_every_level() {
    // As the text of the list first, which needs the halves alone; then as the file; then as both.
    for names in [&["1 text"][..], &["1 file"], &["1 text", "2 file"], &["1 file", "2 text"]] {
        let memory = Memory::new().await;
        let writer = memory.repo.writer().unwrap();
        let (parts, top) = list_of_lists(&writer).await;
        let entries = names.iter().map(|name| {
            let object = top.wrapped();
            let object = if name.ends_with("file") { object.wrapped() } else { object };
            named(name, EntryKind::File, object)
        });
        let root = folder(&writer, entries).await;
        save(&writer, named("", EntryKind::Directory, root)).await;
        let (marks, _) = marked(&memory.repo).await.unwrap();
        let is_file = names.iter().any(|name| name.ends_with("file"));
        let expected = parts[if is_file { 0 } else { 2 }..].iter().chain([&top, &root]);
        let expected: BTreeSet<_> = expected.map(ObjectId::content_id).collect();
        assert_eq!(ids(&marks), expected, "{names:?}");
        let roots = live_roots(&memory.repo).await.unwrap();
        assert_eq!(naive(&memory.repo, &roots).await.unwrap().0, expected);
    }
}

#[tokio::test]
async fn a_folder_in_pieces_is_walked() {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let leaf = object(&writer, noise(1, 100), None).await;
    let mut builder = DirectoryBuilder::new();
    builder.add(named("leaf", EntryKind::File, leaf));
    let text = builder.build(0, "").to_bytes();
    let (head, tail) = text.split_at(40);
    let halves = [
        object(&writer, head.to_vec(), Some(b'k')).await,
        object(&writer, tail.to_vec(), Some(b'k')).await,
    ];
    let top = list(&writer, &[(halves[0], 40), (halves[1], tail.len() as u64)]).await;
    save(&writer, named("", EntryKind::Directory, top.wrapped())).await;
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    let expected = [leaf, halves[0], halves[1], top].map(|object| object.content_id());
    assert_eq!((ids(&marks), stats.directories), (expected.into(), 1));
}

#[tokio::test]
async fn a_tree_as_deep_as_no_system_makes_it_is_walked() {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let mut below = folder(&writer, []).await;
    for _ in 0..2_000 {
        below = folder(&writer, [named("d", EntryKind::Directory, below)]).await;
    }
    save(&writer, named("", EntryKind::Directory, below)).await;
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    assert_eq!((stats.directories, marks.count()), (2_001, 2_001));
}

/// The text with `OBJECT` in place of the object's ID, if it has one.
fn named_apart(text: &str, object: &str) -> String {
    if object.is_empty() { text.to_owned() } else { text.replace(object, "OBJECT") }
}

/// Saves a snapshot with one entry and gives the error of the walk: the path, the object, the cause.
async fn refused(entry: impl AsyncFnOnce(&RepositoryWriter) -> DirEntry) -> (String, String) {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let entry = entry(&writer).await;
    let inner = folder(&writer, [entry]).await;
    let root = folder(&writer, [named("sub", EntryKind::Directory, inner)]).await;
    save(&writer, named("", EntryKind::Directory, root)).await;
    match marked(&memory.repo).await {
        Err(SnapshotError::NotWalked { path, object, source }) => {
            let name = live_roots(&memory.repo).await.unwrap().remove(0).name;
            (path.replace(&name, "root"), named_apart(&source.to_string(), &object.to_string()))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_missing_or_no_folder_or_list_ends_the_walk_with_its_path() {
    let absent = |text: &str| text.parse::<ObjectId>().unwrap();
    let no_content = "0123456789abcdef0123456789abcdef";
    let at = |kind, text: String| async move |_: &RepositoryWriter| named("f", kind, absent(&text));
    let missing = |id: String| ("root/sub/f".to_owned(), format!("content {id} does not exist"));
    let file = refused(at(EntryKind::File, no_content.into())).await;
    assert_eq!(file, missing("OBJECT".into()));
    let below = refused(at(EntryKind::Directory, format!("k{no_content}"))).await;
    assert_eq!(below, missing("OBJECT".into()));
    let long = refused(at(EntryKind::File, format!("Ix{no_content}"))).await;
    assert_eq!(long, missing(format!("x{no_content}")));
    let none = refused(at(EntryKind::Symlink, String::new())).await;
    assert_eq!(none, missing(String::new()));

    let piece = async |writer: &RepositoryWriter| {
        let list = list(writer, &[(no_content.parse().unwrap(), 5)]).await;
        named("f", EntryKind::File, list.wrapped())
    };
    assert_eq!(refused(piece).await, missing("OBJECT".into()));
    let no_list = async |writer: &RepositoryWriter| {
        let text = object(writer, b"no list".to_vec(), Some(b'x')).await;
        named("f", EntryKind::File, text.wrapped())
    };
    let (path, cause) = refused(no_list).await;
    assert_eq!(path, "root/sub/f");
    assert!(cause.starts_with("object OBJECT is damaged: "), "{cause}");
    let no_folder = async |writer: &RepositoryWriter| {
        let text = object(writer, b"no folder".to_vec(), Some(b'k')).await;
        named("f", EntryKind::Directory, text)
    };
    let (path, cause) = refused(no_folder).await;
    assert_eq!(path, "root/sub/f");
    assert!(cause.starts_with("directory object OBJECT: "), "{cause}");
    let unknown = async |writer: &RepositoryWriter| {
        named("f", EntryKind::Unknown, object(writer, b"pipe".to_vec(), None).await)
    };
    let expected = ("root/sub/f".into(), "OBJECT is not a file, a folder or a link".into());
    assert_eq!(refused(unknown).await, expected);
}

#[tokio::test]
async fn a_metadata_pack_that_is_lost_or_damaged_ends_the_walk() {
    let memory = two_snapshots().await;
    let roots = live_roots(&memory.repo).await.unwrap();
    let root = &roots[1].entry.object;
    let entry = memory.repo.content_entry(&root.content_id()).await.unwrap().unwrap();
    let pack = BlobId::new(entry.pack.as_ref()).unwrap();
    memory.blobs.damage(&pack, |bytes| bytes[entry.offset as usize + 20] ^= 1);
    for _ in ["damaged", "lost"] {
        match mark_roots(&memory.repo, &roots).await {
            Err(error @ SnapshotError::NotWalked { .. }) => {
                assert_eq!(error.blob().as_deref(), Some(pack.as_str()));
                let text = error.to_string();
                assert!(text.starts_with(&roots[1].name) && text.contains(&root.to_string()));
            }
            other => panic!("{other:?}"),
        }
        memory.blobs.delete(&pack).await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_manifest_that_cannot_be_understood_ends_it_before_it_begins() {
    let labels = [("type", "snapshot"), ("hostname", "h"), ("username", "u"), ("path", "/p")];
    let memory = two_snapshots().await;
    let writer = memory.repo.writer().unwrap();
    let unreadable = writer.put_manifest(&labels, &json!({ "rootEntry": 5 })).await.unwrap();
    writer.flush().await.unwrap();
    match live_roots(&memory.repo).await {
        Err(SnapshotError::Manifest { kind: "snapshot", id, .. }) => assert_eq!(id, unreadable),
        other => panic!("{other:?}"),
    }
    writer.delete_manifest(&unreadable).await.unwrap();
    let rootless = writer.put_manifest(&labels, &json!({ "description": "?" })).await.unwrap();
    writer.flush().await.unwrap();
    match live_roots(&memory.repo).await {
        Err(SnapshotError::NoRoot { id }) => assert_eq!(id, rootless),
        other => panic!("{other:?}"),
    }
    writer.delete_manifest(&rootless).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(live_roots(&memory.repo).await.unwrap().len(), 2);
}

#[tokio::test]
async fn incomplete_snapshots_count_as_others_do() {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let root = object(&writer, noise(1, 100), None).await;
    let manifest = SnapshotManifest {
        source: source("/made".as_ref()),
        root_entry: Some(named("", EntryKind::File, root)),
        incomplete: "checkpoint".to_owned(),
        ..SnapshotManifest::default()
    };
    manifests::save(&writer, &manifest).await.unwrap();
    writer.flush().await.unwrap();
    let (marks, stats) = marked(&memory.repo).await.unwrap();
    assert!(marks.is_marked(&root.content_id()).unwrap());
    assert_eq!((stats.files, stats.contents, stats.roots_done), (1, 1, 1));
}

#[tokio::test]
async fn it_is_stopped_before_and_on_the_way() {
    let memory = two_snapshots().await;
    let roots = live_roots(&memory.repo).await.unwrap();
    let marks = Marks::new(memory.repo.index().await.unwrap());
    let stop = CancellationToken::new();
    let on_the_way = |stats: &LiveStats| {
        if stats.directories > 0 {
            stop.cancel();
        }
    };
    let stopped = mark_live(&memory.repo, &marks, &roots, &on_the_way, &stop).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopped)), "{stopped:?}");
    let marked_so_far = marks.count();
    assert!(marked_so_far > 0);
    let stopped = mark_live(&memory.repo, &marks, &roots, &|_| {}, &stop).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopped)), "{stopped:?}");
    assert_eq!(marks.count(), marked_so_far);
}

/// Forty snapshots, more than are walked together, of a shared folder and one of their own.
async fn forty_snapshots() -> Memory {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let leaf = object(&writer, noise(1, 100), None).await;
    let shared = folder(&writer, [named("leaf", EntryKind::File, leaf)]).await;
    for n in 0..40 {
        let own = object(&writer, noise(100 + n, 50), None).await;
        let own = folder(&writer, [named("own", EntryKind::File, own)]).await;
        let entries = [("own", own), ("shared", shared)];
        let entries = entries.map(|(name, object)| named(name, EntryKind::Directory, object));
        let root = named("", EntryKind::Directory, folder(&writer, entries).await);
        let root_entry = Some(root);
        let source = source("/made".as_ref());
        let manifest = SnapshotManifest { source, root_entry, ..SnapshotManifest::default() };
        manifests::save(&writer, &manifest).await.unwrap();
    }
    writer.flush().await.unwrap();
    memory
}

#[tokio::test]
async fn a_walk_goes_on_in_another_run_where_it_was_kept_and_nowhere_else() {
    let memory = forty_snapshots().await;
    let roots = live_roots(&memory.repo).await.unwrap();
    let (whole, all) = mark_roots(&memory.repo, &roots).await.unwrap();
    assert_eq!((all.directories, all.roots_done), (81, 40));

    let view = memory.repo.index().await.unwrap();
    let marks = LiveMarks::new(view.clone());
    let (stop, kept) = (CancellationToken::new(), std::sync::Mutex::new(None));
    let progress = |stats: &LiveStats| {
        let bytes = marks.to_bytes();
        match (stats.roots_done, stats.directories) {
            (0, 0) => assert!(bytes.is_some()),
            (0, _) if bytes.is_none() => {}
            (done, directories) => {
                stop.cancel();
                *kept.lock().unwrap() = Some((done, directories, bytes.unwrap()));
            }
        }
    };
    let stopped = mark_more(&memory.repo, &marks, &roots, &progress, &stop).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopped)), "{stopped:?}");
    let (done, directories, bytes) = kept.lock().unwrap().take().unwrap();
    assert_eq!((done, directories), (32, 65));

    // Somebody writes meanwhile: there is an index blob more.
    let writer = memory.repo.writer().unwrap();
    object(&writer, noise(2, 100), None).await;
    writer.flush().await.unwrap();
    let newer = memory.repo.index().await.unwrap();
    let marks = LiveMarks::restore(newer, &bytes).unwrap();
    let stop = CancellationToken::new();
    let more = mark_more(&memory.repo, &marks, &roots[done..], &|_| {}, &stop).await.unwrap();
    assert_eq!((more.directories, more.roots_done), (16, 8));
    assert_eq!(ids(marks.live()), ids(&whole));
    assert!(LiveMarks::restore(view.clone(), &marks.to_bytes().unwrap()).is_none());
    assert!((0..bytes.len()).all(|n| LiveMarks::restore(view.clone(), &bytes[..n]).is_none()));
}

#[tokio::test]
async fn marks_of_a_walk_that_was_not_finished_are_neither_kept_nor_gone_on_from() {
    let memory = forty_snapshots().await;
    let roots = live_roots(&memory.repo).await.unwrap();
    let marks = LiveMarks::new(memory.repo.index().await.unwrap());
    let stop = CancellationToken::new();
    let progress = |stats: &LiveStats| match stats.directories {
        0 => {}
        _ => stop.cancel(),
    };
    let stopped = mark_more(&memory.repo, &marks, &roots[..1], &progress, &stop).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopped)), "{stopped:?}");
    assert_eq!(marks.to_bytes(), None);
    let stop = CancellationToken::new();
    let refused = mark_more(&memory.repo, &marks, &roots, &|_| {}, &stop).await;
    assert!(matches!(refused, Err(SnapshotError::Invalid(_))), "{refused:?}");
}
