//! How little is fetched: caches, merged ranges, cold packs known beforehand.

use std::{collections::BTreeSet, sync::Arc};

use crate::common::{create_with, damage_cached, fresh, ids, noise, reopen, secret, text};
use blob_core::{
    BlobError, BlobId, BlobStorage, MemoryStorage, PutOptions, ReadRange, StorageClass,
    layers::Operation,
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use futures::StreamExt;
use kopia_format::{ContentId, ObjectId};
use kopia_repo::{
    CacheOptions, CreateOptions, FetchFrom, Fetched, ObjectOptions, OpenOptions, PackState,
    ReadPlan, RepoError, Repository, VerifyEvent, VerifyOptions,
};

fn caching(folder: &std::path::Path) -> OpenOptions {
    let cache = CacheOptions {
        directory: folder.to_owned(),
        content_bytes_max: 10 << 20,
        metadata_bytes_max: 10 << 20,
    };
    OpenOptions { cache: Some(cache), ..OpenOptions::default() }
}

/// Twenty folders and twenty files, in a storage that counts.
async fn filled() -> (Arc<MemoryStorage>, Arc<CountingStorage>, Vec<ContentId>, Vec<ContentId>) {
    let memory = Arc::new(MemoryStorage::new());
    let counting = CountingStorage::over(memory.clone());
    let options = (CreateOptions::default(), OpenOptions::default());
    let repository = create_with(counting.clone(), options.0, options.1).await;
    let writer = repository.writer().unwrap();
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for number in 0..20 {
        folders.push(writer.put_content(noise(number, 2_000), Some(b'k'), None).await.unwrap());
        files.push(writer.put_content(noise(number, 30_000), None, None).await.unwrap());
    }
    writer.put_manifest(&[("type", "note")], "x").await.unwrap();
    writer.flush().await.unwrap();
    (memory, counting, folders, files)
}

#[tokio::test]
async fn a_metadata_pack_is_fetched_once_for_all_and_kept() {
    let (_, counting, folders, files) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let password = secret("fixture");
    let open = || Repository::open(counting.clone(), &password, caching(folder.path()));
    let repository = open().await.unwrap();
    counting.clear();
    let reads = folders.iter().map(|id| repository.content(id));
    futures::future::try_join_all(reads).await.unwrap();
    repository.manifests().all().await.unwrap();
    assert_eq!(counting.count(Operation::Get), 1, "twenty at once share one fetch");
    for id in files.iter().chain(&files) {
        repository.content(id).await.unwrap();
    }
    assert_eq!(counting.count_of(Operation::Get, "p"), 20, "data is fetched by content, once");

    counting.clear();
    let repository = open().await.unwrap();
    for (number, id) in folders.iter().enumerate() {
        assert_eq!(repository.content(id).await.unwrap(), noise(number as u64, 2_000));
    }
    repository.content(&files[3]).await.unwrap();
    let fetched: BTreeSet<_> =
        counting.calls().into_iter().filter(|c| c.op == Operation::Get).map(|c| c.id).collect();
    assert_eq!(fetched, ["kopia.blobcfg", "kopia.repository"].map(String::from).into());
    assert!(repository.cache().unwrap().usage().await.unwrap().iter().all(|kind| kind.files > 0));
}

#[tokio::test]
async fn a_verification_is_not_satisfied_by_what_the_cache_has() {
    let (memory, counting, folders, files) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let options = caching(folder.path());
    let repository = Repository::open(counting, &secret("fixture"), options).await.unwrap();
    for id in folders.iter().chain(&files) {
        repository.content(id).await.unwrap();
    }
    let lost = [folders[7], files[11]];
    for id in &lost {
        let entry = repository.content_entry(id).await.unwrap().unwrap();
        let pack = BlobId::new(entry.pack.as_ref()).unwrap();
        memory.damage(&pack, |bytes| bytes[entry.offset as usize + 50] ^= 1);
    }
    let mut found = BTreeSet::new();
    let options = VerifyOptions { read_percent: 100.0, ..VerifyOptions::default() };
    let sink = |event: VerifyEvent<'_>| {
        if let VerifyEvent::Problem { id, .. } = event {
            found.insert(id);
        }
    };
    let report = repository.verify_contents(&options, sink).await.unwrap();
    assert_eq!(report.contents_damaged, 2);
    assert_eq!(found, lost.into());
    for id in &lost {
        repository.content(id).await.expect("the cache still has it");
    }
}

