//! Progress on stderr: one line rewritten on a terminal, a plain line every half minute otherwise, or
//! JSON objects, a line each.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kopia_snapshot::{
    restore::{RestoreEvent, RestoreSink},
    upload::{UploadEvent, UploadSink},
};
use serde::Serialize;
use serde_json::json;
use tracing::Level;

use super::{size, text, time};

/// Time between plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Time between rewritten lines, as in Kopia.
const LINE_INTERVAL: Duration = Duration::from_millis(300);
/// Time between JSON objects: four a second.
const JSON_INTERVAL: Duration = Duration::from_millis(250);
/// What takes less is over before its end is known; counting begins in time for the first plain
/// line.
const COUNTS_AFTER: Duration = Duration::from_secs(1);
const COUNTS_PLAIN_AFTER: Duration = Duration::from_secs(20);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Silent,
    /// A line for people.
    Line,
    /// An object for programs.
    Json,
}

/// Where long work is. Counts that are not known are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// For people.
    #[serde(skip)]
    pub line: String,
    /// Files, blobs or contents that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_total: Option<u64>,
    /// Bytes that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Errors so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
}

impl Step {
    /// So many things of so many.
    pub fn of(done: u64, total: u64, line: String) -> Self {
        Self { line, files: Some(done), files_total: Some(total), ..Self::default() }
    }

    /// What is done and how much there is, in bytes where they are known. Never more than all of it.
    fn done(&self) -> Option<(u64, u64)> {
        let (done, total) = match self.bytes_total.filter(|total| *total > 0) {
            Some(total) => (self.bytes?, total),
            None => (self.files?, self.files_total.filter(|total| *total > 0)?),
        };
        Some((done.min(total), total))
    }
}

/// The progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    stage: &'static str,
    mode: Mode,
    bar: Option<ProgressBar>,
    last: Mutex<Option<Instant>>,
    started: Instant,
}

const WITHOUT_BAR: &str = " {spinner} {msg}";
const WITH_BAR: &str = " {spinner} [{bar:20}] {percent:>3} %  {msg}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are right").progress_chars("=> ")
}

impl Progress {
    /// Progress of `stage`, a word for programs, as `mode` and the terminal ask for it.
    pub fn new(mode: Mode, stage: &'static str) -> Self {
        let bar = (mode == Mode::Line && text::stderr_is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(3));
            bar.set_style(style(WITHOUT_BAR));
            bar
        });
        // The first plain line comes after an interval: short work needs none.
        let last = (mode == Mode::Line && bar.is_none()).then(Instant::now);
        Self { stage, mode, bar, last: Mutex::new(last), started: Instant::now() }
    }

    /// Shows `step()` if it is time for it.
    pub fn show(&self, step: impl FnOnce() -> Step) {
        let interval = match (self.mode, &self.bar) {
            (Mode::Silent, _) => return,
            (Mode::Json, _) => JSON_INTERVAL,
            (Mode::Line, Some(_)) => LINE_INTERVAL,
            (Mode::Line, None) => PLAIN_INTERVAL,
        };
        {
            let mut last = self.last.lock().expect("no holder of this lock panics");
            if last.is_some_and(|last| last.elapsed() < interval) {
                return;
            }
            *last = Some(Instant::now());
        }
        let step = step();
        match (self.mode, &self.bar) {
            (Mode::Json, _) => text::passing(self.json(&step)),
            (_, Some(bar)) => self.draw(bar, &step),
            (_, None) => text::passing(self.with_time_left(&step)),
        }
    }

    fn draw(&self, bar: &ProgressBar, step: &Step) {
        if let Some((done, total)) = step.done() {
            if bar.length().is_none() {
                bar.set_style(style(WITH_BAR));
            }
            bar.set_length(total);
            bar.set_position(done);
        }
        bar.set_message(self.with_time_left(step));
        bar.tick();
    }

    fn left(&self, step: &Step) -> Option<Duration> {
        let (done, total) = step.done()?;
        remaining(self.started.elapsed(), done, total)
    }

    fn with_time_left(&self, step: &Step) -> String {
        match self.left(step) {
            Some(left) => format!("{}, {} left", step.line, time::truncated(left)),
            None => step.line.clone(),
        }
    }

    fn json(&self, step: &Step) -> String {
        let mut progress = json!({"stage": self.stage});
        if let (Ok(serde_json::Value::Object(counts)), Some(all)) =
            (serde_json::to_value(step), progress.as_object_mut())
        {
            all.extend(counts);
            all.insert("elapsedSeconds".to_owned(), self.started.elapsed().as_secs().into());
            if let Some(left) = self.left(step) {
                all.insert("remainingSeconds".to_owned(), left.as_secs().into());
            }
        }
        json!({"progress": progress}).to_string()
    }

    /// Says something without tearing the line.
    pub fn say(&self, message: &str) {
        self.say_as(Level::INFO, message);
    }

    fn say_as(&self, level: Level, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| text::said(level, message)),
            None => text::said(level, message),
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// `bytes` a second since the beginning.
    pub fn rate(&self, bytes: u64) -> String {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        format!("{}/s", size::bytes(bytes.saturating_mul(1000) / millis))
    }
}

