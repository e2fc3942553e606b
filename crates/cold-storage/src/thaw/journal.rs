//! What a thaw has asked for, in a file: a header, then a line for each answer, and one where another
//! tier is taken.
//!
//! The file is appended to, so a kill leaves at most half a line at its end, which is passed over. It
//! is what tells `status` and `wait` which blobs a thaw is about, and what was paid for.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use blob_core::{Entropy, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    plan::ThawPlan,
    run::{Asked, Outcome},
};
use crate::names;

/// `t-20261124-130531`.
const SECOND_ENDS: usize = 17;

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is no journal, or one of another version.
    #[error("{path} is not the journal of a thaw: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no thaw of this ID.
    #[error("there is no thaw {id} in {folder}", folder = folder.display())]
    Unknown {
        /// The ID.
        id: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
}

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The thaw's ID.
    pub thaw_id: String,
    /// The storage, in its name for people.
    pub storage: String,
    /// What was to be thawed, as it was asked for.
    pub arguments: Vec<String>,
    /// The job of S3 Batch Operations that asks for it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<BatchJob>,
    /// What it was to cost, with the reads afterwards.
    pub cost: crate::Cost,
    /// What was planned.
    pub plan: ThawPlan,
}

/// A job that asks for what a plan says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchJob {
    /// The account that it runs in.
    pub account: String,
    /// Its ID.
    pub id: String,
    /// What the keys of its report begin with.
    pub report: String,
}

/// A line for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The blob.
    pub blob: String,
    /// The answer.
    pub outcome: Outcome,
    /// The tier asked for.
    #[serde(with = "names::tier")]
    pub tier: blob_core::Tier,
    /// The days asked for.
    pub days: u16,
    /// When, in seconds since 1970.
    pub at_seconds: i64,
}

/// A line that says that the rest was asked for on another tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// That tier.
    #[serde(with = "names::tier")]
    pub fallback_tier: blob_core::Tier,
    /// What all of the thaw costs so, with the reads afterwards.
    pub cost: crate::Cost,
    /// When all can typically be read, in seconds since 1970.
    pub expected_end_seconds: i64,
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What was planned.
    pub header: Header,
    /// The other tier, if one had to be taken.
    pub fallback: Option<Fallback>,
    /// What was answered.
    pub notes: Vec<Note>,
}

impl Noted {
    /// What it costs, with the reads afterwards.
    pub fn cost(&self) -> crate::Cost {
        self.fallback.map_or(self.header.cost, |fallback| fallback.cost)
    }

    /// When all can typically be read, in seconds since 1970.
    pub fn expected_end(&self) -> i64 {
        let planned = self.header.plan.expected_end();
        self.fallback.map_or(planned, |fallback| fallback.expected_end_seconds)
    }

