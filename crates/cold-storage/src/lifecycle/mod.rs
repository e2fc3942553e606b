//! Rules of a bucket that move blobs to another class by age and size: reading, making, checking.
//!
//! - [`Document`]: what the bucket has, every byte of it kept;
//! - [`Plan`]: the rule that moves a repository's long data packs, and nothing else;
//! - [`check`]: what each rule of a document does to a repository, and what of it hurts;
//! - [`view`], [`changes`]: both as data for people and machines.
//!
//! The one idea: a PUT replaces the rules of everybody, so **a document is edited as text**. Where
//! our rule stands is known by byte offsets, and no byte outside of it is written anew. Facts: the
//! chapter "Managing the lifecycle of objects" of AWS' S3 User Guide, and the API reference of
//! PutBucketLifecycleConfiguration. This is the one part of the crate that knows how Kopia names
//! its blobs ([`Kind`]).

mod check;
mod document;
mod kinds;
mod render;
mod rules;
mod scan;

pub use check::{Finding, Level, Repository, check};
pub use document::{Action, Document, DocumentError, Filter, Rule, Tag, When};
pub use kinds::{KINDS, Kind, is_data_pack};
pub use render::{Change, Changed, RuleView, changes, pretty, view};
pub use rules::{Owner, Plan, PlanError, Reach, Strangers};
