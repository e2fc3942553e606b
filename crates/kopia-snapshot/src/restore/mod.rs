//! Bringing a snapshot back: plan, fetch, place.
//!
//! [`RestorePlan::of`] reads directories and indexes alone and says which bytes of which packs are
//! needed, and whether any of them is archived or lost, before anything is written.
//! [`RestorePlan::run`] fetches each needed byte once and writes each content to every file that
//! wants it.

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
mod trouble;

pub use archive::ArchiveKind;
pub use events::{RestoreEvent, RestoreFailure, RestoreReport, RestoreSink, Silent};
pub use options::RestoreOptions;
pub use plan::{ColdPack, PlannedFile, PlannedFolder, PlannedLink, RestorePlan};
