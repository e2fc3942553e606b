//! `snapshot fix invalid-files | remove-files`.

use serde_json::Value;

use crate::env::{S3Env, TestEnv, masked, noise};

/// Two snapshots of `src`, and the pack that holds `src/sub/lost.bin` alone is gone.
fn with_a_lost_file() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let before = packs(&env);
    env.write("src/sub/lost.bin", noise(7, 50_000));
    env.ok(&format!("snapshot create {source}"));
    let lost = packs(&env).into_iter().find(|pack| !before.contains(pack)).unwrap();
    env.ok(&format!("snapshot create {source}"));
    env.ok(&format!("blob delete {lost} --dangerous-commands=enabled"));
    env.ok("cache clear");
    (env, source)
}

fn packs(env: &TestEnv) -> Vec<String> {
    let all = env.json("blob list --prefix=p --json");
    all.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// What a command says, without the numbers of packs and their sessions.
fn told(env: &TestEnv, line: &str) -> String {
    let said = masked(&env.says(line));
    let cut = |line: &str| line.split("ID-s").next().unwrap().to_owned();
    let lines = said.lines().map(|line| match line.contains("ID-s") {
        true => cut(line) + "ID",
        false => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

fn snapshots(env: &TestEnv) -> Vec<Value> {
    env.json("snapshot list --json").as_array().unwrap().clone()
}

#[test]
fn a_lost_file_is_replaced_by_a_stub_when_it_is_committed() {
    let (env, source) = with_a_lost_file();
    let before = snapshots(&env);
    let wanted = |end: &str, middle: &str| {
        format!(
            "Listing all snapshots...\nProcessing snapshot u@h:{source}\n  TIME unchanged (ID)\n\
             removing invalid file sub/lost.bin due to: object ID is backed by missing blob ID\n\
             {middle}{end}"
        )
    };
    let said = told(&env, "snapshot fix invalid-files");
    let middle = "  TIME would replace manifest ID\n    delta:-49.5 KB\n".repeat(2);
    let end = "Fixed 2 snapshots, but snapshot manifests were not updated. Pass --commit to \
               update snapshots.\n";
    let size = said.split("delta:-").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(said, wanted(end, &middle.replace("49.5 KB", &size)));
    assert_eq!(snapshots(&env), before, "nothing is written");
    assert_eq!(env.line("snapshot verify").code, 20);
    let said = told(&env, "snapshot fix invalid-files --commit");
    let one =
        format!("  TIME replaced manifest from ID to ID\n    diff ID ID\n    delta:-{size}\n");
    assert_eq!(said, wanted("Fixed and committed 2 snapshots.\n", &one.repeat(2)));
    assert_eq!(env.line("snapshot verify --verify-files-percent=100").code, 0);
    let after = snapshots(&env);
    assert_eq!(after[0], before[0], "a snapshot without it stays");
    assert_eq!(after[1]["startTime"], before[1]["startTime"]);
    assert_eq!(after[1]["rootEntry"], after[2]["rootEntry"]);
    let id = after[2]["id"].as_str().unwrap();
    assert_eq!(env.ok(&format!("list {id}/sub")), ".INVALID.lost.bin\nb.bin\n");
    let stub: Value =
        serde_json::from_str(&env.ok(&format!("show {id}/sub/.INVALID.lost.bin"))).unwrap();
    assert_eq!(stub["entry"]["name"], "lost.bin");
    assert!(stub["error"].as_str().unwrap().contains("missing blob"), "{stub}");
    assert!(env.says("snapshot fix invalid-files --commit").ends_with("\nNo changes.\n"));
}

#[test]
fn it_may_go_stay_or_end_the_command() {
    let (env, source) = with_a_lost_file();
    let before = snapshots(&env);
    let line = "snapshot fix invalid-files --commit --invalid-file-handling";
    assert!(env.says(&format!("{line}=keep")).ends_with("\nNo changes.\n"));
    let text = env.fails(1, &format!("{line}=fail"));
    assert!(text.contains("sub/lost.bin"), "{text}");
    assert_eq!(snapshots(&env), before);
    let id = before[2]["id"].as_str().unwrap();
    let value = env.json(&format!("{line}=remove --manifest-id={id} --json"));
    assert_eq!(value["committed"], true);
    assert_eq!(value["entries"][0]["path"], "sub/lost.bin");
    assert_eq!(value["entries"][0]["action"], "removed");
    let one = &value["snapshots"][0];
    assert_eq!((&one["id"], &one["changed"]), (&before[2]["id"], &true.into()));
    let after = snapshots(&env);
    assert_eq!(after[1], before[1], "only the one that was named");
    assert_eq!(after[2]["id"], one["newID"]);
    let size = |at: &Value| at["rootEntry"]["summ"]["size"].clone();
    assert_eq!(size(&after[2]), size(&before[0]), "as it was before");
    let said = env.says(&format!("{line}=remove --source={source}"));
    assert!(said.contains("Fixed and committed 1 snapshots."), "{said}");
    assert!(env.fails(1, "snapshot fix invalid-files --source=/nowhere").contains("no snapshots"));
    assert_eq!(env.line("snapshot fix invalid-files --commit -n").code, 2);
    assert_eq!(env.line("snapshot fix invalid-files --invalid-directory-handling=remove").code, 2);
}

#[test]
fn files_go_by_name_and_object() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("src/x-1.tmp", "one");
    env.write("src/sub/x-2.tmp", "two");
    env.write("src/sub/deep/secret", "told");
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let object = env.json(&format!("list --json {id}/sub/deep"))[0]["obj"].clone();
    let object = object.as_str().unwrap();
    let said =
        env.says(&format!("snapshot fix remove-files --filename=x-?.tmp --object-id={object}"));
    for path in ["x-1.tmp", "sub/x-2.tmp", "sub/deep/secret"] {
        assert!(said.contains(&format!("will remove file {path}\n")), "{said}");
    }
    assert_eq!(env.newest(), id);
    env.ok(&format!("snapshot fix remove-files --filename=x-?.tmp --object-id={object} --commit"));
    let id = env.newest();
    assert_eq!(env.ok(&format!("find /**/* --source={source}")).lines().count(), 5);
    assert_eq!(env.ok(&format!("list {id}/sub/deep")), "");
    assert_eq!(env.line("snapshot verify --verify-files-percent=100").code, 0);
    assert!(env.says("snapshot fix remove-files --filename=x-?.tmp").ends_with("No changes.\n"));
    assert!(env.fails(1, "snapshot fix remove-files").contains("must specify files to remove"));
    let text = env.fails(1, "snapshot fix remove-files --filename=[");
    assert!(text.contains("invalid wildcard"), "{text}");
}

#[test]
fn an_archived_pack_is_there() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    for key in s3.server.objects().keys("r/p") {
        assert!(s3.server.objects().set_class(&key, "DEEP_ARCHIVE"));
    }
    s3.ok("cache clear");
    s3.server.requests().clear();
    let said = s3.says("snapshot fix invalid-files --verify-files-percent=100 --commit");
    assert!(said.ends_with("\nNo changes.\n"), "{said}");
    assert_eq!(s3.server.requests().gets("r/p"), 0, "no pack is read");
}
