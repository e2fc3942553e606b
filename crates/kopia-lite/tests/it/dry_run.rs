//! Every command that writes can be asked what it would do, and then writes nothing.

use crate::{
    cold_walk::{Call, Frozen, call, commands, state},
    env::TestEnv,
};

/// Commands that write nothing of anybody's, or whose output is what was asked for.
const READERS: &[&str] = &[
    "blob list",
    "blob show",
    "blob stats",
    "completion",
    "content list",
    "content show",
    "content stats",
    "content verify",
    "cache info",
    "diff",
    "find",
    "index epoch list",
    "index inspect",
    "index list",
    "list",
    "logs list",
    "logs show",
    "maintenance info",
    "maintenance plan",
    "man",
    "manifest list",
    "manifest show",
    "policy export",
    "policy list",
    "policy show",
    "repository check",
    "repository list",
    "repository permissions",
    "repository status",
    "repository throttle get",
    "show",
    "snapshot estimate",
    "snapshot list",
    "snapshot verify",
    "storage-class lifecycle diff",
    "storage-class lifecycle show",
    "storage-class list",
    "storage-class show",
    "storage-config check",
    "storage-config explain",
    "storage-config lifecycle diff",
    "storage-config lifecycle show",
    "storage-config show",
    "thaw list",
    "thaw plan",
    "thaw status",
    "thaw wait",
];

/// Flags that ask for what `-n` is the opposite of.
const DO_IT: [&str; 3] = [" --commit", " --delete", " --yes"];

#[test]
fn every_command_that_writes_has_a_dry_run_that_changes_nothing() {
    let mut frozen = Frozen::new();
    frozen
        .s3
        .ok(&frozen.line("repository create filesystem --path=$NEW --config-file=$OUT.config"));
    frozen.before = state(&frozen.s3);
    for command in commands().iter().filter(|command| !READERS.contains(&command.as_str())) {
        let (Call::Free(line) | Call::Data(line)) = call(command).expect("it is known");
        let line = line.replace(" --dry-run", "").replace("delete xw1", "delete $PACK");
        let mut line = format!("{} -n", frozen.line(&line));
        DO_IT.iter().for_each(|flag| line = line.replace(flag, ""));
        if command == "repository create filesystem" {
            line = line.replace("new-repository", "another-repository");
        }
        let run = frozen.s3.line(&line);
        assert!([0, 4].contains(&run.code), "{line}: {run:#?}");
        assert!(state(&frozen.s3) == frozen.before, "{line} changed something: {run:#?}");
    }
}

#[test]
fn a_snapshot_that_is_only_planned_says_what_is_new() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("src/.kopiaignore", "left-out\n");
    env.write("src/left-out", "left out");
    let all = format!("Would snapshot u@h:{source}: 3 files (300 KB) in 2 folders\n");
    let said = env.says(&format!("snapshot create {source} -n"));
    let rules = "  left out by rules: 1 file (8 B) and 0 folders\n";
    let nothing = "  nothing of it is in a snapshot of this source yet\n";
    assert_eq!(said, format!("{all}{nothing}{rules}"));
    env.says(&format!("snapshot create {source}"));
    env.write("src/a.txt", "hello again\n");
    env.write("src/new", "new");
    std::fs::remove_file(env.path("src/sub/b.bin")).unwrap();
    let plan = env.json(&format!("snapshot create {source} -n --json"));
    let files = |count: u64, bytes: u64| serde_json::json!({"count": count, "bytes": bytes});
    assert_eq!(plan["files"], files(3, 24));
    assert_eq!(plan["changed"], files(2, 15));
    assert_eq!(plan["removed"], files(1, 300_000));
    assert_eq!((&plan["excluded"], &plan["errors"]), (&files(1, 8), &0.into()));
    assert_eq!(env.json("snapshot list --all --json").as_array().unwrap().len(), 1);
    let error = env.fails(1, "snapshot create nowhere -n");
    assert!(error.contains("nowhere"), "{error}");
    assert!(env.fails(1, "snapshot create / --stdin-file=x -n").contains("standard input"));
}

#[test]
fn a_source_may_be_a_link_or_a_file() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let link = |name: &str, target: String| {
        std::os::unix::fs::symlink(target, env.path(name)).unwrap();
        env.path(name).display().to_string()
    };
    let file = format!("{source}/a.txt");
    let sources = [link("to-folder", source.clone()), link("to-file", file.clone()), file];
    for source in &sources {
        env.says(&format!("snapshot create {source}"));
        let plan = env.json(&format!("snapshot create {source} -n --json"));
        assert_ne!(plan["files"]["count"], 0, "{plan}");
        assert_eq!(plan["changed"]["count"], 0, "{plan}");
        assert_eq!(env.ok(&format!("diff {source}@latest")), "No differences.\n", "{source}");
    }
    env.write("src/a.txt", "hello again\n");
    for source in &sources {
        let plan = env.json(&format!("snapshot create {source} -n --json"));
        assert_eq!(plan["changed"], serde_json::json!({"count": 1, "bytes": 12}), "{plan}");
        assert!(env.ok(&format!("diff {source}@latest")).contains("(6 B -> 12 B)"), "{source}");
    }
}

#[test]
fn a_plan_is_made_of_the_folder_whatever_it_is_to_be_known_as() {
    let env = TestEnv::with_repository();
    let line = format!("snapshot create {} --override-source=a@b:/elsewhere", env.plant());
    env.says(&line);
    let changed = || env.json(&format!("{line} -n --json"))["changed"]["count"].clone();
    assert_eq!(changed(), 0);
    env.write("src/a.txt", "hello again\n");
    assert_eq!(changed(), 1);
}

#[test]
fn the_newest_snapshot_may_stand_for_its_id() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let first = env.newest();
    env.write("src/new", "new");
    env.ok(&format!("snapshot create {source}"));
    let second = env.newest();
    assert!(env.ok("manifest show latest~1").starts_with(&format!("// id: {first}")));
    assert!(env.says("snapshot delete latest").contains(&second));
    assert!(env.says(&format!("snapshot delete {source}@latest~1")).contains(&first));
    assert!(env.says("snapshot verify latest~1").contains("Finished processing 5 objects"));
    assert!(env.says("snapshot pin latest --add=keep -n").starts_with("Would update"));
    assert!(env.says("snapshot pin latest --add=keep").starts_with("Updating"));
    let error = env.fails(1, &format!("snapshot delete {source}/sub@latest --delete"));
    assert!(error.contains("lies in snapshot"), "{error}");
    assert!(env.fails(1, "snapshot delete latest~7").contains("latest~7"));
    env.says("snapshot delete latest --delete");
    assert_eq!(env.newest(), first);
}
