//! `repository sync-to`: another storage with the same repository.

use crate::env::{S3Env, TestEnv, files, noise};

fn with_snapshot() -> TestEnv {
    let env = TestEnv::with_repository();
    env.write("src/a.txt", "hello");
    env.write("src/sub/b.bin", noise(1, 300_000));
    env.ok(&format!("snapshot create {}", env.text("src")));
    std::fs::create_dir(env.path("copy")).unwrap();
    env
}

/// The blobs of the copy: the rules by which they lie in folders are written by readers, too.
fn blobs(env: &TestEnv) -> Vec<std::path::PathBuf> {
    let all = files(&env.path("copy")).into_iter().map(|(name, _)| name);
    all.filter(|name| !name.ends_with(".shards")).collect()
}

/// Connects to the copy, verifies it and restores from it.
fn check_copy(env: &TestEnv, connect: &str) {
    let file = env.text("copy.config");
    env.ok(&format!("repository connect {connect} --config-file={file}"));
    env.ok(&format!("snapshot verify --verify-files-percent=100 --config-file={file}"));
    let (source, out) = (env.text("src"), env.text("out"));
    env.ok(&format!("restore u@h:{source}@latest {out} --config-file={file}"));
    assert_eq!(files(&env.path("src")), files(&env.path("out")));
    std::fs::remove_dir_all(env.path("out")).unwrap();
}

#[test]
fn a_folder_gets_every_blob_and_is_the_repository() {
    let env = with_snapshot();
    let line = format!("repository sync-to filesystem --path={}", env.text("copy"));
    let dry = env.says(&format!("{line} -n"));
    assert!(dry.contains("  Found 0 BLOBs to delete (0 B), 1 in sync (1.1 KB)"), "{dry}");
    assert!(!dry.contains("Copying"), "{dry}");
    assert!(blobs(&env).is_empty(), "a dry run writes nothing");
    let said = env.says(&line);
    let expected = format!(
        "Synchronizing repositories:\n  Source:      Filesystem: {}\n  Destination: Filesystem: {}\n\
         NOTE: By default no BLOBs are deleted, pass --delete to allow it.\n\
         Looking for BLOBs to synchronize...\n",
        env.text("repo"),
        env.text("copy"),
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("Copying...\n") && said.ends_with(" deleted 0.\n"), "{said}");
    check_copy(&env, &format!("filesystem --path={}", env.text("copy")));
    // Again, with a blob too many at the destination.
    env.write("copy/xtra.f", "x");
    let done = env.json(&format!("{line} --delete --parallel=3 --must-exist --json"));
    assert_eq!(done["toDelete"]["count"], 1, "{done}");
    assert_eq!((&done["copied"], &done["deleted"]), (&0.into(), &1.into()), "{done}");
    assert!(!env.path("copy/xtra.f").exists());
}

#[test]
fn a_destination_that_is_not_right_is_refused() {
    let env = with_snapshot();
    let missing =
        env.fails(10, &format!("repository sync-to filesystem --path={}", env.text("no")));
    assert!(missing.contains("can't connect to storage: ") && missing.contains("does not exist"));
    let copy = env.text("copy");
    let empty = env.fails(10, &format!("repository sync-to filesystem --path={copy} --must-exist"));
    assert!(empty.ends_with("ERROR destination repository does not have a format blob\n"));
    let other = TestEnv::with_repository();
    let line = format!("repository sync-to filesystem --path={}", other.text("repo"));
    let before = files(&other.path("repo"));
    let refused = env.fails(1, &line);
    assert!(refused.contains("destination repository contains incompatible data"), "{refused}");
    assert_eq!(files(&other.path("repo")), before);
    assert!(env.fails(2, "repository sync-to azure").contains("Kopia does"));
}

#[test]
fn a_bucket_decides_its_own_storage_classes() {
    let s3 = S3Env::new();
    let env = with_snapshot();
    let rules = r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"}]}"#;
    s3.put_config(rules);
    let line = format!("repository sync-to s3 {}", s3.flags());
    env.says(&line);
    let objects = s3.server.objects();
    assert_eq!(objects.get("r/.storageconfig").unwrap().bytes, rules.as_bytes());
    for (kind, class) in s3.classes() {
        let expected = if kind == "p" { "GLACIER_IR" } else { "STANDARD" };
        assert_eq!(class, expected, "{kind}");
    }
    check_copy(&env, &format!("s3 {}", s3.flags()));
    // Times are the bucket's; and what is in the bucket alone, its rules among it, stays or goes.
    objects.put("r/xtra", "x");
    let said = env.says(&format!("{line} --delete --times"));
    assert!(said.contains("  Found 1 BLOBs to delete (1 B)"), "{said}");
    assert!(objects.get("r/xtra").is_none() && objects.get("r/.storageconfig").is_some());
}

#[test]
fn archived_packs_end_it_before_a_write() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    std::fs::create_dir(s3.path("copy")).unwrap();
    let packs = s3.server.objects().keys("r/p");
    packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
    let line = format!("repository sync-to filesystem --path={}", s3.text("copy"));
    let error = s3.json_error(4, &format!("{line} --json"));
    assert_eq!(error["details"]["archived"].as_array().unwrap().len(), packs.len());
    assert!(blobs(&s3).is_empty());
    assert!(s3.fails(4, &line).contains("thaw start --blobs=FILE"));
}

#[test]
fn a_token_names_the_destination_too() {
    let env = with_snapshot();
    env.ok(&format!("repository sync-to filesystem --path={}", env.text("copy")));
    let file = env.text("copy.config");
    let connect = format!("repository connect filesystem --path={}", env.text("copy"));
    env.ok(&format!("{connect} --config-file={file}"));
    let text = env.ok(&format!("repository status -t --config-file={file}"));
    let token = text.lines().find_map(|line| line.split_once("--token ")).unwrap().1;
    env.write("src/new", "new");
    env.ok(&format!("snapshot create {}", env.text("src")));
    for way in [format!("--token={token}"), format!("--file={file}")] {
        env.says(&format!("repository sync-to from-config {way}"));
    }
    check_copy(&env, &format!("filesystem --path={}", env.text("copy")));
}
