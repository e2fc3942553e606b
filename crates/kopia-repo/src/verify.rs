//! Is everything that the index names really there?
//!
//! First against one listing of packs: does the pack exist, and is it long enough? That reads no
//! pack. Then, for all contents or for a part chosen by chance, by reading: the content is opened
//! and hashed again, which is more than Kopia checks, and it is read from the storage, whatever the
//! cache has. Contents in cold packs are counted, not read.

use std::collections::HashMap;

use blob_core::BlobMeta;
use futures::{StreamExt, TryStreamExt};
use kopia_format::{ContentId, index::IndexEntry};

use crate::{
    EntryFilter, ReadPlan, RepoError, Repository, Result,
    contents::pack::is_pack,
    state::{blob_id, random},
};

/// Entries looked at together: a plan over them is held in memory.
const WINDOW: usize = 100_000;

/// What is verified, and how deep.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Which contents.
    pub filter: EntryFilter,
    /// How many of a hundred contents are read, chosen by chance; 100 = all.
    pub read_percent: f64,
}

impl Default for VerifyOptions {
    /// All contents that are not deleted, by listing alone.
    fn default() -> Self {
        Self { filter: EntryFilter::default(), read_percent: 0.0 }
    }
}

/// What a verification tells while it runs.
#[derive(Debug)]
pub enum VerifyEvent<'a> {
    /// The packs were listed.
    Listed {
        /// How many there are.
        packs: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A content is not as it should be.
    Problem {
        /// The content.
        id: ContentId,
        /// What is wrong with it.
        error: &'a RepoError,
    },
    /// So much is done.
    Progress(&'a VerifyReport),
}

/// What a verification found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Contents looked at.
    pub contents: u64,
    /// Contents that were read.
    pub contents_read: u64,
    /// Plain bytes of these.
    pub bytes_read: u64,
    /// Contents chosen to be read that lie in cold packs.
    pub contents_cold: u64,
    /// Contents whose pack does not exist.
    pub packs_missing: u64,
    /// Contents that lie behind the end of their pack.
    pub packs_truncated: u64,
    /// Contents that were read and are not what they should be.
    pub contents_damaged: u64,
}

impl VerifyReport {
    /// Contents that are lost.
    pub fn problems(&self) -> u64 {
        self.packs_missing + self.packs_truncated + self.contents_damaged
    }
}

impl Repository {
    /// Verifies contents and tells `sink` what it finds.
    ///
    /// # Errors
    /// What reading the index and listing may give. A content that is lost is no error but a
    /// finding.
    pub async fn verify_contents(
        &self,
        options: &VerifyOptions,
        mut sink: impl FnMut(VerifyEvent<'_>),
    ) -> Result<VerifyReport> {
        let view = self.index().await?;
        let packs = self.list_packs().await?;
        let bytes = packs.values().map(|meta| meta.size).sum();
        sink(VerifyEvent::Listed { packs: packs.len() as u64, bytes });
        let mut verification = Verification { repository: self, packs, report: Default::default() };
        let mut chosen = Vec::new();
        for entry in view.iter(&options.filter) {
            if verification.look(&entry, &mut sink) && self.by_chance(options.read_percent) {
                chosen.push(entry);
            }
            if chosen.len() >= WINDOW {
                verification.read(std::mem::take(&mut chosen), &mut sink).await;
            }
        }
        verification.read(chosen, &mut sink).await;
        sink(VerifyEvent::Progress(&verification.report));
        Ok(verification.report)
    }

    async fn list_packs(&self) -> Result<HashMap<String, BlobMeta>> {
        let mut packs = HashMap::new();
        for prefix in ["p", "q"] {
            let mut listed = self.storage().list(prefix);
            while let Some(meta) = listed.try_next().await? {
                packs.insert(meta.id.as_str().to_owned(), meta);
            }
        }
        Ok(packs)
    }

    fn by_chance(&self, percent: f64) -> bool {
        if percent <= 0.0 || percent >= 100.0 {
            return percent >= 100.0;
        }
        let number = u32::from_le_bytes(random(self.env()));
        f64::from(number) < percent / 100.0 * f64::from(u32::MAX)
    }
}

struct Verification<'a> {
    repository: &'a Repository,
    packs: HashMap<String, BlobMeta>,
    report: VerifyReport,
}

impl Verification<'_> {
    /// Compares an entry with the listing. Gives whether the content can be there.
    fn look(&mut self, entry: &IndexEntry, sink: &mut impl FnMut(VerifyEvent<'_>)) -> bool {
        self.report.contents += 1;
        let end = u64::from(entry.offset) + u64::from(entry.packed_length);
        let error = match self.packs.get(entry.pack.as_ref()) {
            Some(meta) if end <= meta.size => return true,
            Some(meta) => {
                self.report.packs_truncated += 1;
                debug_assert!(is_pack(&meta.id));
                RepoError::PackTruncated {
                    id: entry.id,
                    pack: meta.id.clone(),
                    offset: entry.offset.into(),
                    length: entry.packed_length.into(),
                }
            }
            None => {
                self.report.packs_missing += 1;
                match blob_id(&entry.pack) {
                    Ok(pack) => RepoError::PackMissing { id: entry.id, pack },
                    Err(error) => error,
                }
            }
        };
        sink(VerifyEvent::Problem { id: entry.id, error: &error });
        false
    }

    async fn read(&mut self, mut entries: Vec<IndexEntry>, sink: &mut impl FnMut(VerifyEvent<'_>)) {
        let before = entries.len();
        entries.retain(|entry| !self.packs[entry.pack.as_ref()].is_cold());
        self.report.contents_cold += (before - entries.len()) as u64;
        let plan = ReadPlan::of_entries(entries);
        let mut contents = std::pin::pin!(self.repository.fetch_all_stored(&plan));
        while let Some((id, bytes)) = contents.next().await {
            let checked = match bytes {
                Ok(bytes) => self.repository.check_hash(id, bytes).await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(length) => {
                    self.report.contents_read += 1;
                    self.report.bytes_read += length;
                }
                Err(error) => {
                    self.report.contents_damaged += 1;
                    sink(VerifyEvent::Problem { id, error: &error });
                }
            }
            if self.report.contents_read.is_multiple_of(1_000) {
                sink(VerifyEvent::Progress(&self.report));
            }
        }
    }
}

impl Repository {
    /// Are these the bytes that the content is named after? Gives their number.
    pub(crate) async fn check_hash(&self, id: ContentId, bytes: bytes::Bytes) -> Result<u64> {
        let (codec, length) = (std::sync::Arc::clone(self.codec()), bytes.len() as u64);
        let same = self.cpu().run(move || codec.hasher().hash(&bytes)[..] == *id.hash()).await;
        if same {
            return Ok(length);
        }
        let entry = self.content_entry(&id).await?.ok_or_else(|| self.not_found(id))?;
        Err(RepoError::ContentDamaged {
            id,
            pack: blob_id(&entry.pack)?,
            offset: entry.offset.into(),
            source: kopia_format::FormatError::Damaged { what: "content whose ID is its hash" },
        })
    }
}
