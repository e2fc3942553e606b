//! kopia-lite.
fn main() {}
