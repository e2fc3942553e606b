//! Sealed and error-corrected items, and the end of a pack.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::sealed_blob(bytes);
    parsers::sealed_item(bytes);
    parsers::corrected_item(bytes);
    parsers::error_correction(bytes);
    parsers::postamble(bytes);
    parsers::local_index(bytes);
});
