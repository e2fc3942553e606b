//! What the libraries say while they work, on stderr, and the log file, which gets all that is said.
//!
//! Libraries print nothing; they emit events. On stderr warnings are shown, everything with
//! `--log-level=debug`. The file has a level of its own, and what the program itself says besides:
//! [`keep`] hands it over as an event, too. Other people's crates are left out: they talk about bytes.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{format, time::FormatTime},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use super::{
    console::{self, Form},
    log_file::LogFile,
    log_line::{Line, SAID},
    time::{self, Zone},
};

/// The crates that are heard.
const CRATES: [&str; 11] = [
    "blob_core",
    "cold_storage",
    "dataplane",
    "fs_backend",
    "kopia_format",
    "kopia_lite",
    "kopia_maintenance",
    "kopia_repo",
    "kopia_snapshot",
    "s3_backend",
    "storageconfig",
];

/// What is said where.
#[derive(Debug)]
pub struct Settings {
    /// Least severity of libraries' events on stderr.
    pub console: LevelFilter,
    /// How lines look there.
    pub form: Form,
    /// The log file, if there is one.
    pub file: Option<ToFile>,
}

/// What goes into the log file, and how.
#[derive(Debug)]
pub struct ToFile {
    /// Least severity.
    pub level: LevelFilter,
    /// Are lines JSON objects?
    pub json: bool,
    /// The zone of times.
    pub zone: Zone,
    /// The file.
    pub file: LogFile,
}

/// The log of this run, until it ends.
#[derive(Debug)]
pub struct Log(Option<Arc<Mutex<LogFile>>>);

type OneLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Shows and writes what `settings` say. A second call changes nothing.
pub fn begin(settings: Settings) -> Log {
    console::set(settings.form);
    let heard = |level| CRATES.iter().fold(Targets::new(), |all, it| all.with_target(*it, level));
    let mut layers: Vec<OneLayer> =
        vec![of_console(settings.form).with_filter(heard(settings.console)).boxed()];
    let mut log = Log(None);
    if let Some(ToFile { level, json, zone, file }) = settings.file {
        let file = Arc::new(Mutex::new(file));
        log = Log(Some(file.clone()));
        let wanted = heard(level).with_target(SAID, level);
        layers.push(InFile { file, json, zone }.with_filter(wanted).boxed());
    }
    // Only a second call can fail, and then the first one holds.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    log
}

impl Log {
    /// Ends the file, and deletes old ones.
    pub fn end(self) {
        if let Some(file) = self.0 {
            file.lock().unwrap_or_else(PoisonError::into_inner).end();
        }
    }
}

/// Puts what the program says into the log file. Where there is none, or none of this level, `text`
/// is not even made.
pub fn keep(level: Level, text: impl Display) {
    match level {
        Level::ERROR => tracing::error!(target: SAID, "{text}"),
        Level::WARN => tracing::warn!(target: SAID, "{text}"),
        Level::INFO => tracing::info!(target: SAID, "{text}"),
        _ => tracing::debug!(target: SAID, "{text}"),
    }
}

/// Writes events to the log file, each as soon as it comes.
struct InFile {
    file: Arc<Mutex<LogFile>>,
    json: bool,
    zone: Zone,
}

impl<S: Subscriber> Layer<S> for InFile {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (line, time) = (Line::of(event), self.zone.rfc3339_micros(time::now()));
        let lines = if self.json { line.to_json(&time) } else { line.to_text(&time) };
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(&lines);
    }
}

fn of_console(form: Form) -> OneLayer {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    match form {
        Form { is_json: true, .. } => InJson(form).boxed(),
        Form { has_time: true, .. } => lines.with_timer(TimeOfDay).boxed(),
        _ => lines.without_time().boxed(),
    }
}

/// Writes events to stderr as objects.
struct InJson(Form);

impl<S: Subscriber> Layer<S> for InJson {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Nothing can be done when that fails.
        let _ = io::stderr().lock().write_all(self.0.json(&Line::of(event)).as_bytes());
    }
}

struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut format::Writer<'_>) -> fmt::Result {
        writer.write_str(&console::time_of_day())
    }
}
