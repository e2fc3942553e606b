//! What a user may type to name a snapshot, a folder or a file in one.

use std::path::Path;

use kopia_format::{snapshot::Source, time::GoTime};
use kopia_snapshot::{
    SnapshotError,
    create::{self, CreateRequest},
    roots::{Lookup, Pick, Root},
};

use crate::support::{Memory, request, write};

/// Three snapshots of `/data` at the seconds 1000, 2000 and 3000, one of `/data/sub` at 2500, one
/// by somebody else.
struct Case {
    memory: Memory,
    folder: tempfile::TempDir,
}

impl Case {
    async fn new() -> Self {
        let (memory, folder) = (Memory::new().await, tempfile::tempdir().unwrap());
        let case = Self { memory, folder };
        case.take("user", "/data", 1_000, "one").await;
        case.take("user", "/data", 2_000, "two").await;
        std::fs::remove_file(case.folder.path().join("sub/gone")).unwrap();
        case.take("user", "/data", 3_000, "three").await;
        case.take("other", "/data", 4_000, "four").await;
        case
    }

    async fn take(&self, user: &str, path: &str, secs: i64, text: &str) -> String {
        let root = self.folder.path();
        write(root.join("f"), text);
        if secs == 1_000 {
            write(root.join("sub/g"), "g");
            write(root.join("sub/gone"), "gone");
        }
        let time = GoTime::from_secs(secs);
        let request = CreateRequest {
            source: Source::new("host", user, path),
            times: (Some(time), Some(time)),
            ..request(root)
        };
        self.memory.create(request).await.unwrap().manifest.id.to_string()
    }

    fn lookup(&self) -> Lookup<'static> {
        Lookup {
            username: "user",
            hostname: "host",
            folder: "/data/sub",
            pick: Pick::Latest(0),
            consistent_attributes: false,
        }
    }

    async fn find(&self, text: &str) -> Result<Root, SnapshotError> {
        self.lookup().find(&self.memory.repo, text).await
    }

    /// The second at which the snapshot began that `text` means, and the path in it.
    async fn at(&self, text: &str) -> (i64, String) {
        self.at_with(self.lookup(), text).await
    }

    async fn at_with(&self, lookup: Lookup<'_>, text: &str) -> (i64, String) {
        let found = lookup.find(&self.memory.repo, text).await;
        let root = found.unwrap_or_else(|error| panic!("{text}: {error}"));
        let name = root.entry.name_lossy().into_owned();
        let last = root.path.rsplit('/').next().unwrap_or_default();
        assert!(last.is_empty() || last == name, "{name} at the end of {}", root.path);
        (root.manifest.unwrap().start_time.secs(), root.path)
    }
}

fn place(secs: i64, path: &str) -> (i64, String) {
    (secs, path.to_owned())
}

#[tokio::test]
async fn sources_with_and_without_paths_below_them() {
    let case = Case::new().await;
    for text in ["/data", "/data/", "/data/sub/..", "user@host:/data", "..", "/data@latest"] {
        assert_eq!(case.at(text).await, place(3_000, ""), "{text}");
    }
    for text in ["/data/f", "user@host:/data/f", "../f", "/data/f@latest~0"] {
        assert_eq!(case.at(text).await, place(3_000, "f"), "{text}");
    }
    assert_eq!(case.at(".").await, place(3_000, "sub"));
    assert_eq!(case.at("g").await, place(3_000, "sub/g"));
    assert_eq!(case.at("other@host:/data").await, place(4_000, ""));
    assert_eq!(case.at("/data@latest~2").await, place(1_000, ""));
    assert_eq!(case.at("user@host:/data@latest~1").await, place(2_000, ""));
    // Counted are the snapshots that have the path.
    assert_eq!(case.at("/data/sub/gone").await, place(2_000, "sub/gone"));
    assert_eq!(case.at("/data/sub/gone@latest~1").await, place(1_000, "sub/gone"));
    // A snapshot of the folder itself counts with those of the folders above.
    case.take("user", "/data/sub", 2_500, "five").await;
    assert_eq!(case.at("/data/sub").await, place(3_000, "sub"));
    assert_eq!(case.at("/data/sub@latest~1").await, place(2_500, ""));
}

#[tokio::test]
async fn a_time_picks_among_the_snapshots_of_a_source() {
    let case = Case::new().await;
    let with = |pick| Lookup { pick, ..case.lookup() };
    let before = |secs| Pick::Before(GoTime::from_secs(secs));
    assert_eq!(case.at_with(with(Pick::Oldest), "/data").await, place(1_000, ""));
    assert_eq!(case.at_with(with(before(2_500)), "/data").await, place(2_000, ""));
    assert_eq!(case.at_with(with(before(2_000)), "/data/f").await, place(1_000, "f"));
    assert_eq!(case.at_with(with(before(9_000)), "/data/sub/gone").await, place(2_000, "sub/gone"));
    let none = with(before(1_000)).find(&case.memory.repo, "/data").await.unwrap_err();
    assert!(matches!(none, SnapshotError::NotInSnapshot { .. }), "{none}");
    // What is said in the text counts for more than the flag.
    assert_eq!(case.at_with(with(Pick::Oldest), "/data@latest").await, place(3_000, ""));
}

