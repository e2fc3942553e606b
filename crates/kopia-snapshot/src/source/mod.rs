//! The local tree as a snapshot sees it: entries with Kopia's metadata, and Go's words for what
//! goes wrong.
//!
//! Everything here blocks; callers run it on threads made for that. A directory is listed and
//! stat'ed on one thread, so that a tree costs no thread hop a file.

mod entry;
mod go_error;
mod list;
mod read;

pub use entry::{EntryKind, LocalEntry};
pub use go_error::{go_error, go_path_error};
pub use list::{ListedEntry, Names};
pub use read::{FileReader, read_link};
