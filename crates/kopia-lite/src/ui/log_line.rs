//! One line of a log: as Kopia writes it for people, and as JSON.
//!
//! `TIME LEVEL NAME MESSAGE`, behind a tab the fields as one JSON object, if there are any. A message
//! of several lines becomes as many lines of the log, so that each can be found by its time; what
//! else could move a terminal's cursor is written as its code.

use std::fmt::{self, Write};

use serde::Serialize;
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// The name of what the program itself says; Kopia's.
pub const SAID: &str = "kopia/cli";

/// What was said, by whom, how bad it is.
#[derive(Debug)]
pub struct Line {
    level: Level,
    name: String,
    message: String,
    /// `"key":value`, with commas between. A snapshot has a line for each folder, so that no map is
    /// made only to be written.
    fields: String,
}

impl Line {
    /// A line of the program itself.
    pub fn said(message: String) -> Self {
        Self { level: Level::INFO, name: SAID.to_owned(), message, fields: String::new() }
    }

    /// An event of a library, or what the program said.
    pub fn of(event: &Event<'_>) -> Self {
        let meta = event.metadata();
        let mut line = Self::said(String::new());
        (line.level, line.name) = (*meta.level(), meta.target().replace("::", "/"));
        event.record(&mut line);
        line
    }

    /// For people, with newlines.
    pub fn to_text(&self, time: &str) -> String {
        let before = format!("{time} {} {} ", self.level, self.name);
        let mut text = String::with_capacity(before.len() + self.message.len() + self.fields.len());
        for part in self.message.trim_matches('\n').split('\n') {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&before);
            for char in part.trim_end_matches('\r').chars() {
                match char.is_control() && char != '\t' {
                    true => text.extend(char.escape_default()),
                    false => text.push(char),
                }
            }
        }
        if !self.fields.is_empty() {
            text.extend(["\t{", &self.fields, "}"]);
        }
        text.push('\n');
        text
    }

    /// For programs, with a newline: level, time, name, message, then the fields.
    pub fn to_json(&self, time: &str) -> String {
        self.json(&[("l", self.level.as_str()), ("t", time)])
    }

    /// The same as Kopia's has it on the console: without the level.
    pub fn to_console_json(&self, time: Option<&str>) -> String {
        match time {
            Some(time) => self.json(&[("t", time)]),
            None => self.json(&[]),
        }
    }

    fn json(&self, first: &[(&str, &str)]) -> String {
        let mut all = String::new();
        for (key, value) in first {
            put(&mut all, key, value);
        }
        put(&mut all, "n", self.name.as_str());
        put(&mut all, "m", self.message.as_str());
        if !self.fields.is_empty() {
            all.extend([",", &self.fields]);
        }
        format!("{{{all}}}\n")
    }

    fn put(&mut self, field: &Field, value: impl Serialize) {
        put(&mut self.fields, field.name(), value);
    }
}

/// Adds `"key":value` to what is between the braces of an object.
fn put(all: &mut String, key: &str, value: impl Serialize) {
    let comma = if all.is_empty() { "" } else { "," };
    // Text and numbers always make JSON.
    let value = serde_json::to_string(&value).unwrap_or_default();
    let _ = write!(all, "{comma}\"{key}\":{value}");
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}")),
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value),
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Line {
        Line { level: Level::WARN, ..Line::said(message.to_owned()) }
    }

    #[test]
    fn lines_read_as_kopias() {
        let mut one = line("trying again");
        put(&mut one.fields, "error", "\"gone\"");
        put(&mut one.fields, "failed", 2);
        assert_eq!(
            one.to_text("T"),
            "T WARN kopia/cli trying again\t{\"error\":\"\\\"gone\\\"\",\"failed\":2}\n"
        );
        assert_eq!(
            one.to_json("T"),
            "{\"l\":\"WARN\",\"t\":\"T\",\"n\":\"kopia/cli\",\"m\":\"trying again\",\
             \"error\":\"\\\"gone\\\"\",\"failed\":2}\n"
        );
        let said = Line::said("words".to_owned());
        assert_eq!(said.to_console_json(None), "{\"n\":\"kopia/cli\",\"m\":\"words\"}\n");
        let timed = "{\"t\":\"T\",\"n\":\"kopia/cli\",\"m\":\"words\"}\n";
        assert_eq!(said.to_console_json(Some("T")), timed);
    }

    #[test]
    fn nobody_writes_a_line_of_his_own_or_moves_the_cursor() {
        let text = line("\na file\nT INFO forged\x1b[2J\r\n").to_text("T");
        let wanted = "T WARN kopia/cli a file\nT WARN kopia/cli T INFO forged\\u{1b}[2J\n";
        assert_eq!(text, wanted);
    }
}
