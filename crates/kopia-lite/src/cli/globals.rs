//! Flags that every command takes, at every place.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

use crate::compose::ExtraKeys;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs)] // a word on each would be a list in the help of every command
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
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

    /// Show colours even where stderr is no terminal.
    #[arg(long, global = true, hide = true, env = "KOPIA_FORCE_COLOR")]
    pub force_color: bool,

    /// Show no colours.
    #[arg(long, global = true, hide = true, env = "KOPIA_DISABLE_COLOR")]
    pub disable_color: bool,

    /// Kopia's wish to keep passwords in a keyring: warned of, since it cannot be met.
    #[arg(long, global = true, hide = true, env = "KOPIA_USE_KEYRING")]
    pub use_keyring: bool,

    /// What counts of the keys of .storageconfig that Kopia does not have.
    #[arg(long, global = true, value_enum, default_value = "obey", hide = true)]
    pub storage_config_extra_keys: ExtraKeys,

    #[command(flatten)]
    silent: Silent,
}

/// Kopia's flags for things that kopia-lite does not have: taken, so that scripts run. The first
/// five ask for no more than what is so anyway: no log files, no log blobs, no maintenance, no
/// waiting for an upgrade.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
struct Silent {
    #[arg(long, global = true, hide = true)]
    disable_file_logging: bool,
    #[arg(long, global = true, hide = true)]
    disable_content_log: bool,
    #[arg(long, global = true, hide = true, env = "KOPIA_DISABLE_REPOSITORY_LOG")]
    disable_repository_log: bool,
    #[arg(long, global = true, hide = true, default_value_t = true, action = clap::ArgAction::Set)]
    auto_maintenance: bool,
    #[arg(long, global = true, hide = true, env = "KOPIA_REPO_UPGRADE_NO_BLOCK")]
    upgrade_no_block: bool,
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