/// The time that the rest takes at the speed so far.
fn remaining(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    let rest = total.saturating_sub(done);
    if done == 0 || elapsed < Duration::from_secs(1) {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * rest as f64 / done as f64).ok()
}

/// The progress of an upload.
#[derive(Debug)]
pub struct UploadProgress {
    progress: Progress,
    hashed_files: AtomicU64,
    hashed_bytes: AtomicU64,
    cached_files: AtomicU64,
    cached_bytes: AtomicU64,
    errors: AtomicU64,
    /// Where it ends, once that was counted; 0 before.
    files_total: AtomicU64,
    bytes_total: AtomicU64,
    /// How many entries were left out by the rules of a place.
    left_out: Mutex<BTreeMap<String, u64>>,
}

impl UploadProgress {
    /// Progress as the flag and the terminal ask for it.
    pub fn new(mode: Mode) -> Self {
        Self {
            progress: Progress::new(mode, "upload"),
            hashed_files: 0.into(),
            hashed_bytes: 0.into(),
            cached_files: 0.into(),
            cached_bytes: 0.into(),
            errors: 0.into(),
            files_total: 0.into(),
            bytes_total: 0.into(),
            left_out: Mutex::default(),
        }
    }

    /// When to begin to count how much there is, if it will be shown.
    pub fn counts_after(&self) -> Option<Duration> {
        match (self.progress.mode, &self.progress.bar) {
            (Mode::Silent, _) => None,
            (Mode::Line, None) => Some(COUNTS_PLAIN_AFTER),
            (Mode::Line, Some(_)) | (Mode::Json, _) => Some(COUNTS_AFTER),
        }
    }

    /// There are so many files with so many bytes.
    pub fn ends_at(&self, files: u64, bytes: u64) {
        self.files_total.store(files, Relaxed);
        self.bytes_total.store(bytes, Relaxed);
    }

    /// What rules left out, most first: `12 entries were left out by rules: 11 by .kopiaignore, 1 by
    /// the policy`; nothing where there was nothing.
    pub fn left_out(&self) -> Option<String> {
        let counts = self.left_out.lock().expect("no holder of this lock panics");
        left_out(&counts)
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.progress.finish();
    }

    fn step(&self) -> Step {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let bytes = get(&self.hashed_bytes);
        let mut line = format!(
            "{} hashed ({}), {} cached ({}), {}",
            get(&self.hashed_files),
            size::bytes(bytes),
            get(&self.cached_files),
            size::bytes(get(&self.cached_bytes)),
            self.progress.rate(bytes),
        );
        if get(&self.errors) > 0 {
            line.push_str(&format!(", {} errors", get(&self.errors)));
        }
        let files = get(&self.hashed_files) + get(&self.cached_files);
        let bytes = bytes + get(&self.cached_bytes);
        // What came after the count is more than was counted.
        let total = |counted: u64, done| (counted > 0).then_some(counted.max(done));
        let bytes_total = total(get(&self.bytes_total), bytes);
        if let Some(all) = bytes_total {
            line.push_str(&format!(", of {}", size::bytes(all)));
        }
        Step {
            line,
            files: Some(files),
            files_total: total(get(&self.files_total), files),
            bytes: Some(bytes),
            bytes_total,
            errors: Some(get(&self.errors)),
        }
    }
}

impl UploadSink for UploadProgress {
    fn event(&self, event: UploadEvent<'_>) {
        match event {
            UploadEvent::Hashed { bytes } => _ = self.hashed_bytes.fetch_add(bytes, Relaxed),
            UploadEvent::Finished { .. } => _ = self.hashed_files.fetch_add(1, Relaxed),
            UploadEvent::Cached { size, .. } => {
                self.cached_files.fetch_add(1, Relaxed);
                self.cached_bytes.fetch_add(size, Relaxed);
            }
            UploadEvent::Excluded { by: Some(by), .. } => {
                let mut counts = self.left_out.lock().expect("no holder of this lock panics");
                // Every folder may have a file of its own: then some are named, and the sum is true.
                let is_new = !counts.contains_key(by);
                let place = if is_new && counts.len() >= PLACES_MAX { "other places" } else { by };
                match counts.get_mut(place) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(place.to_owned(), 1),
                }
            }
            UploadEvent::Failed { path, error, ignored } => {
                self.errors.fetch_add(1, Relaxed);
                let (level, word) = match ignored {
                    true => (Level::WARN, "Ignored error"),
                    false => (Level::ERROR, "Error"),
                };
                let message = format!("{word} when processing \"{path}\": {error}");
                self.progress.say_as(level, &message);
            }
            UploadEvent::Action { message, .. } => self.progress.say(message),
            _ => {}
        }
        self.progress.show(|| self.step());
    }
}

