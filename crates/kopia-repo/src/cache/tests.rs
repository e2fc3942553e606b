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
