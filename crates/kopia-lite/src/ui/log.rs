//! What the libraries say while they work, on stderr.
//!
//! Libraries print nothing; they emit events. Warnings are shown, everything with
//! `--log-level=debug`. Other people's crates are left out: they talk about bytes.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The crates that are heard.
const CRATES: [&str; 8] = [
    "blob_core",
    "dataplane",
    "fs_backend",
    "kopia_lite",
    "kopia_repo",
    "kopia_snapshot",
    "s3_backend",
    "storageconfig",
];

/// Shows events down to `level`. A second call changes nothing.
pub fn begin(level: LevelFilter) {
    let heard = CRATES.iter().fold(Targets::new(), |all, name| all.with_target(*name, level));
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    // Only a second call can fail, and then the first one holds.
    let _ = tracing_subscriber::registry().with(heard).with(lines).try_init();
}
