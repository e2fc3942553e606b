//! Verification finds what is missing, cut or damaged, and reads no more than it has to.

use blob_core::{BlobId, BlobStorage, layers::Operation};
use kopia_format::directory::DirEntry;
use kopia_snapshot::{
    SnapshotError,
    verify::{VerifyOptions, VerifyReport, VerifyStats, verify},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, noise, plant, write};

struct Case {
    memory: Memory,
    roots: Vec<(String, DirEntry)>,
}

impl Case {
    /// Two snapshots, each with a data pack of its own.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path());
        let memory = Memory::new().await;
        let first = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
        write(folder.path().join("late"), noise(8, 50_000));
        let second = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
        let roots = vec![("first".to_owned(), first), ("second".to_owned(), second)];
        memory.calls.clear();
        Self { memory, roots }
    }

    async fn verify(&self, options: &VerifyOptions) -> VerifyReport {
        let stop = CancellationToken::new();
        verify(&self.memory.repo, &self.roots, options, &|_| {}, &stop).await.unwrap()
    }

    /// The pack that holds the file `late`.
    async fn late_pack(&self) -> BlobId {
        let root = self.memory.directory(self.roots[1].1.object).await;
        let id = root.find(b"late").unwrap().object.content_id();
        let entry = self.memory.repo.content_entry(&id).await.unwrap().unwrap();
        BlobId::new(entry.pack.as_ref()).unwrap()
    }
}

fn all_files() -> VerifyOptions {
    VerifyOptions { files_percent: 100.0, ..VerifyOptions::default() }
}

/// The paths of all problems, each with the blob to blame.
fn problems(report: &VerifyReport) -> Vec<(&str, &str)> {
    let all = report.problems.iter();
    all.map(|p| (p.path.as_str(), p.blob.as_deref().unwrap_or("-"))).collect()
}

#[tokio::test]
async fn whole_snapshots_are_verified_without_reading_their_data() {
    let case = Case::new().await;
    let report = case.verify(&VerifyOptions::default()).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let bytes = 5 + 70_000 + 11 + (5 << 20);
    let stats = VerifyStats {
        // 4 folders of the first and the root of the second; 5 files, a link, one more file.
        processed_object_count: 5 + 7,
        processed_bytes: bytes + 9 + 50_000,
        read_file_count: 0,
        read_bytes: 0,
        expected_total_object_count: 10 + 11,
        expected_total_file_count: 5 + 6,
        expected_total_bytes: 2 * bytes + 50_000,
    };
    assert_eq!(report.stats, stats);
    assert_eq!(case.memory.calls.count_of(Operation::Get, "p"), 0);
    let report = case.verify(&all_files()).await;
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.stats.read_file_count, report.stats.read_bytes), (7, bytes + 9 + 50_000));
    assert!(case.memory.calls.count_of(Operation::Get, "p") >= 2);
}

#[tokio::test]
async fn a_missing_pack_is_found_by_the_listing() {
    let case = Case::new().await;
    let pack = case.late_pack().await;
    case.memory.blobs.delete(&pack).await.unwrap();
    let report = case.verify(&VerifyOptions::default()).await;
    assert_eq!(problems(&report), [("second/late", pack.as_str())]);
    assert!(report.problems[0].message.contains("is backed by missing blob"));
}

#[tokio::test]
async fn a_cut_pack_is_found_by_its_size() {
    let case = Case::new().await;
    let pack = case.late_pack().await;
    case.memory.blobs.damage(&pack, |bytes| bytes.truncate(20_000));
    let report = case.verify(&VerifyOptions::default()).await;
    assert_eq!(problems(&report), [("second/late", pack.as_str())]);
}

#[tokio::test]
async fn damage_is_found_by_reading_alone() {
    let case = Case::new().await;
    let pack = case.late_pack().await;
    case.memory.blobs.damage(&pack, |bytes| bytes[20_000] ^= 1);
    let report = case.verify(&VerifyOptions::default()).await;
    assert!(report.problems.is_empty());
    let report = case.verify(&all_files()).await;
    assert_eq!(problems(&report), [("second/late", pack.as_str())]);
}

