//! When the index is read again.
//!
//! At open, when what is known is 15 minutes old and somebody asks, and on request (docs/format/04
//! §8). Blobs may vanish between the listing and the fetch, when another client compacts: then the
//! set is made anew.

use std::{collections::HashSet, sync::Arc, time::Duration};

use blob_core::{BlobMeta, DynStorage};
use dataplane::task;
use futures::TryStreamExt;

use super::{
    ActiveSet, IndexView, epochs,
    epochs::EpochState,
    legacy,
    load::{LoadError, LoadedSet},
};
use crate::{RepoError, Result, state::Shared};

/// What is known counts as fresh for this long. Kopia's value.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);
/// How often a set is made anew when its blobs vanish. Kopia's value.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    /// Reads the index again if what is known is too old.
    pub(crate) async fn ensure_index_fresh(self: &Arc<Self>) -> Result<()> {
        let now = self.env().clock.now();
        if now.since(self.index.loaded_at()) < FRESH_FOR {
            return Ok(());
        }
        self.refresh_unless(move |shared| now.since(shared.index.loaded_at()) < FRESH_FOR).await
    }

    /// Reads the index again now.
    pub(crate) async fn refresh_index(self: &Arc<Self>) -> Result<()> {
        self.refresh_unless(|_| false).await
    }

    /// In a task of its own: whoever holds the turn must get on, polled or not.
    async fn refresh_unless(
        self: &Arc<Self>,
        done: impl FnOnce(&Self) -> bool + Send + 'static,
    ) -> Result<()> {
        let shared = Arc::clone(self);
        task::owned(async move {
            let mut turn = shared.index.turn.lock().await;
            if done(&shared) {
                return Ok(());
            }
            shared.refresh_in_turn(&mut turn).await
        })
        .await
    }

    async fn refresh_in_turn(&self, state: &mut Option<EpochState>) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            *state = None;
            let now = self.env().clock.now();
            let set = self.active_set(state).await?;
            let old = self.index.view();
            match self.load_set(&set, &old).await {
                Ok(LoadedSet { segments, mut damaged }) => {
                    damaged.sort_by(|a, b| a.blob.id.cmp(&b.blob.id));
                    if let Some(blob) =
                        damaged.first().filter(|_| !self.options.pass_over_damaged_index)
                    {
                        return Err(blob.error());
                    }
                    let names = |blobs: Vec<&BlobMeta>| -> HashSet<String> {
                        blobs.iter().map(|meta| meta.id.as_str().to_owned()).collect()
                    };
                    let loaded = segments.iter().map(|segment| &segment.meta).collect();
                    let same = set.watermark == old.watermark()
                        && damaged == old.damaged()
                        && names(loaded) == names(old.blobs().collect());
                    if !same {
                        let generation = old.generation() + 1;
                        let make = move || {
                            IndexView::new(segments, set.watermark, generation).without(damaged)
                        };
                        self.index.set_view(self.cpu.run(make).await);
                    }
                    self.index.set_loaded_at(now);
                    return Ok(());
                }
                Err(LoadError::Failed(error)) => return Err(error),
                Err(LoadError::Gone(blob)) if attempt >= ATTEMPTS => {
                    return Err(RepoError::IndexMissing { blob, attempts: attempt });
                }
                Err(LoadError::Gone(_)) => {
                    self.env().clock.sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn active_set(&self, state: &mut Option<EpochState>) -> Result<ActiveSet> {
        if self.format.format().epochs_enabled() {
            epochs::active_set(self, state).await
        } else {
            legacy::active_set(self).await
        }
    }
}

/// A whole listing.
pub(crate) async fn list(storage: &DynStorage, prefix: &str) -> Result<Vec<BlobMeta>> {
    Ok(storage.list(prefix).try_collect().await?)
}
