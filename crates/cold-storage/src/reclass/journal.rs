//! What has been done of a plan, one JSON object a line, so that a run that was stopped goes on.
//!
//! A line is written at once when a blob is finished. A line that broke off, because the process was
//! killed in the middle of it, counts as not written.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

/// What became of a blob for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was copied into its new class.
    Moved,
    /// Skipped: it is in its new class already.
    There,
    /// Skipped: it is gone.
    Gone,
    /// Skipped: it is in another class than when the plan was made.
    Changed,
    /// Skipped: it has been archived since.
    Archived,
}

/// One line: a blob that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The blob.
    pub blob: String,
    /// The class that it was to get.
    pub to: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// A journal that is written on, and what stood in it before.
#[derive(Debug)]
pub struct Journal<W> {
    to: W,
    /// The class that each blob was last moved to.
    moved: HashMap<String, String>,
}

impl<W: Write> Journal<W> {
    /// Goes on behind `before`, which is what `to` appends to; empty for a new one.
    ///
    /// # Errors
    /// It can't be written.
    pub fn resume(mut to: W, before: &[u8]) -> io::Result<Self> {
        if before.last().is_some_and(|byte| *byte != b'\n') {
            to.write_all(b"\n")?;
        }
        let lines = before.split(|byte| *byte == b'\n');
        let finished = lines.filter_map(|line| serde_json::from_slice::<Finished>(line).ok());
        let moved = finished.filter(|it| it.outcome == Outcome::Moved);
        let moved = moved.map(|it| (it.blob, it.to)).collect();
        Ok(Self { to, moved })
    }

    /// Was the blob moved to this class by an earlier run?
    pub fn has_moved(&self, blob: &str, to: &str) -> bool {
        self.moved.get(blob).is_some_and(|class| class == to)
    }

    /// How many blobs earlier runs moved.
    pub fn moved_before(&self) -> usize {
        self.moved.len()
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It can't be written.
    pub fn finish(&mut self, finished: &Finished) -> io::Result<()> {
        let mut line = serde_json::to_vec(finished)?;
        line.push(b'\n');
        self.to.write_all(&line)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(blob: &str, outcome: Outcome) -> Finished {
        Finished { blob: blob.into(), to: "GLACIER_IR".into(), outcome }
    }

    #[test]
    fn a_journal_that_broke_off_goes_on_in_a_new_line() {
        let mut file = Vec::new();
        let mut journal = Journal::resume(&mut file, b"").unwrap();
        journal.finish(&finished("p1", Outcome::Moved)).unwrap();
        journal.finish(&finished("p2", Outcome::Gone)).unwrap();
        journal.finish(&finished("p3", Outcome::Moved)).unwrap();
        file.truncate(file.len() - 5);
        let before = file.clone();
        let mut journal = Journal::resume(&mut file, &before).unwrap();
        assert!(journal.has_moved("p1", "GLACIER_IR") && !journal.has_moved("p1", "STANDARD"));
        assert!(!journal.has_moved("p2", "GLACIER_IR") && !journal.has_moved("p3", "GLACIER_IR"));
        journal.finish(&finished("p4", Outcome::Moved)).unwrap();
        let before = file.clone();
        let journal = Journal::resume(&mut file, &before).unwrap();
        assert!(journal.has_moved("p4", "GLACIER_IR"));
        let back = Finished { to: "STANDARD".into(), ..finished("p4", Outcome::Moved) };
        let line = serde_json::to_vec(&back).unwrap();
        let after = [&before[..], &line, b"\n"].concat();
        let moved_back = Journal::resume(Vec::new(), &after).unwrap();
        assert!(!moved_back.has_moved("p4", "GLACIER_IR"), "the last line counts");
        assert_eq!(journal.moved_before(), 2);
    }
}
