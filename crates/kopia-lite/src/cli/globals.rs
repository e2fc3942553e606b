//! Flags that every command takes, at every place.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
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
        default_value = "repository.config",
        env = "KOPIA_CONFIG_PATH"
    )]
    pub config_file: PathBuf,

    /// Repository password.
    #[arg(short, long, global = true, env = "KOPIA_PASSWORD", hide_env_values = true)]
    pub password: Option<SecretString>,

    /// Keep the password beside the connection file after connecting.
    #[arg(
        long,
        global = true,
        default_value_t = true,
        action = clap::ArgAction::Set,
        env = "KOPIA_PERSIST_CREDENTIALS_ON_CONNECT"
    )]
    pub persist_credentials: bool,

    /// Show progress; plain lines where stderr is not a terminal.
    #[arg(long, global = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub progress: bool,

    /// Least severity of what is said on stderr.
    #[arg(long, global = true, value_enum, default_value = "info")]
    pub log_level: LogLevel,

    /// Time zone of times shown: local, utc, original or a name.
    #[arg(long, global = true, default_value = "local", hide = true)]
    pub timezone: String,

    #[command(flatten)]
    silent: Silent,
}

/// Kopia's flags for things that kopia-lite does not have or does: taken, so that scripts run, and without effect.
#[derive(Debug, Clone, Args)]
struct Silent {
    #[arg(long, global = true, hide = true)]
    initial_update_check_delay: Option<String>,
    #[arg(long, global = true, hide = true)]
    update_check_interval: Option<String>,
    #[arg(long, global = true, hide = true)]
    update_available_notify_interval: Option<String>,
    #[arg(long, global = true, hide = true)]
    track_releasable: Vec<String>,
    #[arg(long, global = true, hide = true)]
    error_notifications: Option<String>,
}
