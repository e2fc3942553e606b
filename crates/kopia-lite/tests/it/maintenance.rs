//! `maintenance info` and `set`: texts and JSON are Kopia's.

use serde_json::Value;

use crate::env::TestEnv;

#[test]
fn a_new_repository_says_whose_task_maintenance_is_as_kopia_does() {
    let env = TestEnv::with_repository();
    // Printed by Kopia 0.23.1.
    let text = "Owner: u@h\nQuick Cycle:\n  scheduled: true\n  interval: 1h0m0s\n  next run: now\n\
        Full Cycle:\n  scheduled: true\n  interval: 24h0m0s\n  next run: now\nLog Retention:\n\
        \x20 max count:       10000\n  max age of logs: 720h0m0s\n  max total size:  1.1 GB\n\
        Object Lock Extension: disabled\nRecent Maintenance Runs:\n";
    assert_eq!(env.ok("maintenance info"), text);
    assert_eq!(env.ok("gc status"), text);
    let json = env.json("maintenance info --json");
    assert_eq!(
        json.to_string(),
        r#"{"owner":"u@h","quick":{"enabled":true,"interval":3600000000000},"full":{"enabled":true,"#
            .to_owned()
            + r#""interval":86400000000000},"logRetention":{"maxTotalSize":1073741824,"maxCount":"#
            + r#"10000,"maxAge":2592000000000000},"extendObjectLocks":false,"listParallelism":0,"#
            + r#""schedule":{"nextFullMaintenance":"0001-01-01T00:00:00Z","nextQuickMaintenance":"#
            + r#""0001-01-01T00:00:00Z","runs":null}}"#
    );
}

#[test]
fn changes_are_said_in_kopias_words_and_kept() {
    let env = TestEnv::with_repository();
    let said = env.says(
        "maintenance set --owner=other@there --quick-interval=6h --enable-full=true --pause-quick=2d",
    );
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("Setting maintenance owner to other@there"));
    assert_eq!(lines.next(), Some("Interval for quick maintenance set to 6h0m0s."));
    assert_eq!(lines.next(), Some("Periodic full maintenance enabled."));
    assert!(lines.next().unwrap().starts_with("Quick maintenance paused until 20"));
    let info = env.ok("maintenance info");
    assert!(info.starts_with("Owner: other@there\n"), "{info}");
    assert!(info.contains("  interval: 6h0m0s\n") && info.contains("(in 47h59m5"), "{info}");
    env.ok("maintenance set --owner=me");
    assert_eq!(env.json("maintenance info --json")["owner"], "u@h");
    let said = env.says("maintenance set --enable-full=false --extend-object-locks=true");
    assert!(said.contains("Object Lock extension will not function"), "{said}");
    assert!(env.fails(1, "maintenance set").contains("no changes specified"));
    assert!(env.fails(1, "maintenance set --owner=me@").contains("user@host"));
    let json: Value = env.json("maintenance info --json");
    assert_eq!(
        (&json["full"]["enabled"], &json["extendObjectLocks"]),
        (&false.into(), &true.into())
    );
    let path = env.text("repo");
    env.ok(&format!("repository connect filesystem --path={path} --readonly"));
    env.fails(1, "maintenance set --owner=me");
}
