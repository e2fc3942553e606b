//! The tasks, one file a subject: each works out a plan from what is known, and carries one out.

pub(crate) mod epochs;
pub(crate) mod gc;
pub(crate) mod legacy;
pub(crate) mod logs;
pub(crate) mod manifests;
pub(crate) mod packs;
pub(crate) mod retention;
pub(crate) mod rewrite;

use kopia_format::{json, maintenance::RunStatistics};
use serde::Serialize;

/// The numbers of a run, under Kopia's name for them.
pub(crate) fn statistics(kind: &str, data: &impl Serialize) -> RunStatistics {
    let data = serde_json::from_slice(&json::to_vec(data)).unwrap_or_default();
    RunStatistics { kind: kind.to_owned(), data: Some(data) }
}
