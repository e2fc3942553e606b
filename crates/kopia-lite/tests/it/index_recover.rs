//! `index inspect | epoch list | recover`.

use serde_json::json;

use crate::env::{S3Env, TestEnv, keys, masked};

const GATE: &str = "--dangerous-commands=enabled";

fn with_snapshot() -> TestEnv {
    let env = TestEnv::with_repository();
    env.plant();
    env.ok("snapshot create src --no-auto-maintenance");
    env
}

/// The files of the repository whose blobs begin so.
fn blob_files(env: &TestEnv, prefix: &str) -> Vec<std::path::PathBuf> {
    let files = crate::env::files(&env.path("repo"));
    let mut found: Vec<_> =
        files.into_iter().map(|(path, _)| env.path("repo").join(path)).collect();
    found.retain(|path| {
        let below = path.strip_prefix(env.path("repo")).unwrap().to_str().unwrap();
        below.replace('/', "").starts_with(prefix)
    });
    found
}

#[test]
fn inspect_shows_entries_of_the_index() {
    let env = with_snapshot();
    let content = env.ok("content list --non-prefixed");
    let content = content.lines().next().unwrap();
    let line = env.ok(&format!("index inspect --active --content-id={content}"));
    let words: Vec<_> = line.split_whitespace().collect();
    // Time of the blob, the blob, the content, its state, its time, pack, offset, length.
    assert_eq!(words.len(), 12, "{line}");
    assert!(words[3].starts_with("xn0_") && words[9].starts_with('p'), "{line}");
    assert_eq!((words[2], words[4], words[5]), ("UTC", content, "created"));
    let all = env.ok("index inspect --all");
    let contents = env.ok("content list --deleted");
    assert_eq!(all.lines().count(), contents.lines().count());
    assert!(all.contains(&line));
    let of_blob =
        all.lines().filter(|line| line.contains(words[3])).map(|line| format!("{line}\n"));
    assert_eq!(env.ok(&format!("index inspect {}", words[3])), of_blob.collect::<String>());
    let value = env.json(&format!("index inspect --all --content-id={content} --json"));
    assert_eq!(
        keys(&value[0]),
        [
            "indexBlob",
            "timestamp",
            "contentID",
            "deleted",
            "time",
            "packFile",
            "packOffset",
            "length"
        ]
    );
    assert_eq!(env.json("index inspect --all --content-id=none --json"), json!([]));
    assert_eq!(
        env.fails(1, "index inspect"),
        "ERROR must pass either --all, --active or provide a list of blob IDs to inspect\n"
    );
    assert!(env.fails(1, "index inspect nope").contains("nope does not exist"));
}

#[test]
fn epochs_are_listed() {
    let env = with_snapshot();
    let text = masked(&env.ok("index epoch list"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Current Epoch: 0");
    assert!(lines[1].starts_with("0 TIME ... TIME, "), "{text}");
    assert!(lines[1].contains(" blobs, ") && lines[1].contains(", span "), "{text}");
    let value = env.json("index epoch list --json");
    assert_eq!(
        (&value["currentEpoch"], &value["sets"][0]["kind"]),
        (&json!(0), &json!("uncompacted"))
    );
    let old = TestEnv::new();
    let repo = old.text("repo");
    old.ok(&format!("repository create filesystem --path={repo} --format-version=1"));
    assert_eq!(old.fails(1, "index epoch list"), "ERROR epoch manager is not active\n");
}

#[test]
fn an_index_that_is_lost_is_recovered_from_the_packs() {
    let env = with_snapshot();
    let snapshots = env.ok("snapshot list");
    let count = env.ok("content list --deleted").lines().count();
    let blobs = blob_files(&env, "p").len() + blob_files(&env, "q").len();
    blob_files(&env, "xn").iter().for_each(|path| fs_err::remove_file(path).unwrap());
    env.ok("cache clear");
    assert_eq!(env.ok("snapshot list"), "");
    let found = format!(
        "Found {count} contents to recover from {blobs} blobs, but not committed. Re-run with \
         --commit\n"
    );
    assert_eq!(env.says("index recover"), found);
    assert_eq!(env.says("index recover -n --parallel=4"), found);
    assert!(env.fails(1, "index recover --commit").contains("dangerous commands are disabled"));
    assert!(env.fails(1, "index recover --delete-indexes").contains("dangerous commands"));
    assert_eq!(env.ok("snapshot list"), "");
    assert_eq!(
        env.says(&format!("index recover --commit {GATE}")),
        format!("Recovered {count} contents from {blobs}.\n")
    );
    assert_eq!(env.ok("snapshot list"), snapshots);
    env.ok("snapshot verify --verify-files-percent=100");
    assert_eq!(
        env.json("index recover --json --blob-prefixes=zz"),
        json!({"blobs": 0, "contents": 0, "committed": false, "archived": [], "failed": [],
            "deletedIndexes": []})
    );
    assert_eq!(env.says("index recover --blob-prefixes=zz"), "No contents recovered.\n");
}

#[test]
fn old_indexes_go_when_the_new_one_is_there() {
    let env = TestEnv::new();
    let repo = env.text("repo");
    env.ok(&format!("repository create filesystem --path={repo} --format-version=1"));
    env.plant();
    env.ok("snapshot create src --no-auto-maintenance");
    let before = blob_files(&env, "n");
    let said = env.says(&format!("index recover --delete-indexes {GATE}"));
    assert_eq!(said.matches("would delete old index: n").count(), before.len(), "{said}");
    assert_eq!(blob_files(&env, "n"), before);
    let said = env.says(&format!("index recover --delete-indexes --commit {GATE}"));
    assert_eq!(said.matches("deleting old index blob: n").count(), before.len(), "{said}");
    let after = blob_files(&env, "n");
    assert!(after.len() == 1 && !before.contains(&after[0]), "{after:?}");
    env.ok("snapshot verify --verify-files-percent=100");
    // A pack that can't be read keeps the old ones: they alone know what is in it.
    let pack = blob_files(&env, "p").remove(0);
    let bytes = fs_err::read(&pack).unwrap();
    fs_err::write(&pack, &bytes[..bytes.len() - 1]).unwrap();
    let said = env.fails(20, &format!("index recover --delete-indexes --commit {GATE}"));
    assert!(said.contains("unable to recover index from p"), "{said}");
    let said = env.says(&format!("index recover --delete-indexes --commit --ignore-errors {GATE}"));
    assert!(said.contains("1 packs could not be read: p"), "{said}");
    assert!(said.contains("The old indexes stay"), "{said}");
    assert!(after.iter().all(|path| path.exists()));
}

#[test]
fn archived_packs_are_named_and_not_read() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let packs = s3.server.objects().keys("r/p");
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    let pack = packs[0].strip_prefix("r/").unwrap();
    s3.server.requests().clear();
    let said = s3.says(&format!("index recover --commit {GATE}"));
    assert!(
        said.contains("1 packs are archived and are not read; what they hold is not"),
        "{said}"
    );
    assert!(said.contains(pack), "{said}");
    assert_eq!(s3.json("index recover --json")["archived"], json!([pack]));
    assert!(s3.fails(4, &format!("index recover --blobs={pack}")).contains(pack));
    assert_eq!(s3.server.requests().gets("r/p"), 0);
    s3.ok("snapshot verify");
}
