//! What is written reads back, in every format that Kopia has.

use std::sync::Arc;

use crate::common::{check_whole, create_in, fresh, ids, noise, reopen, secret, text};
use blob_core::{BlobStorage, MemoryStorage};
use bytes::Bytes;
use futures::StreamExt;
use kopia_format::{
    ObjectId, cipher::CIPHERS, compress, compress::Compressor, hash::HASHES, split::SPLITTERS,
};
use kopia_repo::{
    CreateOptions, Deleted, EntryFilter, ObjectOptions, OpenOptions, RepoError, Repository,
    RepositoryWriter,
};

async fn write(writer: &RepositoryWriter, bytes: &Bytes, options: ObjectOptions) -> ObjectId {
    let mut object = writer.object_writer(options).unwrap();
    for slice in bytes.chunks(77_777) {
        object.write(bytes.slice_ref(slice)).await.unwrap();
    }
    let (id, length) = object.finish().await.unwrap();
    assert_eq!(length, bytes.len() as u64);
    id
}

async fn write_and_read_back(options: CreateOptions) {
    let what = format!("{options:?}");
    let storage = Arc::new(MemoryStorage::new());
    let repository = create_in(storage.clone(), options).await;
    let writer = repository.writer().unwrap();
    let (plain, noisy) = (text(300_000), noise(1, 600_000));
    let splitter = Some("DYNAMIC-128K-BUZHASH".to_owned());
    let options = ObjectOptions {
        compressor: Compressor::by_name("zstd").unwrap(),
        splitter,
        concurrent: true,
        ..ObjectOptions::default()
    };
    let short = write(&writer, &plain, options.clone()).await;
    let long = write(&writer, &noisy, options).await;
    let folder = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let folder = write(&writer, &Bytes::from_static(b"{}"), folder).await;
    writer.put_manifest(&[("type", "note")], &[short, long, folder]).await.unwrap();
    writer.flush().await.unwrap();

    let repository = reopen(storage).await;
    let notes = repository.manifests().find(&[("type", "note")]).await.unwrap();
    let objects: Vec<ObjectId> = notes[0].payload().unwrap();
    assert_eq!(objects, [short, long, folder], "{what}");
    assert_eq!(repository.read_object(&short, 1 << 30).await.unwrap(), plain, "{what}");
    assert_eq!(repository.read_object(&long, 1 << 30).await.unwrap(), noisy, "{what}");
    assert_eq!(repository.read_object(&folder, 1 << 30).await.unwrap(), "{}", "{what}");
    check_whole(&repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hash_and_cipher_writes_what_it_reads() {
    for (number, hash) in HASHES.iter().enumerate() {
        write_and_read_back(CreateOptions {
            hash: (*hash).to_owned(),
            encryption: CIPHERS[number % 2].to_owned(),
            format_version: 1 + number as u32 % 3,
            ..CreateOptions::default()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_version_key_derivation_and_overhead_writes_what_it_reads() {
    for format_version in [1, 2, 3] {
        for encryption in CIPHERS {
            let encryption = (*encryption).to_owned();
            let options = CreateOptions { format_version, encryption, ..CreateOptions::default() };
            write_and_read_back(options).await;
        }
    }
    for ecc_overhead_percent in [1, 12] {
        let options = CreateOptions { ecc_overhead_percent, ..CreateOptions::default() };
        write_and_read_back(options).await;
    }
    let key_derivation = "pbkdf2-sha256-600000".to_owned();
    write_and_read_back(CreateOptions { key_derivation, ..CreateOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_splitter_cuts_the_same_however_bytes_come_in() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let bytes = noise(7, 20_000_000);
    let mut written = Vec::new();
    for splitter in SPLITTERS {
        let options =
            ObjectOptions { splitter: Some((*splitter).to_owned()), ..ObjectOptions::default() };
        let beside = ObjectOptions { concurrent: true, ..options.clone() };
        let in_slices = write(&writer, &bytes, beside).await;
        let at_once = writer.write_object(bytes.clone(), options).await.unwrap();
        assert_eq!(in_slices, at_once, "{splitter}");
        written.push(at_once);
    }
    writer.flush().await.unwrap();
    let repository = reopen(storage).await;
    for object in written {
        assert_eq!(repository.read_object(&object, u64::MAX).await.unwrap(), bytes, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compressor_is_kept_only_where_it_helps() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let mut compressible = Vec::new();
    for (number, name) in compress::NAMES.iter().enumerate() {
        let compressor = Compressor::by_name(name).unwrap();
        let content = text(100_000 + number);
        let id = writer.put_content(content.clone(), None, compressor).await.unwrap();
        compressible.push((id, compressor.unwrap().id(), content));
        let noisy = noise(number as u64, 10_000);
        let id = writer.put_content(noisy.clone(), None, compressor).await.unwrap();
        compressible.push((id, 0, noisy));
    }
    writer.flush().await.unwrap();
    let repository = reopen(storage).await;
    for (id, compression, bytes) in compressible {
        let entry = repository.content_entry(&id).await.unwrap().unwrap();
        assert_eq!(entry.compression, compression);
        assert_eq!(repository.content(&id).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn format_1_compresses_in_the_object_and_says_so_in_its_id() {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions { format_version: 1, ..CreateOptions::default() };
    let repository = create_in(storage.clone(), options).await;
    let writer = repository.writer().unwrap();
    let zstd = Compressor::by_name("zstd").unwrap();
    let refused = writer.put_content(text(5_000), None, zstd).await;
    assert!(matches!(refused, Err(RepoError::Format(_))));

    let options = ObjectOptions { compressor: zstd, ..ObjectOptions::default() };
    let packed = writer.write_object(text(5_000), options.clone()).await.unwrap();
    let noisy = writer.write_object(noise(1, 5_000), options).await.unwrap();
    assert!(packed.is_compressed() && packed.to_string().starts_with('Z'));
    assert!(!noisy.is_compressed());
    writer.flush().await.unwrap();

    let repository = reopen(storage.clone()).await;
    assert_eq!(repository.read_object(&packed, u64::MAX).await.unwrap(), text(5_000));
    assert_eq!(repository.object_contents(&packed).await.unwrap().length(), None);
    // Each pack begins with a copy of the format blob, from which a lost one is recovered.
    let format = "kopia.repository".parse().unwrap();
    let format = storage.get(&format, blob_core::ReadRange::Full).await.unwrap();
    for pack in ids(&storage, "p") {
        let bytes = storage.get(&pack, blob_core::ReadRange::Full).await.unwrap();
        let copy = kopia_format::format_blob::recover_from_pack(&bytes, &[]).unwrap();
        assert_eq!(copy, format);
    }
    assert!(ids(&storage, "x").is_empty() && !ids(&storage, "n").is_empty());
}

#[tokio::test]
async fn the_same_bytes_are_written_once() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let first = writer.put_content(noise(1, 1_000), None, None).await.unwrap();
    let again = writer.put_content(noise(1, 1_000), None, None).await.unwrap();
    let metadata = writer.put_content(noise(1, 1_000), Some(b'k'), None).await.unwrap();
    assert_eq!(first, again);
    assert_ne!(first, metadata, "the prefix is part of the ID");
    writer.flush().await.unwrap();
    let report = writer.flush().await.unwrap();
    assert_eq!(report, Default::default(), "there was nothing left to write");
    let other = reopen(storage.clone()).await.writer().unwrap();
    other.put_content(noise(1, 1_000), None, None).await.unwrap();
    assert_eq!(other.flush().await.unwrap(), Default::default());
    assert_eq!(repository.counters().contents_deduplicated, 1);
    assert_eq!((ids(&storage, "p").len(), ids(&storage, "q").len()), (1, 1));
    assert!(ids(&storage, "s").is_empty(), "no marker is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_at_the_same_time_are_written_once() {
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let puts = (0..50).map(|n| writer.put_content(noise(n % 5, 100_000), None, None));
    futures::future::try_join_all(puts).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().contents, 5);
    assert_eq!(repository.entries(&EntryFilter::default()).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_close_when_they_are_long_enough() {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions { max_pack_size: 10 << 20, ..CreateOptions::default() };
    let repository = create_in(storage.clone(), options).await;
    let writer = repository.writer().unwrap();
    let bytes = noise(3, 50_000_000);
    let options = ObjectOptions { concurrent: true, ..ObjectOptions::default() };
    let object = write(&writer, &bytes, options).await;
    assert!(writer.uploaded_bytes() > 10 << 20, "packs go up while writing goes on");
    writer.flush().await.unwrap();
    let mut sizes = Vec::new();
    for pack in ids(&storage, "p") {
        sizes.push(storage.head(&pack).await.unwrap().size);
    }
    assert!(sizes.iter().all(|size| *size < (10 << 20) + (8 << 20) + 16_384), "{sizes:?}");
    assert!((3..=5).contains(&sizes.len()), "{sizes:?}");
    // Kopia's packs are full pages up to the local index.
    let repository = reopen(storage).await;
    assert_eq!(repository.read_object(&object, u64::MAX).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_lie_in_the_order_of_writing() {
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let options = ObjectOptions { splitter: Some("FIXED-128K".into()), ..ObjectOptions::default() };
    let object = write(&writer, &noise(9, 5_000_000), options).await;
    writer.flush().await.unwrap();
    let mut last = 0;
    for chunk in repository.object_contents(&object).await.unwrap().chunks {
        let entry = repository.content_entry(&chunk.content).await.unwrap().unwrap();
        assert!(entry.offset > last);
        last = entry.offset;
    }
}

#[tokio::test]
async fn what_is_not_flushed_is_seen_by_its_writer_alone() {
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(text(100), None, None).await.unwrap();
    assert_eq!(writer.content(&id).await.unwrap(), text(100));
    assert!(matches!(repository.content(&id).await, Err(RepoError::ContentNotFound { .. })));
    writer.flush().await.unwrap();
    assert_eq!(repository.content(&id).await.unwrap(), text(100));
    assert_eq!(writer.content(&id).await.unwrap(), text(100));
}

async fn state(repository: &Repository, id: &kopia_format::ContentId) -> Option<bool> {
    repository.content_entry(id).await.unwrap().map(|entry| entry.deleted)
}

#[tokio::test]
async fn deleted_contents_come_back_when_written_or_undeleted() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 500), None, None).await.unwrap();
    writer.flush().await.unwrap();
    let packs = ids(&storage, "p").len();

    assert!(writer.delete_content(&id).await.unwrap());
    assert!(!writer.delete_content(&id).await.unwrap(), "it is deleted already");
    writer.flush().await.unwrap();
    assert_eq!(state(&repository, &id).await, Some(true));
    assert_eq!(repository.content(&id).await.unwrap(), noise(1, 500), "not gone yet");
    assert!(repository.entries(&EntryFilter::default()).await.unwrap().is_empty());
    let only = EntryFilter { deleted: Deleted::Only, ..EntryFilter::default() };
    assert_eq!(repository.entries(&only).await.unwrap().len(), 1);

    assert!(writer.undelete_content(&id).await.unwrap());
    writer.flush().await.unwrap();
    assert_eq!(state(&repository, &id).await, Some(false));
    assert_eq!(ids(&storage, "p").len(), packs, "the index alone brought it back");

    writer.delete_content(&id).await.unwrap();
    writer.flush().await.unwrap();
    writer.put_content(noise(1, 500), None, None).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(state(&repository, &id).await, Some(false));
    assert_eq!(ids(&storage, "p").len(), packs + 1, "a deleted content is written anew");

    writer.rewrite_content(&id).await.unwrap();
    writer.flush().await.unwrap();
    let moved = repository.content_entry(&id).await.unwrap().unwrap();
    assert_eq!(ids(&storage, "p").len(), packs + 2);
    assert!(moved.timestamp > 0 && repository.content(&id).await.is_ok());
    check_whole(&reopen(storage).await).await;
}

#[tokio::test]
async fn a_content_that_is_deleted_before_it_is_flushed_leaves_nothing() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 500), None, None).await.unwrap();
    assert!(writer.delete_content(&id).await.unwrap());
    let unknown = writer.delete_content(&id).await;
    assert!(matches!(unknown, Err(RepoError::ContentNotFound { .. })));
    writer.flush().await.unwrap();
    assert!(ids(&storage, "p").is_empty() && ids(&storage, "x").is_empty());
    assert_eq!(state(&repository, &id).await, None);
}

#[tokio::test]
async fn parts_are_put_together_without_reading_data() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let options = ObjectOptions { splitter: Some("FIXED-128K".into()), ..ObjectOptions::default() };
    let mut parts = Vec::new();
    let mut whole = Vec::new();
    for (number, length) in [400_000, 1_000, 0].into_iter().enumerate() {
        let bytes = noise(number as u64, length);
        whole.extend_from_slice(&bytes);
        let id = writer.write_object(bytes, options.clone()).await.unwrap();
        parts.push((id, length as u64));
    }
    assert_eq!(writer.concatenate(&parts[..1], None).await.unwrap(), parts[0].0);
    let joined = writer.concatenate(&parts, None).await.unwrap();
    assert_eq!(writer.open_object(&joined).await.unwrap().len(), whole.len() as u64);
    assert!(writer.concatenate(&[], None).await.is_err());
    writer.flush().await.unwrap();
    let repository = reopen(storage).await;
    assert_eq!(repository.read_object(&joined, u64::MAX).await.unwrap(), whole);
    assert_eq!(repository.object_contents(&joined).await.unwrap().chunks.len(), 6);
    let mut reader = repository.open_object(&joined).await.unwrap();
    for (at, length) in [(0, 10), (131_070, 10), (399_999, 5), (400_998, 100), (131_072, 131_072)] {
        let end = whole.len().min(at + length);
        assert_eq!(reader.read_at(at as u64, length).await.unwrap(), whole[at..end]);
    }
}

#[tokio::test]
async fn a_checkpoint_is_an_object_of_what_was_cut() {
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let options = ObjectOptions {
        splitter: Some("FIXED-128K".into()),
        concurrent: true,
        ..ObjectOptions::default()
    };
    let mut object = writer.object_writer(options).unwrap();
    object.write(noise(1, 1_000)).await.unwrap();
    assert_eq!(object.checkpoint().await.unwrap(), None);
    object.write(noise(2, 300_000)).await.unwrap();
    let (checkpoint, length) = object.checkpoint().await.unwrap().unwrap();
    assert_eq!(length, 2 * 131_072);
    let (whole, length) = object.finish().await.unwrap();
    assert_eq!(length, 301_000);
    writer.flush().await.unwrap();
    let bytes = [noise(1, 1_000), noise(2, 300_000)].concat();
    assert_eq!(repository.read_object(&checkpoint, u64::MAX).await.unwrap(), bytes[..262_144]);
    assert_eq!(repository.read_object(&whole, u64::MAX).await.unwrap(), bytes);
    let limited = repository.read_object(&whole, 1_000).await;
    assert!(matches!(limited, Err(RepoError::ObjectTooLong { .. })));
}

#[tokio::test]
async fn an_index_of_pieces_may_itself_be_cut() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    // 128 KiB cuts and 60 bytes a piece: a list of 2500 pieces is longer than one piece.
    let mut list = kopia_format::indirect::IndirectObject::default();
    let piece = writer.write_object(noise(1, 100), ObjectOptions::default()).await.unwrap();
    (0..200_000).for_each(|_| list.push(piece, 100));
    let options = ObjectOptions {
        prefix: Some(b'x'),
        splitter: Some("DYNAMIC-128K-BUZHASH".into()),
        ..ObjectOptions::default()
    };
    let index = writer.write_object(list.to_bytes().into(), options).await.unwrap();
    assert!(index.to_string().starts_with("Ix"));
    let object = index.wrapped();
    writer.flush().await.unwrap();
    let repository = reopen(storage).await;
    let contents = repository.object_contents(&object).await.unwrap();
    assert_eq!((contents.chunks.len(), contents.length()), (200_000, Some(20_000_000)));
    assert!(contents.indexes.len() > 2);
    let mut reader = repository.open_object(&object).await.unwrap();
    assert_eq!(reader.read_at(19_999_950, 100).await.unwrap(), noise(1, 100)[50..]);
}

#[tokio::test]
async fn a_content_that_is_moved_and_then_deleted_is_deleted() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 500), None, None).await.unwrap();
    writer.flush().await.unwrap();
    writer.rewrite_content(&id).await.unwrap();
    assert!(writer.delete_content(&id).await.unwrap());
    assert!(!writer.delete_content(&id).await.unwrap(), "it is deleted already");
    writer.flush().await.unwrap();
    let entry = repository.content_entry(&id).await.unwrap().unwrap();
    assert!(entry.deleted);
    assert_eq!(ids(&storage, "p"), [entry.pack.parse().unwrap()], "the old pack is the only one");

    // Of what was deleted and written anew, the old deletion is all that is left.
    writer.put_content(noise(1, 500), None, None).await.unwrap();
    assert!(writer.delete_content(&id).await.unwrap());
    assert_eq!(writer.flush().await.unwrap(), Default::default());
    assert_eq!(state(&repository, &id).await, Some(true));
    assert_eq!(repository.content(&id).await.unwrap(), noise(1, 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_in_a_closed_pack_that_is_moved_and_then_deleted_is_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions { max_pack_size: 10 << 20, ..CreateOptions::default() };
    let repository = create_in(storage.clone(), options).await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 500), None, None).await.unwrap();
    writer.put_content(crate::common::plain(1, 10 << 20), None, None).await.unwrap();
    writer.rewrite_content(&id).await.unwrap();
    assert!(writer.delete_content(&id).await.unwrap());
    writer.flush().await.unwrap();
    assert_eq!(ids(&storage, "p").len(), 1);
    assert_eq!(state(&repository, &id).await, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_packs_go_through_a_file_and_read_back_before_and_after_the_flush() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = create_in(storage.clone(), CreateOptions::default()).await;
    repository.set_parameters(|format, _| format.max_pack_size = 30 << 20).await.unwrap();
    drop(repository);
    let options = OpenOptions { memory_bytes_max: 64 << 20, ..OpenOptions::default() };
    let repository = Repository::open(storage.clone(), &secret("fixture"), options).await.unwrap();
    let writer = repository.writer().unwrap();
    let plain: Vec<Bytes> = (0..10).map(|seed| noise(seed, 3_500_000)).collect();
    let mut contents = Vec::new();
    for bytes in &plain {
        contents.push(writer.put_content(bytes.clone(), None, None).await.unwrap());
        // The first ones are in the file, the last in memory.
        for (id, bytes) in contents.iter().zip(&plain) {
            assert_eq!(writer.content(id).await.unwrap(), bytes);
        }
    }
    writer.flush().await.unwrap();
    assert_eq!(ids(&storage, "p").len(), 2);
    let longest = storage.list("p").map(|blob| blob.unwrap().size).collect::<Vec<_>>().await;
    assert!(longest.iter().any(|size| *size > 30 << 20), "{longest:?}");

    let repository = reopen(storage).await;
    for (id, bytes) in contents.iter().zip(&plain) {
        assert_eq!(repository.content(id).await.unwrap(), bytes);
    }
    check_whole(&repository).await;
}
