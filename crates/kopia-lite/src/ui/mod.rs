//! What people see: sizes, times, tables, progress, JSON and errors.

pub mod error;
pub mod finding;
pub mod histogram;
pub mod json;
pub mod log;
pub mod progress;
pub mod size;
pub mod text;
pub mod time;
