//! What DescribeJob answers: how far a job is, and why it failed.
//!
//! Only what is looked at is read; what is unknown is passed by ("DescribeJob", "JobDescriptor", S3
//! Control API). An answer that breaks off, or goes on about entities of its own, is an error.

use std::fmt;

use xml::{EventReader, ParserConfig, reader::XmlEvent};

use super::{BatchError, malformed};

const WHAT: &str = "the answer about the batch job";
/// Longer than any answer about one job.
const BYTES_MAX: usize = 1 << 20;
/// Deeper than any answer is nested; the parser looks through all open elements at each new one.
const DEPTH_MAX: usize = 50;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Its ID.
    pub id: String,
    /// Its state.
    pub state: JobState,
    /// Objects in the manifest; 0 until that has been read.
    pub total: u64,
    /// Objects whose thaw was asked for. They are not readable yet.
    pub succeeded: u64,
    /// Objects that were refused.
    pub failed: u64,
    /// Why the job failed.
    pub reasons: Vec<FailureReason>,
    /// Why its state was changed last, where somebody said so.
    pub note: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureReason {
    /// A code.
    pub code: String,
    /// A sentence.
    pub reason: String,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.reason, self.code)
    }
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It is not begun yet, or is worked on: the name that S3 gives the step.
    Running(String),
    /// It waits for somebody: for a confirmation, or to be continued.
    Waiting(String),
    /// All its requests were made. Some may have been refused.
    Complete,
    /// It failed, or was cancelled.
    Failed(String),
}

impl JobState {
    /// By S3's name. One of tomorrow counts as running: whoever asks will ask again.
    fn named(name: &str) -> Self {
        match name {
            "Complete" => Self::Complete,
            "Failed" | "Cancelled" => Self::Failed(name.into()),
            "Suspended" | "Paused" => Self::Waiting(name.into()),
            _ => Self::Running(name.into()),
        }
    }

    /// S3's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Complete => "Complete",
            Self::Running(name) | Self::Waiting(name) | Self::Failed(name) => name,
        }
    }

    /// Will nothing change any more?
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Complete | Self::Failed(_))
    }
}

