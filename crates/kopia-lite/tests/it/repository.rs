//! `repository create | connect | status | disconnect` on a folder.

use crate::env::{TestEnv, keys, masked};

#[test]
fn a_new_repository_prints_its_policy_and_is_connected() {
    let env = TestEnv::new();
    let path = env.text("repo");
    let run = env.line(&format!("repository create filesystem --path={path}"));
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(
        run.stdout,
        "\
Retention:
  Annual snapshots:                 3   (defined for this target)
  Monthly snapshots:               24   (defined for this target)
  Weekly snapshots:                 4   (defined for this target)
  Daily snapshots:                  7   (defined for this target)
  Hourly snapshots:                48   (defined for this target)
  Latest snapshots:                10   (defined for this target)
  Ignore identical snapshots:   false   (defined for this target)
Compression disabled.
"
    );
    let begin = "\
Initializing repository with:
  block hash:          BLAKE2B-256-128
  encryption:          AES256-GCM-HMAC-SHA256
  key derivation:      scrypt-65536-8-1
  splitter:            DYNAMIC-4M-BUZHASH
Connected to repository.
";
    assert!(run.stderr.starts_with(begin), "{}", run.stderr);
    assert!(env.config_file().exists());
    let again = env.fails(1, &format!("repository create filesystem --path={path}"));
    assert!(again.contains("found existing data in storage location"), "{again}");
}

#[test]
fn create_takes_every_option_of_the_format() {
    let env = TestEnv::new();
    let path = env.text("repo");
    let flags = "--block-hash=BLAKE3-256 --encryption=CHACHA20-POLY1305-HMAC-SHA256 \
                 --ecc-overhead-percent=2 \
                 --object-splitter=FIXED-1M --format-version=2 \
                 --format-block-key-derivation-algorithm=pbkdf2-sha256-600000";
    env.ok(&format!("repo create {flags} filesystem --path={path} --flat --create-only"));
    assert!(!env.config_file().exists(), "--create-only does not connect");
    assert!(env.path("repo/kopia.repository.f").exists(), "--flat has no folders");
    env.ok(&format!("repo connect filesystem --path={path}"));
    let status = env.json("repo status --json");
    assert_eq!(status["contentFormat"]["hash"], "BLAKE3-256");
    assert_eq!(status["contentFormat"]["encryption"], "CHACHA20-POLY1305-HMAC-SHA256");
    assert_eq!(status["contentFormat"]["eccOverheadPercent"], 2);
    assert_eq!(status["contentFormat"]["version"], 2);
    assert_eq!(status["objectFormat"]["splitter"], "FIXED-1M");
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn status_has_kopias_lines_and_fields() {
    let env = TestEnv::with_repository();
    let text = env.ok("repository status");
    let path = env.text("repo");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("Config file:         {}", env.config_file().display()));
    assert_eq!(lines[2], format!("Description:         Repository in Filesystem: {path}"));
    assert_eq!(
        lines[3..7].join("|"),
        "Hostname:            h|Username:            u|\
         Read-only:           false|Format blob cache:   15m0s"
    );
    assert!(text.contains("Storage type:        filesystem\nStorage capacity:    "), "{text}");
    assert!(text.ends_with("Epoch range-compaction every: 7 epochs\n"), "{text}");
    let status = env.json("repository status --json");
    assert_eq!(
        keys(&status),
        [
            "configFile",
            "uniqueIDHex",
            "clientOptions",
            "storage",
            "volume",
            "contentFormat",
            "objectFormat",
            "blobRetention"
        ]
    );
    assert_eq!(keys(&status["volume"]), ["capacity", "available"]);
    let token = env.ok("repository status -t");
    assert!(token.contains("$ kopia repository connect from-config --token eyJ"), "{token}");
    assert!(!token.contains("NOTICE"), "{token}");
    assert!(env.ok("repository status -t -s").contains("NOTICE: The token printed above"));
}

#[test]
fn disconnecting_forgets_connection_password_and_cache() {
    let env = TestEnv::with_repository();
    env.ok("snapshot list");
    assert_eq!(env.caches().len(), 1);
    assert_eq!(env.ok("repository disconnect"), "");
    let left: Vec<_> = env.path("config/kopia").read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(env.caches().len(), 0);
    let text = env.fails(10, "snapshot list");
    assert!(text.starts_with("ERROR repository is not connected: there is no "), "{text}");
    env.fails(10, "repository disconnect");
    assert!(env.path("repo/kopia.repository.f").exists(), "the repository itself stays");
}

