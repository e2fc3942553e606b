//! `diff`: Kopia's lines and counts, ours, and the live folder.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::env::{TestEnv, masked};

/// Two snapshots of `src` that differ in all ways. Gives their IDs.
fn two_snapshots(env: &TestEnv) -> (String, String) {
    let source = env.plant();
    env.write("src/gone/x.txt", "x\n");
    env.write("src/turns", "a file\n");
    env.write("src/mode.txt", "m\n");
    env.ok(&format!("snapshot create {source}"));
    let old = env.newest();
    fs_err::remove_dir_all(env.path("src/gone")).unwrap();
    fs_err::remove_file(env.path("src/turns")).unwrap();
    env.write("src/turns/inside.txt", "now a folder\n");
    env.write("src/new/deep/y.txt", "yy\n");
    env.write("src/a.txt", "hello again\n");
    let mode = std::fs::Permissions::from_mode(0o600);
    fs_err::set_permissions(env.path("src/mode.txt"), mode).unwrap();
    env.ok(&format!("snapshot create {source}"));
    (old, env.newest())
}

/// Kopia's counts of these two, with those that differ by the clock left out.
fn counts(text: &str) -> serde_json::Value {
    let mut counts: serde_json::Value = serde_json::from_str(text).unwrap();
    counts["directoryEntries"]["modified"] = 0.into();
    counts
}

#[test]
fn two_snapshots_print_kopias_lines_and_counts() {
    let env = TestEnv::with_repository();
    let (old, new) = two_snapshots(&env);
    let text = env.ok(&format!("diff {old} {new}"));
    let (lines, last) = text.rsplit_once('\n').unwrap();
    let zeros = json!({
        "added": 2, "removed": 1, "modified": 0, "sameContentButDifferentMetadata": 0,
        "sameContentButDifferentMode": 0, "sameContentButDifferentModificationTime": 0,
        "sameContentButDifferentUserOwner": 0, "sameContentButDifferentGroupOwner": 0,
    });
    let files = json!({
        "added": 1, "removed": 1, "modified": 3, "sameContentButDifferentMetadata": 1,
        "sameContentButDifferentMode": 1, "sameContentButDifferentModificationTime": 0,
        "sameContentButDifferentUserOwner": 0, "sameContentButDifferentGroupOwner": 0,
    });
    assert_eq!(counts(last), json!({"fileEntries": files, "directoryEntries": zeros}));
    let wanted = "\
. modification times differ: TIME +0000 UTC TIME +0000 UTC
added directory ./new
added directory ./new/deep
added file ./new/deep/y.txt (3 bytes)
./turns modes differ: -rw-r--r-- drwxr-xr-x
./turns sizes differ: 7 13
./turns modification times differ: TIME +0000 UTC TIME +0000 UTC
changed ./turns from non-directory to a directory
./a.txt sizes differ: 6 12
./a.txt modification times differ: TIME +0000 UTC TIME +0000 UTC
changed ./a.txt at TIME +0000 UTC (size 6 -> 12)
removed directory ./gone
removed file ./gone/x.txt (2 bytes)";
    assert_eq!(masked(lines), wanted);
    assert_eq!(env.ok(&format!("compare {old} {new} --stats-only")), last);
    let same = env.line(&format!("diff {new} {new} --exit-code"));
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.stdout.starts_with("{\"fileEntries\":{\"added\":0,"), "{same:?}");
    assert_eq!(env.line(&format!("diff {old} {new} --exit-code --stats-only")).code, 1);
    assert_eq!(env.line(&format!("diff {old} {new}")).code, 0);
}

