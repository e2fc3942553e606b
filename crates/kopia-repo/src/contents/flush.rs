//! Uploading packs while writing goes on, and making everything visible in the end.
//!
//! The order is kill-safe at every arrow (docs/format/03 §8): session marker → packs → index blobs
//! → marker deleted. Whatever fails stays pending and is done again by the next flush, packs with
//! the same names and bytes. An index blob is also written while writing goes on, ten minutes after
//! the last one, so that a long session is not lost whole, or earlier when what is pending takes too
//! much memory; it names packs of data and folders only, since manifests and deletions take effect
//! together with all that was written before them.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use dataplane::task;
use futures::{StreamExt, stream};
use kopia_format::{
    ContentId,
    index::{IndexBuilder, IndexEntry, SHARD_LEN_MAX},
};

use super::{
    pack::{Claim, ClosedPack, Stage},
    pending::Ready,
};
use crate::{RepositoryWriter, Result};

/// Pending index entries are written when they have waited this long. Kopia's value.
const INDEX_FLUSH_AFTER: Duration = Duration::from_secs(10 * 60);

/// What a flush wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Packs put by this flush; those that went up while writing are not counted.
    pub packs: u64,
    /// Bytes of these packs.
    pub pack_bytes: u64,
    /// Entries of the index blobs.
    pub contents: u64,
    /// Index blobs put.
    pub index_blobs: u64,
    /// Their bytes.
    pub index_bytes: u64,
}

impl RepositoryWriter {
    /// Makes everything written so far visible to all clients, and durable.
    ///
    /// Manifests first, as contents like any others; then packs, index blobs, and the marker's end.
    /// After an error everything is still pending, and the next flush does the rest.
    ///
    /// # Errors
    /// [`RepoError::WriteTooSlow`](crate::RepoError::WriteTooSlow) when two epochs began while the
    /// index was being written; what the storage may give.
    pub async fn flush(&self) -> Result<FlushReport> {
        let writer = self.clone();
        // A task of its own: whoever holds the turn must get on, polled or not.
        task::owned(async move { writer.flush_in_turn().await }).await
    }

    async fn flush_in_turn(&self) -> Result<FlushReport> {
        let _turn = self.writing.flushing.lock().await;
        self.shared().format.ensure_fresh().await?;
        let manifests = self.flush_manifests().await?;
        let packs = self.writing.pending().end_session();
        let mut report = FlushReport::default();
        self.upload_all(packs, &mut report).await?;
        {
            let _turn = self.writing.indexing.lock().await;
            let all = self.writing.pending().ready();
            self.write_indexes(all, &mut report).await?;
        }
        self.end_sessions().await?;
        self.writing.manifests.committed(&manifests);
        Ok(report)
    }

