//! What an upload tells while it runs.

/// One thing that happened. Paths are relative to the source, with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadEvent<'a> {
    /// A folder is being read.
    FolderStarted {
        /// Which.
        path: &'a str,
    },
    /// An entry equals one of an earlier snapshot and was not read.
    Cached {
        /// Which.
        path: &'a str,
        /// Its size in bytes.
        size: u64,
    },
    /// A file or link is being read.
    Hashing {
        /// Which.
        path: &'a str,
        /// Its size when it was listed.
        size: u64,
    },
    /// Bytes of files were read and hashed.
    Hashed {
        /// How many since the last event.
        bytes: u64,
    },
    /// A file or link is done.
    Finished {
        /// Which.
        path: &'a str,
    },
    /// An ignore rule dropped an entry.
    Excluded {
        /// Which.
        path: &'a str,
        /// Its size; 0 for a folder.
        size: u64,
        /// Is it a folder?
        folder: bool,
        /// Where the rule stands: `the policy`, `the policy of FOLDER`, or an ignore file. `None`
        /// where that was told before, or it is a cache folder.
        by: Option<&'a str>,
    },
    /// An entry could not be read.
    Failed {
        /// Which.
        path: &'a str,
        /// Why, in Kopia's words.
        error: &'a str,
        /// Did the policy say to ignore it?
        ignored: bool,
    },
    /// A folder of an earlier snapshot can't be read: what is in it is read again.
    PreviousUnreadable {
        /// Which.
        path: &'a str,
        /// Why.
        error: &'a str,
    },
    /// An action of a policy failed, or was not run.
    Action {
        /// Did it fail?
        error: bool,
        /// What happened, in Kopia's words.
        message: &'a str,
    },
    /// A checkpoint was saved.
    Checkpointed,
}

/// Takes the events of an upload. Called from many tasks at once; must not block.
pub trait UploadSink: Send + Sync {
    /// Something happened.
    fn event(&self, event: UploadEvent<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl UploadSink for Silent {
    fn event(&self, _: UploadEvent<'_>) {}
}
