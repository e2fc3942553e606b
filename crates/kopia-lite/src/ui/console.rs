//! How lines look on stderr: as they are, behind the time of day, or as JSON objects.
//!
//! As Kopia's look with `--console-timestamps` and `--json-log-console`: times are local, a level is
//! not told.

use std::{fmt::Display, sync::OnceLock};

use super::{
    log_line::Line,
    time::{self, Zone},
};

/// What is added to lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Form {
    /// The time before each.
    pub has_time: bool,
    /// Each is a JSON object.
    pub is_json: bool,
}

static FORM: OnceLock<Form> = OnceLock::new();

/// Lines look like this from now on. A second call changes nothing.
pub fn set(form: Form) {
    // Only a second call can fail, and then the first one holds.
    let _ = FORM.set(form);
}

/// What the program says as a line of stderr, without its newline. `before` and `after` make the
/// colour where there is one.
pub fn line(text: impl Display, (before, after): (&str, &str)) -> String {
    let form = FORM.get().copied().unwrap_or_default();
    match form {
        Form { is_json: true, .. } => {
            let object = form.json(&Line::said(text.to_string()));
            object.trim_end().to_owned()
        }
        Form { has_time: true, .. } => format!("{} {before}{text}{after}", time_of_day()),
        _ => format!("{before}{text}{after}"),
    }
}

impl Form {
    /// `line` as an object, with a newline.
    pub fn json(self, line: &Line) -> String {
        let time = self.has_time.then(|| Zone::local().rfc3339_nanos(time::now()));
        line.to_console_json(time.as_deref())
    }
}

/// `15:04:05.000` of this machine's zone.
pub fn time_of_day() -> String {
    Zone::local().time_of_day(time::now())
}