    /// What has to happen before a content is taken.
    pub(crate) async fn before_write(&self) -> Result<()> {
        self.shared().format.ensure_fresh().await?;
        self.shared().ensure_index_fresh().await?;
        self.wait_for_room().await?;
        let now = self.shared().env().clock.now();
        let due = self.pending_since().is_some_and(|t| now.since(t) >= INDEX_FLUSH_AFTER);
        if !due && !self.writing.pending().is_crowded() {
            return Ok(());
        }
        let writer = self.clone();
        task::owned(async move {
            // Whoever is at it does this work too.
            match writer.writing.indexing.try_lock() {
                Ok(_turn) => {
                    let early = writer.writing.pending().ready_early();
                    writer.write_indexes(early, &mut FlushReport::default()).await
                }
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Tries packs again whose upload failed, and waits until few enough are on their way. So a
    /// failure reaches a caller with the next content, as in Kopia, and not when all room is taken.
    async fn wait_for_room(&self) -> Result<()> {
        loop {
            let moved = self.writing.moved.notified();
            let packs = self.writing.pending().not_uploaded();
            let is_full = packs.len() >= self.shared().packs_waiting_max();
            let mut urgent = packs.iter().filter(|pack| is_full || pack.has_failed());
            match urgent.find_map(|pack| pack.claim()) {
                Some(claim) => {
                    let writer = self.clone();
                    task::owned(async move { writer.upload(claim).await }).await?;
                }
                None if is_full => moved.await,
                None => return Ok(()),
            }
        }
    }

    /// Uploads closed packs beside the caller. Those that failed before are left to
    /// [`wait_for_room`](Self::wait_for_room), where the error has somewhere to go.
    pub(crate) fn start_uploads(&self) {
        let packs = self.writing.pending().not_uploaded();
        let fresh = packs.iter().filter(|pack| !pack.has_failed());
        let claims: Vec<_> = fresh.filter_map(|pack| pack.claim()).collect();
        let mut uploads = self.writing.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        while uploads.try_join_next().is_some() {}
        for claim in claims {
            let writer = self.clone();
            uploads.spawn(async move {
                // It is logged, and tried again before the next content.
                let _ = writer.upload(claim).await;
            });
        }
    }

    async fn upload(&self, claim: Claim) -> Result<u64> {
        let pack = Arc::clone(claim.pack());
        let uploaded = claim.upload(self.shared()).await;
        match &uploaded {
            Ok(bytes) => {
                self.writing.uploaded_bytes.fetch_add(*bytes, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(pack = %pack.id, %error,
                    "a pack was not uploaded; it will be tried again");
            }
        }
        uploaded
    }

    /// Uploads these packs, in parallel; ends when all are in the storage. Those that are closed
    /// meanwhile are not waited for: while somebody writes faster than packs go up there is always
    /// one more.
    async fn upload_all(
        &self,
        mut packs: Vec<Arc<ClosedPack>>,
        report: &mut FlushReport,
    ) -> Result<()> {
        loop {
            let moved = self.writing.moved.notified();
            packs.retain(|pack| pack.stage() != Stage::Uploaded);
            if packs.is_empty() {
                return Ok(());
            }
            let claims: Vec<_> = packs.iter().filter_map(|pack| pack.claim()).collect();
            if claims.is_empty() {
                // Others are at it. One may have just finished, between the two looks.
                if packs.iter().all(|pack| pack.stage() == Stage::Uploading) {
                    moved.await;
                }
                continue;
            }
            let parallel = self.shared().packs_waiting_max();
            let uploads: Vec<_> = claims.into_iter().map(|claim| self.upload(claim)).collect();
            let mut uploads = stream::iter(uploads).buffer_unordered(parallel);
            let mut failed = None;
            // One that fails does not break off the others: they would be sent again.
            while let Some(sent) = uploads.next().await {
                match sent {
                    Ok(bytes) => {
                        report.packs += 1;
                        report.pack_bytes += bytes;
                    }
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// Writes index blobs, one session after the other, and takes what they name over into the
    /// committed index.
    async fn write_indexes(
        &self,
        all: impl IntoIterator<Item = Ready>,
        report: &mut FlushReport,
    ) -> Result<()> {
        for ready in all {
            ready.session.ensure_marker(self.shared()).await?;
            let blobs = self.write_index(&ready).await?;
            report.contents += ready.entries().count() as u64;
            report.index_blobs += blobs.0;
            report.index_bytes += blobs.1;
            self.writing.pending().indexed(&ready);
        }
        let now = self.shared().env().clock.now();
        self.writing.pending().all_indexed(now);
        Ok(())
    }

    async fn write_index(&self, ready: &Ready) -> Result<(u64, u64)> {
        let mut builder = IndexBuilder::new();
        ready.entries().for_each(|entry| builder.add(entry.clone()));
        let version = self.shared().format.format().index_version;
        let shards = builder.build_shards(version, SHARD_LEN_MAX, || None)?;
        self.shared().write_index_blobs(shards, ready.session.id.to_string()).await
    }

    async fn end_sessions(&self) -> Result<()> {
        let finished = self.writing.pending().finished_sessions();
        for session in finished {
            session.end(self.shared()).await?;
            self.writing.pending().forget_session(&session);
        }
        Ok(())
    }

    /// The entry of a content, from this writer or the committed index.
    pub(crate) async fn known_entry(&self, id: &ContentId) -> Result<IndexEntry> {
        self.content_entry(id).await?.ok_or_else(|| self.repository().not_found(*id))
    }
}
