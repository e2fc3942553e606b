//! `maintenance plan` and `run`: what they say, what they leave alone, and that no archived pack is
//! read.

use std::{collections::BTreeMap, time::Duration};

use s3_testkit::Kind;
use serde_json::Value;

use crate::env::{S3Env, TestEnv, keys, noise};

/// A repository with a snapshot, and one that was deleted again: its data is garbage.
fn with_garbage(env: &TestEnv) {
    let source = env.plant();
    env.ok(&format!("snapshot create {source} --no-auto-maintenance"));
    let kept = env.newest();
    env.write("src/late.bin", noise(9, 40_000));
    env.ok(&format!("snapshot create {source} --no-auto-maintenance"));
    let late = env.newest();
    assert_ne!(kept, late);
    env.ok(&format!("snapshot delete {late} --delete --no-auto-maintenance"));
}

/// Entries have whole seconds, and a mark is later than the content: what was written in this second
/// can't be dropped in it, whatever margins are left out.
fn settle() {
    std::thread::sleep(Duration::from_secs(2));
}

/// The blobs that there are.
fn blobs(env: &TestEnv) -> Vec<String> {
    let all = env.json("blob list --json");
    let ids = all.as_array().unwrap().iter();
    ids.map(|blob| blob["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_says_what_it_does_and_is_noted() {
    let env = TestEnv::with_repository();
    with_garbage(&env);
    let said = env.says("maintenance run --full");
    for line in ["Running full maintenance...", "GC found 0 unused contents (", "Finished full"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let info = env.json("maintenance info --json");
    let runs = info["schedule"]["runs"].as_object().unwrap();
    for task in ["snapshot-gc", "full-delete-blobs", "advance-epoch", "cleanup-logs"] {
        assert_eq!(runs[task][0]["success"], true, "{task}: {info}");
    }
    assert!(env.says("maintenance run").contains("Running quick maintenance..."));
    let done = env.json("maintenance run --full --json");
    assert_eq!(keys(&done), ["mode", "tasks", "failed"]);
    assert_eq!((&done["mode"], &done["failed"]), (&"full".into(), &Value::Array(Vec::new())));
}

#[test]
fn a_plan_has_the_promised_form_and_writes_nothing() {
    let env = TestEnv::with_repository();
    with_garbage(&env);
    let before = blobs(&env);
    let plan = env.json("maintenance plan --full --json");
    assert_eq!(keys(&plan), ["mode", "tasks", "owner", "due", "totalCost"]);
    assert_eq!((&plan["mode"], &plan["owner"]), (&"full".into(), &"u@h".into()));
    assert_eq!(plan["due"], true);
    let tasks = plan["tasks"].as_array().unwrap();
    let collect = tasks.iter().find(|task| task["task"] == "snapshot-gc").unwrap();
    for key in ["task", "reason", "reads", "writes", "deletes", "bytes", "coldSkipped", "cost"] {
        assert!(collect.get(key).is_some(), "{key}: {collect}");
    }
    let shown = env.ok("maintenance plan --full");
    assert!(shown.starts_with("Full maintenance, due; it is the task of u@h\n"), "{shown}");
    assert_eq!(env.ok("maintenance run --full -n"), shown);
    assert_eq!(blobs(&env), before);
}

#[test]
fn deletions_are_named_with_their_reasons_and_then_done() {
    let env = TestEnv::with_repository();
    with_garbage(&env);
    settle();
    let plan = env.ok("maintenance plan --full --safety=none --deletions");
    let named: Vec<String> = plan
        .lines()
        .filter(|line| line.contains("no index entry names it"))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert!(named.iter().any(|name| name.starts_with('p')), "{plan}");
    env.says("maintenance run --full --safety=none");
    let after = blobs(&env);
    assert!(named.iter().all(|name| !after.contains(name)), "{named:?}");
    // What the snapshot that is left needs is all there.
    env.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn somebody_elses_task_is_refused_with_the_way_out() {
    let env = TestEnv::with_repository();
    env.ok("maintenance set --owner=other@there");
    let said = env.fails(1, "maintenance run --full");
    assert!(said.contains("maintenance must be run by designated user: other@there"), "{said}");
    assert!(said.contains("kopia-lite maintenance set --owner=me"), "{said}");
    env.ok("maintenance set --owner=me");
    env.ok("maintenance run --full");
}

#[test]
fn the_policy_for_archived_packs_is_kept() {
    let env = TestEnv::with_repository();
    let said = env.says("maintenance set --cold=keep");
    assert!(said.contains("Policy for archived packs set to keep."), "{said}");
    assert!(env.ok("maintenance info").contains("Archived packs: keep\n"));
}

#[test]
fn full_maintenance_over_archived_packs_reads_none_of_them() {
    let s3 = S3Env::new();
    s3.create("");
    with_garbage(&s3);
    let packs = s3.server.objects().keys("r/p");
    assert!(packs.len() > 1);
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    s3.ok("cache clear");
    s3.server.requests().clear();
    let plan = s3.json("maintenance plan --full --safety=none --json");
    let tasks = plan["tasks"].as_array().unwrap();
    let rewrite = tasks.iter().find(|task| task["task"] == "full-rewrite-contents").unwrap();
    assert_eq!(rewrite["coldSkipped"], packs.len(), "{rewrite}");
    let said = s3.says("maintenance run --full --safety=none");
    assert!(said.contains("archived packs are short, and are not read"), "{said}");
    // By now one of them is dead as a whole.
    settle();
    let said = s3.says("maintenance run --full --safety=none");
    assert!(said.contains("1 dead archived packs of"), "{said}");
    assert_eq!(s3.server.requests().gets("r/p"), 0);
    // Dead ones are billed on, and so stay; the live ones are needed.
    assert_eq!(s3.server.objects().keys("r/p"), packs);
}

#[test]
fn mostly_dead_archived_packs_are_thawed_and_compacted_where_it_pays_and_is_allowed() {
    let s3 = S3Env::new();
    s3.create("");
    with_garbage(&s3);
    s3.write("src/more.bin", noise(10, 50_000));
    s3.ok(&format!("snapshot create {} --no-auto-maintenance", s3.text("src")));
    let packs = s3.server.objects().keys("r/p");
    assert_eq!(packs.len(), 3, "two are needed, one is garbage");
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "GLACIER"));
    settle();
    let line = "maintenance run --full --safety=none --thaw-and-compact --tier=expedited";
    let refused = s3.fails(1, &format!("{line} --yes"));
    assert!(refused.contains("maintenance set --cold=compact"), "{refused}");
    s3.ok("maintenance set --cold=compact");
    // Somebody else's task: nothing is paid for.
    s3.ok("maintenance set --owner=other@there");
    s3.server.requests().clear();
    let refused = s3.fails(1, &format!("{line} --yes --pays-within=1e12"));
    assert!(refused.contains("designated user: other@there"), "{refused}");
    s3.ok("maintenance set --owner=me");
    // It does not pay within a year, and so nothing is asked for.
    let run = s3.line(&format!("{line} -n"));
    assert!(run.stderr.contains("does not pay within 12 months"), "{run:#?}");
    assert!(run.stdout.starts_with("Full maintenance"), "{run:#?}");
    assert_eq!(s3.server.requests().restores("r/"), 0);
    let pays = format!("{line} --pays-within=1e12");
    assert_eq!(s3.line(&pays).code, 6, "nobody agrees to the cost");
    assert_eq!(s3.server.requests().restores("r/"), 0);
    let said = s3.says(&format!("{pays} --yes"));
    assert!(said.contains("are worth compacting") && said.contains("The same command"), "{said}");
    assert_eq!(s3.server.requests().restores("r/"), packs.len());
    assert_eq!(s3.server.requests().gets("r/p"), 0, "none can be read yet");
    s3.server.clock().advance(Duration::from_secs(200)); // an expedited thaw takes three minutes
    let said = s3.says(&format!("{pays} --yes"));
    assert!(said.contains("Rewrote "), "{said}");
    let asked = s3.server.requests().restores("r/");
    assert_eq!(asked, packs.len(), "a thaw is paid for once");
    assert!(s3.server.requests().gets("r/p") > 0);
    let new: Vec<String> =
        s3.server.objects().keys("r/p").into_iter().filter(|key| !packs.contains(key)).collect();
    assert_eq!(new.len(), 1, "two short packs became one");
    s3.ok("cache clear");
    s3.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn locks_are_extended_by_full_maintenance_when_it_is_on() {
    let s3 = S3Env::lockable();
    let flags = s3.flags();
    let own = "--override-hostname=h --override-username=u";
    s3.ok(&format!(
        "repository create --retention-mode=GOVERNANCE --retention-period=48h s3 {flags} {own}"
    ));
    s3.ok(&format!("snapshot create {} --no-auto-maintenance", s3.plant()));
    let locks = || -> BTreeMap<String, String> {
        let objects = s3.server.objects();
        let locked = |key: &String| Some((key.clone(), format!("{:?}", objects.get(key)?.lock)));
        objects.keys("r/").iter().filter_map(locked).collect()
    };
    let before = locks();
    settle();
    s3.server.requests().clear();
    s3.ok("maintenance run --full");
    assert_eq!(s3.server.requests().count(Kind::Retain, "r/"), 0, "it is off");
    s3.ok("maintenance set --extend-object-locks=true");
    s3.server.requests().clear();
    s3.ok("maintenance run --full");
    let after = locks();
    let mut kinds = BTreeMap::new();
    for (key, lock) in &before {
        let kind = blob_core::layers::kind(&key["r/".len()..]);
        let extended = after.get(key).is_some_and(|now| now != lock);
        kinds.entry(kind).and_modify(|all| *all &= extended).or_insert(extended);
    }
    for kind in ["p", "q", "xn", "kopia.repository", "kopia.blobcfg"] {
        assert_eq!(kinds.get(kind), Some(&true), "{kind}: {kinds:?}");
    }
    let runs = s3.json("maintenance info --json");
    let run = &runs["schedule"]["runs"]["extend-blob-retention-time"][0];
    let data = &run["extra"][0]["data"];
    assert_eq!(run["success"], true, "{run}");
    assert_eq!(data["extendedBlobCount"], s3.server.requests().count(Kind::Retain, "r/"), "{run}");
    assert_eq!(data["retentionPeriod"], "48h0m0s", "{run}");
    // A lock that ends before the next full maintenance could come is no lock.
    let refused = s3.fails(1, "maintenance set --full-interval=25h");
    assert!(refused.contains("24 h longer"), "{refused}");
    assert_eq!(s3.json("maintenance info --json")["full"]["interval"], 86_400_000_000_000_i64);
}
