//! Flags that every command takes, at every place.

use std::path::PathBuf;

use blob_core::layers::ThrottleLimits;
use clap::{Arg, ArgAction, Args, Command, ValueEnum, builder::ValueParser};
use tracing::level_filters::LevelFilter;

use super::log_flags::LogFlags;
use crate::{
    compose::ExtraKeys,
    connect::given_password::GivenPassword,
    ui::{progress, size},
};

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs)] // a word on each would be a list in the help of every command
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // a word on each would be a list in the help of every command
pub enum Color {
    Auto,
    Always,
    Never,
}

impl From<LogLevel> for LevelFilter {
    /// What is heard of the libraries: their news are details to people, so they take debug.
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info | LogLevel::Warning => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global flags")]
pub struct Globals {
    /// Connection file: a name in Kopia's config folder, or a path.
    #[arg(
        long,
        global = true,
        value_name = "NAME|PATH",
        hide_short_help = true,
        default_value = "repository.config",
        env = "KOPIA_CONFIG_PATH"
    )]
    pub config_file: PathBuf,

    /// Connection file NAME.config in Kopia's config folder; goes before --config-file.
    #[arg(short = 'P', long, global = true, value_name = "NAME", hide_short_help = true,
        value_parser = profile)]
    pub profile: Option<PathBuf>,

    /// Where the password is.
    #[command(flatten)]
    pub password: GivenPassword,

    /// Keep the password beside the connection file after connecting.
    #[arg(
        long,
        global = true,
        default_value_t = true,
        action = clap::ArgAction::Set,
        hide_short_help = true,
        env = "KOPIA_PERSIST_CREDENTIALS_ON_CONNECT"
    )]
    pub persist_credentials: bool,

    /// Show progress; plain lines where stderr is not a terminal.
    #[arg(long = "progress", hide_short_help = true, global = true, default_value_t = true,
        action = clap::ArgAction::Set)]
    pub show_progress: bool,

    /// Show progress as JSON objects on stderr, a line each.
    #[arg(long, global = true, hide_short_help = true)]
    pub json_progress: bool,

    /// When to use colours; without it the terminal decides, NO_COLOR and CLICOLOR_FORCE.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_short_help = true
    )]
    pub color: Color,

    /// Least severity of what is said on stderr.
    #[arg(long, global = true, value_enum, default_value = "info", hide_short_help = true)]
    pub log_level: LogLevel,

    /// The log file, and how lines look on stderr.
    #[command(flatten)]
    pub log: LogFlags,

    /// Time zone of times shown: local, utc, original or a name.
    #[arg(long, global = true, default_value = "local", hide = true)]
    pub timezone: String,

    /// Show colours even where stderr is no terminal.
    #[arg(long, global = true, hide = true, env = "KOPIA_FORCE_COLOR")]
    pub force_color: bool,

    /// Show no colours.
    #[arg(long, global = true, hide = true, env = "KOPIA_DISABLE_COLOR")]
    pub disable_color: bool,

    /// Keep passwords in the desktop's keyring instead of a file (Linux, by secret-tool)
    #[arg(long, global = true, hide = true, env = "KOPIA_USE_KEYRING")]
    pub use_keyring: bool,

    /// Do maintenance after commands that write, when it is due and this client's task.
    #[arg(long, global = true, hide = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_maintenance: bool,

    /// `enabled` allows commands that can lose data.
    #[arg(long, global = true, hide = true, env = "KOPIA_DANGEROUS_COMMANDS", default_value = "")]
    pub dangerous_commands: String,

    /// Leave no log in the repository.
    #[arg(long, global = true, hide = true, env = "KOPIA_DISABLE_REPOSITORY_LOG")]
    pub disable_repository_log: bool,

    /// Working memory for what is on its way, such as 256MiB; 64MiB at least.
    #[arg(long, global = true, value_name = "BYTES", default_value = "128MiB",
        value_parser = memory_limit, hide_short_help = true)]
    pub memory_limit: u64,

    /// Upload at most so many bytes a second, such as 500KB; a lower limit of the connection holds.
    #[arg(long, global = true, value_name = "BYTES", value_parser = speed, hide_short_help = true)]
    limit_upload: Option<u64>,

    /// Download at most so many bytes a second.
    #[arg(long, global = true, value_name = "BYTES", value_parser = speed, hide_short_help = true)]
    limit_download: Option<u64>,

    /// What counts of the keys of .storageconfig that Kopia does not have.
    #[arg(long, global = true, value_enum, default_value = "obey", hide = true)]
    pub storage_config_extra_keys: ExtraKeys,
}

impl Globals {
    /// The limits of a storage, and no more than the flags say.
    pub fn limited(&self, limits: ThrottleLimits) -> ThrottleLimits {
        // 0 is no limit.
        let lower = |limit: f64, most: Option<u64>| match most.map(|most| most as f64) {
            Some(most) if limit == 0.0 || most < limit => most,
            _ => limit,
        };
        ThrottleLimits {
            upload_bytes_per_second: lower(limits.upload_bytes_per_second, self.limit_upload),
            download_bytes_per_second: lower(limits.download_bytes_per_second, self.limit_download),
            ..limits
        }
    }