#[tokio::test]
async fn ids_of_manifests_and_objects_whole_and_abbreviated() {
    let case = Case::new().await;
    let all = case.memory.snapshots().await;
    for manifest in &all {
        let secs = manifest.start_time.secs();
        let (id, root) = (manifest.id.to_string(), manifest.root_object().unwrap().to_string());
        for text in [&id, &root, &id[..8], &root[..9]] {
            assert_eq!(case.at(text).await, place(secs, ""), "{text}");
            assert_eq!(case.at(&format!("{text}/sub/g")).await, place(secs, "sub/g"));
        }
        let own = case.find(&id).await.unwrap();
        assert_eq!(Some(own.entry), manifest.root_entry);
    }
    let missing = case.find(&format!("{}/sub/nothing", all[0].id)).await.unwrap_err();
    assert!(matches!(missing, SnapshotError::NotInSnapshot { .. }), "{missing}");
    let through_a_file = case.find(&format!("{}/f/x", all[0].id)).await.unwrap_err();
    assert!(matches!(through_a_file, SnapshotError::NotInSnapshot { .. }), "{through_a_file}");
    // Too short to stand for anything, and no source either.
    let short = case.find(&all[0].id.as_str()[..7]).await.unwrap_err();
    assert!(matches!(short, SnapshotError::NotInSnapshot { .. }), "{short}");
}

#[tokio::test]
async fn an_object_that_no_snapshot_has_as_its_root_gets_made_up_attributes() {
    let case = Case::new().await;
    let sub = case.find("/data/sub").await.unwrap().entry;
    let found = case.find(&sub.object.to_string()).await.unwrap();
    assert!(found.manifest.is_none());
    assert_eq!((found.entry.mode, found.entry.mtime, found.entry.is_dir()), (0o555, 0, true));
    let file = case.find(&format!("{}/g", sub.object)).await.unwrap();
    assert_eq!((file.entry.name.as_slice(), file.entry.size), (&b"g"[..], 1));
    let bare = case.find(&file.entry.object.to_string()).await.unwrap();
    assert_eq!((bare.entry.mode, bare.entry.mtime, bare.entry.is_dir()), (0o644, 0, false));
    assert_eq!(bare.entry.size, 1, "a restore by object ID needs the length");
}

#[tokio::test]
async fn latest_alone_is_the_newest_of_all_own_sources_if_there_is_one() {
    let case = Case::new().await;
    assert_eq!(case.at("latest").await, place(3_000, ""));
    assert_eq!(case.at("latest~1/sub/gone").await, place(2_000, "sub/gone"));
    let beyond = case.find("latest~3").await.unwrap_err();
    assert!(matches!(beyond, SnapshotError::NotInSnapshot { .. }), "{beyond}");
    case.take("user", "/elsewhere", 5_000, "six").await;
    let error = case.find("latest").await.unwrap_err().to_string();
    assert!(error.contains("user@host:/data") && error.contains("user@host:/elsewhere"), "{error}");
}

#[tokio::test]
async fn snapshots_that_share_a_root_may_have_to_agree() {
    let case = Case::new().await;
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(case.folder.path(), mode(0o710)).unwrap();
    // The mode of the root is in the manifest, not in the object.
    let first = case.memory.snapshot(case.folder.path()).await.manifest;
    std::fs::set_permissions(case.folder.path(), mode(0o700)).unwrap();
    let second = case.memory.snapshot(case.folder.path()).await.manifest;
    assert_eq!(first.root_object(), second.root_object());
    let root = second.root_object().unwrap().to_string();
    assert_eq!(case.find(&root).await.unwrap().manifest.unwrap().id, second.id);
    let strict = Lookup { consistent_attributes: true, ..case.lookup() };
    let error = strict.find(&case.memory.repo, &root).await.unwrap_err().to_string();
    assert!(error.contains(first.id.as_str()) && error.contains(second.id.as_str()), "{error}");
    // What lies below has attributes of its own.
    assert!(strict.find(&case.memory.repo, &format!("{root}/f")).await.is_ok());
}

#[tokio::test]
async fn incomplete_snapshots_are_found_by_their_id_alone() {
    let case = Case::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let source = Source::new("host", "user", "/data");
    let request = CreateRequest { source, stop, ..request(case.folder.path()) };
    let writer = case.memory.repo.writer().unwrap();
    let incomplete = create::create(&writer, request).await.unwrap().manifest;
    writer.flush().await.unwrap();
    assert_eq!(incomplete.incomplete, "canceled");
    assert_eq!(case.at("/data").await, place(3_000, ""));
    let found = case.find(incomplete.id.as_str()).await.unwrap();
    assert_eq!(found.manifest.unwrap().id, incomplete.id);
}

#[tokio::test]
async fn what_names_nothing_is_refused() {
    let case = Case::new().await;
    for text in ["/nowhere", "nobody@host:/data", "/data/nothing", "user@host", "", "latest~x"] {
        let error = case.find(text).await;
        assert!(error.is_err(), "{text:?} is {error:?}");
    }
    let nothing = Memory::new().await;
    let lookup = case.lookup();
    let error = lookup.find(&nothing.repo, "latest").await.unwrap_err();
    assert!(matches!(error, SnapshotError::NotInSnapshot { .. }), "{error}");
    assert!(!Path::new("/nowhere").exists());
}
