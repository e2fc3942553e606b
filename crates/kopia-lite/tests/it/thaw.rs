//! Thawing: the plan, the requests, the wait, the restore, the bill; against the server's counts.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use s3_testkit::Kind;
use serde_json::Value;

use crate::env::{Run, S3Env, files, noise};

const DAY: u64 = 24 * 60 * 60;

/// A repository with three snapshots' worth of packs in an archive; gives source and newest ID.
pub fn frozen(class: &str) -> (S3Env, String, String) {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    for n in 0..3 {
        s3.write(&format!("src/more/{n}.bin"), noise(100 + n, 200_000));
        s3.ok(&format!("snapshot create {source}"));
    }
    let id = s3.newest();
    freeze(&s3, class);
    (s3, source, id)
}

pub fn freeze(s3: &S3Env, class: &str) {
    for key in packs(s3) {
        assert!(s3.server.objects().set_class(&key, class));
    }
    s3.server.requests().clear();
}

pub fn packs(s3: &S3Env) -> Vec<String> {
    s3.server.objects().keys("r/p")
}

/// Starts a command line that goes on by itself.
pub fn begun(s3: &S3Env, line: &str) -> Child {
    let mut command = s3.command(line.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn ended(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until `done`; half a minute is long.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Packs for which a copy was asked. (A request counts when it arrives, which is too early.)
pub fn thaws(s3: &S3Env) -> usize {
    let objects = s3.server.objects();
    packs(s3).iter().filter(|key| objects.get(key).unwrap().restore.is_some()).count()
}

fn money(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_plan_asks_for_nothing_and_says_what_it_takes() {
    let (s3, _, id) = frozen("DEEP_ARCHIVE");
    let plan = s3.json(&format!("thaw plan {id} --json"));
    let requests = s3.server.requests();
    assert_eq!((requests.gets("r/p"), requests.restores("")), (0, 0));
    // The server is not Amazon's and has told no restore status yet: silence may mean anything.
    assert_eq!(requests.heads("r/p"), 4);
    let objects = s3.server.objects();
    let sizes = packs(&s3).into_iter().map(|key| objects.get(&key).unwrap().bytes.len());
    let (count, bytes) = (packs(&s3).len(), sizes.sum::<usize>());
    assert_eq!(count, 4);
    assert_eq!(plan["states"]["archived"]["count"], count);
    assert_eq!(plan["states"]["archived"]["bytes"], bytes);
    assert_eq!(plan["byClass"][0]["storageClass"], "DEEP_ARCHIVE");
    assert_eq!(plan["needed"]["files"], 5);
    assert_eq!(plan["days"], 7);
    assert_eq!(plan["priceTable"]["date"], "2026-09-28");
    let tiers: Vec<_> = plan["tiers"].as_array().unwrap().iter().collect();
    let names: Vec<_> = tiers.iter().map(|tier| tier["tier"].as_str().unwrap()).collect();
    assert_eq!(names, ["bulk", "standard"], "DEEP_ARCHIVE has no expedited tier");
    assert_eq!(tiers[0]["expectedSeconds"], 172_800);
    // 4 requests of 0.025 for 1,000; retrieval 0.0025 a GB; 8 days of 0.023 a month; 0.09 a GB out.
    let gib = f64::from(1 << 30);
    let cost = &tiers[0]["cost"];
    let near = |key: &str, wanted: f64| {
        let given = money(&cost[key]);
        assert!((given - wanted).abs() < 1e-11, "{key}: {given} {wanted}");
    };
    near("requests", 4.0 * 0.025 / 1000.0);
    near("retrieval", bytes as f64 / gib * 0.0025);
    near("copyStorage", bytes as f64 / gib * 0.023 * 8.0 / 30.0);
    let text = s3.ok(&format!("thaw plan {id}"));
    assert!(text.contains("bulk") && text.contains("48 h"), "{text}");
    assert!(text.contains("us-east-1, prices of 2026-09-28, with download"), "{text}");
    let ids = s3.ok(&format!("thaw plan {id}/sub --ids-only"));
    assert_eq!(ids.lines().count(), 1, "one folder, one pack: {ids}");
    let some = s3.json(&format!("thaw plan {id} --include=/more --exclude=2.bin --json"));
    assert_eq!((&some["needed"]["files"], &some["needed"]["packs"]), (&2.into(), &2.into()));
    let near_plan = s3.json(&format!("thaw plan {id} --json --transfer=none"));
    assert_eq!(near_plan["tiers"][0]["cost"]["transferOut"], "0.0000");
    let text = s3.fails(1, &format!("thaw plan {id} --tier=expedited"));
    assert!(
        text.contains("DEEP_ARCHIVE has no tier expedited; it has bulk and standard"),
        "{text}"
    );
}

#[test]
fn a_plain_restore_is_refused_with_time_price_and_the_command() {
    let (s3, _, id) = frozen("DEEP_ARCHIVE");
    let text = s3.fails(4, &format!("restore {id} {}", s3.text("out")));
    assert!(text.contains("4 of 4 packs ("), "{text}");
    assert!(text.contains(" are archived in DEEP_ARCHIVE; nothing was written."), "{text}");
    assert!(text.contains("thaw, bulk: about 48 h, $0.00"), "{text}");
    let command = text.lines().last().unwrap();
    assert!(command.ends_with(&format!("restore {id} {} --thaw=bulk", s3.text("out"))), "{text}");
    assert!(!s3.path("out").exists());
}

#[test]
fn consent_is_needed_and_a_limit_is_kept() {
    let (s3, _, id) = frozen("GLACIER");
    let text = s3.fails(6, &format!("thaw start {id}"));
    assert!(text.contains("--yes"), "{text}");
    let error = s3.json_error(6, &format!("thaw start {id} --max-cost=0.000001 --json"));
    assert_eq!(error["kind"], "limit");
    assert_eq!(error["details"]["maxCost"], "0.000001");
    s3.fails(6, &format!("restore {id} {} --thaw", s3.text("out")));
    assert_eq!(s3.server.requests().restores(""), 0);
    assert!(!s3.path("out").exists());
    // Less than the limit needs no further consent.
    s3.ok(&format!("thaw start {id} --max-cost=1"));
    assert_eq!(s3.server.requests().restores("r/p"), 4);
}

#[test]
fn a_thaw_is_started_once_waited_for_and_read_by_a_plain_restore() {
    let (s3, source, id) = frozen("GLACIER");
    let started = s3.json(&format!("thaw start {id} --tier=bulk --days=3 --yes --json"));
    assert_eq!((&started["accepted"], &started["tier"]), (&4.into(), &"bulk".into()));
    let thaw = started["thawID"].as_str().unwrap().to_owned();
    // Again: nothing is paid twice, and needs no consent.
    let again = s3.json(&format!("thaw start {id} --tier=bulk --days=3 --json"));
    assert_eq!((&again["accepted"], &again["alreadyThawing"]), (&0.into(), &4.into()));
    assert_eq!(s3.server.requests().restores("r/p"), 4);
    let run = s3.line(&format!("thaw status {thaw} --json"));
    assert_eq!(run.code, 5, "{run:?}");
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&status["state"], &status["remaining"]), (&"thawing".into(), &4.into()));
    assert_eq!(s3.line("thaw wait --timeout=50ms --poll-interval=10ms").code, 5);
    assert_eq!(s3.line("thaw wait --max-requests=2 --poll-interval=10ms").code, 6);
    s3.fails(4, &format!("restore {id} {}", s3.text("out")));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let status = s3.json(&format!("thaw wait {thaw} --json"));
    assert_eq!((&status["state"], &status["thawed"]), (&"thawed".into(), &4.into()));
    assert!(status["expiresAt"].as_str().is_some_and(|at| at.ends_with("T00:00:00Z")), "{status}");
    assert_eq!(s3.server.requests().heads("r/p"), 4, "since the first plan the listing tells it");
    let list = s3.json("thaw list --json");
    assert_eq!(list.as_array().unwrap().len(), 2);
    // One form for all of them.
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let nothing = s3.json(&format!("thaw start {id} --json"));
    for other in [&status, &list[0], &nothing] {
        assert_eq!(keys(&started), keys(other));
    }
    assert_eq!((&started["remaining"], &started["thawed"]), (&4.into(), &0.into()));
    assert_eq!((&nothing["thawID"], &nothing["state"]), (&Value::Null, &"thawed".into()));
    assert_eq!((&nothing["thawed"], &list[0]["state"]), (&4.into(), &Value::Null));
    s3.ok(&format!("restore {id} {}", s3.text("out")));
    assert_eq!(files(&s3.path("out")), files(std::path::Path::new(&source)));
    // What expires in good time is not asked for; with --extend it is, and no end comes nearer.
    let before = s3.server.requests().restores("r/p");
    s3.ok(&format!("thaw start {id} --days=1"));
    assert_eq!(s3.server.requests().restores("r/p"), before);
    let expiry = |key: &str| s3.server.objects().get(key).unwrap().restore.unwrap().expiry;
    let ends: Vec<_> = packs(&s3).iter().map(|key| expiry(key)).collect();
    s3.ok(&format!("thaw start {id} --days=9 --extend --yes"));
    for (key, end) in packs(&s3).iter().zip(&ends) {
        assert!(expiry(key) > *end, "{key}");
    }
    // The copies go away; the status says so.
    s3.server.clock().advance(Duration::from_secs(30 * DAY));
    let text = s3.fails(3, "thaw wait");
    assert!(text.contains("4 packs are archived and nobody thaws them"), "{text}");
}

#[test]
fn a_restore_thaws_by_itself_begins_with_what_is_readable_and_pays_what_was_planned() {
    let (s3, source, id) = frozen("DEEP_ARCHIVE");
    // One of the packs has never left; its file comes back while the others thaw.
    let warm = s3.ok(&format!("thaw plan {id}/more/1.bin --ids-only"));
    s3.server.objects().set_class(&format!("r/{}", warm.trim()), "STANDARD");
    let out = s3.text("out");
    let child =
        begun(&s3, &format!("restore {id} {out} --thaw=bulk --yes --poll-interval=50ms --json"));
    until("the warm file", || s3.path("out/more/1.bin").exists());
    until("the requests", || thaws(&s3) == 3);
    assert!(!s3.path("out/sub/b.bin").exists());
    s3.server.clock().advance(Duration::from_secs(2 * DAY));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(std::path::Path::new(&source)));
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&value["files"], &value["packsRead"]), (&5.into(), &4.into()), "{value}");
    let (planned, counted) = (&value["bill"]["planned"], &value["bill"]["counted"]);
    assert_eq!(planned, counted);
    // And both are what the server saw.
    let requests = s3.server.requests();
    assert_eq!(counted["thaws"], requests.restores("r/p"));
    assert_eq!(counted["gets"], requests.gets("r/p"));
    assert_eq!(counted["bytesRead"], requests.bytes_read("r/p"));
    let gets = requests.of(Kind::Get, "r/p");
    assert!(gets.iter().all(|get| get.status == Some(206)), "none was refused");
}

