//! `snapshot create | list | delete | expire | pin | verify`.

use std::io::Write;

use serde_json::Value;

use crate::env::{TestEnv, keys, masked, noise};

#[test]
fn create_and_list_print_kopias_lines() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let said = env.says(&format!("snapshot create {source} --no-auto-maintenance"));
    let wanted =
        format!("Snapshotting u@h:{source} ...\nCreated snapshot with root ID and ID ID in 0s\n");
    assert_eq!(masked(&said), wanted);
    env.ok(&format!("snapshot create {source}"));
    env.ok(&format!("snapshot create {source}"));
    env.write("src/c.txt", "more\n");
    env.ok(&format!("snapshot create {source} --pin=keep --pin=a"));
    assert_eq!(
        masked(&env.ok("snapshot list")),
        format!(
            "u@h:{source}\n  \
             TIME ID 300 KB drwxr-xr-x files:2 dirs:2 (latest-2..4)\n  \
             + 2 identical snapshots until TIME\n  \
             TIME ID 300 KB drwxr-xr-x files:3 dirs:2 \
             (latest-1,hourly-1,daily-1,weekly-1,monthly-1,annual-1) pins:a,keep\n"
        )
    );
    let long = masked(&env.ok("snapshot list -l -m --owner --mtime -n 1"));
    assert!(long.contains(" uid:"), "{long}");
    assert!(long.contains(" modified:TIME manifest:ID files:3 dirs:2 (latest-1"), "{long}");
    let reverse = env.ok("snapshot list -l --reverse");
    assert!(reverse.lines().nth(1).unwrap().contains("files:3"), "{reverse}");
    let below = masked(&env.ok(&format!("snapshot list {source}/sub --no-retention")));
    let wanted = format!(
        "u@h:{source}\n  TIME ID 300 KB drwxr-xr-x files:1 dirs:1 pins:a,keep\n  \
         + 3 identical snapshots until TIME\n"
    );
    assert!(below.starts_with(&wanted), "{below}");
}

#[test]
fn create_prints_one_object_a_source() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let text = env.ok(&format!("snapshot create {source} {source}/a.txt --json --tags=env:prod"));
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), 2);
    let wanted = ["id", "source", "description", "startTime", "endTime", "rootEntry", "tags"];
    assert_eq!(keys(&all[0]), wanted);
    assert_eq!(keys(&all[0]["source"]), ["host", "userName", "path"]);
    assert_eq!(all[0]["tags"], serde_json::json!({"tag:env": "prod"}));
    let root = &all[0]["rootEntry"];
    assert_eq!(keys(root)[..4], ["name", "type", "mode", "mtime"]);
    let summary = ["size", "files", "symlinks", "dirs", "maxTime", "numFailed"];
    assert_eq!(keys(&root["summ"]), summary);
    assert_eq!(root["summ"]["size"], 300_006);
    assert_eq!(all[1]["rootEntry"]["type"], "f");
    let json = env.json(&format!("snapshot create {source} --json --json-verbose --pin=p"));
    assert_eq!(json["stats"]["cachedFiles"], 3, "{json}");
    assert_eq!(json["pins"], serde_json::json!(["p"]));
}

#[test]
fn list_prints_kopias_fields() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source} --pin=keep"));
    let text = env.ok("snapshot list --json");
    assert!(text.starts_with("[\n {\"id\":\"") && text.ends_with("}\n]"), "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        keys(&list[0]),
        [
            "id",
            "source",
            "description",
            "startTime",
            "endTime",
            "stats",
            "rootEntry",
            "pins",
            "retentionReason"
        ]
    );
    assert_eq!(
        keys(&list[0]["stats"]),
        [
            "totalSize",
            "excludedTotalSize",
            "fileCount",
            "cachedFiles",
            "nonCachedFiles",
            "dirCount",
            "excludedFileCount",
            "excludedDirCount",
            "ignoredErrorCount",
            "errorCount"
        ]
    );
    assert_eq!(env.ok("snapshot list /nowhere --json"), "[\n]");
    let run = env.line("snapshot list /nowhere");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "There are no snapshots of u@h:/nowhere.\n");
}

#[test]
fn storage_stats_count_each_content_once() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env.write("src/sub/c.bin", noise(2, 1000));
    env.ok(&format!("snapshot create {source}"));
    let text = masked(&env.ok("snapshot list --storage-stats --no-retention"));
    let lines: Vec<_> = text.lines().collect();
    let wanted = "new-data:300.1 KB new-files:3 new-dirs:2 compression:0%";
    assert!(lines[1].ends_with(wanted), "{text}");
    assert!(lines[2].ends_with("new-data:1 KB new-files:1 new-dirs:2 compression:0%"), "{text}");
    let json = env.json("snapshot list --storage-stats --json");
    let stats = &json[1]["storageStats"];
    assert_eq!(keys(stats), ["newData", "runningTotal"]);
    assert_eq!(
        keys(&stats["newData"]),
        [
            "objectBytes",
            "originalContentBytes",
            "packedContentBytes",
            "fileObjects",
            "dirObjects",
            "contents"
        ]
    );
    assert_eq!(stats["runningTotal"]["fileObjects"], 4);
}

