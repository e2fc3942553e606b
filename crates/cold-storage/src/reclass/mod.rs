//! Moving what is there to another class: planned from a listing, priced, done by copies.
//!
//! [`Planner`] makes a [`ReclassPlan`] of a listing and of a policy that names classes; [`run`] does
//! it with [`blob_core::Archive::reclass`] and keeps a [`Journal`]. The facts about copies come from
//! AWS' API reference of CopyObject, those about fees from the price table.

mod journal;
mod plan;
mod run;

pub use journal::{Finished, Journal, Outcome};
pub use plan::{
    Basis, Cost, Group, Movable, Move, Planner, PriceBasis, Reason, ReclassOptions, ReclassPlan,
    Refused, VERSION,
};
pub use run::{Ended, Failed, ReclassError, ReclassReport, run};