#[test]
fn a_whole_tree_that_thaws_costs_what_was_planned_into_an_archive_too() {
    let (s3, _, id) = frozen("GLACIER");
    let out = s3.text("out.tar");
    let child = begun(
        &s3,
        &format!("restore {id} {out} --thaw=expedited --yes --poll-interval=50ms --json"),
    );
    until("the requests", || thaws(&s3) == 4);
    s3.server.clock().advance(Duration::from_secs(300));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["bill"]["planned"], value["bill"]["counted"], "{value}");
    assert!(money(&value["bill"]["counted"]["cost"]["total"]) > 0.04, "4 requests of 10 for 1,000");
    assert!(s3.path("out.tar").exists());
}

#[test]
fn new_contents_of_a_folder_lie_together_and_the_plan_says_how_much_more_thaws_with_them() {
    let env = crate::env::TestEnv::with_packs_of(10 << 20);
    for folder in 0..8 {
        for file in 0..30 {
            let bytes = noise(folder * 100 + file, 100_000);
            env.write(&format!("src/{folder}/{file}.bin"), bytes);
        }
    }
    let source = env.text("src");
    env.ok(&format!("snapshot create {source} --parallel=8"));
    let id = env.newest();
    let whole = env.json(&format!("thaw plan {id} --json"));
    assert!(whole["needed"]["packs"].as_u64().unwrap() >= 3, "{whole}");
    assert!(whole["amplification"].as_f64().unwrap() < 1.1, "{whole}");
    for folder in 0..8 {
        let plan = env.json(&format!("thaw plan {id}/{folder} --json"));
        let packs = plan["needed"]["packs"].as_u64().unwrap();
        assert!(packs <= 2, "the 3 MB of folder {folder} lie in {packs} packs");
        let bytes = plan["needed"]["packBytes"].as_f64().unwrap();
        let needed = plan["needed"]["bytes"].as_f64().unwrap();
        let times = plan["amplification"].as_f64().unwrap();
        assert!((times - bytes / needed).abs() < 0.06, "{plan}");
    }
}

