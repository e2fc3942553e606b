//! Progress on stderr: one line rewritten on a terminal, a plain line every half minute otherwise.

use std::{
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

use super::{size, text};

/// Time between plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Time between rewritten lines, as in Kopia.
const LINE_INTERVAL: Duration = Duration::from_millis(300);

/// A line of progress.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    last: Mutex<Instant>,
    started: Instant,
}

impl Progress {
    /// Progress as the flag and the terminal ask for it.
    pub fn new(wanted: bool) -> Self {
        let terminal = text::stderr_is_terminal();
        let bar = (wanted && terminal).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(3));
            bar.set_style(
                ProgressStyle::with_template(" {spinner} {msg}").expect("the template is right"),
            );
            bar
        });
        let now = Instant::now();
        Self { bar, plain: wanted && !terminal, last: Mutex::new(now), started: now }
    }

    /// Shows `line()` if it is time for it.
    pub fn show(&self, line: impl FnOnce() -> String) {
        let interval = match (&self.bar, self.plain) {
            (Some(_), _) => LINE_INTERVAL,
            (None, true) => PLAIN_INTERVAL,
            (None, false) => return,
        };
        {
            let mut last = self.last.lock().expect("no holder of this lock panics");
            if last.elapsed() < interval {
                return;
            }
            *last = Instant::now();
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            None => text::note(line()),
        }
    }

    /// Says something without tearing the line.
    pub fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| text::note(message)),
            None => text::note(message),
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

/// The progress of an upload.
#[derive(Debug)]
pub struct UploadProgress {
    progress: Progress,
    hashed_files: AtomicU64,
    hashed_bytes: AtomicU64,
    cached_files: AtomicU64,
    cached_bytes: AtomicU64,
    errors: AtomicU64,
}

impl UploadProgress {
    /// Progress as the flag and the terminal ask for it.
    pub fn new(wanted: bool) -> Self {
        Self {
            progress: Progress::new(wanted),
            hashed_files: 0.into(),
            hashed_bytes: 0.into(),
            cached_files: 0.into(),
            cached_bytes: 0.into(),
            errors: 0.into(),
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.progress.finish();
    }

    fn line(&self) -> String {
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
        line
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
            UploadEvent::Failed { path, error, ignored } => {
                self.errors.fetch_add(1, Relaxed);
                let word = if ignored { "Ignored error" } else { "Error" };
                self.progress.say(&format!("{word} when processing \"{path}\": {error}"));
            }
            UploadEvent::Action { message, .. } => self.progress.say(message),
            _ => {}
        }
        self.progress.show(|| self.line());
    }
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
    pub fn new(wanted: bool) -> Self {
        Self {
            progress: Progress::new(wanted),
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

    fn line(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let (bytes, planned) = (get(&self.bytes), get(&self.bytes_planned));
        let percent = (bytes * 100).checked_div(planned).unwrap_or(100).min(100);
        format!(
            "Restored {} of {} files, {} of {} ({percent} %), {}",
            get(&self.files),
            get(&self.files_planned),
            size::bytes(bytes),
            size::bytes(planned),
            self.progress.rate(bytes),
        )
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
        self.progress.show(|| self.line());
    }
}