#[test]
fn several_sources_and_all() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let (one, two) = (format!("{source}/sub"), format!("{source}/a.txt"));
    env.ok(&format!("snapshot create {one} {two}"));
    env.ok(&format!("policy set {two} --manual"));
    let said = env.says("snapshot create --all");
    assert!(said.contains(&format!("Skipping u@h:{two}: its policy says manual.")), "{said}");
    assert!(said.contains(&format!("Snapshotting u@h:{one} ...")), "{said}");
    assert_eq!(env.json(&format!("snapshot list {two} --json")).as_array().unwrap().len(), 1);
    let text = env.fails(1, &format!("snapshot create --all {one}"));
    assert!(text.contains("cannot use --all when a source path argument is specified"), "{text}");
    assert!(env.fails(1, "snapshot create").contains("no snapshot sources"));
    let text = env.fails(1, &format!("snapshot create /nowhere {one}"));
    assert!(text.contains("cannot snapshot /nowhere"), "{text}");
    let list = env.json(&format!("snapshot list {one} --json"));
    assert_eq!(list.as_array().unwrap().len(), 3, "the other source was taken all the same");
}

#[test]
fn times_tags_and_sources_may_be_given() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let run = env.run([
        "snapshot",
        "create",
        &source,
        "--start-time=2024-01-01 00:00:00 UTC",
        "--end-time=2024-01-01 00:00:07 UTC",
        "--description=two words",
        "--override-source=someone@elsewhere:/x/y",
        "--json",
    ]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["startTime"], "2024-01-01T00:00:00Z");
    assert_eq!(json["endTime"], "2024-01-01T00:00:07Z");
    assert_eq!(json["description"], "two words");
    assert_eq!(json["source"]["path"], "/x/y");
    assert_eq!(env.ok("snapshot list"), "", "it belongs to somebody else");
    let hint = env.line("snapshot list").stderr;
    assert!(hint.contains("Pass --all to show snapshots from all users/hosts."), "{hint}");
    assert!(env.ok("snapshot list -a").starts_with("someone@elsewhere:/x/y\n"));
    for (line, wanted) in [
        (format!("snapshot create {source} --tags=foo"), "Invalid tag format (foo)"),
        (
            format!("snapshot create {source} --tags=a:b --tags=a:c"),
            "Duplicate tag <key> found. (a)",
        ),
        (format!("snapshot create {source} --start-time=soon"), "is not of the form"),
        (format!("snapshot create {source} --checkpoint-interval=2h"), "at most 45m"),
    ] {
        let text = env.fails(1, &line);
        assert!(text.contains(wanted), "{line}: {text}");
    }
}

#[test]
fn standard_input_becomes_a_file() {
    let env = TestEnv::with_repository();
    let mut command = env.command(["snapshot", "create", "--stdin-file=x.tar", "/asked", "--json"]);
    command.arg("--override-source=/virtual");
    let command = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&noise(3, 3_000_000)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["source"]["path"], "/virtual");
    assert_eq!(json["rootEntry"]["name"], "/asked");
    let id = json["id"].as_str().unwrap();
    let shown = env.command(["show", &format!("{id}/x.tar")]).output().unwrap();
    assert_eq!(shown.stdout, noise(3, 3_000_000));
    let root = json["rootEntry"]["obj"].as_str().unwrap();
    let line = env.ok(&format!("list -l {root}"));
    let file = line.split_whitespace().find(|word| word.len() > 31).unwrap();
    let verified = env.json(&format!("snapshot verify --file-id={file} --json"));
    assert_eq!(verified["stats"]["processedBytes"], 3_000_000, "{verified}");
}

#[test]
fn unreadable_entries_are_exit_3_and_the_snapshot_is_saved() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    // A pipe is of a type that nobody backs up; with the policy that minds, it is an error.
    let fifo = std::process::Command::new("mkfifo").arg(env.path("src/fifo")).status().unwrap();
    assert!(fifo.success());
    env.ok(&format!("snapshot create {source}"));
    env.ok(&format!("policy set {source} --ignore-unknown-types=false"));
    let run = env.line(&format!("snapshot create {source} --json"));
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(run.stderr.contains("Found 1 fatal error(s) while snapshotting"), "{run:#?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["rootEntry"]["summ"]["numFailed"], 1);
    let root = json["rootEntry"]["obj"].as_str().unwrap();
    let listed = env.line(&format!("list {root}"));
    assert!(listed.stderr.contains("NOTE: Encountered 1 errors while snapshotting"), "{listed:#?}");
    assert!(env.ok("snapshot list -n 1").contains(" errors:1 "));
}

