//! Carrying out a plan: a few blobs at once, in bounded memory, one rank after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use blob_core::{BlobError, BlobId, DynStorage, Payload, PutOptions, ReadRange};
use dataplane::Budget;
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{blobcfg::BLOBCFG_BLOB_ID, format_blob::FORMAT_BLOB_ID};

use super::{SyncBlob, SyncError, SyncOptions, SyncPlan, is_index, rank};

/// What happens while a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub enum SyncEvent<'a> {
    /// A blob is at the destination.
    Copied(&'a SyncBlob),
    /// A blob was deleted at the destination.
    Deleted(&'a SyncBlob),
    /// A blob went away in the source before it was read; nobody needs it any more.
    Gone(&'a SyncBlob),
    /// The destination can't keep times; they are what its clock says.
    TimesRefused,
}

/// What the workers share.
struct Course<'a> {
    source: &'a DynStorage,
    destination: &'a DynStorage,
    budget: Budget,
    times: AtomicBool,
    copied: AtomicU64,
    tell: &'a (dyn Fn(SyncEvent<'_>) + Sync),
}

impl SyncPlan {
    /// Copies and deletes, until `stop` is there. May be cut off anywhere: what the destination has
    /// then opens, and a new plan goes on.
    ///
    /// # Errors
    /// [`SyncError::Merged`], [`SyncError::Stopped`], and what the storages say; among it
    /// [`BlobError::Archived`] if [`SyncPlan::archived`] is not empty, before anything is written.
    pub async fn carry_out(
        &self,
        [source, destination]: [&DynStorage; 2],
        options: &SyncOptions,
        tell: &(dyn Fn(SyncEvent<'_>) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<(), SyncError> {
        if let Some(blob) = self.archived.first() {
            let meta = source.head(&blob.id).await?;
            let state = meta.state.unwrap_or(blob_core::ReadState::Cold);
            return Err(BlobError::Archived { id: meta.id, class: meta.class, state }.into());
        }
        let course = Course {
            source,
            destination,
            budget: Budget::new(options.memory_bytes_max.max(1)),
            times: options.times.into(),
            copied: 0.into(),
            tell,
        };
        let parallel = options.parallel.max(1);
        tokio::select! {
            biased;
            () = stop => Err(SyncError::Stopped {
                copied: course.copied.load(Relaxed),
                of: self.copies.len() as u64,
            }),
            done = self.run(&course, parallel) => done,
        }
    }

    async fn run(&self, course: &Course<'_>, parallel: usize) -> Result<(), SyncError> {
        if let Some(bytes) = &self.first {
            // Never over the format of somebody who was faster.
            let options = PutOptions { if_absent: true, ..PutOptions::default() };
            let id = BlobId::new(FORMAT_BLOB_ID).expect("the name is valid");
            course.destination.put(&id, Payload::from(bytes.clone()), &options).await?;
        }
        for blobs in self.copies.chunk_by(|a, b| rank(&a.id) == rank(&b.id)) {
            if self.has_blobcfg && blobs[0].id.as_str() == FORMAT_BLOB_ID {
                let id = BlobId::new(BLOBCFG_BLOB_ID).expect("the name is valid");
                course.destination.delete(&id).await?;
            }
            let copies = stream::iter(blobs).map(|blob| course.copy(blob));
            let mut copies = copies.buffer_unordered(parallel);
            while let Some(()) = copies.try_next().await? {}
        }
        for blobs in self.deletes.chunk_by(|a, b| rank(&a.id) == rank(&b.id)) {
            let deletes = stream::iter(blobs).map(|blob| course.delete(blob));
            let mut deletes = deletes.buffer_unordered(parallel);
            while let Some(()) = deletes.try_next().await? {}
        }
        Ok(())
    }
}

impl Course<'_> {
    async fn copy(&self, blob: &SyncBlob) -> Result<(), SyncError> {
        let _grant = self.budget.acquire(blob.size.max(1)).await;
        let bytes = match self.source.get(&blob.id, ReadRange::Full).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() && is_index(&blob.id) => {
                return Err(SyncError::Merged { id: blob.id.clone() });
            }
            Err(error) if error.is_not_found() => {
                (self.tell)(SyncEvent::Gone(blob));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let put = |modified| {
            let options = PutOptions { modified, ..PutOptions::default() };
            let payload = Payload::from(bytes.clone());
            async move { self.destination.put(&blob.id, payload, &options).await }
        };
        let told = self.times.load(Relaxed).then_some(blob.modified);
        match put(told).await {
            Err(BlobError::InvalidOption { option, .. })
                if told.is_some() && option == PutOptions::MODIFIED =>
            {
                if self.times.swap(false, Relaxed) {
                    (self.tell)(SyncEvent::TimesRefused);
                }
                put(None).await?;
            }
            done => _ = done?,
        }
        self.copied.fetch_add(1, Relaxed);
        (self.tell)(SyncEvent::Copied(blob));
        Ok(())
    }

    async fn delete(&self, blob: &SyncBlob) -> Result<(), SyncError> {
        self.destination.delete(&blob.id).await?;
        (self.tell)(SyncEvent::Deleted(blob));
        Ok(())
    }
}
