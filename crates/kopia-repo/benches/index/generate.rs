//! A repository with an index of so many contents, as years of snapshots and Kopia's maintenance
//! leave it: a range checkpoint of seven epochs in shards of at most 16 million entries, two
//! compacted epochs, and forty blobs of the two epochs that are being written.
//!
//! Everything is written by the real writer, under names and seals of the real repository. One
//! shard is in memory at a time.

use std::{collections::HashMap, path::Path, sync::Arc};

use blob_core::{BlobId, DynStorage, Payload, PutOptions};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_fixtures::made::hash;
use kopia_format::{
    ContentId,
    epoch::{compaction_suffix, marker_name, range_prefix, single_prefix, uncompacted_prefix},
    index::{IndexBuilder, IndexEntry, SHARD_LEN_MAX},
};
use kopia_repo::{CreateOptions, OpenOptions, Repository};

use super::{Outcome, PASSWORD};

/// The epoch that is written to.
const EPOCH: u64 = 10;
/// Contents in one pack.
const PER_PACK: u64 = 200;
/// One content in so many is metadata.
const METADATA_ONE_IN: u64 = 50;
/// Blobs of one epoch that is not compacted, where maintenance runs as it should.
pub const BLOBS_PER_EPOCH: u64 = 20;
/// Of a hundred contents, those in the range checkpoint; the next two in each compacted epoch.
const IN_RANGE: u64 = 94;

/// Makes the repository in the folder `repo` of `place`.
pub fn repository(place: &Path, count: u64, blobs_per_epoch: u64) -> Outcome<()> {
    let _ = std::fs::remove_dir_all(place);
    std::fs::create_dir_all(place.join("repo"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(write(&place.join("repo"), count, blobs_per_epoch))
}

/// The repository's storage.
pub async fn storage(folder: &Path) -> Outcome<DynStorage> {
    Ok(Arc::new(FilesystemStorage::create(FilesystemOptions::at(folder), None).await?))
}

async fn write(folder: &Path, count: u64, blobs_per_epoch: u64) -> Outcome<()> {
    let storage = storage(folder).await?;
    let password = PASSWORD.into();
    Repository::create(Arc::clone(&storage), &password, CreateOptions::default()).await?;
    let repository = Repository::open(storage, &password, OpenOptions::default()).await?;
    for epoch in 1..=EPOCH {
        put(&repository, &marker_name(epoch), b"epoch-marker".to_vec()).await?;
    }
    let range = count * IN_RANGE / 100;
    let shards = range.div_ceil(SHARD_LEN_MAX as u64);
    for shard in 0..shards {
        let numbers = (0..range).filter(|n| n % shards == shard);
        let suffix = compaction_suffix([7; 8], shards as usize);
        put_index(&repository, &range_prefix(0, EPOCH - 4), &suffix, numbers).await?;
    }
    let part = |hundredth: u64| (count * hundredth / 100)..(count * (hundredth + 1) / 100);
    for (epoch, first) in [(EPOCH - 3, IN_RANGE), (EPOCH - 2, IN_RANGE + 2)] {
        let numbers = part(first).start..part(first + 1).end;
        let suffix = compaction_suffix([epoch as u8; 8], 1);
        put_index(&repository, &single_prefix(epoch), &suffix, numbers).await?;
    }
    for (epoch, hundredth) in [(EPOCH - 1, IN_RANGE + 4), (EPOCH, IN_RANGE + 5)] {
        let all = part(hundredth);
        let each = (all.end - all.start).div_ceil(blobs_per_epoch).max(1);
        for start in all.clone().step_by(each as usize) {
            let numbers = start..(start + each).min(all.end);
            let suffix = compaction_suffix((start + epoch).to_be_bytes(), 1);
            put_index(&repository, &uncompacted_prefix(epoch), &suffix, numbers).await?;
        }
    }
    Ok(())
}

async fn put_index(
    repository: &Repository,
    prefix: &str,
    suffix: &str,
    numbers: impl Iterator<Item = u64>,
) -> Outcome<()> {
    let plain = {
        // In the order of IDs, which a builder takes ten times faster than in any other.
        let mut numbers: Vec<(ContentId, u64)> = numbers.map(|n| (content(n), n)).collect();
        numbers.sort_unstable();
        let mut packs = Packs::default();
        let builder: IndexBuilder =
            numbers.into_iter().map(|(id, n)| entry(id, n, &mut packs)).collect();
        builder.build(repository.format().index_version, None)?
    };
    let mut nonce = [0; 12];
    repository.env().entropy.fill(&mut nonce);
    let (name, sealed) = repository.codec().seal_blob(prefix, suffix, nonce, &plain);
    put(repository, &name, sealed).await
}

async fn put(repository: &Repository, name: &str, bytes: Vec<u8>) -> Outcome<()> {
    let id = BlobId::new(name)?;
    repository.storage().put(&id, Payload::from(bytes), &PutOptions::default()).await?;
    Ok(())
}

/// The names of packs, by their numbers.
#[derive(Default)]
struct Packs(HashMap<u64, Arc<str>>);

impl Packs {
    fn name(&mut self, number: u64) -> Arc<str> {
        let name = || {
            let hash = hash(number ^ 1 << 63);
            format!("p{hash:032x}-s{:019x}", number / 1000).into()
        };
        Arc::clone(self.0.entry(number).or_insert_with(name))
    }
}

fn entry(id: ContentId, n: u64, packs: &mut Packs) -> IndexEntry {
    let length = 1000 + (n * 7919 % 200_000) as u32;
    IndexEntry {
        id,
        pack: packs.name(n / PER_PACK),
        offset: (n % PER_PACK * 100_000) as u32,
        packed_length: length,
        original_length: 2 * length,
        timestamp: 1_700_000_000 + (n / 1000) as i64,
        deleted: false,
        format_version: 3,
        compression: if n.is_multiple_of(3) { 0 } else { 0x1101 },
        encryption_key_id: 0,
    }
}

/// The content number `n`. Numbers from the count of the repository on are not there.
pub fn content(n: u64) -> ContentId {
    let prefix = n.is_multiple_of(METADATA_ONE_IN).then_some(b'k');
    ContentId::new(prefix, &hash(n).to_be_bytes()).expect("sixteen bytes")
}
