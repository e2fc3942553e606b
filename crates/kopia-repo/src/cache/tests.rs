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
async fn what_was_stored_comes_back_whole_and_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1 << 20).await;
    assert_eq!(cache.whole(Kind::Packs, "q1").await, None);
    cache.store(Kind::Packs, "q1", Bytes::from_static(b"0123456789")).await;
    assert_eq!(cache.whole(Kind::Packs, "q1").await.unwrap(), "0123456789");
    assert_eq!(cache.range(Kind::Packs, "q1", 3, 4).await.unwrap(), "3456");
    assert_eq!(cache.range(Kind::Packs, "q1", 8, 3).await, None, "the checksum is no part of it");
}

#[tokio::test]
async fn an_entry_in_parts_is_one_when_it_is_whole_and_counts_as_much() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1_000).await;
    let half = Bytes::from(vec![7; 250]);
    let begin = || async { cache.begin(Kind::Packs, "q1", 500).await.unwrap() };
    // Left in the middle, or cut, or too long, it is none, and its room is free again.
    for _ in 0..3 {
        drop(begin().await.append(half.clone()).await.unwrap());
        begin().await.append(half.clone()).await.unwrap().finish().await.unwrap_err();
        begin().await.append(vec![7; 501].into()).await.unwrap_err();
    }
    assert_eq!(cache.usage().await.unwrap()[0].files, 0);
    let begun = begin().await.append(half.clone()).await.unwrap();
    begun.append(half.clone()).await.unwrap().finish().await.unwrap();
    assert_eq!(cache.whole(Kind::Packs, "q1").await.unwrap(), [&half[..], &half].concat());
    assert!(cache.begin(Kind::Packs, "q2", 1_000).await.is_none(), "with its checksum too long");
    // Both would be more than is kept.
    cache.store(Kind::Packs, "q2", vec![8; 500].into()).await;
    assert!(cache.whole(Kind::Packs, "q1").await.is_none());
    assert!(cache.whole(Kind::Packs, "q2").await.is_some());
}

