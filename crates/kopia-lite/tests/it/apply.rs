//! `storage-config apply`: what moves, what stays, what it says before, and going on after a kill.

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use s3_testkit::{Fault, Kind};

use crate::env::{S3Env, files, keys};

const TO_GLACIER_IR: &str = r#"{"blobOptions":[{"storageClass":"GLACIER_IR"}]}"#;
/// Blobs of the tests that are about numbers.
const MANY: usize = 60;

/// A repository with a snapshot in STANDARD, then with this `.storageconfig`.
fn with_snapshot(config: &str) -> S3Env {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    s3.put_config(config);
    s3
}

/// A repository with many blobs that are called as data packs are.
fn with_many() -> S3Env {
    let s3 = S3Env::new();
    s3.create("");
    (0..MANY).for_each(|n| s3.server.objects().put(&format!("r/p{n:032x}"), vec![7; 1_000 + n]));
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"}]}"#);
    s3.server.requests().clear();
    s3
}

/// The classes of blobs of a kind.
fn classes_of(s3: &S3Env, kind: &str) -> Vec<String> {
    let all = s3.classes().into_iter();
    all.filter(|(of, _)| of == kind).map(|(_, class)| class).collect()
}

/// How often each key was copied by a request that was answered.
fn copied(s3: &S3Env) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for copy in s3.server.requests().of(Kind::Copy, "r/") {
        *counts.entry(copy.key).or_default() += usize::from(copy.status == Some(200));
    }
    counts
}

#[test]
fn packs_move_and_their_bytes_still_restore() {
    let s3 = with_snapshot(TO_GLACIER_IR);
    let before = s3.classes();
    assert!(before.iter().all(|(_, class)| class == "STANDARD"), "{before:?}");
    s3.server.requests().clear();
    let run = s3.line("storage-config apply --yes");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("STANDARD -> GLACIER_IR"), "{run:#?}");
    assert!(run.stdout.contains("Kopia goes by the time of this kind"), "{run:#?}");
    assert!(run.stdout.contains("prices of 2026-09-28 (built in)"), "{run:#?}");
    assert!(run.stderr.contains("lifecycle rules count their age anew"), "{run:#?}");
    for (kind, class) in s3.classes() {
        let moves = ["p", "q"].contains(&kind.as_str());
        assert_eq!(class, if moves { "GLACIER_IR" } else { "STANDARD" }, "{kind}");
    }
    assert_eq!(classes_of(&s3, "p"), ["GLACIER_IR"]);
    assert_eq!(classes_of(&s3, "q"), ["GLACIER_IR"]);
    assert!(copied(&s3).values().all(|count| *count == 1));
    assert_eq!(s3.server.requests().puts("r/"), 0, "no byte went through this machine");
    assert_eq!(s3.server.requests().bytes_read("r/p"), 0);
    let newest = s3.newest();
    s3.ok(&format!("restore {newest} {}", s3.text("out")));
    assert_eq!(files(&s3.path("out")), files(&s3.path("src")));
    s3.server.requests().clear();
    let again = s3.line("storage-config apply --yes");
    assert!(again.stderr.contains("Nothing is to be moved."), "{again:#?}");
    assert_eq!(s3.server.requests().copies(""), 0);
    assert!(!s3.path("config/kopia/repository.config.apply").exists(), "a run that is done");
}

#[test]
fn a_dry_run_and_a_run_without_consent_move_nothing() {
    let s3 = with_snapshot(TO_GLACIER_IR);
    let text = s3.ok("storage-config apply -n");
    assert!(text.contains("STANDARD -> GLACIER_IR") && text.contains("once, in sum:"), "{text}");
    let text = s3.fails(6, "storage-config apply");
    assert!(text.contains("add --yes"), "{text}");
    let error = s3.json_error(6, "storage-config apply --json");
    assert_eq!(error["kind"], "limit");
    assert_eq!(s3.server.requests().copies(""), 0);
    assert_eq!(classes_of(&s3, "p"), ["STANDARD"]);
    let json = s3.json("storage-config apply -n --json");
    assert_eq!(keys(&json), ["plan", "result"]);
    let plan = &json["plan"];
    assert_eq!(keys(plan), ["version", "basis", "groups", "refused", "cost", "moves"]);
    assert_eq!(plan["basis"]["keepsVersions"], false);
    assert_eq!(plan["groups"][0]["count"], plan["moves"].as_array().unwrap().len());
    assert!(json["result"].is_null());
}

#[test]
fn what_would_cost_more_than_the_limit_is_not_begun() {
    let s3 = with_many();
    // 60 copies into GLACIER_IR at $0.02 and 120 heads at $0.0004 a thousand.
    let text = s3.fails(6, "storage-config apply --yes --max-cost=0.0012");
    assert!(text.contains("it could cost $0.001248, more than --max-cost=0.0012;"), "{text}");
    assert_eq!(s3.server.requests().copies(""), 0);
    s3.write("dear.json", dear_table());
    s3.fails(6, "storage-config apply --yes --max-cost=1 --price-table=dear.json");
    assert_eq!(s3.server.requests().copies(""), 0);
    s3.ok("storage-config apply --yes --max-cost=0.0013");
    assert_eq!(classes_of(&s3, "p"), ["GLACIER_IR"]);
}

/// The built-in table with PUTs a hundred times as dear.
fn dear_table() -> String {
    let path = "../cold-storage/data/prices-us-east-1.json";
    let text = fs_err::read_to_string(path).unwrap();
    let dear = text.replace("\"put_per_1000\": 0.02", "\"put_per_1000\": 20.0");
    assert_ne!(dear, text);
    dear
}

