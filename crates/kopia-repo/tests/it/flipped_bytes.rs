//! Every single byte of a small repository is flipped once: harmless, repaired, or reported with
//! the blob's name; never other data.
//!
//! What a flip does to a pack is seen by an open repository, which reads contents from the storage
//! each time. An index blob is read again as the command that shows one does; every so often, and
//! for the format blob always, the repository is opened anew.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::common::{ids, noise, secret, text};
use blob_core::{BlobId, BlobStorage, ManualClock, MemoryStorage, ReadRange, Timestamp};
use blob_core::{Entropy, env::SeededEntropy};
use bytes::Bytes;
use kopia_format::{Compressor, ContentId, FormatBlob, IndexEntry, codec::blob_iv};
use kopia_repo::{CreateOptions, EntryFilter, Env, OpenOptions, RepoError, Repository};

/// A flip that no reader of a pack or index notices is found out by opening: one in so many.
const OPENED_EACH: usize = 499;

struct Small {
    storage: Arc<MemoryStorage>,
    repository: Repository,
    entries: Vec<IndexEntry>,
    contents: BTreeMap<ContentId, Bytes>,
    chance: SeededEntropy,
}

/// What came of the flips of one kind of blob.
#[derive(Default, PartialEq, Eq)]
struct Count {
    harmless: usize,
    repaired: usize,
    reported: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { harmless, repaired, reported } = self;
        write!(f, "{harmless} harmless, {repaired} repaired, {reported} reported")
    }
}

fn env() -> Env {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    Env { clock, entropy: Arc::new(SeededEntropy::new(1)) }
}

fn options() -> OpenOptions {
    // Everything on the test's own thread.
    OpenOptions { env: env(), threads: 0, ..OpenOptions::default() }
}

impl Small {
    /// One data pack, one pack of metadata, one index blob.
    async fn new(create: CreateOptions) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let create = CreateOptions { env: env(), ..create };
        Repository::create(storage.clone(), &secret("fixture"), create).await.unwrap();
        let repository =
            Repository::open(storage.clone(), &secret("fixture"), options()).await.unwrap();
        let zstd = match repository.format().index_version {
            1 => None,
            _ => Compressor::by_name("zstd-fastest").unwrap(),
        };
        let writer = repository.writer().unwrap();
        writer.put_content(noise(1, 300), None, None).await.unwrap();
        writer.put_content(text(900), None, zstd).await.unwrap();
        writer.put_content(Bytes::new(), None, None).await.unwrap();
        let directory = br#"{"stream":"kopia:directory","entries":null,"summary":{}}"#;
        writer.put_content(directory.as_slice().into(), Some(b'k'), zstd).await.unwrap();
        writer.put_manifest(&[("type", "note")], "a note").await.unwrap();
        writer.flush().await.unwrap();
        let entries = repository.entries(&EntryFilter::default()).await.unwrap();
        assert_eq!(entries.len(), 5);
        let mut contents = BTreeMap::new();
        for entry in &entries {
            contents.insert(entry.id, repository.content(&entry.id).await.unwrap());
        }
        assert_eq!((ids(&storage, "p").len(), ids(&storage, "q").len()), (1, 1));
        assert_eq!(ids(&storage, "s").len(), 0, "the session's marker is gone");
        let chance = SeededEntropy::new(2);
        Self { storage, repository, entries, contents, chance }
    }

    /// Flips each byte of each blob whose ID begins with `prefix`, and asks `look` what came of it:
    /// whether the byte was made good, or an error.
    async fn flip_all(
        &self,
        prefix: &str,
        look: impl AsyncFn(&BlobId, usize) -> Result<bool, RepoError>,
    ) -> Count {
        let mut count = Count::default();
        let blobs = ids(&self.storage, prefix);
        assert!(!blobs.is_empty(), "there is no blob {prefix}");
        for blob in blobs {
            let length = self.storage.get(&blob, ReadRange::Full).await.unwrap().len();
            for at in 0..length {
                let mut change = [0];
                while change == [0] {
                    self.chance.fill(&mut change);
                }
                assert!(self.storage.damage(&blob, |bytes| bytes[at] ^= change[0]));
                match look(&blob, at).await {
                    Ok(true) => count.repaired += 1,
                    Ok(false) => count.harmless += 1,
                    Err(error) => {
                        let told = error.to_string();
                        let what = format!("byte {at} of {blob}, flipped by {change:?}: {told}");
                        assert!(told.contains(blob.as_str()), "not named: {what}");
                        count.reported += 1;
                    }
                }
                self.storage.damage(&blob, |bytes| bytes[at] ^= change[0]);
            }
        }
        self.read_all(&self.repository).await.expect("all flips were taken back");
        count
    }

    /// Reads all contents; the first error, if there is one. Other data ends the test.
    async fn read_all(&self, repository: &Repository) -> Result<(), RepoError> {
        for (id, plain) in &self.contents {
            assert_eq!(repository.content(id).await?, plain, "{id} is other data");
        }
        Ok(())
    }

    /// Opens the repository anew, and reads all of it.
    async fn open_and_read(&self) -> Result<(), RepoError> {
        let storage = self.storage.clone();
        let repository = Repository::open(storage, &secret("fixture"), options()).await?;
        assert_eq!(repository.entries(&EntryFilter::default()).await?, self.entries);
        self.read_all(&repository).await
    }

    async fn flip_packs(&self, prefix: &str) -> Count {
        self.flip_all(prefix, async |blob, at| {
            if at % OPENED_EACH == 0 {
                self.open_and_read().await?;
            }
            self.read_all(&self.repository).await?;
            self.was_repaired(blob, at).await
        })
        .await
    }

    async fn flip_indexes(&self, prefix: &str) -> Count {
        self.flip_all(prefix, async |blob, at| {
            let entries = self.repository.index_blob_entries(blob).await;
            if at % OPENED_EACH == 0 {
                assert_eq!(self.open_and_read().await.is_ok(), entries.is_ok(), "byte {at}");
            }
            assert_eq!(entries?, self.entries, "other entries");
            let sealed = self.storage.get(blob, ReadRange::Full).await?;
            let iv = blob_iv(blob.as_str())?;
            Ok(self.repository.codec().open_reporting(&iv, &sealed)?.1)
        })
        .await
    }

    /// Does byte `at` of the pack belong to a content that was read only by correcting it?
    async fn was_repaired(&self, pack: &BlobId, at: usize) -> Result<bool, RepoError> {
        let bytes = self.storage.get(pack, ReadRange::Full).await?;
        let of_entry = |entry: &&IndexEntry| {
            let range = entry.offset as usize..(entry.offset + entry.packed_length) as usize;
            *entry.pack == *pack.as_str() && range.contains(&at)
        };
        let Some(entry) = self.entries.iter().find(of_entry) else { return Ok(false) };
        let range = entry.offset as usize..(entry.offset + entry.packed_length) as usize;
        let (_, repaired) = self.repository.codec().open_reporting(entry.id.iv(), &bytes[range])?;
        Ok(repaired)
    }

    /// How many bytes of packs are contents.
    fn bytes_of(&self, packs: &str) -> usize {
        let of = self.entries.iter().filter(|entry| entry.pack.starts_with(packs));
        of.map(|entry| entry.packed_length as usize).sum()
    }
}