#[tokio::test]
async fn a_damaged_cache_is_only_slower() {
    let (_, counting, folders, files) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let read_all = || async {
        let options = caching(folder.path());
        let opened = Repository::open(counting.clone(), &secret("fixture"), options).await;
        let repository = opened.unwrap();
        for (number, id) in folders.iter().enumerate() {
            assert_eq!(repository.content(id).await.unwrap(), noise(number as u64, 2_000));
            let bytes = repository.content(&files[number]).await.unwrap();
            assert_eq!(bytes, noise(number as u64, 30_000));
        }
    };
    read_all().await;
    let kinds = ["packs", "contents", "indexes"];
    let damaged: usize = kinds.iter().map(|kind| damage_cached(folder.path(), kind)).sum();
    assert!(damaged >= 22, "{damaged} files");
    read_all().await;
    std::fs::remove_dir_all(folder.path().join("kopia-lite")).unwrap();
    read_all().await;
}

#[tokio::test]
async fn a_plan_reads_each_needed_byte_once_and_near_ones_together() {
    let (memory, counting, _, files) = filled().await;
    let repository = reopen(counting.clone()).await;
    let wanted = files.iter().chain(&files).copied();
    counting.clear();
    let plan = repository.read_plan(wanted).await.unwrap();
    assert_eq!(counting.count(Operation::Get), 0, "a plan fetches nothing");
    assert_eq!((plan.packs.len(), plan.requests(), plan.content_count()), (1, 1, 20));
    let read: Vec<_> = repository.fetch_all(&plan).collect().await;
    assert_eq!(counting.count(Operation::Get), 1);
    assert_eq!(read.len(), 20);
    for (id, bytes) in read {
        let number = files.iter().position(|file| *file == id).unwrap();
        assert_eq!(bytes.unwrap(), noise(number as u64, 30_000));
    }
    // A plan is data: it survives a file.
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<ReadPlan>(&text).unwrap(), plan);
    assert_eq!(plan.packs[0].pack, ids(&memory, "p")[0].as_str());
}

#[tokio::test]
async fn cold_packs_are_known_before_anything_is_fetched() {
    let (memory, counting, folders, files) = filled().await;
    let repository = reopen(counting.clone()).await;
    let pack = ids(&memory, "p").remove(0);
    assert!(memory.set_class(&pack, StorageClass::DEEP_ARCHIVE));
    counting.clear();
    let mut wanted = files.clone();
    wanted.extend(&folders);
    wanted.push("00000000000000000000000000000000".parse().unwrap());
    let plan = repository.read_plan(wanted).await.unwrap();
    assert_eq!((counting.count(Operation::Get), counting.count(Operation::Head)), (0, 0));
    assert!(plan.is_cold());
    let cold: Vec<_> = plan.cold().collect();
    assert_eq!((cold.len(), cold[0].pack.as_str()), (1, pack.as_str()));
    assert_eq!(cold[0].class.as_deref(), Some("DEEP_ARCHIVE"));
    assert_eq!(plan.packs.iter().filter(|p| p.state == PackState::Ready).count(), 1);
    assert_eq!(plan.missing.len(), 1);

    let error = repository.content(&files[0]).await.unwrap_err();
    assert_eq!(error.archived_pack(), Some(&pack));
    let read: Vec<_> = repository.fetch_all(&plan).collect().await;
    let failed = read.iter().filter(|(_, bytes)| bytes.is_err()).count();
    assert_eq!((read.len(), failed), (41, 21));
    let options = VerifyOptions { read_percent: 100.0, ..VerifyOptions::default() };
    let report = repository.verify_contents(&options, |_| {}).await.unwrap();
    assert_eq!((report.contents_cold, report.contents_read, report.problems()), (20, 21, 0));
}

#[tokio::test]
async fn a_few_packs_are_asked_for_by_name_and_many_by_one_listing() {
    let memory = Arc::new(MemoryStorage::new());
    let counting = CountingStorage::over(memory);
    let options = (CreateOptions::default(), OpenOptions::default());
    let repository = create_with(counting.clone(), options.0, options.1).await;
    let mut all = Vec::new();
    for seed in 0..20 {
        let writer = repository.writer().unwrap();
        all.push(writer.put_content(noise(seed, 100), None, None).await.unwrap());
        writer.flush().await.unwrap();
    }
    counting.clear();
    repository.read_plan(all[..3].iter().copied()).await.unwrap();
    assert_eq!(counting.count(Operation::List), 3);
    counting.clear();
    let plan = repository.read_plan(all).await.unwrap();
    assert_eq!(counting.count(Operation::List), 1);
    assert!(plan.packs.iter().all(|pack| pack.state == PackState::Ready && pack.size.is_some()));
}