    /// How progress is shown.
    pub fn progress(&self) -> progress::Mode {
        match (self.show_progress, self.json_progress) {
            (false, _) => progress::Mode::Silent,
            (true, false) => progress::Mode::Line,
            (true, true) => progress::Mode::Json,
        }
    }
}

/// The connection file of a profile.
fn profile(name: &str) -> Result<PathBuf, String> {
    let file = format!("{name}.config");
    let is_name = !name.is_empty() && std::path::Path::new(&file).components().count() == 1;
    match is_name && !name.contains('/') {
        true => Ok(file.into()),
        false => Err("a profile is a name, such as work for work.config".to_owned()),
    }
}

/// A number of bytes; `None` if it is none.
fn bytes(text: &str) -> Option<u64> {
    size::parse(text).ok().and_then(|bytes| u64::try_from(bytes).ok())
}

fn speed(text: &str) -> Result<u64, String> {
    let none = || "it must be a number of bytes a second, such as 500KB".to_owned();
    bytes(text).filter(|bytes| *bytes > 0).ok_or_else(none)
}

/// Making the key of the password takes as much.
const MEMORY_LIMIT_MIN: u64 = 64 << 20;

fn memory_limit(text: &str) -> Result<u64, String> {
    match bytes(text) {
        Some(bytes) if bytes >= MEMORY_LIMIT_MIN => Ok(bytes),
        Some(_) => Err("it must be 64MiB at least".to_owned()),
        None => Err("it must be a number of bytes, such as 256MiB".to_owned()),
    }
}

/// Kopia's global flags with a value, for things that kopia-lite does not have: updates, notifications,
/// measuring Kopia; and for its second log on disk, of contents, which ours keeps in the repository
/// alone. Taken, so that scripts run.
const SILENT_TEXTS: [&str; 24] = [
    "adaptive-estimation-threshold",
    "content-log-dir-max-age",
    "content-log-dir-max-files",
    "content-log-dir-max-total-size-mb",
    "content-log-file",
    "diagnostics-output-directory",
    "error-notifications",
    "initial-update-check-delay",
    "metrics-listen-addr",
    "metrics-push-addr",
    "metrics-push-format",
    "metrics-push-grouping",
    "metrics-push-interval",
    "metrics-push-job",
    "metrics-push-password",
    "metrics-push-username",
    "profile-blocking-rate",
    "profile-memory-rate",
    "profile-mutex-fraction",
    "progress-estimation-type",
    "progress-update-interval",
    "track-releasable",
    "update-available-notify-interval",
    "update-check-interval",
];

/// The same without a value. `upgrade-no-block` is what is so anyway: while another client upgrades
/// the repository nothing waits, the command ends with code 11. So is `wait-for-log-sweep`: old log
/// files are deleted before the program ends.
const SILENT_BOOLEANS: [&str; 11] = [
    "disable-content-log",
    "dump-allocator-stats",
    "enable-pprof",
    "metrics-store-on-exit",
    "otlp-trace",
    "profile-cpu",
    "profile-go-gc-before-dump",
    "profile-store-on-exit",
    "trace-storage",
    "upgrade-no-block",
    "wait-for-log-sweep",
];

/// Adds the flags that are taken in silence to the whole program's `command`.
pub fn with_silent_flags(command: Command) -> Command {
    let hidden = |name: &'static str| Arg::new(name).long(name).global(true).hide(true);
    let texts = SILENT_TEXTS.map(|name| hidden(name).action(ArgAction::Append));
    let boolean = |name| hidden(name).action(ArgAction::SetTrue).value_parser(ValueParser::bool());
    let booleans = SILENT_BOOLEANS.map(boolean);
    command.args(texts).args(booleans)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        globals: Globals,
    }

    #[test]
    fn the_lower_of_two_limits_holds_and_none_is_no_limit() {
        let limited = |flags: &[&str], upload, download| {
            let globals = Flags::parse_from([&["kopia-lite"], flags].concat()).globals;
            let limits = globals.limited(ThrottleLimits {
                upload_bytes_per_second: upload,
                download_bytes_per_second: download,
                ..ThrottleLimits::default()
            });
            (limits.upload_bytes_per_second, limits.download_bytes_per_second)
        };
        assert_eq!(limited(&[], 0.0, 7.0), (0.0, 7.0));
        assert_eq!(limited(&["--limit-upload=5KB"], 0.0, 7.0), (5000.0, 7.0));
        assert_eq!(limited(&["--limit-upload=5KB"], 4000.0, 0.0), (4000.0, 0.0));
        assert_eq!(limited(&["--limit-download=1000"], 0.0, 4000.0), (0.0, 1000.0));
    }
}
