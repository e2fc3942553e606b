//! Thaws under bad weather: throttled, denied, no capacity, copies that go away, kills at every
//! stage. What is paid is what the server took.

use std::{path::Path, time::Duration};

use s3_testkit::{Action, Fault, Kind};
use serde_json::Value;

use crate::{
    env::{S3Env, files},
    thaw::{begun, ended, frozen, packs, thaws, until},
};

/// How often each pack was asked for with success.
fn accepted(s3: &S3Env) -> Vec<usize> {
    let taken = |key: &String| {
        let asked = s3.server.requests().of(Kind::Restore, key);
        asked.iter().filter(|request| request.status == Some(202)).count()
    };
    packs(s3).iter().map(taken).collect()
}

#[test]
fn a_throttled_thaw_slows_down_and_costs_what_was_planned() {
    let (s3, source, id) = frozen("DEEP_ARCHIVE");
    s3.server.faults().push(Fault::slow_down().on(Kind::Restore).times(7));
    let out = s3.text("out");
    let line = format!("restore {id} {out} --thaw=bulk --max-cost=1 --poll-interval=50ms --json");
    let child = begun(&s3, &line);
    until("the requests", || thaws(&s3) == 4);
    s3.server.clock().advance(Duration::from_secs(2 * 24 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(s3.server.requests().restores("r/p"), 11, "7 were told to come later");
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["bill"]["planned"], value["bill"]["counted"], "{value}");
    assert_eq!(value["bill"]["counted"]["thaws"], 4);
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
}

#[test]
fn a_denied_thaw_stops_at_once_and_names_the_right() {
    let (s3, _, id) = frozen("GLACIER");
    s3.server.deny(Action::Restore, "r/p");
    let text = s3.fails(13, &format!("thaw start {id} --yes --parallel=1"));
    assert!(text.contains("s3:RestoreObject"), "{text}");
    assert!(text.contains("0 of 4 packs were asked for"), "{text}");
    assert_eq!(s3.server.requests().restores("r/p"), 1, "the others would be denied, too");
    s3.server.allow_all();
    s3.ok(&format!("thaw start {id} --yes"));
    assert_eq!(thaws(&s3), 4);
}

#[test]
fn an_exhausted_tier_is_an_error_of_its_own_and_another_one_needs_consent() {
    let (s3, _, id) = frozen("GLACIER");
    s3.server.faults().push(Fault::no_expedited_capacity().on(Kind::Restore).always());
    let error = s3.json_error(1, &format!("thaw start {id} --tier=expedited --yes --json"));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the expedited tier has no capacity now for 4 packs"), "{message}");
    assert!(message.contains("--fallback-tier=standard"), "{message}");
    assert_eq!(error["details"]["packs"].as_array().unwrap().len(), 4);
    assert_eq!(thaws(&s3), 0, "no other tier was taken");
    // Nor has the other one: that is no success.
    for what in
        [format!("thaw start {id}"), format!("restore {id} {} --timeout=9s", s3.text("out"))]
    {
        let thaw = if what.starts_with("thaw") { "--tier" } else { "--poll-interval=50ms --thaw" };
        let line = format!("{what} {thaw}=expedited --fallback-tier=standard --yes");
        let text = s3.fails(1, &line);
        assert!(text.contains("the standard tier has no capacity now for 4 packs"), "{text}");
    }
    s3.server.faults().clear();
    let tries = 3 * 4;
    s3.server.faults().push(Fault::no_expedited_capacity().on(Kind::Restore).times(tries));
    let line = format!("thaw start {id} --tier=expedited --fallback-tier=standard --yes --json");
    let started = s3.json(&line);
    assert_eq!(
        (&started["tier"], &started["fallbackTier"]),
        (&"expedited".into(), &"standard".into())
    );
    let run = s3.line("thaw status --json");
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    for key in ["fallbackTier", "cost", "expectedEndTime", "accepted", "remaining"] {
        assert_eq!(started[key], status[key], "{key}");
    }
    // It takes the hours of the other tier, not the minutes of the first one.
    let at = |key: &str| started[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((at("expectedEndTime") - at("startTime")).as_secs(), 5 * 3600);
    let text = s3.line("thaw status").stdout;
    assert!(text.contains("(expedited, then standard, 7 days)"), "{text}");
    let objects = s3.server.objects();
    let tiers = packs(&s3).into_iter().map(|key| objects.get(&key).unwrap().restore.unwrap().tier);
    let standard = tiers.filter(|tier| *tier == s3_testkit::Tier::Standard).count();
    assert!(standard >= 3, "{standard} of 4");
}

#[test]
fn packs_that_freeze_again_during_the_restore_are_thawed_again() {
    let (s3, source, id) = frozen("GLACIER");
    s3.ok(&format!("thaw start {id} --tier=bulk --yes"));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    // Half of the copies go away while the first read is under way.
    s3.server.requests().clear();
    let stall = Fault::stall(Duration::from_millis(1500)).on(Kind::Get).keys("r/p").times(4);
    s3.server.faults().push(stall);
    let out = s3.text("out");
    let child =
        begun(&s3, &format!("restore {id} {out} --thaw=bulk --yes --poll-interval=50ms --json"));
    until("the first read", || s3.server.requests().gets("r/p") > 0);
    let gone: Vec<_> = packs(&s3).into_iter().take(2).collect();
    gone.iter().for_each(|key| _ = s3.server.objects().set_class(key, "GLACIER"));
    until("the second thaw", || thaws(&s3) == 4);
    for key in &gone {
        let gets = s3.server.requests().of(Kind::Get, key);
        let refused = gets.iter().filter(|get| get.status == Some(403)).count();
        assert!(refused <= 1, "{refused} refused reads of {key}");
    }
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["files"], 5, "each file is counted once: {value}");
    assert_eq!(value["bill"]["planned"]["thaws"], 0);
    assert_eq!(value["bill"]["counted"]["thaws"], 2);
}

#[test]
fn what_is_more_than_the_limit_is_not_thawed_again() {
    let (s3, _, id) = frozen("GLACIER");
    s3.ok(&format!("thaw start {id} --tier=bulk --yes"));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    s3.server.requests().clear();
    let stall = Fault::stall(Duration::from_millis(1500)).on(Kind::Get).keys("r/p").times(4);
    s3.server.faults().push(stall);
    let plan = s3.json(&format!("thaw plan {id} --json --tier=standard"));
    let reads = plan["tiers"][0]["cost"]["total"].as_str().unwrap().to_owned();
    let out = s3.text("out");
    let child = begun(
        &s3,
        &format!("restore {id} {out} --thaw=standard --max-cost={reads} --poll-interval=50ms"),
    );
    until("the first read", || s3.server.requests().gets("r/p") > 0);
    packs(&s3).iter().for_each(|key| _ = s3.server.objects().set_class(key, "GLACIER"));
    let run = ended(child);
    assert_eq!(run.code, 6, "{run:#?}");
    assert!(run.stderr.contains("are archived again before they were read"), "{run:#?}");
    assert_eq!(thaws(&s3), 0);
}

#[test]
fn a_thaw_that_is_killed_anywhere_goes_on_and_pays_nothing_twice() {
    for killed_at in 0..5 {
        let (s3, source, id) = frozen("DEEP_ARCHIVE");
        let stall = Fault::stall(Duration::from_secs(20)).on(Kind::Restore).skip(killed_at);
        s3.server.faults().push(stall.times(1));
        let mut child = begun(&s3, &format!("thaw start {id} --yes --parallel=1"));
        match killed_at {
            0..4 => until("the request", || s3.server.requests().restores("r/p") > killed_at),
            // All were taken: it may be over by then.
            _ => until("all requests", || thaws(&s3) == 4),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        s3.server.faults().clear();
        // The journal tells which thaw it was; naming it goes on with it.
        let all = s3.json("thaw list --json");
        let first = all[0]["thawID"].as_str().unwrap().to_owned();
        s3.ok(&format!("thaw start {first} --yes"));
        until("what was under way when it was killed", || thaws(&s3) == 4);
        assert_eq!(accepted(&s3), [1, 1, 1, 1], "killed at request {killed_at}");
        s3.server.clock().advance(Duration::from_secs(2 * 24 * 3600));
        s3.ok("thaw wait");
        s3.ok(&format!("restore {id} {}", s3.text("out")));
        assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
    }
}

#[test]
fn a_restore_that_is_killed_while_it_waits_or_reads_goes_on() {
    let (s3, source, id) = frozen("GLACIER");
    let out = s3.text("out");
    let line = format!("restore {id} {out} --thaw=bulk --yes --poll-interval=50ms --json");
    let mut child = begun(&s3, &line);
    until("the requests", || thaws(&s3) == 4);
    child.kill().unwrap();
    child.wait().unwrap();
    // Again, killed while it reads.
    let stall = Fault::stall(Duration::from_secs(20)).on(Kind::Get).keys("r/p").skip(2).times(9);
    s3.server.faults().push(stall);
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    assert_eq!(accepted(&s3), [1, 1, 1, 1]);
    let mut child = begun(&s3, &line);
    until("the reads", || s3.server.requests().gets("r/p") > 2);
    child.kill().unwrap();
    child.wait().unwrap();
    s3.server.faults().clear();
    s3.server.requests().clear();
    // Without a cache of what was read before, the plan is to the byte what is done.
    s3.ok("cache clear");
    let run = ended(begun(&s3, &line));
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["bill"]["planned"], value["bill"]["counted"], "{value}");
    assert_eq!(value["bill"]["counted"]["thaws"], 0, "paid for by the first run: {value}");
    assert_eq!(value["bill"]["counted"]["bytesRead"], s3.server.requests().bytes_read("r/p"));
}

#[test]
fn a_restore_that_waits_ends_in_good_order_and_says_how_it_goes_on() {
    let (s3, _, id) = frozen("GLACIER");
    let line = format!("restore {id} {} --thaw=bulk --yes", s3.text("out"));
    let run = s3.line(&format!("{line} --timeout=100ms --poll-interval=20ms"));
    assert_eq!(run.code, 5, "{run:#?}");
    assert!(run.stderr.contains("the same command goes on with the restore"), "{run:#?}");
    let before = s3.server.requests().lists("r/p");
    let child = begun(&s3, &format!("{line} --poll-interval=20ms"));
    // Its plan looks at four packs, and then each look: after three it has begun to wait.
    until("it waits", || s3.server.requests().lists("r/p") > before + 3 * 4);
    let interrupt = rustix::process::Signal::INT;
    let process = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(process, interrupt).unwrap();
    let run = ended(child);
    assert_eq!(run.code, 130, "{run:#?}");
    assert!(run.stderr.contains("the same command goes on with it"), "{run:#?}");
    assert_eq!(accepted(&s3), [1, 1, 1, 1]);
}

#[test]
fn a_pack_that_a_rule_archived_after_the_listing_is_asked_once_and_a_403_is_looked_into() {
    let (s3, _, id) = frozen("STANDARD");
    let stall = Fault::stall(Duration::from_millis(700)).on(Kind::List).keys("r/p").times(1);
    s3.server.faults().push(stall);
    // Some storages answer so to a read of a cold object.
    let refusal = Fault::access_denied().on(Kind::Get).keys("r/p").always();
    s3.server.faults().push(refusal);
    let child = begun(&s3, &format!("restore {id} {} --ignore-errors --json", s3.text("out")));
    until("the listing", || s3.server.requests().lists("r/p") > 0);
    until("the reads", || s3.server.requests().gets("r/p") > 0);
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("denied"), "hot, so it is a lack of rights: {run:#?}");
    for class in ["GLACIER", "INTELLIGENT_TIERING"] {
        let (s3, _, id) = frozen("STANDARD");
        let refusal = Fault::access_denied().on(Kind::Get).keys("r/p").always();
        s3.server.faults().push(refusal.clone());
        let stall = Fault::stall(Duration::from_millis(700)).on(Kind::Head).keys("r/p").times(1);
        s3.server.faults().push(stall);
        let child = begun(&s3, &format!("restore {id} {} --ignore-errors --json", s3.text("out")));
        until("the first refusal", || s3.server.requests().gets("r/p") > 0);
        for key in packs(&s3) {
            s3.server.objects().set_class(&key, class);
            if class == "INTELLIGENT_TIERING" {
                let tier = Some(s3_testkit::ArchiveAccess::Archive);
                s3.server.objects().set_archive_access(&key, tier);
            }
        }
        let run = ended(child);
        assert_eq!(run.code, 0, "{run:#?}");
        assert!(run.stdout.contains("archived"), "{class}: {run:#?}");
        for key in packs(&s3) {
            assert!(s3.server.requests().gets(&key) <= 1, "{class}: {key}");
        }
    }
}

#[test]
fn nothing_is_paid_for_a_restore_that_can_not_be_whole() {
    let (s3, _, id) = frozen("GLACIER");
    let gone = packs(&s3).remove(1);
    s3.server.objects().remove(&gone);
    let line = format!("restore {id} {} --thaw=bulk --yes --poll-interval=50ms", s3.text("out"));
    let text = s3.fails(20, &line);
    assert!(text.contains(&gone["r/".len()..]), "{text}");
    assert_eq!(s3.server.requests().restores("r/p"), 0);
    assert!(!s3.path("out").exists());
    // What is there comes back if that is what is wanted.
    let child = begun(&s3, &format!("{line} --ignore-errors --json"));
    until("the requests", || thaws(&s3) == 3);
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(!value["ignoredErrors"].as_array().unwrap().is_empty(), "{value}");
    assert_eq!(value["bill"]["planned"]["thaws"], 3, "{value}");
    assert_eq!(value["bill"]["counted"]["thaws"], 3, "{value}");
}
