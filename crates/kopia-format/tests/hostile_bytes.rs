//! Every parser takes 100,000 mutations of real bytes: none panics, none takes more memory than a
//! stated multiple of its input, none recurses without a limit.
//!
//! A failure prints the seed, the number and the bytes of the mutation; it is the same in every
//! run. Memory is that of Rust's allocator, at its highest, with what the parser does to use the
//! result; when a vector grows, old and new count together.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // other tests use the rest
mod common;
#[path = "hostile/documents.rs"]
mod documents;
#[path = "hostile/parsers.rs"]
mod parsers;

use documents::{V1, V3, with_long_list};
use kopia_fixtures::{
    hostile::{Counting, Parse, Target, deep_json, on_small_stack},
    vectors,
};
use kopia_format::{compress, local_config::encode_stored_password, pack::PackBuilder};
use parsers::{EXPANDED_MAX, UNIQUE_ID, key, maintenance_key};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a parser of a few words may take: the text of an error holds the input, escaped.
const WORDS: (usize, usize) = (16, 1024);
/// JSON into a structure of its own: an entry of a list has far more bytes than `{}`.
const TYPED: (usize, usize) = (64, 4096);
/// JSON into [`serde_json::Value`], which has 72 bytes for a digit and a comma, and twice as much
/// room in a vector that grows.
const VALUES: (usize, usize) = (160, 4096);
/// The same where unknown keys go through serde's `flatten`, which holds its own form beside.
const FLATTENED: (usize, usize) = (200, 4096);
/// Sealed bytes: a copy, and what opening another cipher takes.
const SEALED: (usize, usize) = (4, 1024);

fn attack(targets: impl IntoIterator<Item = Target>) {
    let targets = targets.into_iter();
    targets.for_each(|target| {
        target.attack();
    });
}

fn target(
    name: &'static str,
    parse: Parse,
    documents: impl IntoIterator<Item = Vec<u8>>,
    memory: (usize, usize),
) -> Target {
    Target::new(name, parse, documents, memory)
}

fn words(name: &'static str, parse: Parse, documents: &[&str]) -> Target {
    let documents = documents.iter().map(|text| text.as_bytes().to_vec());
    target(name, parse, documents, WORDS)
}