#[tokio::test]
async fn a_changed_cut_or_renamed_file_is_a_miss_and_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 1 << 20).await;
    for damage in ["changed", "cut", "renamed"] {
        cache.store(Kind::Packs, "xn0_1", Bytes::from_static(b"0123456789")).await;
        let path = only_file(&cache, Kind::Packs);
        let mut bytes = std::fs::read(&path).unwrap();
        let mut name = "xn0_1";
        match damage {
            "changed" => bytes[4] ^= 1,
            "cut" => bytes.truncate(20),
            _ => {
                name = "xn0_2";
                cache.store(Kind::Packs, name, Bytes::from_static(b"other")).await;
                std::fs::write(
                    cache
                        .files
                        .list(Kind::Packs)
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
        assert!(cache.whole(Kind::Packs, name).await.is_none(), "{damage}");
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

mod indexes {
    //! Indexes: checked once, believed for a day, and never when anything changed.

    use std::{
        path::Path,
        time::{Duration, SystemTime},
    };

    use kopia_format::{
        ContentId,
        index::{IndexBuilder, IndexEntry},
    };

    use futures::{StreamExt, stream};

    use super::*;

    fn entry(n: u32) -> IndexEntry {
        let hash = kopia_fixtures::spec_bytes(&format!("ctr:cached-{n}:16"));
        IndexEntry {
            id: ContentId::new(n.is_multiple_of(9).then_some(b'k'), &hash).unwrap(),
            pack: format!("p{}", n % 7).into(),
            offset: n,
            packed_length: n + 28,
            original_length: n,
            timestamp: 1_700_000_000,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        }
    }

    fn index_of(count: u32) -> Bytes {
        (0..count).map(entry).collect::<IndexBuilder>().build(2, None).unwrap().into()
    }

    /// A cache that keeps records of all indexes.
    async fn recording(folder: &Path) -> Cache {
        let mut cache = cache(folder, 1 << 30).await;
        cache.files.recorded_min = 0;
        cache
    }

    fn path(cache: &Cache, name: &str) -> PathBuf {
        cache.files.path(Kind::Indexes, name)
    }

    const NAME: &str = "xn0_1";
    const COUNT: u32 = 40;

    /// Opens the index and says whether every answer is right.
    async fn answers(cache: &Cache) -> bool {
        let Some(index) = cache.index(NAME).await else { return false };
        for n in 0..COUNT + 10 {
            let expected = (n < COUNT).then(|| entry(n));
            assert_eq!(index.find(&entry(n).id).unwrap(), expected, "{n}");
        }
        assert_eq!(index.iter().count(), COUNT as usize);
        true
    }

    #[tokio::test]
    async fn an_index_is_walked_once_and_opened_from_its_record_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        let record = path(&cache, &seen::record_name(NAME));
        assert!(answers(&cache).await);
        let first = std::fs::metadata(&record).unwrap().modified().unwrap();
        assert!(answers(&cache).await);
        assert_eq!(std::fs::metadata(&record).unwrap().modified().unwrap(), first);
        let (index, new) = cache.files.open_index(NAME).unwrap();
        assert!(new.is_none(), "it was believed");
        assert!(index.outline().has_table());
        // Another file with the same bytes is checked, and has a record of its own.
        let bytes = std::fs::read(path(&cache, NAME)).unwrap();
        std::fs::remove_file(path(&cache, NAME)).unwrap();
        std::fs::write(path(&cache, NAME), bytes).unwrap();
        assert!(cache.files.open_index(NAME).unwrap().1.is_some());
        assert!(answers(&cache).await);
        assert!(cache.files.open_index(NAME).unwrap().1.is_none());
    }

    #[tokio::test]
    async fn every_flipped_byte_of_an_index_is_a_miss_in_spite_of_its_record() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        // One file for each byte, so that their times of change are waited for together, and the
        // disk, too.
        let length = index_of(COUNT).len() + 32;
        let names: Vec<_> = (0..length).map(|at| format!("xn0_{at}")).collect();
        for name in &names {
            cache.store(Kind::Indexes, name, index_of(COUNT)).await;
        }
        let opened = names.iter().map(|name| cache.index(name));
        let opened: Vec<_> = stream::iter(opened).buffered(64).collect().await;
        assert!(opened.iter().all(Option::is_some));
        drop(opened);
        for (at, name) in names.iter().enumerate() {
            assert!(cache.files.open_index(name).unwrap().1.is_none(), "it is believed");
            let path = path(&cache, name);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
        }
        for (at, name) in names.iter().enumerate() {
            assert!(cache.index(name).await.is_none(), "byte {at}");
            assert!(!path(&cache, name).exists(), "byte {at}");
        }
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        assert!(answers(&cache).await);
    }

    #[tokio::test]
    async fn a_file_that_was_changed_and_given_its_old_time_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        assert!(answers(&cache).await);
        let path = path(&cache, NAME);
        let old = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(cache.index(NAME).await.is_none());
    }

    #[tokio::test]
    async fn every_flipped_byte_of_a_record_costs_a_walk_and_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        assert!(answers(&cache).await);
        let record = path(&cache, &seen::record_name(NAME));
        let length = std::fs::metadata(&record).unwrap().len() as usize;
        for at in 0..length + 2 {
            let mut bytes = std::fs::read(&record).unwrap();
            match at.checked_sub(length) {
                None => bytes[at] ^= 1 << (at % 8),
                Some(0) => bytes.truncate(length / 2),
                Some(_) => bytes.clear(),
            }
            std::fs::write(&record, bytes).unwrap();
            let (_, new) = cache.files.open_index(NAME).unwrap();
            assert!(new.is_some(), "byte {at}: it was not believed");
            assert!(answers(&cache).await, "byte {at}");
            assert!(cache.files.open_index(NAME).unwrap().1.is_none(), "there is a new record");
        }
        // A record under the name of another index is none.
        cache.store(Kind::Indexes, "xn0_2", index_of(COUNT + 1)).await;
        let other = path(&cache, &seen::record_name("xn0_2"));
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::copy(&record, &other).unwrap();
        assert_eq!(cache.index("xn0_2").await.unwrap().len(), COUNT as usize + 1);
    }

    #[tokio::test]
    async fn a_record_is_believed_for_a_day_and_not_from_the_future() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        assert!(answers(&cache).await);
        let name = seen::record_name(NAME);
        let good = cache.whole(Kind::Indexes, &name).await.unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        for (age, believed) in [(0, true), (86_000, true), (86_401, false), (-60, false)] {
            let mut record = good.to_vec();
            let at = record.len() - 8;
            let time = now.cast_signed() - age;
            record[at..].copy_from_slice(&time.to_be_bytes());
            cache.store(Kind::Indexes, &name, record.into()).await;
            let new = cache.files.open_index(NAME).unwrap().1;
            assert_eq!(new.is_none(), believed, "{age} seconds old");
        }
    }

    #[tokio::test]
    async fn what_an_older_version_kept_of_a_long_file_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 1 << 30).await;
        let bytes = index_of(40_000);
        assert!(bytes.len() > 1 << 20);
        cache.store(Kind::Indexes, NAME, bytes.clone()).await;
        let mac = cache.files.mac();
        let outer = [NAME.as_bytes(), &[0], &mac.hash(&bytes)[..]].concat();
        let old = [&bytes[..], &mac.hash(&outer)[..]].concat();
        std::fs::write(path(&cache, NAME), old).unwrap();
        assert!(cache.index(NAME).await.is_none());
        cache.store(Kind::Indexes, NAME, bytes).await;
        let index = cache.index(NAME).await.unwrap();
        assert_eq!(index.find(&entry(39_999).id).unwrap(), Some(entry(39_999)));
        assert!(path(&cache, &seen::record_name(NAME)).exists(), "it is long enough for one");
    }

    #[tokio::test]
    async fn a_whole_file_that_is_no_index_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, Bytes::from_static(b"no index")).await;
        assert!(cache.index(NAME).await.is_none());
        assert!(!path(&cache, NAME).exists());
    }

    #[tokio::test]
    async fn a_mark_of_use_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let cache = recording(folder.path()).await;
        cache.store(Kind::Indexes, NAME, index_of(COUNT)).await;
        let file = std::fs::File::options().write(true).open(path(&cache, NAME)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
        assert!(answers(&cache).await);
        let used = std::fs::metadata(path(&cache, NAME)).unwrap().modified().unwrap();
        assert!(used.elapsed().unwrap() < Duration::from_secs(600), "checking marks it as used");
        assert!(cache.files.open_index(NAME).unwrap().1.is_none(), "and it is believed");
    }
}
