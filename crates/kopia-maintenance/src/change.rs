//! Changing whose task maintenance is, how often it is done, and when the next time is.

use std::time::Duration;

use kopia_format::{
    maintenance::{MaintenanceParameters, MaintenanceSchedule},
    time::GoTime,
};
use kopia_repo::{Repository, RepositoryWriter};

use crate::{
    Status,
    cycle::write_schedule,
    error::{MaintenanceError, Result},
    status::LABELS,
    tasks::retention::check_lock_period,
};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Whose task it is: `user@host`.
    Owner(String),
    /// Whether quick maintenance is done at all.
    EnableQuick(bool),
    /// Whether full maintenance is done at all.
    EnableFull(bool),
    /// How long after the last quick maintenance the next is due.
    QuickInterval(Duration),
    /// How long after the last full maintenance the next is due.
    FullInterval(Duration),
    /// No quick maintenance for so long from now on.
    PauseQuick(Duration),
    /// No full maintenance for so long from now on.
    PauseFull(Duration),
    /// Whether object locks are extended.
    ExtendObjectLocks(bool),
    /// How many listings run at once; 0 leaves it to the client.
    ListParallelism(u32),
    /// The most logs that are kept.
    RetainedLogCount(u32),
    /// The greatest age of logs that are kept.
    RetainedLogAge(Duration),
    /// The most bytes of logs that are kept.
    RetainedLogBytes(u64),
}

/// Changes, worked out and not yet written.
#[derive(Debug, Clone)]
pub struct Changes {
    /// As they will be.
    pub parameters: MaintenanceParameters,
    /// As it will be.
    pub schedule: MaintenanceSchedule,
    changes_parameters: bool,
    changes_schedule: bool,
}

impl Changes {
    /// Works out `all` on top of `status`.
    ///
    /// # Errors
    /// [`MaintenanceError::Invalid`]: an owner that is none, a period that is zero or longer than 64
    /// bits of nanoseconds hold.
    pub fn of(status: &Status, now: GoTime, all: &[Change]) -> Result<Self> {
        let Status { mut parameters, mut schedule, .. } = status.clone();
        let (mut changes_parameters, mut changes_schedule) = (false, false);
        for change in all {
            match change {
                Change::PauseQuick(pause) => schedule.next_quick = after(now, *pause)?,
                Change::PauseFull(pause) => schedule.next_full = after(now, *pause)?,
                Change::Owner(owner) => parameters.owner = valid_owner(owner)?,
                Change::EnableQuick(on) => parameters.quick.enabled = *on,
                Change::EnableFull(on) => parameters.full.enabled = *on,
                Change::QuickInterval(every) => parameters.quick.interval = interval(*every)?,
                Change::FullInterval(every) => parameters.full.interval = interval(*every)?,
                Change::ExtendObjectLocks(on) => parameters.extend_object_locks = *on,
                Change::ListParallelism(count) => parameters.list_parallelism = (*count).into(),
                Change::RetainedLogCount(count) => {
                    parameters.log_retention = parameters.log_retention.or_default();
                    parameters.log_retention.max_count = (*count).into();
                }
                Change::RetainedLogAge(age) => {
                    parameters.log_retention = parameters.log_retention.or_default();
                    parameters.log_retention.max_age = *age;
                }
                Change::RetainedLogBytes(bytes) => {
                    parameters.log_retention = parameters.log_retention.or_default();
                    let bytes = i64::try_from(*bytes);
                    parameters.log_retention.max_total_size = bytes.unwrap_or(i64::MAX);
                }
            }
            match change {
                Change::PauseQuick(_) | Change::PauseFull(_) => changes_schedule = true,
                _ => changes_parameters = true,
            }
        }
        Ok(Self { parameters, schedule, changes_parameters, changes_schedule })
    }

    /// Could they be written? [`write`](Self::write) asks that, too.
    ///
    /// # Errors
    /// As [`check_lock_period`].
    pub fn check(&self, repo: &Repository) -> Result<()> {
        match self.changes_parameters {
            true => check_lock_period(&self.parameters, &repo.blob_config()),
            false => Ok(()),
        }
    }

    /// Writes what has changed. The schedule is written over in place, as Kopia does: of two who do
    /// so at the same time the last one counts.
    ///
    /// # Errors
    /// As [`check`](Self::check); what the repository says.
    pub async fn write(&self, repo: &Repository) -> Result<()> {
        self.check(repo)?;
        if self.changes_parameters {
            let writer: RepositoryWriter = repo.writer()?;
            writer.replace_manifest(LABELS, &self.parameters).await?;
            writer.flush().await?;
        }
        if self.changes_schedule {
            write_schedule(repo, &self.schedule).await?;
        }
        Ok(())
    }
}

/// `user@host`: Kopia compares it to the letter, so one that nobody can be is a mistake.
fn valid_owner(owner: &str) -> Result<String> {
    match owner.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !host.contains('@') => {
            Ok(owner.to_owned())
        }
        _ => Err(MaintenanceError::Invalid(format!(
            "the owner {owner:?} is not of the form user@host: nobody would maintain the repository"
        ))),
    }
}

fn interval(every: Duration) -> Result<Duration> {
    match i64::try_from(every.as_nanos()) {
        Ok(1..) => Ok(every),
        _ => Err(MaintenanceError::Invalid(format!("{every:?} can't be an interval"))),
    }
}

fn after(now: GoTime, pause: Duration) -> Result<GoTime> {
    let nanos = i64::try_from(pause.as_nanos()).ok();
    let later = nanos.and_then(|nanos| now.unix_nanos().checked_add(nanos));
    later.map(GoTime::from_unix_nanos).ok_or_else(|| {
        MaintenanceError::Invalid(format!("a pause of {pause:?} ends beyond all times"))
    })
}
