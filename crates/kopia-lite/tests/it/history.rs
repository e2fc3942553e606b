//! `snapshot copy-history | move-history`.

use serde_json::Value;

use crate::env::{TestEnv, keys, masked};

/// A repository with snapshots of two sources of `alice@old` and one of `bob@old`.
fn with_history() -> TestEnv {
    let env = TestEnv::with_repository();
    let source = env.plant();
    for (day, name) in ["alice@old:/a", "alice@old:/b", "bob@old:/a"].iter().enumerate() {
        let start = format!("--start-time=2024-01-0{} 00:00:00 UTC", day + 1);
        let source = ["snapshot", "create", &source, &format!("--override-source={name}"), &start];
        assert_eq!(env.run(source).code, 0);
    }
    env
}

fn sources(env: &TestEnv) -> Vec<String> {
    let all = env.json("snapshot list --all --json");
    let text = |s: &Value, key: &str| s["source"][key].as_str().unwrap().to_owned();
    let all = all.as_array().unwrap().iter();
    let mut all: Vec<_> = all
        .map(|s| format!("{}@{}:{}", text(s, "userName"), text(s, "host"), text(s, "path")))
        .collect();
    all.sort();
    all
}

#[test]
fn a_copy_says_kopias_lines_and_knows_what_is_there() {
    let env = with_history();
    let line = "snapshot copy-history alice@old alice@new";
    let wanted = "copying (dry run) alice@old:/a (TIME) => alice@new:/a\n\
                  copying (dry run) alice@old:/b (TIME) => alice@new:/b\n";
    assert_eq!(masked(&env.says(&format!("{line} -n"))), wanted);
    assert_eq!(sources(&env).len(), 3, "a dry run writes nothing");
    let wanted = wanted.replace(" (dry run)", "");
    assert_eq!(masked(&env.says(line)), wanted);
    let all = ["alice@new:/a", "alice@new:/b", "alice@old:/a", "alice@old:/b", "bob@old:/a"];
    assert_eq!(sources(&env), all);
    let again = "alice@new:/a (TIME) already exists\nalice@new:/b (TIME) already exists\n";
    assert_eq!(masked(&env.says(line)), again);
    assert_eq!(sources(&env), all);
}

#[test]
fn a_move_leaves_each_snapshot_once() {
    let env = with_history();
    let before = env.json("snapshot list --all --json");
    env.ok("snapshot copy-history alice@old:/a bob@new:/x");
    let said = masked(&env.says("snapshot move-history alice@old:/a bob@new:/x --dry-run"));
    assert_eq!(said, "bob@new:/x (TIME) already exists\n");
    let said = masked(&env.says("snapshot move-history alice@old:/a bob@new:/x"));
    assert_eq!(said, "bob@new:/x (TIME) already exists - deleting source\n");
    assert_eq!(sources(&env), ["alice@old:/b", "bob@new:/x", "bob@old:/a"]);
    let said = masked(&env.says("snapshot move-history @old @third"));
    let wanted = "moving alice@old:/b (TIME) => alice@third:/b\n\
                  moving bob@old:/a (TIME) => bob@third:/a\n";
    assert_eq!(said, wanted);
    assert_eq!(sources(&env), ["alice@third:/b", "bob@new:/x", "bob@third:/a"]);
    assert_eq!(env.says("snapshot move-history @third @third"), "", "it is there already");
    // What a snapshot says of itself moves with it.
    let after = env.json("snapshot list --all --json");
    let of = |all: &Value, start: &str| -> Value {
        let mut all = all.as_array().unwrap().iter();
        all.find(|it| it["startTime"] == start).unwrap()["rootEntry"].clone()
    };
    for start in ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"] {
        assert_eq!(of(&before, start), of(&after, start));
    }
}

#[test]
fn without_a_destination_they_become_ones_own() {
    let env = with_history();
    let list = env.json("snapshot move-history bob@old --json");
    let fields = ["id", "source", "startTime", "destination", "exists", "deleted", "newID"];
    assert_eq!(keys(&list[0]), fields);
    assert_eq!(list[0]["destination"]["userName"], "u");
    assert_eq!((&list[0]["exists"], &list[0]["deleted"]), (&false.into(), &true.into()));
    assert_eq!(sources(&env), ["alice@old:/a", "alice@old:/b", "u@h:/a"]);
    assert_eq!(env.ok("snapshot move-history bob@old --json"), "[\n]");
}

#[test]
fn what_would_make_several_one_is_refused() {
    let env = with_history();
    for (from, to, wanted) in [
        ("@old", "bob@new", "username specified on destination but not source"),
        ("@old", "bob@new:/p", "path specified on destination but not source"),
        ("bob@old", "bob@new:/p", "path specified on destination but not source"),
        ("bob@", "@new", "invalid source"),
        ("bob@old", "bob@", "invalid destination"),
    ] {
        for verb in ["copy", "move"] {
            let text = env.fails(1, &format!("snapshot {verb}-history {from} {to}"));
            assert!(text.contains(wanted), "{from} {to}: {text}");
        }
    }
    assert_eq!(sources(&env), ["alice@old:/a", "alice@old:/b", "bob@old:/a"]);
    assert_eq!(env.says("snapshot copy-history nobody@nowhere"), "");
    let help = env.ok("snapshot move-history --help");
    assert!(help.contains("user1@host1         @host2              move all snapshots"), "{help}");
}
