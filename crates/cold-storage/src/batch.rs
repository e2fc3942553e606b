//! Thaws by S3 Batch Operations: one job in place of a request for each object. Pure data.
//!
//! - [`Manifest`]: the list of objects, as bytes to upload.
//! - [`JobRequest`]: the job, as the body of CreateJob and as a command for an administrator.
//! - [`JobStatus`]: what DescribeJob answers.
//! - [`ReportManifest`], [`ReportRow`]: which objects the job failed for.
//!
//! A job only *issues* restore requests: one that is complete has thawed nothing yet, and only a
//! listing tells what can be read. Forms: "CreateJob" and "DescribeJob" in the S3 Control API
//! reference; "Specifying a manifest" and "Completion reports" under Batch Operations in the S3 User
//! Guide.

mod job;
mod manifest;
mod report;
mod status;

pub use job::{JobReport, JobRequest, ManifestLocation, ReportScope};
pub use manifest::Manifest;
pub use report::{ReportManifest, ReportRow, ResultFile};
pub use status::{FailureReason, JobState, JobStatus};

/// What can't be asked of Batch Operations, or was not understood of its answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Something in a request can't be so.
    #[error("a batch job: {what}: {reason}")]
    Invalid {
        /// What.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// An answer or report is not of the form that is documented.
    #[error("{what} can't be read: {reason}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn invalid(what: &'static str, reason: impl Into<String>) -> BatchError {
    BatchError::Invalid { what, reason: reason.into() }
}

fn malformed(what: &'static str, reason: impl ToString) -> BatchError {
    BatchError::Malformed { what, reason: reason.to_string() }
}