#[tokio::test]
async fn what_is_found_hangs_not_on_how_much_is_read_in_one_go() {
    let case = Case::new().await;
    let pack = case.late_pack().await;
    case.memory.blobs.damage(&pack, |bytes| bytes[20_000] ^= 1);
    let at_once = case.verify(&all_files()).await;
    let one_go = case.memory.calls.count_of(Operation::Get, "p");
    for read_batch in [0, 1, 3] {
        case.memory.calls.clear();
        let report = case.verify(&VerifyOptions { read_batch, ..all_files() }).await;
        assert_eq!(problems(&report), problems(&at_once), "{read_batch}");
        assert_eq!(report.stats, at_once.stats, "{read_batch}");
        assert!(case.memory.calls.count_of(Operation::Get, "p") > one_go, "{read_batch}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_is_a_problem_and_no_end() {
    let case = Case::new().await;
    let root = case.roots[1].1.object.content_id();
    let entry = case.memory.repo.content_entry(&root).await.unwrap().unwrap();
    let pack = BlobId::new(entry.pack.as_ref()).unwrap();
    case.memory.blobs.delete(&pack).await.unwrap();
    let report = case.verify(&VerifyOptions::default()).await;
    assert_eq!(problems(&report), [("second", pack.as_str())]);
    assert_eq!(report.stats.processed_object_count, 4 + 6 + 1);
}

#[tokio::test]
async fn verification_ends_at_the_number_of_problems_asked_for_or_when_it_is_stopped() {
    let case = Case::new().await;
    for id in case.memory.blobs.ids().into_iter().filter(|id| id.as_str().starts_with('p')) {
        case.memory.blobs.delete(&id).await.unwrap();
    }
    let all = case.verify(&VerifyOptions::default()).await.problems.len();
    assert!(all >= 7, "{all} problems");
    let two = VerifyOptions { errors_max: 2, ..VerifyOptions::default() };
    assert_eq!(case.verify(&two).await.problems.len(), 2);
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = verify(&case.memory.repo, &case.roots, &two, &|_| {}, &stop).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopped)), "{stopped:?}");
}

#[tokio::test]
async fn the_list_of_a_files_pieces_is_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("long"), noise(9, 17 << 20));
    let memory = Memory::new().await;
    let root = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
    let long = memory.directory(root.object).await.find(b"long").unwrap().object;
    assert_eq!(long.indirection(), 1);
    let cache = tempfile::tempdir().unwrap();
    let case =
        Case { memory: memory.caching(cache.path()).await, roots: vec![("it".into(), root)] };
    assert!(case.verify(&all_files()).await.problems.is_empty());
    let entry = case.memory.repo.content_entry(&long.content_id()).await.unwrap().unwrap();
    let pack = BlobId::new(entry.pack.as_ref()).unwrap();

    case.memory.blobs.damage(&pack, |bytes| bytes[entry.offset as usize + 9] ^= 1);
    let report = case.verify(&all_files()).await;
    assert!(problems(&report).contains(&("it/long", pack.as_str())), "{report:?}");
    case.memory.blobs.delete(&pack).await.unwrap();
    let report = case.verify(&VerifyOptions::default()).await;
    assert!(problems(&report).contains(&("it/long", pack.as_str())), "{report:?}");
}

#[tokio::test]
async fn what_the_cache_has_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    let root = memory.snapshot(folder.path()).await.manifest.root_entry.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let case =
        Case { memory: memory.caching(cache.path()).await, roots: vec![("it".into(), root)] };
    assert!(case.verify(&all_files()).await.problems.is_empty());
    let root = case.roots[0].1.object;
    let entry = case.memory.repo.content_entry(&root.content_id()).await.unwrap().unwrap();
    let pack = BlobId::new(entry.pack.as_ref()).unwrap();

    case.memory.blobs.damage(&pack, |bytes| bytes[entry.offset as usize + 9] ^= 1);
    assert!(case.verify(&VerifyOptions::default()).await.problems.is_empty(), "nothing is read");
    let report = case.verify(&all_files()).await;
    assert_eq!(problems(&report), [("it", pack.as_str())]);

    case.memory.blobs.delete(&pack).await.unwrap();
    let report = case.verify(&VerifyOptions::default()).await;
    let folders = ["it", "it/sub", "it/sub/deeper"].map(|path| (path, pack.as_str()));
    for folder in folders {
        assert!(problems(&report).contains(&folder), "{folder:?}: {report:?}");
    }
}