#[test]
fn what_sank_in_intelligent_tiering_comes_back_for_good() {
    let (s3, source, id) = frozen("INTELLIGENT_TIERING");
    // Nothing sinks in this bucket: the plan needs no HEAD, and a restore no thaw.
    let plan = s3.json(&format!("thaw plan {id} --json"));
    assert_eq!(plan["states"]["online"]["count"], 4, "{plan}");
    assert_eq!(s3.server.requests().heads("r/p"), 0);
    for key in packs(&s3).iter().take(3) {
        let tier = Some(s3_testkit::ArchiveAccess::Archive);
        assert!(s3.server.objects().set_archive_access(key, tier));
    }
    let text = s3.fails(4, &format!("restore {id} {}", s3.text("out")));
    assert!(text.contains("3 of 4 packs ("), "{text}");
    assert!(text.contains("are archived in INTELLIGENT_TIERING"), "{text}");
    let out = s3.text("out");
    let line = format!("restore {id} {out} --thaw=standard --yes --poll-interval=50ms --json");
    let child = begun(&s3, &line);
    until("the requests", || thaws(&s3) == 3);
    s3.server.clock().advance(Duration::from_secs(6 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(std::path::Path::new(&source)));
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["bill"]["planned"]["thaws"], 3, "{value}");
    assert_eq!(value["bill"]["planned"]["copyByteDays"], 0, "there is no copy: {value}");
    assert_eq!(value["bill"]["counted"]["thaws"], 3, "{value}");
    for get in s3.server.requests().of(Kind::Get, "r/p") {
        assert_eq!(get.status, Some(206), "{}", get.key);
    }
    // For good: long after, it is still there.
    s3.server.clock().advance(Duration::from_secs(60 * DAY));
    s3.ok(&format!("restore {id} {} --overwrite-files", s3.text("again")));
}