#[test]
fn format_blobs_take_any_bytes() {
    let blobs = [V1.format_blob.clone(), V3.format_blob.clone(), with_long_list(&V3.format_blob)];
    let payload = |inner: &[u8]| [br#"{"format":"#, inner, b"}"].concat();
    let inner = &V3.payload[br#"{"format":"#.len()..V3.payload.len() - 1];
    let payloads = [V1.payload.clone(), V3.payload.clone(), payload(&with_long_list(inner))];
    let blobcfg = [V3.blobcfg.clone(), with_long_list(&V3.blobcfg)];
    let config = kopia_format::BlobConfig::default();
    let copy = kopia_format::format_blob::pack_copy(&V1.format_blob).unwrap();
    let pack = |head: &[u8]| PackBuilder::new([9; 32], Some(head));
    let head = pack(&copy).finish(|_| (), vec![1; 9], &parsers::CODEC.hasher().hash(b"")).concat();
    attack([
        target("format blob", parsers::format_blob, blobs, VALUES),
        target("repository format", parsers::repository_format, payloads, VALUES),
        target("blobcfg", parsers::blobcfg, blobcfg, VALUES),
        target(
            "sealed blobcfg",
            parsers::sealed_blobcfg,
            [config.encrypt(&key(), &UNIQUE_ID, [6; 12])],
            SEALED,
        ),
        target("copy in packs", parsers::pack_copy, [copy, head[..2000].to_vec()], (2, 1024)),
    ]);
}

#[test]
fn connections_take_any_bytes() {
    let configs = [
        br#"{"storage":{"type":"s3","config":{"bucket":"b","prefix":"p/"}},"caching":
            {"maxCacheSize":5,"maxListCacheDuration":1.5,"cacheDirectory":"c"},"hostname":"h",
            "username":"u","throttlingLimits":{"readsPerSecond":0.5,"concurrentReads":3}}"#
            .to_vec(),
        br#"{"apiServer":{"url":"https://h"},"hostname":"h","formatBlobCacheDuration":-1}"#
            .to_vec(),
    ];
    let configs = [configs[0].clone(), configs[1].clone(), with_long_list(&configs[0])];
    let tokens: Vec<_> = documents::texts("tokens.json", "cases", "token");
    let password = encode_stored_password("correct horse").as_bytes().to_vec();
    attack([
        target("local config", parsers::local_config, configs, VALUES),
        target("token", parsers::token, tokens, VALUES),
        target("stored password", parsers::stored_password, [password], SEALED),
    ]);
}

#[test]
fn items_take_any_bytes() {
    let (small, big) = (documents::corrected(200), documents::corrected(4000));
    let postambles = vectors("postamble.json")["cases"].as_array().unwrap().clone();
    let postambles = postambles.iter().filter(|case| case["bytes"].is_string());
    let postambles = postambles.map(|case| kopia_fixtures::hex(&case["bytes"]));
    attack([
        target("sealed blob", parsers::sealed_blob, [documents::sealed_blob()], (8, 1024)),
        target("sealed item", parsers::sealed_item, [documents::sealed_item(100)], SEALED),
        target("postamble", parsers::postamble, postambles, (2, 512)),
        target(
            "corrected item",
            parsers::corrected_item,
            [documents::corrected_item()],
            (16, 4096),
        ),
        target("error correction", parsers::error_correction, [small], (16, 4096)),
        // Repairing costs the inversion of a matrix of 128 rows, unless the same shards were
        // damaged before: one change at once leaves few to invert.
        Target {
            changes_max: 1,
            ..target("long error correction", parsers::error_correction, [big], (8, 256 << 10))
        },
    ]);
}

#[test]
fn indexes_take_any_bytes() {
    attack([
        target("index 1", parsers::index, documents::indexes(1), (16, 1024)),
        target("index 2", parsers::index, documents::indexes(2), (16, 1024)),
        target("local index", parsers::local_index, [documents::pack_tail()], (16, 1024)),
        target("outline", parsers::outline, documents::outlines(), (16, 1024)),
    ]);
}

#[test]
fn names_and_logs_of_indexes_take_any_bytes() {
    let listing = |names: &[String]| names.join("\n").into_bytes();
    let made = "xe3\nxw1700000000\nxn3_ab-s1-c1\nxs1_ab-s1-c2\nxs1_ac-s1-c2\nxr0_0_ab-s1-c1\n\
                xr0_1_aa-s2-c1\nxn2_ab-s3-c1\nxr2_9223372036854775807_aa-s2-c1";
    let log = br#"{"inputMetadata":[{"id":"n1","length":3,"timestamp":"2026-01-01T00:00:00Z"},
        {"id":"n2","length":4,"timestamp":"2026-01-01T00:00:00Z"}],"outputMetadata":[{"id":"n3"}]}"#;
    let schedule = br#"{"blobIDs":["m1","m2"],"cleanupScheduleTime":"2026-01-01T00:00:00Z"}"#;
    let marker = br#"{"id":"sf824bf512ed3eee1147","startTime":"2026-11-24T13:12:05.106512661Z",
        "checkpointTime":"2026-11-24T13:12:05.106513041Z","username":"root","hostname":"vm"}"#;
    let names = ["xn0_abc-s1-c1", "xr0_4_abc-s1-c1", "xw1700000000", "xe7", "xs4_abc-s1-c2"];
    attack([
        words("name of an index blob", parsers::epoch_name, &names),
        target(
            "epoch listing",
            parsers::epoch_listing,
            [listing(&V3.names), made.as_bytes().to_vec()],
            // Epochs that are to be listed one by one may be 100,000, in a vector that grows.
            (64, 3 * 8 * 100_000),
        ),
        target("compaction log", parsers::compaction_log, [log.to_vec()], TYPED),
        target("cleanup schedule", parsers::cleanup_schedule, [schedule.to_vec()], TYPED),
        target(
            "session marker",
            parsers::session_marker,
            [marker.to_vec(), with_long_list(marker)],
            VALUES,
        ),
    ]);
}

#[test]
fn logs_of_clients_take_any_bytes() {
    let names = "_log_20261124133511_e4de_1795527311_1795527312_1_a30d3ed9dc997ddc8fead039a78f81e4\n\
                 _log_20261124133511_e4de_1795527313_1795527314_2_b30d3ed9dc997ddc8fead039a78f81e4\n\
                 _log_0_zero";
    let mut chunk = kopia_format::log::LogChunk::default();
    chunk.push(br#"{"t":"2026-11-29T10:45:21.199900Z","n":"storage","m":"DeleteBlob"}"#).unwrap();
    attack([
        target("names of logs", parsers::log_names, [names.into()], TYPED),
        target(
            "lines of a log",
            parsers::log_text,
            [chunk.finish().unwrap()],
            (4, 3 * EXPANDED_MAX + (64 << 10)),
        ),
    ]);
}

#[test]
fn compressed_contents_take_any_bytes() {
    // The result, which grows by copying, may take the caller's limit; decoders have windows.
    let memory = (4, 3 * EXPANDED_MAX + (64 << 10));
    attack(
        ["gzip", "pgzip", "deflate", "zstd", "s2"].map(|family| {
            target(family, parsers::compressed, documents::compressed(family), memory)
        }),
    );
}

#[test]
fn trees_take_any_bytes() {
    let mut directories = documents::texts("directories.json", "cases", "bytes");
    directories.iter_mut().for_each(|text| *text = documents::base64(text));
    directories.retain(|text| text.len() < 2000);
    directories.extend(V3.directories());
    attack([
        target("directory", parsers::directory, directories, TYPED),
        target("indirect object", parsers::indirect, documents::indirect(), TYPED),
    ]);
}

#[test]
fn manifests_take_any_bytes() {
    attack([
        // Deflate expands to 1032 times its input at most, and 1 GiB is the limit: mutations of
        // real bytes stay far from both.
        target("manifests", parsers::manifests, V3.manifests(), (64, 128 << 10)),
        target("manifests as JSON", parsers::manifests_json, V3.manifests_json(), TYPED),
    ]);
}

#[test]
fn snapshots_and_policies_take_any_bytes() {
    let with_list = |payloads: Vec<Vec<u8>>| {
        let long = with_long_list(&payloads[0]);
        payloads.into_iter().chain([long]).collect::<Vec<_>>()
    };
    let mut policies = V3.payloads("policy");
    policies.push(
        br#"{"scheduling":{"cron":["0 12 * * 1-5","@daily"],"timeOfDay":[{"hour":3,"min":1}]},
            "files":{"ignore":["*.tmp"],"maxFileSize":7},"retention":{"keepLatest":0}}"#
            .to_vec(),
    );
    attack([
        target("snapshot", parsers::snapshot, with_list(V3.payloads("snapshot")), FLATTENED),
        target("policy", parsers::policy, with_list(policies), FLATTENED),
    ]);
}