#[tokio::test]
async fn a_stream_asks_once_for_what_lies_together_however_often_it_comes() {
    let counting = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let (create, open) = (CreateOptions::default(), OpenOptions::default());
    let repository = create_with(counting.clone(), create, open).await;
    let writer = repository.writer().unwrap();
    let piece = |seed| noise(seed, 128 << 10);
    let bytes: Vec<u8> = [1, 2, 2, 3, 1, 4, 2].map(piece).concat();
    let options = ObjectOptions { splitter: Some("FIXED-128K".into()), ..Default::default() };
    let object = writer.write_object(bytes.clone().into(), options).await.unwrap();
    writer.flush().await.unwrap();
    let reader = repository.open_object(&object).await.unwrap();
    counting.clear();
    assert_eq!(reader.read_all(1 << 20).await.unwrap(), bytes);
    assert_eq!(counting.count(Operation::Get), 1);
}

#[tokio::test]
async fn a_stream_of_an_object_is_the_object() {
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let options = ObjectOptions { splitter: Some("FIXED-128K".into()), ..Default::default() };
    let object = writer.write_object(noise(1, 1_000_000), options).await.unwrap();
    let empty = writer.write_object(Default::default(), ObjectOptions::default()).await.unwrap();
    writer.flush().await.unwrap();
    let reader = repository.open_object(&object).await.unwrap();
    assert_eq!(reader.len(), 1_000_000);
    let chunks: Vec<_> = reader.into_stream().map(Result::unwrap).collect().await;
    assert_eq!((chunks.len(), chunks.concat()), (8, noise(1, 1_000_000).to_vec()));
    let mut reader = repository.open_object(&empty).await.unwrap();
    assert!(reader.is_empty() && reader.read_at(0, 10).await.unwrap().is_empty());
    let unknown: ObjectId = "Ix00000000000000000000000000000000".parse().unwrap();
    let missing = repository.open_object(&unknown).await;
    assert!(matches!(missing, Err(RepoError::ContentNotFound { .. })));
    let not_a_list = writer.write_object(text(100), ObjectOptions::default()).await.unwrap();
    let damaged = writer.open_object(&not_a_list.wrapped()).await;
    assert!(matches!(damaged, Err(RepoError::ObjectDamaged { .. })));
}

#[tokio::test]
async fn statistics_add_up() {
    let (_, counting, ..) = filled().await;
    let repository = reopen(counting).await;
    let stats = repository.content_stats(&Default::default()).await.unwrap();
    assert_eq!(stats.total.count, 41);
    let compressions: Vec<_> = stats.by_compression.iter().map(|(id, a)| (*id, a.count)).collect();
    assert_eq!(compressions, [(0, 41)]);
    assert_eq!(stats.by_size.iter().map(|(_, amount)| amount.count).sum::<u64>(), 41);
    assert_eq!(
        stats.by_size.last().map(|(bound, amount)| (*bound, amount.count)),
        Some((100_000, 20))
    );
}

#[tokio::test]
async fn an_outage_costs_a_range_a_few_requests_and_not_one_for_each_content() {
    let (memory, _, folders, files) = filled().await;
    let faulty = FaultyStorage::over(memory);
    let counting = CountingStorage::over(faulty.clone());
    let folder = tempfile::tempdir().unwrap();
    let plain = reopen(counting.clone()).await;
    let options = caching(folder.path());
    let cached = Repository::open(counting.clone(), &secret("fixture"), options).await.unwrap();
    let denied = || BlobError::AccessDenied { op: "get", id: None, reason: "by script".into() };
    for make in [Fault::transient, denied] {
        faulty.heal();
        for pack in ["p", "q"] {
            faulty.rule(Rule::new(Fault::before(make)).on(Operation::Get).of(pack));
        }
        for (repository, contents) in [(&plain, &files), (&plain, &folders), (&cached, &folders)] {
            counting.clear();
            let plan = repository.read_plan(contents.iter().copied()).await.unwrap();
            let read: Vec<_> = repository.fetch_all(&plan).collect().await;
            assert_eq!(read.len(), 20);
            for (_, bytes) in read {
                let Err(RepoError::Blob(error)) = bytes else { panic!("{bytes:?}") };
                assert_eq!(error.to_string(), make().to_string());
            }
            assert_eq!(counting.count(Operation::Get), 1);
        }
    }
    // The cache has kept none of it.
    faulty.heal();
    assert_eq!(cached.content(&folders[0]).await.unwrap(), noise(0, 2_000));
}