/// So many places with rules are told apart, and so many named.
const PLACES_MAX: usize = 1000;
const PLACES_NAMED: usize = 3;

fn left_out(counts: &BTreeMap<String, u64>) -> Option<String> {
    let all: u64 = counts.values().sum();
    let mut places: Vec<_> = counts.iter().collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let (named, more) = places.split_at(places.len().min(PLACES_NAMED));
    let mut by: Vec<_> = named.iter().map(|(place, count)| format!("{count} by {place}")).collect();
    if !more.is_empty() {
        by.push(format!("{} by other places", more.iter().map(|(_, count)| *count).sum::<u64>()));
    }
    let entries = if all == 1 { "1 entry was" } else { &format!("{all} entries were") };
    (all > 0).then(|| format!("{entries} left out by rules: {}", by.join(", ")))
}

/// The progress of a restore.
#[derive(Debug)]
pub struct RestoreProgress {
    progress: Progress,
    files: AtomicU64,
    bytes: AtomicU64,
    files_planned: AtomicU64,
    bytes_planned: AtomicU64,
}

impl RestoreProgress {
    /// Progress as the flag and the terminal ask for it.
    pub fn new(mode: Mode) -> Self {
        Self {
            progress: Progress::new(mode, "restore"),
            files: 0.into(),
            bytes: 0.into(),
            files_planned: 0.into(),
            bytes_planned: 0.into(),
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.progress.finish();
    }

    fn step(&self) -> Step {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let (bytes, planned) = (get(&self.bytes), get(&self.bytes_planned));
        let (files, files_planned) = (get(&self.files), get(&self.files_planned));
        let line = format!(
            "Restored {files} of {files_planned} files, {} of {}, {}",
            size::bytes(bytes),
            size::bytes(planned),
            self.progress.rate(bytes),
        );
        Step {
            line,
            files: Some(files),
            files_total: Some(files_planned),
            bytes: Some(bytes),
            bytes_total: Some(planned),
            errors: None,
        }
    }
}

impl RestoreSink for RestoreProgress {
    fn event(&self, event: RestoreEvent<'_>) {
        match event {
            RestoreEvent::Planned { files, bytes } => {
                self.files_planned.store(files, Relaxed);
                self.bytes_planned.store(bytes, Relaxed);
            }
            RestoreEvent::Written { bytes } => _ = self.bytes.fetch_add(bytes, Relaxed),
            RestoreEvent::File { .. } => _ = self.files.fetch_add(1, Relaxed),
            _ => {}
        }
        self.progress.show(|| self.step());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bar_goes_past_its_end() {
        let done = |bytes, bytes_total, files, files_total| {
            Step { bytes, bytes_total, files, files_total, ..Step::default() }.done()
        };
        // What grows while it is copied is more than was planned.
        assert_eq!(done(Some(12), Some(10), Some(1), Some(3)), Some((10, 10)));
        assert_eq!(done(Some(5), Some(0), Some(1), Some(3)), Some((1, 3)));
        assert_eq!(done(Some(5), None, Some(1), None), None, "nothing to compare it with");
        assert_eq!(done(None, None, Some(1), Some(0)), None);
    }

    #[test]
    fn the_time_left_is_told_once_there_is_a_speed() {
        let left = |millis, done| remaining(Duration::from_millis(millis), done, 100);
        assert_eq!(left(2000, 50), Some(Duration::from_secs(2)));
        assert_eq!(left(2000, 100), Some(Duration::ZERO));
        assert_eq!((left(999, 50), left(2000, 0)), (None, None));
    }

    #[test]
    fn an_upload_has_an_end_once_that_is_counted() {
        let upload = UploadProgress::new(Mode::Json);
        upload.event(UploadEvent::Hashed { bytes: 30 });
        assert_eq!(upload.step().done(), None);
        upload.ends_at(4, 120);
        assert_eq!(upload.step().done(), Some((30, 120)));
        assert!(upload.step().line.ends_with(", of 120 B"), "{}", upload.step().line);
        upload.event(UploadEvent::Hashed { bytes: 100 });
        assert_eq!((upload.step().bytes, upload.step().bytes_total), (Some(130), Some(130)));
        assert_eq!(UploadProgress::new(Mode::Silent).counts_after(), None);
    }

    #[test]
    fn programs_read_counts_under_their_names() {
        let progress = Progress::new(Mode::Json, "copy");
        let step = Step { errors: Some(2), ..Step::of(1, 4, "for people".to_owned()) };
        let shown: serde_json::Value = serde_json::from_str(&progress.json(&step)).unwrap();
        let wanted = json!({"stage": "copy", "files": 1, "filesTotal": 4, "errors": 2,
            "elapsedSeconds": 0});
        assert_eq!(shown, json!({"progress": wanted}));
    }
}