#[test]
fn maintenance_takes_any_bytes() {
    let schedule = documents::schedule();
    let plain = kopia_format::json::to_vec(&schedule);
    let sealed = schedule.encrypt(&maintenance_key(), [6; 12]);
    let parameters = V3.payloads("maintenance");
    attack([
        target(
            "maintenance schedule",
            parsers::maintenance_schedule,
            [plain.clone(), with_long_list(&plain)],
            VALUES,
        ),
        target("sealed schedule", parsers::sealed_schedule, [sealed], VALUES),
        target("maintenance parameters", parsers::maintenance_parameters, parameters, VALUES),
    ]);
}

#[test]
fn single_values_take_any_bytes() {
    let times = ["2024-01-02T03:04:05.123456789Z", "2024-01-02T03:04:05+05:30"];
    let ids = ["ab0123456789abcdef0123456789abcd", "k62a3c97ac920916d66a8a610a6e82e66", ""];
    let objects = ["IIx62a3c97ac920916d66a8a610a6e82e66", "ZD62a3c97ac920916d66a8a610a6e82e"];
    let crons = ["0 12 * * 1-5", "*/15 0-23/2 1,15 JAN-DEC MON", "@hourly"];
    let algorithms = ["DYNAMIC-4M-BUZHASH", "FIXED-1M", "zstd-fastest", "BLAKE2B-256-128"];
    let mut algorithms = words("algorithm", parsers::algorithm, &algorithms[..3]);
    // Codecs are made to see whether they can be.
    algorithms.plus = 64 << 10;
    attack([
        words("time", parsers::time, &times),
        words("duration", parsers::duration, &["1h30m", "-1.5ms", "2562047h47m16.854775807s"]),
        words("mode", parsers::mode, &["0644", "0x1ff", "0o4_755", "-1"]),
        words("cron", parsers::cron, &crons),
        words("source", parsers::source, &["user@host:/a/../b", "(global)", "@host", "./x/../y"]),
        words("content ID", parsers::content_id, &ids),
        words("object ID", parsers::object_id, &objects),
        algorithms,
    ]);
}

#[test]
fn nesting_overflows_no_stack() {
    let parsers: &[(&str, Parse)] = &[
        ("format blob", parsers::format_blob),
        ("repository format", parsers::repository_format),
        ("blobcfg", parsers::blobcfg),
        ("local config", parsers::local_config),
        ("compaction log", parsers::compaction_log),
        ("cleanup schedule", parsers::cleanup_schedule),
        ("session marker", parsers::session_marker),
        ("directory", parsers::directory),
        ("indirect object", parsers::indirect),
        ("manifests", parsers::manifests_json),
        ("snapshot", parsers::snapshot),
        ("policy", parsers::policy),
        ("maintenance schedule", parsers::maintenance_schedule),
        ("maintenance parameters", parsers::maintenance_parameters),
    ];
    for (name, parse) in parsers {
        // Keys that nobody knows are passed over without recursion by those that don't keep them.
        let read = on_small_stack(*parse, deep_json());
        println!("{name}: {read} read");
        assert!(read <= 1, "{name}");
    }
}

#[test]
fn a_payload_nested_too_deep_is_refused_where_it_is_read() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text =
        format!(r#"{{"entries":[{{"id":"a","labels":{{"type":"policy"}},"data":{deep}}}]}}"#);
    // The list of manifests keeps payloads as text; only who reads one takes it apart.
    assert_eq!(on_small_stack(parsers::manifests_json, vec![text.into_bytes()]), 1);
}

#[test]
fn a_bomb_takes_no_more_memory_than_the_limit() {
    for name in compress::NAMES {
        let compressor = kopia_format::Compressor::by_name(name).unwrap().unwrap();
        let bomb = compressor.compress(&vec![0; 16 << 20]).unwrap();
        let memory = (4, 3 * EXPANDED_MAX + (64 << 10));
        let target = target("bomb", parsers::compressed, [bomb], memory);
        let read = target.take(&target.documents[0], || (*name).into(), &mut Default::default());
        assert!(!read, "{name}");
    }
}
