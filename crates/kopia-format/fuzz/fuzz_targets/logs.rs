//! What stands beside index blobs: names, logs, session markers.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::epoch_name(bytes);
    parsers::epoch_listing(bytes);
    parsers::compaction_log(bytes);
    parsers::cleanup_schedule(bytes);
    parsers::session_marker(bytes);
    parsers::log_names(bytes);
    parsers::log_text(bytes);
});
