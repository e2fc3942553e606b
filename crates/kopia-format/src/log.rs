//! Logs in the repository: blobs `_log_…`, which say what clients did and why.
//!
//! One log is what one process wrote, in chunks; a chunk is gzip of lines of JSON, sealed as any
//! whole blob. Nothing ever depends on what a log says, so names are read as leniently as Kopia
//! reads them, and old logs go by a rule of their own.
//! Format: `docs/format/08-maintenance.md`, section 9; what it doesn't say was read off Kopia
//! 0.23.1 (`internal/repodiag`, `internal/contentlog`, `cli/command_logs_session.go`).

mod chunk;
mod line;
mod name;
mod retention;
mod sessions;

pub use chunk::{CHUNK_BYTES_MAX, LogChunk, LogText};
pub use line::{client_span, log_line, random_span};
pub use name::{LOG_BLOB_PREFIX, LogBlobName, session_id};
pub use retention::{ExpiredLogs, RETAINED_PREFIX, expired_logs};
pub use sessions::{LogBlob, LogSession, LogSessions, log_sessions};
