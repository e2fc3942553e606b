//! Which blobs are one log.

use std::collections::HashMap;

use super::LogBlobName;
use crate::time::GoTime;

/// A blob as a storage lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogBlob {
    /// When it was written, by the storage's clock.
    pub timestamp: GoTime,
    /// Its ID.
    pub id: String,
    /// Its length in bytes.
    pub length: u64,
}

/// What one process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSession {
    /// Its ID: what the names of its blobs share.
    pub id: String,
    /// When its first chunk was begun, by the names, in Unix seconds.
    pub start_secs: i64,
    /// When its last chunk was ended, by the names, in Unix seconds.
    pub end_secs: i64,
    /// Its chunks, oldest first. There is one at least.
    pub chunks: Vec<LogBlob>,
}

impl LogSession {
    /// How many bytes its chunks have, as they are stored.
    pub fn length(&self) -> u64 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.length))
    }
}

/// The logs of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSessions {
    /// By the time of their first chunk, oldest first.
    pub sessions: Vec<LogSession>,
    /// Blobs that are none by their names, and why.
    pub unrecognized: Vec<crate::FormatError>,
}

/// Puts blobs whose IDs begin with `_log_` together to logs.
///
/// The order is that of the storage's times, as in Kopia; at the same time, that of the names'
/// numbers and of the IDs.
pub fn log_sessions(blobs: impl IntoIterator<Item = LogBlob>) -> LogSessions {
    let mut found: HashMap<String, LogSession> = HashMap::new();
    let mut unrecognized = Vec::new();
    for blob in blobs {
        let name = match LogBlobName::parse(&blob.id) {
            Ok(name) => name,
            Err(error) => {
                unrecognized.push(error);
                continue;
            }
        };
        let LogBlobName { session: id, start_secs, end_secs, .. } = name;
        let session = found.entry(id.clone()).or_insert_with(|| LogSession {
            id,
            start_secs,
            end_secs,
            chunks: Vec::new(),
        });
        session.start_secs = session.start_secs.min(start_secs);
        session.end_secs = session.end_secs.max(end_secs);
        session.chunks.push(blob);
    }
    let number = |id: &str| LogBlobName::parse(id).map_or(0, |name| name.chunk);
    let mut sessions: Vec<LogSession> = found.into_values().collect();
    for session in &mut sessions {
        session.chunks.sort_by_cached_key(|it| (it.timestamp, number(&it.id), it.id.clone()));
    }
    sessions.sort_by(|a, b| a.chunks.first().cmp(&b.chunks.first()));
    LogSessions { sessions, unrecognized }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(secs: i64, id: &str) -> LogBlob {
        LogBlob { timestamp: GoTime::from_secs(secs), id: id.to_owned(), length: 10 }
    }

    #[test]
    fn chunks_are_put_together_in_the_order_they_were_written() {
        let logs = log_sessions([
            blob(9, "_log_b_0_7_9_10_z"),
            blob(5, "_log_c_0_5_6_1_x"),
            blob(9, "_log_b_0_4_7_9_z"),
            blob(7, "_log_b_0_6_4_1_z"),
            blob(8, "_log_0_zero"),
            blob(9, "_log_a_0_1_2_1_z"),
        ]);
        let ids: Vec<_> = logs.sessions.iter().map(|session| session.id.as_str()).collect();
        assert_eq!(ids, ["c_0", "b_0", "a_0"]);
        let b = &logs.sessions[1];
        assert_eq!((b.start_secs, b.end_secs, b.length()), (4, 9, 30));
        let chunks: Vec<_> = b.chunks.iter().map(|chunk| chunk.id.as_str()).collect();
        assert_eq!(chunks, ["_log_b_0_6_4_1_z", "_log_b_0_4_7_9_z", "_log_b_0_7_9_10_z"]);
        assert_eq!(logs.unrecognized.len(), 1);
        assert_eq!(log_sessions([]), LogSessions::default());
    }
}
