//! Writing results to stdout and notes to stderr.
//!
//! Results go to stdout, everything else to stderr, as with Kopia, and into the log file, but for
//! what passes: progress, questions, objects for programs. A reader that goes away (`| head`) ends the
//! process quietly instead of with a panic.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process,
};

use tracing::Level;

use super::{console, log};

/// What leaves text as it is.
const PLAIN: (&str, &str) = ("", "");
/// What makes text yellow, and ends it.
const YELLOW: (&str, &str) = ("\x1b[33m", "\x1b[0m");

/// Writes `text` and a newline to stdout.
pub fn line(text: impl Display) {
    raw(format!("{text}\n").as_bytes());
}

/// Writes bytes to stdout as they are.
pub fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            note(format!("cannot write to stdout: {error}"));
        }
        process::exit(1);
    }
}

/// Says `text` on stderr.
pub fn note(text: impl Display) {
    said(Level::INFO, text);
}

/// Says on stderr what went wrong.
pub fn error(text: impl Display) {
    let text = text.to_string();
    // In the log file the level says so.
    log::keep(Level::ERROR, text.strip_prefix("ERROR ").unwrap_or(&text));
    passing(console::line(text, PLAIN));
}

/// Says `text` on stderr; in the log file it has this level.
pub fn said(level: Level, text: impl Display) {
    log::keep(level, &text);
    passing(console::line(text, PLAIN));
}

/// A warning on stderr, yellow where colours are wanted.
pub fn warn(text: impl Display) {
    log::keep(Level::WARN, &text);
    warn_of_log(text);
}

/// The same of the log file itself, which so can't take it.
pub fn warn_of_log(text: impl Display) {
    passing(console::line(text, YELLOW));
}

/// Writes `text` and a newline to stderr as it is, and not to the log file. Nothing can be done when
/// that fails, so nothing is.
pub fn passing(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Forces or forbids colours; without either the terminal and `NO_COLOR` decide.
pub fn colours(force: bool, forbid: bool) {
    match (force, forbid) {
        (_, true) => anstream::ColorChoice::Never.write_global(),
        (true, false) => anstream::ColorChoice::Always.write_global(),
        (false, false) => {}
    }
}

/// Is stderr a terminal, so that a line can be rewritten?
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes a question to stderr, and no newline.
pub fn prompt(text: impl Display) {
    let mut stderr = anstream::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}
