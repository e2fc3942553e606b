//! `maintenance plan` and `run`: what they say, what they leave alone, and that no archived pack is
//! read.

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
    for _ in 0..2 {
        let said = s3.says("maintenance run --full --safety=none");
        assert!(said.contains("archived packs are short, and are not read"), "{said}");
    }
    assert_eq!(s3.server.requests().gets("r/p"), 0);
    // Dead ones are billed on, and so stay; the live ones are needed.
    assert_eq!(s3.server.objects().keys("r/p"), packs);
}
