#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod classes;
mod edit;
mod error;
mod explain;
mod extra;
mod finding;
mod json;
mod kind;
mod load;
mod model;
mod parse;
mod policy;
mod write;

pub use check::Report;
pub use edit::{Edit, EditError};
pub use error::{ParseError, Position, Problem};
pub use explain::Explanation;
pub use finding::{Finding, Level};
pub use kind::BlobKind;
pub use load::{LoadError, Loaded, load, store};
pub use model::{Entry, FILE_NAME, StorageConfig};
