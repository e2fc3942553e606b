//! Restores in stages, and thaws that go on with earlier ones: they have to agree with one another.

use std::{path::Path, time::Duration};

use s3_testkit::{ArchiveAccess, Fault, Kind};
use serde_json::Value;

use crate::{
    env::{S3Env, files, noise},
    thaw::{begun, ended, frozen, packs, thaws, until},
};

#[test]
fn a_listing_that_calls_a_refused_pack_readable_is_not_believed() {
    let (s3, source, id) = frozen("INTELLIGENT_TIERING");
    // No object sinks here, the bucket says, when the plan is made; then all do.
    let stall = Fault::stall(Duration::from_millis(1500)).on(Kind::Get).keys("r/p").times(4);
    s3.server.faults().push(stall);
    let out = s3.text("out");
    let line = format!("restore {id} {out} --thaw=bulk --yes --poll-interval=50ms --json");
    let child = begun(&s3, &line);
    until("the first read", || s3.server.requests().gets("r/p") > 0);
    for key in packs(&s3) {
        s3.server.objects().set_archive_access(&key, Some(ArchiveAccess::Archive));
    }
    until("the thaw", || thaws(&s3) == 4);
    assert!(s3.server.requests().gets("r/p") <= 8, "{}", s3.server.requests().gets("r/p"));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
}

#[test]
fn what_must_stay_stays_in_later_stages_too() {
    let (s3, _, id) = frozen("GLACIER");
    // One pack is readable at once, so there are two stages.
    let warm = s3.ok(&format!("thaw plan {id}/more/1.bin --ids-only"));
    s3.server.objects().set_class(&format!("r/{}", warm.trim()), "STANDARD");
    // The pack of this file is thawed all the same, for another one.
    s3.write("out/a.txt", "mine");
    let out = s3.text("out");
    let line = "--yes --poll-interval=50ms --json --ignore-errors --overwrite-files=false";
    let child = begun(&s3, &format!("restore {id} {out} --thaw=bulk {line}"));
    until("the warm file", || s3.path("out/more/1.bin").exists());
    until("the requests", || thaws(&s3) == 3);
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(fs_err::read_to_string(s3.path("out/a.txt")).unwrap(), "mine");
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    let failures = value["ignoredErrors"].as_array().unwrap();
    let paths: Vec<_> = failures.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!((&value["files"], paths), (&4.into(), vec!["a.txt"]), "{value}");
    assert!(s3.path("out/sub/b.bin").exists());
}

#[test]
fn an_earlier_thaw_is_gone_on_with_as_it_was_begun() {
    let (s3, _, id) = frozen("GLACIER");
    let started = s3.json(&format!("thaw start {id}/sub --tier=bulk --days=3 --yes --json"));
    let first = started["thawID"].as_str().unwrap().to_owned();
    // The newest thaw is about another pack: its days are not those of the first.
    s3.ok(&format!("thaw start {id}/more/1.bin --tier=bulk --days=9 --yes"));
    let faster =
        s3.json(&format!("thaw start {id}/sub --upgrade-tier --tier=expedited --yes --json"));
    assert_eq!((&faster["accepted"], &faster["failed"]), (&1.into(), &Value::Array(Vec::new())));
    s3.server.clock().advance(Duration::from_secs(30 * 24 * 3600));
    let again = s3.json(&format!("thaw start {first} --yes --json"));
    assert_eq!((&again["tier"], &again["days"]), (&"bulk".into(), &3.into()), "{again}");
    assert_eq!(again["accepted"], 1);
    // A journal that is none hides none of the others.
    let folder = format!("{}.thaws", s3.config_file().display());
    fs_err::write(format!("{folder}/t-20200101-000000-0000.jsonl"), "{\"thawID\"").unwrap();
    let run = s3.line("thaw list");
    assert_eq!((run.code, run.stdout.lines().count()), (0, 4), "{run:#?}");
    assert!(run.stderr.contains("is not the journal of a thaw"), "{run:#?}");
}

#[test]
fn a_pack_that_has_become_cold_is_asked_once_through_the_cache_too() {
    let s3 = S3Env::new();
    s3.create("");
    for n in 0..9 {
        s3.write(&format!("src/{n}.bin"), noise(n, 400_000));
    }
    let source = s3.text("src");
    s3.ok(&format!("snapshot create {source} --parallel=1"));
    // Every other content of the pack is needed: each is a read of its own, and the cache's.
    // They lie in the pack in the order of the file system.
    let all: Vec<_> = fs_err::read_dir(&source).unwrap().map(|it| it.unwrap().path()).collect();
    all.iter().skip(1).step_by(2).for_each(|path| fs_err::remove_file(path).unwrap());
    s3.ok(&format!("snapshot create {source}"));
    s3.ok("cache clear");
    let (id, key) = (s3.newest(), packs(&s3).remove(0));
    let plan = s3.json(&format!("restore {id} {} --dry-run --json", s3.text("out")));
    assert_eq!((&plan["packs"], &plan["requests"]), (&1.into(), &5.into()), "{plan}");
    s3.server.requests().clear();
    let stall = Fault::stall(Duration::from_millis(700)).on(Kind::Get).keys("r/p").times(1);
    s3.server.faults().push(stall);
    let child = begun(&s3, &format!("restore {id} {} --ignore-errors --json", s3.text("out")));
    until("the first read", || s3.server.requests().gets(&key) > 0);
    s3.server.objects().set_class(&key, "GLACIER");
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("archived"), "{run:#?}");
    assert_eq!(s3.server.requests().gets(&key), 1);
}

#[test]
fn a_limit_holds_for_the_other_tier_too() {
    let (s3, _, id) = frozen("GLACIER");
    s3.server.faults().push(Fault::no_expedited_capacity().on(Kind::Restore).times(12));
    let tiers = "bulk --fallback-tier=expedited --max-cost=0.01";
    s3.fails(6, &format!("thaw start {id} --tier={tiers}"));
    s3.fails(6, &format!("restore {id} {} --thaw={tiers}", s3.text("out")));
    // A tier that the class does not have is none to fall back to.
    packs(&s3).iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    for what in [format!("thaw start {id} --tier"), format!("restore {id} {} --thaw", s3.text("o"))]
    {
        let text = s3.fails(1, &format!("{what}=bulk --fallback-tier=expedited --yes"));
        assert!(text.contains("--fallback-tier: DEEP_ARCHIVE has no tier expedited"), "{text}");
    }
    assert_eq!(s3.server.requests().restores("r/p"), 0);
}
