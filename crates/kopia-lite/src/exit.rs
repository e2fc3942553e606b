//! Exit codes.
//!
//! Kopia knows 0 and 1. Ours are non-zero wherever Kopia's are and say more; the table is part of
//! `--help` and of the guide, and a script may rely on it.

use std::{fmt, process};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; also with errors that the user asked to ignore.
    Done,
    /// Failed, for a reason that has no code of its own.
    Failed,
    /// Wrong usage.
    Usage,
    /// Finished, but something is missing: unreadable source files, files not restored.
    Incomplete,
    /// Archived blobs are needed; nothing was written.
    Archived,
    /// Stopped by a limit of the user: cost, time, or no consent given without a terminal.
    Limit,
    /// No repository there, or not connected to one.
    NotConnected,
    /// An upgrade is in progress, or another client holds what is needed.
    Locked,
    /// Wrong password.
    Password,
    /// The storage denied access, or the credentials are bad.
    Denied,
    /// Verification found damage.
    Damaged,
    /// Stopped by Ctrl-C.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number and the word for JSON errors.
    pub fn describe(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "done"),
            Self::Failed => (1, "failed"),
            Self::Usage => (2, "usage"),
            Self::Incomplete => (3, "incomplete"),
            Self::Archived => (4, "archived"),
            Self::Limit => (6, "limit"),
            Self::NotConnected => (10, "not-connected"),
            Self::Locked => (11, "locked"),
            Self::Password => (12, "wrong-password"),
            Self::Denied => (13, "access-denied"),
            Self::Damaged => (20, "damaged"),
            Self::Interrupted => (130, "interrupted"),
            Self::Terminated => (143, "terminated"),
        }
    }
}

impl From<Exit> for process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.describe().0.into()
    }
}

/// A failure that the app itself states: a sentence for people and the exit code that goes with it.
///
/// Carried in an [`anyhow::Error`]; whatever it was made from stays in the chain.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    message: String,
    /// Machine-readable facts for `--json`.
    pub details: serde_json::Value,
}

impl Failure {
    /// A failure with a sentence for people.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: serde_json::Value::Null }
    }

    /// The same with facts for `--json`.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
