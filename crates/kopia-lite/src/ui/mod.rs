//! What people see: sizes, times, tables, progress, JSON and errors.

pub mod json;
pub mod size;
pub mod text;
pub mod time;
