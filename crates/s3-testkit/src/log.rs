//! The list of all requests, and the counters that tests assert on.
//!
//! A request is entered when it arrives and completed just before its answer's first byte, so a
//! client that has an answer finds the request complete. Requests to the admin pages do not count.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{HeaderMap, Method};

use crate::request::{Kind, Target};

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Real time of arrival.
    pub at: SystemTime,
    /// The HTTP method.
    pub method: Method,
    /// What it was about.
    pub kind: Kind,
    /// The bucket.
    pub bucket: String,
    /// The key; of a list the prefix.
    pub key: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The status of the answer; none if the connection was dropped instead.
    pub status: Option<u16>,
    /// Bytes of payload that the request announced.
    pub received: u64,
    /// Bytes of payload that the answer announced.
    pub sent: u64,
    /// Whether a fault was played on it.
    pub disturbed: bool,
}

impl RequestRecord {
    /// A header as text; none if it is absent or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Debug, Default)]
struct Entries {
    /// Number of the first record, so that numbers stay valid when the log is cleared.
    first: u64,
    records: Vec<RequestRecord>,
    in_flight: usize,
    in_flight_max: usize,
}

/// All requests since the start, or since the last [`clear`](Self::clear).
#[derive(Debug, Default)]
pub struct RequestLog {
    entries: Mutex<Entries>,
}

impl RequestLog {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All requests, in the order of arrival.
    #[must_use]
    pub fn all(&self) -> Vec<RequestRecord> {
        self.lock().records.clone()
    }

    /// The requests of one kind whose key begins with `prefix`.
    #[must_use]
    pub fn of(&self, kind: Kind, prefix: &str) -> Vec<RequestRecord> {
        let entries = self.lock();
        let wanted = entries.records.iter().filter(|r| r.kind == kind && r.key.starts_with(prefix));
        wanted.cloned().collect()
    }

    /// How many requests of one kind had a key that begins with `prefix`.
    #[must_use]
    pub fn count(&self, kind: Kind, prefix: &str) -> usize {
        let entries = self.lock();
        entries.records.iter().filter(|r| r.kind == kind && r.key.starts_with(prefix)).count()
    }

    /// GetObject requests.
    #[must_use]
    pub fn gets(&self, prefix: &str) -> usize {
        self.count(Kind::Get, prefix)
    }

    /// HeadObject requests.
    #[must_use]
    pub fn heads(&self, prefix: &str) -> usize {
        self.count(Kind::Head, prefix)
    }

    /// PutObject requests.
    #[must_use]
    pub fn puts(&self, prefix: &str) -> usize {
        self.count(Kind::Put, prefix)
    }

    /// CopyObject requests.
    #[must_use]
    pub fn copies(&self, prefix: &str) -> usize {
        self.count(Kind::Copy, prefix)
    }

    /// DeleteObject requests.
    #[must_use]
    pub fn deletes(&self, prefix: &str) -> usize {
        self.count(Kind::Delete, prefix)
    }

    /// Pages of lists whose prefix begins with `prefix`.
    #[must_use]
    pub fn lists(&self, prefix: &str) -> usize {
        self.count(Kind::List, prefix)
    }

    /// RestoreObject requests.
    #[must_use]
    pub fn restores(&self, prefix: &str) -> usize {
        self.count(Kind::Restore, prefix)
    }

    /// All requests.
    #[must_use]
    pub fn total(&self) -> usize {
        self.lock().records.len()
    }

    /// The payload bytes that GetObject requests for keys with this prefix were answered with.
    #[must_use]
    pub fn bytes_read(&self, prefix: &str) -> u64 {
        let entries = self.lock();
        let gets = entries.records.iter().filter(|r| r.kind == Kind::Get);
        gets.filter(|r| r.key.starts_with(prefix)).map(|r| r.sent).sum()
    }

    /// Counters by kind and first letter of the key's last part (`-` without key).
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(Kind, char), usize> {
        let mut counts = BTreeMap::new();
        for record in &self.lock().records {
            let (kind, bucket, key) = (record.kind, String::new(), record.key.clone());
            *counts.entry((kind, Target { kind, bucket, key }.letter())).or_default() += 1;
        }
        counts
    }

    /// The most requests that were being served at the same time.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.lock().in_flight_max
    }

    /// Forgets all requests and the concurrency seen.
    pub fn clear(&self) {
        let mut entries = self.lock();
        entries.first += entries.records.len() as u64;
        entries.records.clear();
        entries.in_flight_max = entries.in_flight;
    }

    /// Enters a request, and returns its number.
    pub(crate) fn enter(&self, record: RequestRecord) -> u64 {
        let mut entries = self.lock();
        entries.in_flight += 1;
        entries.in_flight_max = entries.in_flight_max.max(entries.in_flight);
        entries.records.push(record);
        entries.first + entries.records.len() as u64 - 1
    }

    /// Completes a request.
    pub(crate) fn complete(&self, number: u64, change: impl FnOnce(&mut RequestRecord)) {
        let mut entries = self.lock();
        entries.in_flight = entries.in_flight.saturating_sub(1);
        let index = number.checked_sub(entries.first).and_then(|n| usize::try_from(n).ok());
        if let Some(record) = index.and_then(|index| entries.records.get_mut(index)) {
            change(record);
        }
    }
}
