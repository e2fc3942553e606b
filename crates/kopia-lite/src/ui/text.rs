//! Writing results to stdout and notes to stderr.
//!
//! Results go to stdout, everything else to stderr, as with Kopia. A reader that goes away (`|
//! head`) ends the process quietly instead of with a panic.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process,
};

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

/// Writes `text` and a newline to stderr. Nothing can be done when that fails, so nothing is.
pub fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// A warning on stderr, yellow where colours are wanted.
pub fn warn(text: impl Display) {
    note(format!("\x1b[33m{text}\x1b[0m"));
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
