//! Contents of all compressors.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::compressed(bytes);
});
