//! The marker that guards packs which no index names yet.
//!
//! Blob collection deletes packs that no index entry names once they are a day old, unless a marker
//! of their session is there (docs/format/03 §7). So the marker is put before the first pack of a
//! session, and deleted only when the index blobs are written. A crash leaves it behind; it then
//! expires by itself after four days.

use blob_core::BlobId;
use kopia_format::{SessionId, session::SessionMarker, time::GoTime};
use tokio::sync::OnceCell;

use crate::{
    Result,
    create::put_options,
    state::{Shared, blob_id, random},
};

/// One session of one writer: from its first pack to the flush that makes it visible.
#[derive(Debug)]
pub(crate) struct Session {
    pub id: SessionId,
    started: GoTime,
    marker: OnceCell<BlobId>,
}

impl Session {
    pub(crate) fn begin(shared: &Shared) -> Self {
        let now = shared.env().clock.now();
        Self {
            id: SessionId::generate(random(shared.env()), now.secs()),
            started: GoTime::from_unix_nanos(now.nanos()),
            marker: OnceCell::new(),
        }
    }

    /// Puts the marker unless it is there. Everything of the session waits for this.
    pub(crate) async fn ensure_marker(&self, shared: &Shared) -> Result<()> {
        self.marker.get_or_try_init(|| self.put_marker(shared)).await?;
        Ok(())
    }

    async fn put_marker(&self, shared: &Shared) -> Result<BlobId> {
        let marker = SessionMarker {
            id: self.id.clone(),
            start_time: self.started,
            checkpoint_time: self.started,
            username: shared.options.username.clone(),
            hostname: shared.options.hostname.clone(),
        };
        let suffix = format!("-{}", self.id);
        let plain = marker.to_bytes();
        let (id, sealed) = shared.codec.seal_blob("s", &suffix, shared.nonce(), &plain);
        let id = blob_id(&id)?;
        let options = put_options(&shared.format.loaded().blob_config, &id);
        shared.storage.put(&id, sealed.into(), &options).await?;
        Ok(id)
    }

    /// Deletes the marker, if it was ever put.
    pub(crate) async fn end(&self, shared: &Shared) -> Result<()> {
        if let Some(marker) = self.marker.get() {
            shared.storage.delete(marker).await?;
        }
        Ok(())
    }
}
