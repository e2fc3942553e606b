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
    /// When the parameters were written: since then at least there has been something to do. `None`
    /// where they never were.
    pub since: Option<GoTime>,
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
        let (parameters, since) = parameters(repo).await?;
        Ok(Self { parameters, schedule: schedule(repo).await?, since })
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
    /// quick. What was never done counts from when the parameters were written.
    pub fn overdue(&self, now: Timestamp) -> Option<Overdue> {
        let lates = self.lates();
        let late = lates.into_iter().flatten().find(|late| late.from < now)?;
        let owner = self.parameters.owner.clone();
        Some(Overdue { is_full: late.is_full, since: late.since, owner })
    }

    /// When the first of it is due.
    pub fn due_from(&self) -> Option<Timestamp> {
        let of = |cycle: &Cycle, next: GoTime| {
            cycle.enabled.then(|| Timestamp::from_nanos(next.unix_nanos()))
        };
        let full = of(&self.parameters.full, self.schedule.next_full);
        let quick = of(&self.parameters.quick, self.schedule.next_quick);
        full.into_iter().chain(quick).min()
    }

    /// When the first of it will be overdue, if nobody does anything.
    pub fn overdue_from(&self) -> Option<Timestamp> {
        self.lates().into_iter().flatten().map(|late| late.from).min()
    }

    /// Full and quick maintenance, if they are done at all.
    fn lates(&self) -> [Option<Late>; 2] {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let of = |cycle: &Cycle, next: GoTime, is_full| {
            let since = if next == GoTime::ZERO { self.since? } else { next };
            let from = Timestamp::from_nanos(since.unix_nanos());
            let from = from.saturating_add(cycle.interval.max(DAY));
            cycle.enabled.then_some(Late { is_full, since, from })
        };
        [
            of(&self.parameters.full, self.schedule.next_full, true),
            of(&self.parameters.quick, self.schedule.next_quick, false),
        ]
    }
}

/// From when on one kind of maintenance is overdue.
struct Late {
    is_full: bool,
    since: GoTime,
    from: Timestamp,
}

/// The parameters, and when they were written; the defaults, without an owner, where there is no
/// manifest.
async fn parameters(repo: &Repository) -> Result<(MaintenanceParameters, Option<GoTime>)> {
    let found = repo.manifests().find(LABELS).await?;
    // Of several the newest counts.
    let Some(entry) = found.last() else { return Ok(Default::default()) };
    let parameters = entry.payload().map_err(|source| MaintenanceError::Format {
        what: "the maintenance parameters",
        source,
    })?;
    Ok((parameters, Some(entry.modified)))
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