#[test]
fn the_policy_leaves_files_out_and_identical_snapshots_unsaved() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("src/x.tmp", "x");
    env.write("src/.kopiaignore", "sub\n");
    env.ok("policy set --global --add-ignore=*.tmp --ignore-identical-snapshots=true");
    let json = env.json(&format!("snapshot create {source} --json"));
    let id = json["id"].as_str().unwrap();
    assert_eq!(env.ok(&format!("list {id}")), ".kopiaignore\na.txt\nlink\n");
    let again = env.says(&format!("snapshot create {source}"));
    let wanted = "Not saving snapshot because no files have been changed since previous snapshot";
    assert!(again.contains(wanted), "{again}");
    assert_eq!(env.json("snapshot list --json").as_array().unwrap().len(), 1);
}

#[test]
fn pins_are_added_and_removed() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    assert_eq!(
        masked(&env.says(&format!("snapshot pin {id} --add=one --add=two"))),
        format!("Updating snapshot at TIME of u@h:{source}\n")
    );
    let new = env.newest();
    assert_ne!(id, new, "a changed manifest is another manifest");
    let said = env.says(&format!("snapshot pin {new} --remove=nosuch"));
    assert_eq!(masked(&said), format!("No change for snapshot at TIME of u@h:{source}\n"));
    assert!(env.ok("snapshot list").contains("pins:one,two"));
    assert!(env.fails(1, &format!("snapshot pin {new}")).contains("must specify --add and/or"));
}

#[test]
fn deleting_shows_first_and_takes_root_ids() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env.write("src/new", "");
    env.ok(&format!("snapshot create {source}"));
    env.ok(&format!("snapshot create {source}"));
    let list = env.json("snapshot list --json");
    let first = list[0]["rootEntry"]["obj"].as_str().unwrap();
    let twice = list[1]["rootEntry"]["obj"].as_str().unwrap();
    let said = masked(&env.says(&format!("snapshot delete {first}")));
    let wanted =
        format!("Would delete snapshot ID of u@h:{source} at TIME (pass --delete to confirm)\n");
    assert_eq!(said, wanted);
    let said = masked(&env.says(&format!("snapshot delete {twice} {twice} {first}")));
    assert_eq!(said, wanted.repeat(3), "a root names all of its snapshots, and each once");
    assert!(env.says(&format!("snapshot pin {twice} --add=x")).matches("Updating").count() == 2);
    let said = masked(&env.says(&format!("snapshot delete {first} --delete")));
    assert_eq!(said, format!("Deleting snapshot ID of u@h:{source} at TIME...\n"));
    env.fails(1, &format!("snapshot delete {first} --delete"));
    env.fails(1, "snapshot delete nosuch");
    env.ok(&format!("snapshot delete --all-snapshots-for-source {source} --delete"));
    assert_eq!(env.ok("snapshot list --json"), "[\n]");
}

#[test]
fn expiring_goes_by_the_policy() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    for day in 1..=4 {
        let start = format!("--start-time=2024-01-0{day} 00:00:00 UTC");
        assert_eq!(env.run(["snapshot", "create", &source, &start]).code, 0);
    }
    env.ok("policy set --global --keep-latest=1 --keep-hourly=0 --keep-daily=2 --keep-weekly=0 \
         --keep-monthly=0 --keep-annual=0");
    let said = env.says("snapshot expire --all");
    let wanted =
        format!("2 snapshot(s) of u@h:{source} would be deleted. Pass --delete to do it.\n");
    assert_eq!(said, wanted);
    let said = env.says(&format!("snapshot expire {source} --delete"));
    assert_eq!(said, format!("Deleted 2 snapshots of u@h:{source}...\n"));
    let said = env.says("snapshot expire --all --delete");
    assert_eq!(said, format!("Nothing to delete for u@h:{source}.\n"));
    assert_eq!(env.json("snapshot list --json").as_array().unwrap().len(), 2);
}

