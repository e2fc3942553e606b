//! Trees, manifests, policies and what maintenance writes.
#![no_main]

#[allow(dead_code)] // a target calls some of them
#[path = "../../tests/hostile/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    parsers::directory(bytes);
    parsers::indirect(bytes);
    parsers::manifests(bytes);
    parsers::manifests_json(bytes);
    parsers::snapshot(bytes);
    parsers::policy(bytes);
    parsers::maintenance_schedule(bytes);
    parsers::maintenance_parameters(bytes);
});
