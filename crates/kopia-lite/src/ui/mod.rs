//! What people see: sizes, times, tables, progress, JSON and errors; log files.

pub mod console;
pub mod error;
pub mod finding;
pub mod histogram;
pub mod json;
pub mod log;
pub mod log_file;
mod log_line;
pub mod log_sweep;
pub mod progress;
pub mod size;
pub mod text;
pub mod time;