#[test]
fn brief_and_json_are_for_people_and_programs() {
    let env = TestEnv::with_repository();
    let (old, new) = two_snapshots(&env);
    let brief = env.ok(&format!("diff {old} {new} --brief"));
    let wanted = "\
+ new/
+ new/deep/
+ new/deep/y.txt (3 B)
T turns/ (file -> directory)
M a.txt (6 B -> 12 B)
- gone/
- gone/x.txt (2 B)
3 added, 2 removed, 1 modified, 1 of another type (+15 B, -15 B)
";
    assert_eq!(brief, wanted);
    let with_metadata = env.ok(&format!("diff {old} {new} --brief --metadata"));
    assert!(with_metadata.contains("\nU mode.txt (mode)\n"), "{with_metadata}");
    let value = env.json(&format!("diff {old} {new} --json"));
    let changes = value["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 7);
    let of = |path: &str| changes.iter().find(|it| it["path"] == path).unwrap();
    assert_eq!(of("a.txt")["change"], "modified");
    assert_eq!(of("a.txt")["what"], json!(["content", "size", "mtime"]));
    assert_eq!(of("a.txt")["old"]["size"], 6);
    assert_eq!(of("a.txt")["new"]["mode"], "0644");
    assert_eq!(of("new/deep/y.txt")["change"], "added");
    assert!(of("new/deep/y.txt").get("old").is_none());
    assert_eq!(value["stats"]["fileEntries"]["removed"], 1);
    let value = env.json(&format!("diff {old} {new} --json --metadata"));
    let mode = value["changes"].as_array().unwrap().iter().find(|it| it["path"] == "mode.txt");
    assert_eq!(mode.unwrap()["what"], json!(["mode"]));
    assert_eq!(env.json(&format!("diff {new} {new} --json"))["changes"], json!([]));
}

#[test]
fn one_argument_is_compared_with_the_live_folder() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("src/.kopiaignore", "*.tmp\n");
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    assert_eq!(env.ok(&format!("diff {id} --exit-code")), "No differences.\n");
    env.write("src/left-out.tmp", "by a rule");
    env.write("src/sub/also.tmp", "by a rule");
    env.write("src/sub/c.txt", "new\n");
    env.write("src/a.txt", "hello, world\n");
    fs_err::remove_file(env.path("src/link")).unwrap();
    let run = env.line(&format!("diff {source}@latest --exit-code"));
    let wanted = "+ sub/c.txt (4 B)\nM a.txt (6 B -> 13 B)\n- link\n\
                  1 added, 1 removed, 1 modified (+17 B, -11 B)\n";
    assert_eq!((run.code, run.stdout.as_str()), (1, wanted), "{run:?}");
    assert_eq!(
        env.ok(&format!("diff {id}/sub")),
        "+ c.txt (4 B)\n1 added (+4 B, -0 B)\n",
        "rules of the folders above hold below, too"
    );
    let text = env.ok(&format!("diff {id}/a.txt -f"));
    assert!(text.contains("-hello\n+hello, world\n"), "{text}");
    let text = env.ok(&format!("diff {id}/sub --files"));
    assert!(text.contains("+++ ") && text.contains("\n+new\n"), "{text}");
    let root = env.json("snapshot list --json")[0]["rootEntry"]["obj"].as_str().unwrap().to_owned();
    env.ok(&format!("diff {root}"));
    env.ok(&format!("snapshot move-history u@h:{source} u@elsewhere"));
    let text = env.fails(1, &format!("diff {root}"));
    assert!(text.contains("its folder is on elsewhere, and this is h"), "{text}");
}

#[test]
fn the_diff_command_is_run_on_pairs_of_files() {
    let env = TestEnv::with_repository();
    let (old, new) = two_snapshots(&env);
    let text = env.ok(&format!("diff {old} {new} -f"));
    assert!(text.contains("-hello\n+hello again\n"), "{text}");
    assert!(text.contains("--- old/gone/x.txt"), "{text}");
    assert!(text.contains("+++ new/new/deep/y.txt"), "{text}");
    let env = env.with("KOPIA_DIFF", "echo pair");
    let text = env.ok(&format!("diff {old} {new} -f"));
    assert!(text.contains("\npair old/a.txt new/a.txt\n"), "{text}");
    assert!(text.contains("\npair /dev/null new/new/deep/y.txt\n"), "{text}");
    let text = env.fails(1, &format!("diff {old} {new} -f --diff-command=no-such-program"));
    assert!(text.contains("cannot run the diff command no-such-program"), "{text}");
    assert_eq!(env.line(&format!("diff {old} {new} -f --json")).code, 2);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let env = TestEnv::with_repository();
    let (old, new) = two_snapshots(&env);
    let text = env.fails(1, &format!("diff {old}/sub {new}/a.txt"));
    let wanted = "arguments to diff must both be directories or both non-directories";
    assert!(text.contains(wanted), "{text}");
    let text = env.ok(&format!("diff {old}/a.txt {new}/a.txt"));
    assert!(text.starts_with(". sizes differ: 6 12\n"), "{text}");
    assert!(text.contains(r#""fileEntries":{"added":0,"removed":0,"modified":2,"#), "{text}");
    let text = env.ok(&format!("diff {old}/a.txt {new}/a.txt -f"));
    assert!(text.contains("-hello\n+hello again\n"), "{text}");
    let text = env.ok(&format!("diff {old}/a.txt {new}/a.txt --brief"));
    assert_eq!(text, "M . (6 B -> 12 B)\n1 modified (+12 B, -6 B)\n");
    assert!(env.fails(1, &format!("diff {old} 0123456789abcdef")).contains("there is no"));
    let folder = env.json(&format!("list --json {old}"))[0]["obj"].as_str().unwrap().to_owned();
    let text = env.fails(1, &format!("diff {folder}"));
    assert!(text.contains("is the root of no snapshot"), "{text}");
}
