//! Months of clients, maintenance, kills and skewed clocks over one repository, by a seed.
//!
//! [`run`] lives through one seed: several clients of one repository, in one process and in no time,
//! each with its own clock and network, take snapshots, delete and read them; two of them maintain
//! it. All keep within the times that the format asks of clients (docs/format/08 §11), and are cut
//! off at any moment. What must be true is looked at all the time (`check`), and that garbage goes,
//! at the end. [`Plant`] makes a mistake on purpose, which some seed must find.

mod chance;
mod check;
mod clock;
mod lag;
mod machine;
mod order;
mod plant;
mod reader;
mod session;
mod sim;
mod template;
mod tree;
mod upkeep;
mod world;
mod writers;

pub use plant::Plant;
pub use sim::run;
pub use template::Template;
pub use world::{Outcome, Tally};