#[test]
fn disconnecting_leaves_what_is_no_cache() {
    let env = TestEnv::with_repository();
    let (path, cache) = (env.text("repo"), env.text("mine"));
    env.write("mine/photo.jpg", "not a cache");
    env.write("config/kopia/repository.config.update-info.json", "{}");
    env.ok(&format!("repository connect filesystem --path={path} --cache-directory={cache}"));
    env.ok("snapshot list");
    assert!(env.path("mine/kopia-lite").is_dir());
    env.ok("repository disconnect");
    let left: Vec<_> =
        env.path("mine").read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["photo.jpg"]);
    assert_eq!(env.path("config/kopia").read_dir().unwrap().count(), 0);
}

#[test]
fn connecting_to_nothing_says_what_is_missing() {
    let env = TestEnv::new();
    let nowhere = env.text("nowhere");
    env.fails(10, &format!("repository connect filesystem --path={nowhere}"));
    std::fs::create_dir(&nowhere).unwrap();
    let text = env.fails(10, &format!("repository connect filesystem --path={nowhere}"));
    assert!(text.contains("holds no Kopia repository"), "{text}");
    let text = env.fails(1, "repository connect filesystem --path=relative");
    assert!(text.contains("filesystem repository path must be absolute"), "{text}");
    let text = env.fails(2, "repository connect b2 --bucket=x --key=y");
    assert_eq!(text, "ERROR b2 is not a storage that kopia-lite knows; Kopia does\n");
    env.fails(2, "repository create martian");
    assert!(!env.config_file().exists());
}

#[test]
fn a_read_only_connection_is_refused_before_anything_is_read() {
    let env = TestEnv::with_repository();
    let (path, source) = (env.text("repo"), env.plant());
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    env.ok(&format!("repository connect filesystem --path={path} --readonly"));
    for line in [
        format!("snapshot create {source}"),
        format!("snapshot delete {id} --delete"),
        format!("snapshot pin {id} --add=x"),
        "snapshot expire --all --delete".to_owned(),
        "policy set --global --keep-latest=1".to_owned(),
        "policy delete --global".to_owned(),
    ] {
        let text = env.fails(1, &line);
        assert!(text.contains("is read-only; nothing was written"), "{line}: {text}");
        assert!(!text.contains("Snapshotting"), "{line}: {text}");
    }
    env.ok("snapshot list");
    env.ok(&format!("snapshot delete {id}"));
    assert_eq!(env.config()["readonly"], true);
}

#[test]
fn create_writes_the_first_manifests_as_kopia_does() {
    let env = TestEnv::with_repository();
    let list = env.json("manifest list --json");
    let labels: Vec<_> =
        list.as_array().unwrap().iter().map(|it| it["labels"].to_string()).collect();
    assert!(labels.contains(&r#"{"type":"maintenance"}"#.to_owned()), "{labels:?}");
    assert!(
        labels.contains(&r#"{"policyType":"global","type":"policy"}"#.to_owned()),
        "{labels:?}"
    );
    let text = masked(&env.ok("index list"));
    assert!(text.lines().all(|line| line.starts_with("xn0_ID-s")), "{text}");
}

#[test]
fn an_interrupted_creation_is_finished_or_begun_anew() {
    let env = TestEnv::new();
    let create = &format!("repository create filesystem --path={}", env.text("repo"));
    // Cut between the repository and its first manifests.
    env.ok(&format!("{create} --create-only"));
    let wrong = env.command(create.split(' ')).env("KOPIA_PASSWORD", "other").output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("found existing data"), "{wrong:?}");
    let run = env.line(create);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("finishing it"), "{run:?}");
    assert_eq!(env.json("manifest list --json").as_array().unwrap().len(), 2);
    assert!(env.fails(1, create).contains("found existing data"), "it is finished");

    // Cut between its two blobs.
    let blobcfg = env.path("repo/kopia.blobcfg.f");
    let kept = fs_err::read(&blobcfg).unwrap();
    fs_err::remove_dir_all(env.path("repo")).unwrap();
    env.write("repo/kopia.blobcfg.f", kept);
    let text = env.fails(1, create);
    assert!(text.contains("kopia.blobcfg is there and kopia.repository is not"), "{text}");
    assert!(text.contains("try again in 60 min"), "{text}");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3601);
    let left = fs_err::OpenOptions::new().write(true).open(&blobcfg).unwrap();
    left.set_modified(long_ago).unwrap();
    env.ok(create);
    env.ok("repository status");
}