#[test]
fn what_is_archived_or_must_not_be_is_refused() {
    let s3 = with_snapshot(r#"{"blobOptions":[{"storageClass":"DEEP_ARCHIVE"}]}"#);
    let packs = s3.server.objects().keys("r/p");
    s3.ok("storage-config apply --yes");
    assert_eq!(classes_of(&s3, "p"), ["DEEP_ARCHIVE"]);
    assert_eq!(classes_of(&s3, "q"), ["STANDARD"], "only p may be archived");
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","storageClass":"STANDARD"}]}"#);
    s3.server.requests().clear();
    let run = s3.line("storage-config apply --yes");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("archived: thaw first"), "{run:#?}");
    assert_eq!((s3.server.requests().copies(""), packs.len()), (0, 1));
    assert_eq!(classes_of(&s3, "p"), ["DEEP_ARCHIVE"]);
}

#[test]
fn younger_and_smaller_blobs_and_other_prefixes_stay() {
    let s3 = with_many();
    let objects = s3.server.objects();
    (0..30)
        .for_each(|n| assert!(objects.age(&format!("r/p{n:032x}"), Duration::from_secs(90_000))));
    s3.ok("storage-config apply --yes --older-than=1d --min-size=1010");
    let moved = copied(&s3);
    assert_eq!(moved.len(), 20, "aged are 0 to 29, and 10 of them are smaller: {moved:?}");
    s3.server.requests().clear();
    s3.ok(&format!("storage-config apply --yes --prefix=p{:031x}", 0));
    assert_eq!(copied(&s3).len(), 10, "p0 to p9 of the last digit");
}

#[test]
fn extra_keys_are_applied_and_a_lock_is_not_lost() {
    let s3 = S3Env::lockable();
    let flags = s3.flags();
    s3.ok(&format!(
        "repository create --retention-mode=GOVERNANCE --retention-period=48h s3 {flags}"
    ));
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    s3.put_config(
        r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR","tags":{"tier":"cold"},
            "serverSideEncryption":"AES256"}]}"#,
    );
    let key = s3.server.objects().keys("r/p").remove(0);
    let before = s3.server.objects().get(&key).unwrap();
    assert!(before.lock.retention.is_some());
    let run = s3.line("storage-config apply --yes");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("a month for old versions:"), "{run:#?}");
    assert!(run.stderr.contains("The bucket keeps versions"), "{run:#?}");
    let after = s3.server.objects().get(&key).unwrap();
    assert_eq!(after.storage_class, "GLACIER_IR");
    assert_eq!(after.header("x-amz-tagging"), Some("tier=cold"));
    assert_eq!(after.header("x-amz-server-side-encryption"), Some("AES256"));
    assert_eq!((&after.lock.retention, &after.bytes), (&before.lock.retention, &before.bytes));
    assert_eq!(after.header("content-type"), Some("application/x-kopia"));
    assert_eq!(s3.server.objects().versions(&key), 2);
}

#[test]
fn a_run_that_is_killed_half_way_goes_on_and_copies_each_blob_once() {
    let s3 = with_many();
    s3.server.faults().push(Fault::stall(Duration::from_millis(40)).on(Kind::Copy).always());
    let mut command = s3.command(["storage-config", "apply", "--yes", "--parallel=4"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while copied(&s3).values().sum::<usize>() < 20 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is copied");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    s3.server.faults().clear();
    std::thread::sleep(Duration::from_millis(100)); // what is in the air comes down
    let before: usize = copied(&s3).values().sum();
    assert!((20..MANY).contains(&before), "{before} were copied before the kill");
    let folder = s3.path("config/kopia/repository.config.apply");
    let journal = fs_err::read_to_string(folder.join("journal.jsonl")).unwrap();
    assert!(journal.lines().count() >= 16, "{journal}");
    let json = s3.json("storage-config apply --yes --json");
    assert_eq!(json["result"]["moved"], MANY - before, "{}", json["result"]);
    let counts = copied(&s3);
    assert_eq!(counts.len(), MANY);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(classes_of(&s3, "p"), ["GLACIER_IR"]);
    assert!(!folder.exists(), "the run is done");
}

#[test]
fn what_one_blob_suffers_is_told_and_what_all_would_ends_it() {
    let s3 = with_many();
    let last = format!("r/p{:032x}", MANY - 1);
    s3.server.faults().push(Fault::error(400, "MalformedXML").on(Kind::Copy).keys(&last));
    let text = s3.fails(3, "storage-config apply --yes");
    assert!(text.contains(&format!("{} was not moved", &last[2..])), "{text}");
    assert_eq!(copied(&s3).values().sum::<usize>(), MANY - 1);
    s3.ok("storage-config apply --yes");
    assert_eq!(classes_of(&s3, "p"), ["GLACIER_IR"]);

    let s3 = with_many();
    s3.server.faults().push(Fault::access_denied().on(Kind::Copy).always());
    let text = s3.fails(13, "storage-config apply --yes --parallel=2");
    assert!(text.contains("so would all others"), "{text}");
    assert!(s3.server.requests().copies("") <= 3);
}

#[test]
fn a_read_only_connection_and_a_folder_move_nothing() {
    let s3 = with_snapshot(TO_GLACIER_IR);
    let flags = s3.flags();
    s3.ok(&format!("repository connect s3 {flags} --readonly"));
    assert!(s3.fails(1, "storage-config apply --yes").contains("is read-only"));
    s3.ok("storage-config apply -n");
    assert_eq!(s3.server.requests().copies(""), 0);
    let folder = crate::env::TestEnv::with_repository();
    assert!(folder.fails(1, "storage-config apply --yes").contains("only S3 does"));
    let none = S3Env::new();
    none.create("");
    assert!(none.says("storage-config apply --yes").contains("There is no .storageconfig"));
}
