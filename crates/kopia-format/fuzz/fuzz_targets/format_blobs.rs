//! The format blobs and the copies of one in packs.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::format_blob(bytes);
    parsers::repository_format(bytes);
    parsers::blobcfg(bytes);
    parsers::pack_copy(bytes);
});
