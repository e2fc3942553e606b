//! Metadata packs longer than the memory has room for: by way of the cache, in parts.

use std::{path::Path, sync::Arc};

use crate::common::{create_with, damage_cached, ids, noise, secret};
use blob_core::{BlobStorage, MemoryStorage, ReadRange, layers::Operation};
use blob_testkit::CountingStorage;
use kopia_format::ContentId;
use kopia_repo::{CacheOptions, CreateOptions, OpenOptions, Repository};

const PART: u64 = 8 << 20;
const CONTENTS: u64 = 17;
const LENGTH: usize = 5 << 19;

fn caching(folder: &Path, bytes_max: u64) -> OpenOptions {
    let cache = CacheOptions {
        directory: folder.to_owned(),
        content_bytes_max: bytes_max,
        metadata_bytes_max: bytes_max,
    };
    OpenOptions { cache: Some(cache), memory_bytes_max: 64 << 20, ..OpenOptions::default() }
}

struct Scene {
    memory: Arc<MemoryStorage>,
    counting: Arc<CountingStorage>,
    folder: tempfile::TempDir,
    contents: Vec<ContentId>,
}

/// One metadata pack of 42 MiB, written through a cache with room for it.
async fn scene() -> Scene {
    let (memory, folder) = (Arc::new(MemoryStorage::new()), tempfile::tempdir().unwrap());
    let counting = CountingStorage::over(memory.clone());
    let create = CreateOptions { max_pack_size: 60 << 20, ..CreateOptions::default() };
    let options = caching(folder.path(), 100 << 20);
    let repository = create_with(counting.clone(), create, options).await;
    let writer = repository.writer().unwrap();
    let mut contents = Vec::new();
    for number in 0..CONTENTS {
        contents.push(writer.put_content(noise(number, LENGTH), Some(b'k'), None).await.unwrap());
    }
    writer.flush().await.unwrap();
    counting.clear();
    Scene { memory, counting, folder, contents }
}

impl Scene {
    /// Reads all at once through a cache, and gives the requests for metadata packs by then.
    async fn read(&self, folder: &Path, bytes_max: u64) -> (usize, usize) {
        let options = caching(folder, bytes_max);
        let opened = Repository::open(self.counting.clone(), &secret("fixture"), options).await;
        let repository = opened.unwrap();
        self.counting.clear();
        let reads = self.contents.iter().map(|id| repository.content(id));
        let read = futures::future::try_join_all(reads).await.unwrap();
        for (number, bytes) in read.iter().enumerate() {
            assert_eq!(*bytes, noise(number as u64, LENGTH));
        }
        let count = |op| self.counting.count_of(op, "q");
        (count(Operation::Head), count(Operation::Get))
    }

    async fn longest(&self) -> u64 {
        let mut longest = 0;
        for id in ids(&self.memory, "q") {
            longest = self.memory.get(&id, ReadRange::Full).await.unwrap().len().max(longest);
        }
        longest as u64
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_kept_as_it_is_put_and_otherwise_fetched_once_in_parts() {
    let scene = scene().await;
    let longest = scene.longest().await;
    assert!(longest > 42 << 20, "{longest}");
    assert_eq!(scene.read(scene.folder.path(), 100 << 20).await, (0, 0), "kept as it was put");
    let other = tempfile::tempdir().unwrap();
    let parts = usize::try_from(longest.div_ceil(PART)).unwrap();
    assert_eq!(scene.read(other.path(), 100 << 20).await, (1, parts));
    assert_eq!(scene.read(other.path(), 100 << 20).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_one_in_the_cache_is_fetched_again() {
    let scene = scene().await;
    assert!(damage_cached(scene.folder.path(), "packs") > 0);
    let (heads, gets) = scene.read(scene.folder.path(), 100 << 20).await;
    assert!(heads >= 1 && gets >= 6, "{heads}, {gets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_has_no_room_each_content_is_fetched_by_itself() {
    let scene = scene().await;
    let small = tempfile::tempdir().unwrap();
    let (heads, gets) = scene.read(small.path(), 10 << 20).await;
    assert_eq!((heads, gets as u64), (1, CONTENTS));
}