#[tokio::test]
async fn what_is_left_of_a_pack_that_was_cut_is_still_read() {
    let (memory, counting, _, files) = filled().await;
    let repository = reopen(counting.clone()).await;
    let pack = ids(&memory, "p").remove(0);
    let entry = repository.content_entry(&files[10]).await.unwrap().unwrap();
    let whole = memory.get(&pack, ReadRange::Full).await.unwrap();
    let part = whole.slice(..entry.offset as usize + 1_000);
    memory.put(&pack, part.into(), &PutOptions::default()).await.unwrap();
    let plan = repository.read_plan(files.iter().copied()).await.unwrap();
    counting.clear();
    let read: Vec<_> = repository.fetch_all(&plan).collect().await;
    for (id, bytes) in read {
        let number = files.iter().position(|file| *file == id).unwrap();
        match bytes {
            Ok(bytes) => assert_eq!((number < 10, bytes), (true, noise(number as u64, 30_000))),
            Err(RepoError::PackTruncated { .. }) => assert!(number >= 10),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(counting.at_once_max() <= 4, "one after the other, nearly");
}

#[tokio::test]
async fn without_a_cache_folder_the_storage_is_asked() {
    let (_, counting, folders, _) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let opened = Repository::open(counting.clone(), &secret("fixture"), caching(&file)).await;
    let repository = opened.unwrap();
    assert!(repository.cache().is_none());
    assert_eq!(repository.content(&folders[3]).await.unwrap(), noise(3, 2_000));
    assert_eq!(repository.manifests().all().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_are_handed_over_where_they_are_opened() {
    let (_, counting, folders, files) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let unknown = "00000000000000000000000000000000".parse().unwrap();
    let wanted: Vec<_> = files.iter().chain(&folders).copied().chain([unknown]).collect();
    let options = caching(folder.path());
    let cached = Repository::open(counting.clone(), &secret("fixture"), options).await.unwrap();
    let plain = reopen(counting.clone()).await;
    // The second time out of the cache.
    for (repository, gets) in [(&plain, 2), (&cached, 2), (&cached, 1)] {
        let plan = repository.read_plan(wanted.iter().copied()).await.unwrap();
        let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let take = {
            let taken = taken.clone();
            move |contents: &mut dyn Iterator<Item = Fetched>| {
                taken.lock().unwrap().extend(contents);
                Ok::<(), ()>(())
            }
        };
        counting.clear();
        let stop = std::future::pending();
        repository.fetch_each(FetchFrom::Anywhere, &plan, 3, stop, take).await.unwrap();
        assert_eq!(counting.count(Operation::Get), gets);
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        assert_eq!(taken.len(), 41);
        for (id, bytes) in taken {
            match files.iter().position(|file| *file == id) {
                Some(number) => assert_eq!(bytes.unwrap(), noise(number as u64, 30_000)),
                None if id == unknown => assert!(bytes.is_err()),
                None => assert_eq!(bytes.unwrap().len(), 2_000),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_more_or_stops_is_not_asked_again() {
    let (_, counting, _, files) = filled().await;
    let repository = reopen(counting.clone()).await;
    let plan = repository.read_plan(files.iter().copied()).await.unwrap();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let take = {
        let count = count.clone();
        move |contents: &mut dyn Iterator<Item = Fetched>| {
            count.fetch_add(contents.take(3).count(), std::sync::atomic::Ordering::Relaxed);
            Err("enough")
        }
    };
    let stop = std::future::pending();
    let ended = repository.fetch_each(FetchFrom::Storage, &plan, 1, stop, take).await;
    assert_eq!((ended, count.load(std::sync::atomic::Ordering::Relaxed)), (Err("enough"), 3));
    let none = |_: &mut dyn Iterator<Item = Fetched>| Ok(());
    let stop = std::future::ready("stopped");
    let ended = repository.fetch_each(FetchFrom::Storage, &plan, 1, stop, none).await;
    assert!(ended.is_ok() || ended == Err("stopped"));
}