impl JobStatus {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`BatchError::Malformed`]: it is no answer of DescribeJob, or breaks off.
    pub fn parse(answer: &[u8]) -> Result<Self, BatchError> {
        if answer.len() > BYTES_MAX {
            return Err(malformed(WHAT, format!("it is longer than {BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(answer).map_err(|error| malformed(WHAT, error))?;
        if text.contains("<!") {
            return Err(malformed(WHAT, "it declares more than a document of S3"));
        }
        let mut found = Found::default();
        read(text, &mut found)?;
        let lacks = |name| malformed(WHAT, format!("it has no {name}"));
        Ok(Self {
            id: found.id.ok_or_else(|| lacks("JobId"))?,
            state: JobState::named(&found.state.ok_or_else(|| lacks("Status"))?),
            total: found.total,
            succeeded: found.succeeded,
            failed: found.failed,
            reasons: found.reasons,
            note: found.note,
        })
    }
}

#[derive(Default)]
struct Found {
    id: Option<String>,
    state: Option<String>,
    total: u64,
    succeeded: u64,
    failed: u64,
    reasons: Vec<FailureReason>,
    reason: FailureReason,
    note: Option<String>,
}

fn read(text: &str, found: &mut Found) -> Result<(), BatchError> {
    let config = ParserConfig::new().cdata_to_characters(true);
    let (mut path, mut text_of): (Vec<String>, _) = (Vec::new(), String::new());
    for event in EventReader::new_with_config(text.as_bytes(), config) {
        match event.map_err(|error| malformed(WHAT, error))? {
            XmlEvent::StartElement { name, .. } => {
                if path.is_empty() && name.local_name != "DescribeJobResult" {
                    let root = name.local_name;
                    return Err(malformed(WHAT, format!("it is <{root}>, not what was asked")));
                }
                if path.len() >= DEPTH_MAX {
                    return Err(malformed(WHAT, "it is nested too deep"));
                }
                path.push(name.local_name);
                text_of.clear();
            }
            XmlEvent::Characters(part) => text_of.push_str(&part),
            XmlEvent::EndElement { .. } => {
                let names: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
                found.take(&names, text_of.trim())?;
                path.pop();
                text_of.clear();
            }
            _ => {}
        }
    }
    Ok(())
}

impl Found {
    fn take(&mut self, path: &[&str], text: &str) -> Result<(), BatchError> {
        let count =
            || text.parse::<u64>().map_err(|_| malformed(WHAT, format!("{text:?} is no count")));
        let told = || Some(text.to_owned()).filter(|text| !text.is_empty());
        match path {
            ["Job", "JobId"] => self.id = told(),
            ["Job", "Status"] => self.state = told(),
            ["Job", "StatusUpdateReason"] => self.note = told(),
            ["Job", "ProgressSummary", "TotalNumberOfTasks"] => self.total = count()?,
            ["Job", "ProgressSummary", "NumberOfTasksSucceeded"] => self.succeeded = count()?,
            ["Job", "ProgressSummary", "NumberOfTasksFailed"] => self.failed = count()?,
            // The reference and the model name the members of this list differently.
            ["Job", "FailureReasons", _, "FailureCode"] => self.reason.code = text.to_owned(),
            ["Job", "FailureReasons", _, "FailureReason"] => self.reason.reason = text.to_owned(),
            ["Job", "FailureReasons", _] => self.reasons.push(std::mem::take(&mut self.reason)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeJobResult xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"><Job>
  <JobId>4b6b4a9e-1f5c-4f0b-9d5c-000000000001</JobId>
  <ConfirmationRequired>false</ConfirmationRequired>
  <Status>Failed</Status>
  <Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format></Spec></Manifest>
  <ProgressSummary><TotalNumberOfTasks>12</TotalNumberOfTasks>
    <NumberOfTasksSucceeded>7</NumberOfTasksSucceeded>
    <NumberOfTasksFailed>5</NumberOfTasksFailed>
    <Timers><ElapsedTimeInActiveSeconds>3</ElapsedTimeInActiveSeconds></Timers></ProgressSummary>
  <StatusUpdateReason/>
  <FailureReasons><member><FailureCode>A</FailureCode><FailureReason>b &amp; c</FailureReason></member>
    <JobFailure><FailureCode>D</FailureCode></JobFailure></FailureReasons>
</Job></DescribeJobResult>"#;

    #[test]
    fn progress_and_reasons_are_read() {
        let status = JobStatus::parse(ANSWER.as_bytes()).unwrap();
        assert_eq!(status.id, "4b6b4a9e-1f5c-4f0b-9d5c-000000000001");
        assert_eq!(status.state, JobState::Failed("Failed".into()));
        assert_eq!((status.total, status.succeeded, status.failed), (12, 7, 5));
        let reasons: Vec<_> = status.reasons.iter().map(ToString::to_string).collect();
        assert_eq!(reasons, ["b & c [A]", " [D]"]);
        assert_eq!(status.note, None);
    }

    #[test]
    fn states_are_told_apart_by_what_is_to_be_done() {
        for name in ["New", "Preparing", "Ready", "Active", "Completing", "Failing", "OfTomorrow"] {
            let answer = ANSWER.replace("<Status>Failed<", &format!("<Status>{name}<"));
            let state = JobStatus::parse(answer.as_bytes()).unwrap().state;
            assert_eq!((state.as_str(), state.is_over()), (name, false));
            assert!(matches!(state, JobState::Running(_)), "{name}");
        }
        assert!(matches!(JobState::named("Suspended"), JobState::Waiting(_)));
        assert!(JobState::named("Complete").is_over() && JobState::named("Cancelled").is_over());
    }

    #[test]
    fn an_answer_cut_anywhere_or_of_another_kind_is_an_error() {
        for end in 0..ANSWER.len() {
            assert!(JobStatus::parse(&ANSWER.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let wrong = [
            ANSWER.replace("DescribeJobResult", "Error"),
            ANSWER.replace("<Status>Failed</Status>", ""),
            ANSWER.replace(">12<", ">many<"),
            ANSWER.replace("<Job>", "<!DOCTYPE a [<!ENTITY l \"x\">]><Job>"),
            ANSWER.replace("<Timers>", &"<a>".repeat(1_000_000)),
        ];
        for (n, wrong) in wrong.iter().enumerate() {
            assert!(JobStatus::parse(wrong.as_bytes()).is_err(), "case {n}");
        }
        assert!(JobStatus::parse(b"\xff\xfe<").is_err());
    }
}