#[test]
fn a_table_of_ones_own_is_what_prices_are_of() {
    let (s3, _, id) = frozen("DEEP_ARCHIVE");
    let mut table = s3.json("storage-class list --print-table");
    table["region"] = "nearby-1".into();
    table["classes"]["DEEP_ARCHIVE"]["restore"]["Bulk"]["request_per_1000"] = 1000.0.into();
    s3.write("prices.json", table.to_string());
    let plan = s3.json(&format!("thaw plan {id} --json --price-table=prices.json"));
    assert_eq!(plan["tiers"][0]["cost"]["requests"], "4.0000");
    assert_eq!(plan["priceTable"]["region"], "nearby-1");
    s3.write("prices.json", "{}");
    let text = s3.fails(1, &format!("thaw plan {id} --price-table=prices.json"));
    assert!(text.contains("prices.json: the price table can't be read"), "{text}");
}

#[test]
fn a_running_thaw_is_made_faster_with_the_days_it_was_begun_with() {
    let (s3, _, id) = frozen("GLACIER");
    s3.ok(&format!("thaw start {id} --tier=bulk --days=3 --yes"));
    let tiers = || {
        let objects = s3.server.objects();
        let restores =
            packs(&s3).into_iter().map(|key| objects.get(&key).unwrap().restore.unwrap());
        restores.map(|restore| (restore.tier, restore.days)).collect::<Vec<_>>()
    };
    let before = s3.server.requests().restores("r/p");
    s3.ok(&format!("thaw start {id} --tier=expedited"));
    assert_eq!(s3.server.requests().restores("r/p"), before, "what is thawing is waited for");
    s3.ok(&format!("thaw start {id} --tier=expedited --upgrade-tier --yes"));
    assert_eq!(tiers(), [(s3_testkit::Tier::Expedited, Some(3)); 4]);
    // A slower one changes nothing, and is no failure.
    let json = s3.json(&format!("thaw start {id} --tier=bulk --upgrade-tier --yes --json"));
    assert_eq!((&json["accepted"], &json["alreadyThawing"]), (&0.into(), &8.into()), "{json}");
    assert_eq!(tiers(), [(s3_testkit::Tier::Expedited, Some(3)); 4]);
}

#[test]
fn blobs_of_a_list_are_thawed_without_asking_what_they_are_for() {
    let (s3, _, _) = frozen("DEEP_ARCHIVE");
    let names: Vec<_> = packs(&s3).iter().map(|key| key["r/".len()..].to_owned()).collect();
    s3.write("blobs", format!("{}\n\n  {}\n{0}\n", names[0], names[2]));
    let json = s3.json("thaw start --blobs=blobs --tier=bulk --yes --json");
    assert_eq!(json["accepted"], 2);
    assert_eq!(thaws(&s3), 2);
    s3.write("blobs", format!("{}\np0123456789abcdef\n", names[1]));
    let run = s3.line("thaw start --blobs=blobs --tier=bulk --yes");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("p0123456789abcdef does not exist"), "{run:?}");
    assert_eq!(thaws(&s3), 3);
    s3.write("blobs", "a/b\n");
    let text = s3.fails(1, "thaw plan --blobs=blobs");
    assert!(text.contains("a/b"), "{text}");
    s3.fails(2, "thaw plan");
}

#[test]
fn in_a_folder_nothing_is_ever_cold() {
    let env = crate::env::TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let plan = env.json(&format!("thaw plan {id} --json"));
    assert_eq!(plan["states"]["archived"]["count"], 0, "{plan}");
    let run = env.line(&format!("thaw start {id}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("Nothing to ask for: all can be read."), "{run:?}");
    env.ok(&format!("restore {id} {} --thaw", env.text("out")));
    let text =
        env.fails(1, &format!("thaw start {id} --batch --role-arn=arn:aws:iam::1:role/x --yes"));
    assert!(text.contains("only S3 has Batch Operations"), "{text}");
}
