//! Times, durations, modes, IDs and names.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::time(bytes);
    parsers::duration(bytes);
    parsers::mode(bytes);
    parsers::cron(bytes);
    parsers::source(bytes);
    parsers::content_id(bytes);
    parsers::object_id(bytes);
    parsers::algorithm(bytes);
});
