//! `repository throttle`: how much this client asks of the storage. Texts are Kopia's.

use std::{cmp::Ordering, str::FromStr};

use anyhow::Context;
use clap::{Args, Subcommand};
use kopia_format::local_config::{LocalConfig, ThrottlingLimits};
use serde_json::{Map, Value};

use crate::{
    cli::App,
    connect::config,
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// The verbs of `repository throttle`.
#[derive(Debug, Subcommand)]
pub enum Throttle {
    /// Show the limits of this client.
    Get(Get),
    /// Change the limits of this client; `unlimited` or `-` lifts one.
    Set(Set),
}

impl Throttle {
    pub(super) fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Get(get) => get.run(app),
            Self::Set(set) => set.run(app),
        }
    }
}

/// The limits in force: the client's own, or else those that came with the storage's flags.
fn limits_of(connection: &LocalConfig) -> anyhow::Result<ThrottlingLimits> {
    match (&connection.throttling_limits, &connection.storage) {
        (Some(limits), _) => Ok(limits.clone()),
        (None, Some(storage)) => {
            let all = ThrottlingLimits::from_value(Value::Object(storage.config.clone()))?;
            Ok(ThrottlingLimits { extra: Map::new(), ..all })
        }
        (None, None) => Ok(ThrottlingLimits::default()),
    }
}

/// Show the limits of this client.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    json: JsonFlags,
}

impl Get {
    fn run(self, app: &App) -> anyhow::Result<Exit> {
        let limits = limits_of(&app.connection()?)?;
        if self.json.json {
            self.json.print(&limits);
            return Ok(Exit::Done);
        }
        let show = |label: &str, value: f64, shown: String| match value == 0.0 {
            true => text::line(format!("{label:<30} (unlimited)")),
            false => text::line(format!("{label:<30} {shown}")),
        };
        let speed = |label: &str, value: f64| show(label, value, speed(value));
        let number = |label: &str, value: f64| show(label, value, format!("{value:.0}"));
        speed("Max Download Speed:", limits.max_download_speed_bytes_per_second);
        speed("Max Upload Speed:", limits.max_upload_speed_bytes_per_second);
        number("Max Read Requests Per Second:", limits.reads_per_second);
        number("Max Write Requests Per Second:", limits.writes_per_second);
        number("Max List Requests Per Second:", limits.lists_per_second);
        number("Max Concurrent Reads:", limits.concurrent_reads as f64);
        number("Max Concurrent Writes:", limits.concurrent_writes as f64);
        Ok(Exit::Done)
    }
}

fn speed(bytes: f64) -> String {
    format!("{}/s", size::bytes(bytes as u64))
}

/// Change the limits of this client.
#[derive(Debug, Args)]
pub struct Set {
    /// Download at most so many bytes a second.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    download_bytes_per_second: Option<String>,
    /// Upload at most so many bytes a second.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    upload_bytes_per_second: Option<String>,
    /// Read at most so many blobs a second.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    read_requests_per_second: Option<String>,
    /// Write at most so many blobs a second.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    write_requests_per_second: Option<String>,
    /// Make at most so many listings a second.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    list_requests_per_second: Option<String>,
    /// Read at most so many blobs at once.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    concurrent_reads: Option<String>,
    /// Write at most so many blobs at once.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    concurrent_writes: Option<String>,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Set {
    fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut connection = app.connection()?;
        let mut limits = limits_of(&connection)?;
        let rates = [
            (
                &self.download_bytes_per_second,
                "max download speed",
                true,
                &mut limits.max_download_speed_bytes_per_second,
            ),
            (
                &self.upload_bytes_per_second,
                "max upload speed",
                true,
                &mut limits.max_upload_speed_bytes_per_second,
            ),
            (
                &self.read_requests_per_second,
                "reads per second",
                false,
                &mut limits.reads_per_second,
            ),
            (
                &self.write_requests_per_second,
                "writes per second",
                false,
                &mut limits.writes_per_second,
            ),
            (
                &self.list_requests_per_second,
                "lists per second",
                false,
                &mut limits.lists_per_second,
            ),
        ];
        let mut changes = 0;
        for (given, what, is_speed, field) in rates {
            let Some(given) = given.as_deref().filter(|given| !given.is_empty()) else { continue };
            *field = number(given, what)?;
            say(app, what, *field, if is_speed { speed(*field) } else { field.to_string() });
            changes += 1;
        }
        let counts = [
            (&self.concurrent_reads, "concurrent reads", &mut limits.concurrent_reads),
            (&self.concurrent_writes, "concurrent writes", &mut limits.concurrent_writes),
        ];
        for (given, what, field) in counts {
            let Some(given) = given.as_deref().filter(|given| !given.is_empty()) else { continue };
            *field = number(given, what)?;
            say(app, what, *field as f64, field.to_string());
            changes += 1;
        }
        if changes == 0 {
            app.info("No changes made.");
            return Ok(Exit::Done);
        }
        connection.throttling_limits = Some(limits);
        if !self.dry_run {
            config::save(&app.config_file, &connection)?;
        }
        Ok(Exit::Done)
    }
}

fn say(app: &App, what: &str, value: f64, shown: String) {
    let shown = if value == 0.0 { "a unlimited".to_owned() } else { shown };
    app.info(format!("Setting {what} to {shown}."));
}

/// A limit; 0 is none.
fn number<T: FromStr + Default + PartialOrd>(text: &str, what: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if matches!(text, "unlimited" | "-") {
        return Ok(T::default());
    }
    let value: T = text.parse().with_context(|| format!("can't parse the {what} {text:?}"))?;
    // Neither negative nor no number at all.
    if value.partial_cmp(&T::default()).is_none_or(Ordering::is_lt) {
        let message = format!("the {what} can't be {text}");
        return Err(Failure::new(Exit::Failed, message).into());
    }
    Ok(value)
}
