//! JSON on stdout, in Kopia's form: one line a value, lists with one element a line.

use clap::Args;
use serde::Serialize;

use super::text;

/// The flags of every command that can print JSON.
#[derive(Debug, Clone, Copy, Args)]
pub struct JsonFlags {
    /// Print the result as JSON on stdout.
    #[arg(long)]
    pub json: bool,
    /// Print the JSON indented.
    #[arg(long, hide = true)]
    pub json_indent: bool,
    /// Print statistics in JSON, too.
    #[arg(long, hide = true)]
    pub json_verbose: bool,
}

impl JsonFlags {
    /// `value` as Kopia would print it.
    pub fn render(self, value: &impl Serialize) -> String {
        let bytes = if self.json_indent {
            kopia_format::json::to_vec_indent(value)
        } else {
            kopia_format::json::to_vec(value)
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Prints one value.
    pub fn print(self, value: &impl Serialize) {
        text::line(self.render(value));
    }

    /// Prints a list: `[`, one element a line, `]`, and like Kopia no newline behind it.
    pub fn print_list<T: Serialize>(self, values: impl IntoIterator<Item = T>) {
        let mut out = String::from("[");
        let mut separator = if self.json_indent { "" } else { "\n " };
        for value in values {
            out.push_str(separator);
            out.push_str(&self.render(&value));
            separator = if self.json_indent { "," } else { ",\n " };
        }
        out.push_str(if self.json_indent { "]" } else { "\n]" });
        text::raw(out.as_bytes());
    }
}
