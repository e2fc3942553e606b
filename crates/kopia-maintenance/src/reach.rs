//! Who tells which contents are needed.
//!
//! Maintenance does not know what a snapshot is. Whoever runs it hands over somebody who does.

use async_trait::async_trait;
use kopia_repo::Marks;
use tokio_util::sync::CancellationToken;

use crate::event::Events;

/// Tells which contents are needed.
#[async_trait]
pub trait Reachability: Send + Sync {
    /// Marks every content that anything in the repository needs, but for those with manifests.
    /// What is not marked is taken for garbage: whoever can't tell all must fail.
    ///
    /// # Errors
    /// Something that names contents could not be read, or a content that is named does not exist.
    async fn mark(
        &self,
        marks: &Marks,
        events: &dyn Events,
        stop: &CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}
