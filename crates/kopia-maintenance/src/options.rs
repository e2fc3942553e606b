//! How maintenance is done.

use std::{collections::HashSet, path::PathBuf};

use crate::{
    cold::{ColdPolicy, MinimumDays},
    safety::Margins,
};

/// How maintenance is done. The default is what Kopia does by itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// The margins that are kept.
    pub margins: Margins,
    /// Do it though it is somebody else's task.
    pub force: bool,
    /// The file of the lock that keeps out others on this machine; `None`: nobody is kept out.
    pub lock: Option<PathBuf>,
    /// What may be done with archived packs.
    pub cold: ColdPolicy,
    /// Delete dead archived packs though their class bills them on.
    pub dead_now: bool,
    /// How long classes bill a blob at least.
    pub minimum: MinimumDays,
    /// Archived packs that were thawed in order to be compacted: these, and no others, are read
    /// while they have a readable copy.
    pub compact: HashSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            margins: Margins::FULL,
            force: false,
            lock: None,
            cold: ColdPolicy::default(),
            dead_now: false,
            minimum: MinimumDays::default(),
            compact: HashSet::new(),
        }
    }
}
