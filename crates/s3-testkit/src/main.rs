//! The S3 test server as a process of its own.
fn main() {}
