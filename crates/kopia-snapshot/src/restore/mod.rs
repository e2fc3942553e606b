//! Bringing a snapshot back: plan, fetch, place.
//!
//! [`RestorePlan::of`] reads directories and indexes alone and says which packs are needed, how many
//! bytes and requests that takes, and whether any pack is archived or lost, before anything is
//! written. [`RestorePlan::run`] fetches each needed byte once and writes each content to every file
//! that wants it: window by window in the order of the tree, so that memory does not grow with it.

mod archive;
mod attributes;
mod events;
mod folders;
mod ground;
mod options;
mod place;
mod plan;
mod planning;
mod run;
mod selection;
mod stage;
mod trouble;
mod window;
mod writing;

pub use archive::ArchiveKind;
pub use events::{RestoreEvent, RestoreFailure, RestoreReport, RestoreSink, Silent};
pub use options::{RestoreOptions, WINDOW_ENTRIES};
pub use plan::{ColdPack, PlannedPack, RestorePlan};
pub use selection::Selection;
pub use stage::{Stage, StageReport};
