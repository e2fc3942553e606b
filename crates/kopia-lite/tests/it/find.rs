//! `find`: by name, by path, the versions of one file.

use serde_json::json;

use crate::env::{TestEnv, keys, masked};

/// Three snapshots of `src` of three days: `a.txt` has two versions, `Late.txt` is in the last only.
/// One more is somebody else's.
fn with_days() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let at = |day: u32, more: &[&str]| {
        let start = format!("--start-time=2024-01-0{day} 00:00:00 UTC");
        let line = [&["snapshot", "create", source.as_str(), start.as_str()], more].concat();
        assert_eq!(env.run(line).code, 0);
    };
    at(1, &[]);
    env.write("src/a.txt", "hello again\n");
    at(2, &[]);
    env.write("src/sub/Late.txt", "late\n");
    at(3, &[]);
    at(4, &["--override-source=bob@far:/b"]);
    (env, source)
}

#[test]
fn a_name_is_found_once_a_path() {
    let (env, source) = with_days();
    assert_eq!(env.ok("find *.txt"), format!("{source}/a.txt\n{source}/sub/Late.txt\n"));
    assert_eq!(env.ok("find sub late.txt"), format!("{source}/sub/\n"));
    assert_eq!(env.ok("find -i late.txt"), format!("{source}/sub/Late.txt\n"));
    assert_eq!(env.ok("find link b.???"), format!("{source}/link\n{source}/sub/b.bin\n"));
    assert_eq!(
        env.ok("find --all Late*"),
        format!("bob@far:/b/sub/Late.txt\n{source}/sub/Late.txt\n")
    );
    assert_eq!(env.ok("find --source=bob@far:/b Late*"), "bob@far:/b/sub/Late.txt\n");
    // With a slash it is the whole path, or its end.
    assert_eq!(env.ok("find sub/*.txt"), format!("{source}/sub/Late.txt\n"));
    assert_eq!(env.ok("find /b/**/*.txt --all"), "bob@far:/b/sub/Late.txt\n");
    assert_eq!(env.says("find /sub/*.txt"), "Nothing was found in 3 snapshots.\n");
    let text = env.ok("find -l Late.txt a.txt");
    let line = |size: &str, name: &str, snapshots: &str| {
        format!("-rw-r--r-- {size:>12} TIME ID   {source}/{name} ({snapshots})\n")
    };
    let wanted = line("6", "a.txt", "1 snapshot: ID TIME")
        + &line("12", "a.txt", "2 snapshots: ID TIME to ID TIME")
        + &line("5", "sub/Late.txt", "1 snapshot: ID TIME");
    assert_eq!(masked(&text), wanted);
}

#[test]
fn versions_of_a_path_have_a_first_and_a_last_snapshot() {
    let (env, source) = with_days();
    let all = env.json(&format!("snapshot list {source} --json"));
    let id = |at: usize| all[at]["id"].clone();
    let list = env.json(&format!("find --path={source}/a.txt --json"));
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    let fields = [
        "path",
        "obj",
        "size",
        "mtime",
        "mode",
        "type",
        "source",
        "firstSnapshot",
        "lastSnapshot",
        "snapshots",
    ];
    assert_eq!(keys(&list[0]), fields);
    assert_eq!(list[0]["firstSnapshot"], json!({"id": id(0), "startTime": "2024-01-01T00:00:00Z"}));
    assert_eq!((&list[0]["lastSnapshot"]["id"], &list[0]["snapshots"]), (&id(0), &json!(1)));
    assert_eq!(list[1]["firstSnapshot"]["id"], id(1));
    assert_eq!((&list[1]["lastSnapshot"]["id"], &list[1]["snapshots"]), (&id(2), &json!(2)));
    assert_eq!((&list[1]["size"], &list[1]["mode"]), (&json!(12), &json!("0644")));
    // Relative, below a folder, of others, and the source itself.
    assert_eq!(env.ok("find --path=src/a.txt").lines().count(), 2);
    assert_eq!(env.ok("find --path=src/sub").lines().count(), 2);
    assert_eq!(env.ok("find --path=bob@far:/b/a.txt").lines().count(), 1);
    assert_eq!(env.ok(&format!("find --path={source}")).lines().count(), 3);
    assert_eq!(env.says("find --path=src/a.txt/x"), "Nothing was found in 3 snapshots.\n");
    assert_eq!(env.ok("find --json nothing-of-that-name"), "[\n]");
    assert_eq!(env.line("find nothing --path=src").code, 2);
    assert_eq!(env.line("find").code, 2);
}

#[test]
fn times_choose_snapshots() {
    let (env, source) = with_days();
    let count = |flags: &str| {
        let list = env.json(&format!("find a.txt --json {flags}"));
        let list = list.as_array().unwrap().iter();
        list.map(|it| it["snapshots"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(count(""), [1, 2]);
    assert_eq!(count("--oldest=2024-01-02"), [2]);
    assert_eq!(count("--newest=2024-01-02"), [1, 1]);
    assert_eq!(count("--oldest=2024-01-02 --newest=2024-01-02"), [1]);
    assert_eq!(count("--newest=2023"), [] as [u64; 0]);
    assert!(env.fails(1, "find x --oldest=soon").contains("\"soon\" is no time"));
    assert!(env.fails(1, "find [").contains("syntax error"));
    assert!(env.fails(1, "find x/").contains("ends with a slash"));
    assert!(env.fails(1, "find x --source=/nowhere").contains("no snapshots for source"));
    let found = env.ok("find Late.txt");
    assert_eq!(env.line(&format!("restore {} out", found.trim())).code, 0, "{source}");
}
