//! Flags of log files and of how lines look on stderr. Names, defaults and variables are Kopia's.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tracing::level_filters::LevelFilter;

use super::{globals::LogLevel, repository::flags::duration};
use crate::{
    connect::paths,
    ui::{
        console,
        log::ToFile,
        log_file::LogFile,
        log_sweep::Limits,
        time::{self, Zone},
    },
};

/// Flags of the log file and of lines on stderr.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global flags")]
pub struct LogFlags {
    /// Folder of log files, which lie in its cli-logs; nothing for none. Without it Kopia's:
    /// ~/.cache/kopia on Linux.
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true, env = "KOPIA_LOG_DIR")]
    log_dir: Option<OsString>,

    /// Log file instead of one in the folder of log files; overwritten.
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    log_file: Option<PathBuf>,

    /// Least severity of what is written to the log file.
    #[arg(long, global = true, value_enum, default_value = "debug", hide_short_help = true)]
    file_log_level: LogLevel,

    /// Write no log file.
    #[arg(long, global = true, hide_short_help = true)]
    disable_file_logging: bool,

    /// Lines of the log file are JSON objects.
    #[arg(long, global = true, hide = true)]
    json_log_file: bool,

    /// Times in the log file are of this machine's zone.
    #[arg(long, global = true, hide = true, env = "KOPIA_FILE_LOG_LOCAL_TZ")]
    file_log_local_tz: bool,

    /// So many log files stay; 0 is no limit.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "N",
        default_value = "1000",
        env = "KOPIA_LOG_DIR_MAX_FILES"
    )]
    log_dir_max_files: u64,

    /// Log files stay so long; 0 is no limit.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "720h",
        env = "KOPIA_LOG_DIR_MAX_AGE"
    )]
    log_dir_max_age: Duration,

    /// Log files of so many megabytes stay.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "MB",
        default_value = "1000",
        env = "KOPIA_LOG_DIR_MAX_SIZE_MB"
    )]
    log_dir_max_total_size_mb: f64,

    /// Bytes of a log file; then the next one is begun.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "BYTES",
        default_value = "50000000",
        env = "KOPIA_LOG_FILE_MAX_SEGMENT_SIZE"
    )]
    max_log_file_segment_size: u64,

    /// Say the time before each line on stderr.
    #[arg(long, global = true, hide = true, env = "KOPIA_CONSOLE_TIMESTAMPS")]
    console_timestamps: bool,

    /// Lines on stderr are JSON objects.
    #[arg(long, global = true, hide = true)]
    json_log_console: bool,
}

impl LogFlags {
    /// How lines look on stderr.
    pub fn form(&self) -> console::Form {
        console::Form { has_time: self.console_timestamps, is_json: self.json_log_console }
    }

    /// What `command` is to write to which log file, if to any: its words joined by dashes.
    pub fn to_file(&self, command: &str) -> Option<ToFile> {
        let zone = if self.file_log_local_tz { Zone::local() } else { Zone::utc() };
        let file = self.file(command, &zone).filter(|_| !self.disable_file_logging)?;
        let level = match self.file_log_level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        };
        Some(ToFile { level, json: self.json_log_file, zone, file })
    }

    fn file(&self, command: &str, zone: &Zone) -> Option<LogFile> {
        let segment_bytes_max = self.max_log_file_segment_size;
        if let Some(path) = &self.log_file {
            return Some(LogFile::named(path, segment_bytes_max));
        }
        let folder = match &self.log_dir {
            Some(none) if none.is_empty() => return None,
            Some(given) => Path::new(given).to_owned(),
            None => paths::log_folder(),
        };
        let limits = Limits {
            files_max: self.log_dir_max_files,
            age_max: self.log_dir_max_age,
            // What is no number of bytes is cut to the nearest that is one.
            bytes_max: (self.log_dir_max_total_size_mb * 1e6) as u64,
        };
        let name = format!("{}-{}-{command}", zone.for_names(time::now()), std::process::id());
        Some(LogFile::in_folder(&folder, &name, limits, segment_bytes_max))
    }
}