#[test]
fn verify_counts_and_finds_damage() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let said = env.says("snapshot verify --verify-files-percent=100");
    assert_eq!(said, "Finished processing 5 objects (300 KB). Read 3 files (300 KB).\n");
    let json = env.json(&format!("snapshot verify {id} --json"));
    assert_eq!(keys(&json), ["stats", "errorCount"]);
    assert_eq!(
        keys(&json["stats"]),
        [
            "processedObjectCount",
            "processedBytes",
            "readFileCount",
            "readBytes",
            "expectedTotalObjectCount",
            "expectedTotalFileCount",
            "expectedTotalBytes"
        ]
    );
    env.ok(&format!("snapshot verify --sources {source}"));
    env.fails(1, "snapshot verify nosuch");
    for (path, _) in crate::env::files(&env.path("repo")) {
        if path.starts_with("p") {
            fs_err::remove_file(env.path("repo").join(path)).unwrap();
        }
    }
    let text = env.fails(20, "snapshot verify");
    assert!(text.contains("  u@h:") && text.contains("/sub/b.bin"), "{text}");
    let run = env.line("snapshot verify --json");
    assert_eq!(run.code, 20);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(keys(&json), ["stats", "errorCount", "errorStrings"]);
    assert_eq!(json["errorCount"], 3);
    // Kopia's 0 ends at the first, too.
    for (most, found) in [(0, 1), (1, 1), (2, 2), (9, 3)] {
        let run = env.line(&format!("snapshot verify --json --max-errors={most}"));
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((run.code, &json["errorCount"]), (20, &found.into()), "--max-errors={most}");
    }
}

#[test]
fn a_source_that_can_not_be_named_costs_no_other() {
    use std::os::unix::ffi::OsStringExt;
    let env = TestEnv::with_repository();
    let source = env.plant();
    let odd = std::ffi::OsString::from_vec(b"/tmp/odd-\xff".to_vec());
    let words = ["snapshot", "create", &source].map(std::ffi::OsString::from);
    let run = env.run(words.into_iter().chain([odd, source.clone().into()]));
    assert!(run.code == 1 && run.stderr.contains("not UTF-8"), "{run:?}");
    assert_eq!(env.json("snapshot list --show-identical --json").as_array().unwrap().len(), 2);
}

#[test]
fn eight_digits_of_an_id_name_a_snapshot_where_they_name_just_one() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env.write("src/more", "more");
    env.ok(&format!("snapshot create {source} {source}/sub"));
    let all = env.json("snapshot list --json");
    let id = |at: usize| all[at]["id"].as_str().unwrap().to_owned();
    let root = |at: usize| all[at]["rootEntry"]["obj"].as_str().unwrap().to_owned();
    let (short, short_root) = (&id(0)[..9], &root(1)[..10]);
    env.ok(&format!("list {short}"));
    env.ok(&format!("list {short_root}"));
    env.ok(&format!("snapshot verify {short}"));
    assert!(env.ok(&format!("manifest show {short}")).starts_with(&format!("// id: {}\n", id(0))));
    let said = env.says(&format!("snapshot delete {short}"));
    assert!(said.starts_with(&format!("Would delete snapshot {} of", id(0))), "{said}");
    let said = env.says(&format!("snapshot delete {short_root}"));
    assert!(said.starts_with(&format!("Would delete snapshot {} of", id(1))), "{said}");
    let said = env.says(&format!("snapshot pin {short_root} --add=x"));
    assert!(said.starts_with("Updating snapshot at "), "{said}");
    for line in ["snapshot delete", "snapshot pin --add=x", "snapshot verify", "manifest show"] {
        let few = env.fails(1, &format!("{line} {}", &id(0)[..7]));
        assert!(!few.contains(&id(0)), "seven digits are too few: {few}");
        assert_eq!(env.line(&format!("{line} 0000000000")).code, 1);
    }
    let text = env.fails(1, "snapshot delete 000000000");
    assert!(text.contains("no snapshots matched 000000000"), "{text}");
    assert!(env.fails(1, "list 000000000").contains("there is no snapshot or object 000000000"));
}

#[test]
fn a_root_of_several_snapshots_names_them_all_as_in_kopia() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env.ok(&format!("snapshot create {source}"));
    let all = env.json(&format!("snapshot list {source} --json"));
    let root = all[0]["rootEntry"]["obj"].as_str().unwrap();
    for id in [root, &root[..12]] {
        let said = env.says(&format!("snapshot delete {id}"));
        assert_eq!(said.matches("Would delete snapshot").count(), 2, "{said}");
    }
    let said = env.says(&format!("snapshot delete {root} --delete --no-auto-maintenance"));
    assert_eq!(said.matches("Deleting snapshot").count(), 2, "{said}");
    assert_eq!(env.ok(&format!("snapshot list {source} --json")), "[\n]");
}

#[test]
fn what_rules_leave_out_is_counted_by_the_place_of_the_rule() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("policy set {source} --add-ignore=*.tmp"));
    let said = env.says(&format!("snapshot create {source}"));
    assert!(!said.contains("left out"), "{said}");
    for name in ["1.tmp", "2.tmp", "sub/x.log", "sub/deep/3.tmp"] {
        env.write(&format!("src/{name}"), "x");
    }
    env.write("src/sub/.kopiaignore", "*.log\n");
    let said = env.says(&format!("snapshot create {source}"));
    let line = "4 entries were left out by rules: 3 by the policy, 1 by sub/.kopiaignore\n";
    assert!(said.contains(line), "{said}");
}
