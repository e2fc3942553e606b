//! The markers of sessions that are being written, or were when their writer died.
//!
//! A marker guards packs of its session that no index names yet (docs/format/03-contents-packs.md
//! §7).

use std::collections::HashMap;

use blob_core::{BlobId, ReadRange};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    SessionId,
    session::{SESSION_BLOB_PREFIX, SessionMarker},
};

use crate::{RepoError, Repository, Result, index::refresh::list};

/// Markers read at once.
const READING: usize = 8;

impl Repository {
    /// All sessions that have a marker; of several markers of one session the latest counts.
    ///
    /// # Errors
    /// [`RepoError::SessionDamaged`] for a marker that names no session, or can't be read as one:
    /// which packs it guards is not known then. What the storage may give.
    pub async fn sessions(&self) -> Result<HashMap<SessionId, SessionMarker>> {
        let listed = list(self.storage(), SESSION_BLOB_PREFIX).await?;
        let reads: Vec<_> = listed.iter().map(|meta| self.read_session(&meta.id)).collect();
        let read: Vec<Option<SessionMarker>> =
            stream::iter(reads).buffer_unordered(READING).try_collect().await?;
        let mut sessions: HashMap<SessionId, SessionMarker> = HashMap::new();
        for marker in read.into_iter().flatten() {
            let known = sessions.entry(marker.id.clone()).or_insert_with(|| marker.clone());
            if marker.checkpoint_time > known.checkpoint_time {
                *known = marker;
            }
        }
        Ok(sessions)
    }

    /// A marker; `None` if it is gone since it was listed.
    async fn read_session(&self, id: &BlobId) -> Result<Option<SessionMarker>> {
        let damaged = |reason: String| RepoError::SessionDamaged { blob: id.clone(), reason };
        if SessionId::of_blob(id.as_str()).is_none() {
            return Err(damaged("its name names no session".into()));
        }
        let sealed = match self.storage().get(id, ReadRange::Full).await {
            Ok(sealed) => sealed,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let opened = self.codec().open_blob(id.as_str(), &sealed);
        let plain = opened.map_err(|source| damaged(source.to_string()))?;
        let marker = SessionMarker::parse(&plain).map_err(|source| damaged(source.to_string()))?;
        Ok(Some(marker))
    }
}