#[tokio::test]
async fn a_flipped_byte_of_a_pack_or_index_is_reported_with_the_blobs_name() {
    let small = Small::new(CreateOptions::default()).await;
    for packs in ["p", "q"] {
        let count = small.flip_packs(packs).await;
        println!("{packs}: {count}");
        assert_eq!(count.reported, small.bytes_of(packs), "each byte of a content, no other");
        assert!(count.harmless > 3000 && count.repaired == 0, "{count}");
    }
    let count = small.flip_indexes("xn").await;
    println!("xn: {count}");
    assert!(count.reported > 300 && count.harmless == 0 && count.repaired == 0, "{count}");
}

#[tokio::test]
async fn a_flipped_byte_is_repaired_where_there_is_error_correction() {
    let create = CreateOptions { ecc_overhead_percent: 10, ..CreateOptions::default() };
    let small = Small::new(create).await;
    for packs in ["p", "q"] {
        let count = small.flip_packs(packs).await;
        println!("{packs} with ECC: {count}");
        // The others are the parity itself: the data is whole without it.
        assert!(count.reported == 0 && count.repaired > small.bytes_of(packs) / 2, "{count}");
        assert!(count.harmless > 3000, "{count}");
    }
    let count = small.flip_indexes("xn").await;
    println!("xn with ECC: {count}");
    assert!(count.reported == 0 && count.repaired > count.harmless, "{count}");
}

#[tokio::test]
async fn a_flipped_byte_of_format_1_is_reported_with_the_blobs_name() {
    let create = CreateOptions { format_version: 1, ..CreateOptions::default() };
    let small = Small::new(create).await;
    for packs in ["p", "q"] {
        let count = small.flip_packs(packs).await;
        println!("{packs} of format 1: {count}");
        assert_eq!(count.reported, small.bytes_of(packs), "{count}");
        assert!(count.harmless > 3000 && count.repaired == 0, "{count}");
    }
    let count = small.flip_indexes("n").await;
    println!("n of format 1: {count}");
    assert!(count.reported > 300 && count.harmless == 0 && count.repaired == 0, "{count}");
}

#[tokio::test]
async fn a_flipped_byte_of_the_format_blob_is_a_wrong_password_or_names_it() {
    let small = Small::new(CreateOptions::default()).await;
    let whole = small.repository.format_blob();
    let count = small
        .flip_all("kopia.repository", async |blob, at| {
            let bytes = small.storage.get(blob, ReadRange::Full).await?;
            // Making a key of the password is slow on purpose: where it would be the same key, the
            // open repository has it.
            let same_key = FormatBlob::parse(&bytes).is_ok_and(|flipped| {
                (&flipped.key_algo, &flipped.unique_id) == (&whole.key_algo, &whole.unique_id)
            });
            if at % OPENED_EACH == 0 || !same_key {
                small.open_and_read().await?;
                return Ok(false);
            }
            match small.repository.refresh().await {
                // What is a changed password to who has it open is a wrong one to who opens it.
                Err(RepoError::PasswordChanged) => Err(RepoError::WrongPassword),
                other => other.map(|()| false),
            }
        })
        .await;
    println!("kopia.repository: {count}");
    // Harmless is what is for people: the tool's name and version, blanks.
    assert!(count.harmless > 20 && count.reported > 500 && count.repaired == 0, "{count}");
}

#[tokio::test]
async fn a_flipped_byte_of_the_retention_blob_names_it() {
    let small = Small::new(CreateOptions::default()).await;
    let count = small
        .flip_all("kopia.blobcfg", async |_, _| {
            small.repository.refresh().await?;
            Ok(false)
        })
        .await;
    println!("kopia.blobcfg: {count}");
    assert!(count.harmless == 0 && count.reported > 20 && count.repaired == 0, "{count}");
}
