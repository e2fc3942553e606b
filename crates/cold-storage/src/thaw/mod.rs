//! Thawing a set of blobs: plan, run, journal, watch.
//!
//! A [`ThawPlan`] says for each blob what is to be asked of the storage, how long it takes and what
//! it costs; [`run`] asks it, at a bounded rate, and notes each answer in a [`Journal`]; [`Progress`]
//! says from listings how far it is. What a storage tells of a blob is the truth, the journal only
//! what was paid for: so a thaw that was killed is planned anew, and nothing is asked for twice.

mod journal;
mod plan;
mod progress;
mod run;

pub use journal::{BatchJob, Fallback, Header, Journal, JournalError, Note, Noted, new_id};
pub use plan::{
    BlobState, Need, PlanError, Step, ThawItem, ThawOptions, ThawPlan, TierEstimate, Totals,
};
pub use progress::{Progress, poll_pause};
pub use run::{Asked, Failed, Outcome, RunOptions, ThawError, ThawRun, run};
