//! `repository check`, `permissions`, `validate-provider`: is all as it should be?

use s3_testkit::{Action, Fault, Kind};

use crate::env::{S3Env, TestEnv, keys};

/// The state and message of one check.
fn of<'a>(json: &'a serde_json::Value, check: &str) -> (&'a str, &'a str) {
    let all = json["checks"].as_array().unwrap();
    let found = all.iter().find(|it| it["check"] == check).unwrap();
    (found["state"].as_str().unwrap(), found["message"].as_str().unwrap())
}

#[test]
fn a_healthy_repository_is_said_to_be_so() {
    let env = TestEnv::with_repository();
    env.ok(&format!("snapshot create {}", env.plant()));
    let text = env.ok("repository check");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[1], "ok      write          granted");
    let first = format!("ok      connection     Filesystem: {}, format 3", env.text("repo"));
    assert_eq!(lines[0], first);
    assert!(lines.iter().all(|line| line.starts_with("ok ") || line.starts_with("- ")), "{text}");
    let json = env.json("repository check --json");
    assert_eq!(keys(&json["checks"][0]), ["check", "state", "message"]);
    assert_eq!(of(&json, "maintenance"), ("ok", "not overdue; the task of u@h"));
    assert_eq!(of(&json, "lifecycle").0, "skipped");
}

#[test]
fn a_clock_that_is_behind_is_an_error() {
    let env = TestEnv::with_repository();
    let file = env.path("repo/kopia.repository.f");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    std::fs::File::options().append(true).open(file).unwrap().set_modified(later).unwrap();
    let run = env.line("repository check");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("ERROR   clock          blob kopia.repository is 3"), "{run:?}");
}

#[test]
fn what_hurts_a_bucket_is_found_by_reading_alone() {
    let s3 = S3Env::new();
    s3.create("");
    s3.ok(&format!("snapshot create {}", s3.plant()));
    let packs = s3.server.objects().keys("r/p");
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    s3.server.requests().clear();
    let before = s3.server.objects().keys("");
    let json = s3.json("repository check --json");
    let (state, message) = of(&json, "archived");
    assert!(state == "ok" && message.starts_with(&format!("{} packs (", packs.len())), "{json}");
    assert_eq!(of(&json, "storage-config"), ("ok", "none: every blob goes to STANDARD"));
    assert_eq!(of(&json, "lifecycle"), ("ok", "no rule hurts the repository"));
    let requests = s3.server.requests();
    assert_eq!(requests.gets("r/p"), 0);
    // Rights are asked for by what has no effect.
    assert_eq!((requests.puts(""), requests.deletes("")), (1, 1));
    assert_eq!(requests.of(Kind::Put, "")[0].status, Some(400));
    assert_eq!(s3.server.objects().keys(""), before);
    // Directories that nobody can read any more.
    let metadata = s3.server.objects().keys("r/q");
    s3.server.objects().set_class(&metadata[0], "DEEP_ARCHIVE");
    let run = s3.line("repository check --json");
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, of(&json, "archived").0), (1, "error"), "{run:?}");
}

#[test]
fn a_right_that_is_missing_is_named() {
    let s3 = S3Env::new();
    s3.create("");
    s3.ok(&format!("snapshot create {}", s3.plant()));
    let json = s3.json("repository check --json");
    assert_eq!(of(&json, "put"), ("ok", "granted"));
    assert_eq!(of(&json, "delete"), ("ok", "granted"));
    assert_eq!(of(&json, "thaw"), ("skipped", "not asked: no pack is archived"));
    assert_eq!(of(&json, "versions"), ("ok", "what is replaced or deleted is gone"));
    let packs = s3.server.objects().keys("r/p");
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    assert_eq!(of(&s3.json("repository check --json"), "thaw"), ("ok", "granted"));
    for (action, right, state, code) in [
        (Action::Put, "put", "error", 1),
        (Action::Delete, "delete", "warning", 0),
        (Action::Restore, "thaw", "warning", 0),
    ] {
        s3.server.deny(action, "r/p");
        let run = s3.line("repository check --json");
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let (found, message) = of(&json, right);
        assert_eq!((run.code, found), (code, state), "{run:?}");
        assert!(message.starts_with("denied: ") && message.contains("repository permissions"));
        s3.server.allow_all();
    }
    s3.ok(&format!("repository connect s3 {} --readonly", s3.flags()));
    s3.server.requests().clear();
    let json = s3.json("repository check --json");
    assert_eq!(of(&json, "put"), ("skipped", "not asked: the connection is read-only"));
    assert_eq!(s3.server.requests().puts("") + s3.server.requests().deletes(""), 0);
}