    /// The blobs that were to be asked for and of which no answer is noted. Those that a job asks
    /// for are not noted singly.
    pub fn unanswered(&self) -> Vec<&str> {
        if self.header.job.is_some() {
            return Vec::new();
        }
        let answered: HashSet<&str> = self.notes.iter().map(|note| note.blob.as_str()).collect();
        let wanted = self.header.plan.requests().map(|(item, _)| item.blob.as_str());
        wanted.filter(|blob| !answered.contains(blob)).collect()
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// A new ID: the time, and four digits by chance.
pub fn new_id(now: Timestamp, entropy: &dyn Entropy) -> String {
    let mut chance = [0; 2];
    entropy.fill(&mut chance);
    let (date, time) = crate::date::parts(now);
    format!("t-{date}-{time}-{:02x}{:02x}", chance[0], chance[1])
}

impl Journal {
    /// Begins the journal of a new thaw in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`JournalError::File`].
    pub fn create(folder: &Path, header: &Header) -> Result<Self, JournalError> {
        make_folder(folder).map_err(|source| JournalError::File { path: folder.into(), source })?;
        let path = file(folder, &header.thaw_id);
        let failed = |source| JournalError::File { path: path.clone(), source };
        if path.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        // It gets its name when the header is whole: half a one would be no journal, for ever.
        let begun = path.with_extension("new");
        let file = OpenOptions::new().append(true).create_new(true).open(&begun).map_err(failed)?;
        let mut journal = Self { path: path.clone(), file };
        let made = journal.line(header).and_then(|()| journal.file.sync_all());
        made.and_then(|()| fs::rename(&begun, &path)).map_err(|error| {
            // Nothing depends on it: the failure itself is told.
            let _ = fs::remove_file(&begun);
            failed(error)
        })?;
        Ok(journal)
    }

    /// Can there be a journal in `folder`? Makes it if it is missing.
    ///
    /// # Errors
    /// [`JournalError::File`].
    pub fn check(folder: &Path) -> Result<(), JournalError> {
        let failed = |source| JournalError::File { path: folder.into(), source };
        make_folder(folder).map_err(failed)?;
        let name = folder.join(format!("try-{}", std::process::id()));
        File::create(&name).and_then(|_| fs::remove_file(&name)).map_err(failed)
    }

    /// Goes on with the journal of a thaw.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn reopen(folder: &Path, id: &str) -> Result<Self, JournalError> {
        let path = known(folder, id)?;
        let failed = |source| JournalError::File { path: path.clone(), source };
        let mut file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        // After half a line of a kill, a new one begins.
        let text = fs::read(&path).map_err(failed)?;
        if text.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok(Self { path, file })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&mut self, asked: &Asked<'_>) -> io::Result<()> {
        self.line(&Note {
            blob: asked.blob.to_owned(),
            outcome: asked.outcome,
            tier: asked.request.tier,
            days: asked.request.days,
            at_seconds: asked.at.secs(),
        })
    }

    /// Adds that the rest is asked for on another tier.
    ///
    /// # Errors
    /// What the system says.
    pub fn fall_back(&mut self, fallback: &Fallback) -> io::Result<()> {
        self.line(fallback)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }

    /// Reads the journal of a thaw.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(folder: &Path, id: &str) -> Result<Noted, JournalError> {
        read(&known(folder, id)?)
    }

    /// The IDs of all thaws that `folder` knows, the newest last.
    ///
    /// # Errors
    /// [`JournalError::File`]; a folder that does not exist knows none.
    pub fn ids(folder: &Path) -> Result<Vec<String>, JournalError> {
        let failed = |source| JournalError::File { path: folder.into(), source };
        let all = match fs::read_dir(folder) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut ids = Vec::new();
        for entry in all {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            let Some(id) = id.filter(|id| id.starts_with("t-")) else { continue };
            // An ID begins with its second; within one, the file that was written last is the newest.
            let second = id.get(..SECOND_ENDS).unwrap_or(id).to_owned();
            let written = entry.metadata().and_then(|meta| meta.modified()).map_err(failed)?;
            ids.push((second, written, id.to_owned()));
        }
        ids.sort_unstable();
        Ok(ids.into_iter().map(|(_, _, id)| id).collect())
    }
}

fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.jsonl"))
}

fn known(folder: &Path, id: &str) -> Result<PathBuf, JournalError> {
    let path = file(folder, id);
    let is_name = id.starts_with("t-") && !id.contains(['/', '\\']);
    match is_name && path.is_file() {
        true => Ok(path),
        false => Err(JournalError::Unknown { id: id.to_owned(), folder: folder.to_owned() }),
    }
}

/// A line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Note(Note),
    Fallback(Fallback),
}

fn read(path: &Path) -> Result<Noted, JournalError> {
    let failed = |source| JournalError::File { path: path.to_owned(), source };
    let malformed = |reason| JournalError::Malformed { path: path.to_owned(), reason };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?).split(b'\n');
    let first = lines.next().ok_or_else(|| malformed("it is empty".into()))?.map_err(failed)?;
    let header: Header =
        serde_json::from_slice(&first).map_err(|error| malformed(error.to_string()))?;
    if header.plan.version != 1 {
        return Err(malformed(format!("its version is {}", header.plan.version)));
    }
    let (mut notes, mut fallback) = (Vec::new(), None);
    for line in lines {
        // Half a line is what a kill leaves: that answer shows in the listing.
        match serde_json::from_slice(&line.map_err(failed)?).ok() {
            Some(Line::Note(note)) => notes.push(note),
            Some(Line::Fallback(other)) => fallback = Some(other),
            None => {}
        }
    }
    Ok(Noted { header, fallback, notes })
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}
