//! The cache on a disk of its own: what stays, what goes, what is not believed.

use super::*;

async fn cache(folder: &std::path::Path, bytes_max: u64) -> Cache {
    let options = CacheOptions {
        directory: folder.to_owned(),
        content_bytes_max: bytes_max,
        metadata_bytes_max: bytes_max,
    };
    Cache::open(&options, &[7; 16]).await.unwrap().expect("the folder can be made")
}

fn only_file(cache: &Cache, kind: Kind) -> PathBuf {
    let all = cache.files.list(kind).unwrap();
    assert_eq!(all.len(), 1);
    all[0].path.clone()
}

#[tokio::test]
async fn what_was_stored_comes_back_whole_in_part_and_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1 << 20).await;
    assert_eq!(cache.whole(Kind::Packs, "q1").await, None);
    cache.store(Kind::Packs, "q1", Bytes::from_static(b"0123456789")).await;
    assert_eq!(cache.whole(Kind::Packs, "q1").await.unwrap(), "0123456789");
    assert_eq!(cache.range(Kind::Packs, "q1", 3, 4).await.unwrap(), "3456");
    assert_eq!(cache.range(Kind::Packs, "q1", 8, 3).await, None, "the checksum is no part of it");
    assert_eq!(cache.map(Kind::Packs, "q1").await.unwrap().as_ref(), b"0123456789");
}

#[tokio::test]
async fn a_changed_cut_or_renamed_file_is_a_miss_and_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1 << 20).await;
    for damage in ["changed", "cut", "renamed"] {
        cache.store(Kind::Indexes, "xn0_1", Bytes::from_static(b"0123456789")).await;
        let path = only_file(&cache, Kind::Indexes);
        let mut bytes = std::fs::read(&path).unwrap();
        let mut name = "xn0_1";
        match damage {
            "changed" => bytes[4] ^= 1,
            "cut" => bytes.truncate(20),
            _ => {
                name = "xn0_2";
                cache.store(Kind::Indexes, name, Bytes::from_static(b"other")).await;
                std::fs::write(
                    cache
                        .files
                        .list(Kind::Indexes)
                        .unwrap()
                        .iter()
                        .find(|f| f.path != path)
                        .unwrap()
                        .path
                        .clone(),
                    &bytes,
                )
                .unwrap();
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        assert!(cache.map(Kind::Indexes, name).await.is_none(), "{damage}");
        assert!(cache.whole(Kind::Indexes, name).await.is_none(), "{damage}");
    }
}

#[tokio::test]
async fn old_files_go_when_there_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 10_000).await;
    for number in 0..30 {
        cache.store(Kind::Contents, &format!("c{number}"), vec![1; 1_000].into()).await;
    }
    let usage = cache.usage().await.unwrap();
    assert_eq!(usage[1].kind, "contents");
    assert!(usage[1].bytes <= 10_000, "{usage:?}");
    assert!(cache.whole(Kind::Contents, "c29").await.is_some(), "the newest stays");
    cache.clear().await.unwrap();
    assert!(cache.usage().await.unwrap().iter().all(|kind| kind.files == 0));
}

#[tokio::test]
async fn another_repositorys_entries_are_misses() {
    let folder = tempfile::tempdir().unwrap();
    let ours = cache(folder.path(), 1 << 20).await;
    ours.store(Kind::Packs, "q1", Bytes::from_static(b"x")).await;
    let mut theirs = cache(folder.path(), 1 << 20).await;
    let key = ContentHasher::new("HMAC-SHA256", &[8; 16]).unwrap();
    theirs.files = Files::new(theirs.folder(), key);
    assert_eq!(theirs.whole(Kind::Packs, "q1").await, None);
}

fn bytes_of(cache: &Cache, kind: Kind) -> u64 {
    cache.files.list(kind).unwrap().iter().map(|file| file.length).sum()
}

#[tokio::test]
async fn no_file_is_written_before_there_is_room_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 100_000).await;
    for number in 0..200_usize {
        let length = 100 + number * 7919 % 20_000;
        cache.store(Kind::Packs, &format!("q{number}"), vec![1; length].into()).await;
        let kept = bytes_of(&cache, Kind::Packs);
        assert!(kept <= 100_000, "{kept} bytes after {number} files");
    }
    // A file as long as all that may be kept takes it all; a longer one is not kept.
    cache.store(Kind::Packs, "q-all", vec![1; 100_000 - 32].into()).await;
    assert_eq!(bytes_of(&cache, Kind::Packs), 100_000);
    cache.store(Kind::Packs, "q-more", vec![1; 100_001 - 32].into()).await;
    assert_eq!(cache.whole(Kind::Packs, "q-more").await, None);
    assert!(cache.whole(Kind::Packs, "q-all").await.is_some());
}

#[tokio::test]
async fn two_processes_that_share_a_folder_keep_its_limit_together() {
    let folder = tempfile::tempdir().unwrap();
    let two = [cache(folder.path(), 100_000).await, cache(folder.path(), 100_000).await];
    for number in 0..200 {
        let one = &two[number % 2];
        one.store(Kind::Contents, &format!("c{number}"), vec![1; 2_000].into()).await;
        let kept = bytes_of(one, Kind::Contents);
        // Each may be a sixteenth and one file ahead of what the other has seen.
        assert!(kept <= 100_000 + 2 * (100_000 / 16 + 2_032), "{kept} bytes after {number}");
    }
}

#[tokio::test]
async fn what_a_killed_process_began_goes_away_and_what_is_being_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let first = cache(folder.path(), 1 << 20).await;
    first.store(Kind::Packs, "q1", Bytes::from_static(b"x")).await;
    let beside = only_file(&first, Kind::Packs);
    let (old, new) = (beside.with_file_name(".begun-a"), beside.with_file_name(".begun-b"));
    for path in [&old, &new] {
        std::fs::write(path, "half").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    std::fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    let second = cache(folder.path(), 1 << 20).await;
    second.store(Kind::Packs, "q2", Bytes::from_static(b"y")).await;
    assert!(!old.exists() && new.exists() && beside.exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_written_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 10_000).await;
    cache.store(Kind::Packs, "q0", vec![1; 5_000].into()).await;
    // A file stands where the folder of contents belongs: nothing can be written there.
    std::fs::write(cache.folder().join("contents"), "in the way").unwrap();
    for number in 0..10 {
        cache.store(Kind::Contents, &format!("c{number}"), vec![1; 5_000].into()).await;
    }
    std::fs::remove_file(cache.folder().join("contents")).unwrap();
    cache.store(Kind::Contents, "c1", vec![1; 4_000].into()).await;
    cache.store(Kind::Contents, "c2", vec![1; 4_000].into()).await;
    assert!(cache.whole(Kind::Contents, "c1").await.is_some(), "there was room for both");
}

#[tokio::test]
async fn every_flipped_byte_of_a_file_is_a_miss_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1 << 20).await;
    let bytes = Bytes::from_static(b"0123456789");
    for at in 0..10 + 32 {
        cache.store(Kind::Packs, "q1", bytes.clone()).await;
        let path = only_file(&cache, Kind::Packs);
        let mut file = std::fs::read(&path).unwrap();
        file[at] ^= 1 << (at % 8);
        std::fs::write(&path, file).unwrap();
        assert!(cache.whole(Kind::Packs, "q1").await.is_none(), "byte {at}");
        assert!(!path.exists(), "byte {at}");
    }
    cache.store(Kind::Packs, "q1", bytes.clone()).await;
    assert_eq!(cache.whole(Kind::Packs, "q1").await, Some(bytes));
}