#[test]
fn where_versions_are_kept_no_delete_marker_is_left_and_a_lock_is_asked_for() {
    let s3 = S3Env::lockable();
    s3.create("--retention-mode=GOVERNANCE --retention-period=48h");
    s3.server.requests().clear();
    let json = s3.json("repository check --json");
    let requests = s3.server.requests();
    assert_eq!(of(&json, "put"), ("ok", "granted"));
    let put = &requests.of(Kind::Put, "")[0];
    assert_eq!(put.header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
    assert_eq!((requests.puts(""), put.status), (1, Some(400)));
    let why = "not asked: the bucket keeps versions, and a delete marker would stay";
    assert_eq!(of(&json, "delete"), ("skipped", why));
    assert_eq!(of(&json, "versions"), ("ok", "the bucket keeps what is replaced or deleted"));
    assert_eq!(requests.deletes(""), 0);
    s3.server.faults().push(Fault::access_denied().on(Kind::Bucket).times(2));
    let json = s3.json("repository check --json");
    assert_eq!((of(&json, "delete").0, of(&json, "versions").0), ("skipped", "skipped"));
    // A service that says no in words of its own is no reason to fail.
    s3.server.faults().push(Fault::error(400, "Nonsense").on(Kind::Put));
    let json = s3.json("repository check --json");
    assert!(of(&json, "put").0 == "warning" && of(&json, "put").1.starts_with("not known: "));
}

#[test]
fn the_least_policy_is_printed_for_what_the_key_is_for() {
    let s3 = S3Env::new();
    s3.create("");
    let bucket = s3.server.bucket().to_owned();
    let policy = s3.json("repository permissions --for=read");
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 2);
    assert_eq!(statements[0]["Resource"], format!("arn:aws:s3:::{bucket}"));
    assert_eq!(statements[0]["Condition"]["StringLike"]["s3:prefix"], "r/*");
    assert_eq!(statements[1]["Action"], serde_json::json!(["s3:GetObject"]));
    assert_eq!(statements[1]["Resource"], format!("arn:aws:s3:::{bucket}/r/*"));
    let policy = s3.json("repository permissions --for=maintenance,thaw --object-lock --json");
    let rights = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:PutObjectRetention"];
    assert_eq!(policy["Statement"][1]["Action"], serde_json::json!(rights));
    assert_eq!(policy["Statement"][2]["Action"], "s3:RestoreObject");
    assert_eq!(policy["Statement"][2]["Resource"], format!("arn:aws:s3:::{bucket}/r/p*"));
    let folder = TestEnv::with_repository();
    assert!(folder.fails(1, "repository permissions").contains("only S3"));
}

#[test]
fn a_provider_is_validated_and_nothing_is_left() {
    let s3 = S3Env::new();
    s3.create("");
    let before = s3.server.objects().keys("");
    let line = "repository validate-provider --concurrency-test-duration=1s \
                --num-storage-connections=3 --put-blob-workers=1";
    assert!(s3.says(&format!("{line} -n")).contains("Would write, read and delete"));
    let said = s3.says(line);
    let stages: Vec<_> = said.lines().collect();
    assert_eq!(stages.first(), Some(&"Opening 2 equivalent storage connections..."), "{said}");
    assert!(stages.contains(&"Validating conditional creates..."), "{said}");
    assert_eq!(stages[stages.len() - 2..], ["Running concurrency test for 1s...", "All good."]);
    assert_eq!(s3.server.objects().keys(""), before);
    // One that archives what is written is none that can be used.
    s3.put_config(r#"{"blobOptions":[{"prefix":"z","storageClass":"DEEP_ARCHIVE"}]}"#);
    let error = s3.line(line);
    assert_eq!(error.code, 4, "{error:?}");
    assert!(error.stderr.contains("provider validation error: "), "{error:?}");
    assert_eq!(s3.server.objects().keys("r/z"), Vec::<String>::new());
}
