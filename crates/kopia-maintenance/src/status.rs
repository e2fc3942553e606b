//! Parameters, schedule and history as they are; what is due, and what should have been done.

use std::time::Duration;

use blob_core::{BlobError, BlobId, ReadRange, Timestamp};
use kopia_format::{
    FormatError,
    maintenance::{Cycle, MAINTENANCE_BLOB_ID, MaintenanceParameters, MaintenanceSchedule},
    time::GoTime,
};
use kopia_repo::{RepoError, Repository};

use crate::error::{MaintenanceError, Result};

/// The labels of the manifest that holds the parameters.
pub(crate) const LABELS: &[(&str, &str)] = &[("type", "maintenance")];

/// Parameters, schedule and history of a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Whose task it is, and how often.
    pub parameters: MaintenanceParameters,
    /// When it is due, and what was done.
    pub schedule: MaintenanceSchedule,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Quick maintenance.
    Quick,
    /// Full maintenance.
    Full,
}

/// Maintenance that should have been done long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Is it full maintenance? Else it is quick.
    pub is_full: bool,
    /// Since when it has been due.
    pub since: GoTime,
    /// Whose task it is; empty: nobody's.
    pub owner: String,
}

impl Status {
    /// Reads both. Where there is none of them, they are what Kopia takes them for.
    ///
    /// # Errors
    /// [`MaintenanceError::Format`]: one of them is damaged; what the repository says.
    pub async fn read(repo: &Repository) -> Result<Self> {
        Ok(Self { parameters: parameters(repo).await?, schedule: schedule(repo).await? })
    }

    /// Is it the task of `user_at_host`?
    pub fn is_owned_by(&self, user_at_host: &str) -> bool {
        !self.parameters.owner.is_empty() && self.parameters.owner == user_at_host
    }

    /// What is to be done now: a cycle that was never done is due.
    pub fn due(&self, now: Timestamp) -> Due {
        let is_due =
            |cycle: &Cycle, next: GoTime| cycle.enabled && next.unix_nanos() <= now.nanos();
        match (
            is_due(&self.parameters.full, self.schedule.next_full),
            is_due(&self.parameters.quick, self.schedule.next_quick),
        ) {
            (true, _) => Due::Full,
            (false, true) => Due::Quick,
            (false, false) => Due::Nothing,
        }
    }

    /// What should have been done a whole interval ago, and a day at least; full maintenance before
    /// quick. What was never done is not overdue by this alone: a new repository has never been.
    pub fn overdue(&self, now: Timestamp) -> Option<Overdue> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let of = |cycle: &Cycle, next: GoTime, is_full| {
            let late = Timestamp::from_nanos(next.unix_nanos());
            let late = late.saturating_add(cycle.interval.max(DAY));
            let is_late = cycle.enabled && next != GoTime::ZERO && late < now;
            let owner = self.parameters.owner.clone();
            is_late.then_some(Overdue { is_full, since: next, owner })
        };
        of(&self.parameters.full, self.schedule.next_full, true)
            .or_else(|| of(&self.parameters.quick, self.schedule.next_quick, false))
    }
}

/// The parameters; the defaults, without an owner, where there is no manifest.
async fn parameters(repo: &Repository) -> Result<MaintenanceParameters> {
    let found = repo.manifests().find(LABELS).await?;
    // Of several the newest counts.
    let Some(entry) = found.last() else { return Ok(MaintenanceParameters::default()) };
    entry
        .payload()
        .map_err(|source| MaintenanceError::Format { what: "the maintenance parameters", source })
}

/// The schedule and history; empty where the blob is missing.
pub(crate) async fn schedule(repo: &Repository) -> Result<MaintenanceSchedule> {
    let id = blob_id()?;
    let blob = match repo.storage().get(&id, ReadRange::Full).await {
        Ok(blob) => blob,
        Err(BlobError::NotFound { .. }) => return Ok(MaintenanceSchedule::default()),
        Err(error) => return Err(RepoError::from(error).into()),
    };
    MaintenanceSchedule::decrypt(&blob, &repo.maintenance_key()?)
        .map_err(|source| MaintenanceError::Format { what: "kopia.maintenance", source })
}

/// The name of the blob.
pub(crate) fn blob_id() -> Result<BlobId> {
    BlobId::new(MAINTENANCE_BLOB_ID).map_err(|_| MaintenanceError::Format {
        what: "kopia.maintenance",
        source: FormatError::Damaged { what: MAINTENANCE_BLOB_ID },
    })
}
