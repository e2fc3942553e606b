//! The main commands on S3, and what they ask of the server.

use s3_testkit::{Credentials, Kind};

use crate::env::{S3Env, files, noise};

#[test]
fn the_main_commands_work_on_s3() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source} --tags=a:b"));
    s3.write("src/new.bin", noise(9, 2_000_000));
    s3.ok(&format!("snapshot create {source}"));
    let id = s3.newest();
    assert_eq!(s3.json("snapshot list --json").as_array().unwrap().len(), 2);
    s3.ok(&format!("list -lr {id}"));
    s3.ok(&format!("restore {id} {}", s3.text("out")));
    assert_eq!(files(&s3.path("out")), files(&s3.path("src")));
    s3.ok("snapshot verify --verify-files-percent=100");
    s3.ok("content verify --full");
    s3.ok("policy set --global --keep-latest=1 --keep-hourly=0 --keep-daily=0 --keep-weekly=0 \
         --keep-monthly=0 --keep-annual=0");
    s3.ok("snapshot expire --all --delete");
    s3.ok(&format!("snapshot pin {id} --add=x"));
    assert!(s3.ok("blob stats --prefix=p").starts_with("Count: 2\n"));
    let status = s3.json("repository status --json");
    assert_eq!(status["storage"]["type"], "s3");
    assert_eq!(status["storage"]["config"]["secretAccessKey"], "*".repeat(15));
    assert!(status.get("volume").is_none(), "{status}");
    let text = s3.ok("repository status");
    assert!(text.contains("Storage capacity:    unbounded"), "{text}");
    assert!(text.contains(".storageconfig:      none: every blob goes to STANDARD"), "{text}");

    let requests = s3.server.requests();
    assert_eq!(requests.count(Kind::Bucket, ""), 0, "a right to one prefix is enough");
    let all = requests.all();
    assert!(all.iter().all(|it| it.header("x-amz-storage-class").is_none()));
    assert!(all.iter().all(|it| it.key.starts_with("r/")), "nothing outside the prefix");
    assert_eq!(all[0].kind, Kind::Get, "the first question of all is for the file");
    assert_eq!(all[0].key, "r/.storageconfig");
}

#[test]
fn the_connection_file_is_kopias() {
    let s3 = S3Env::new();
    s3.create("--region=us-east-1");
    let config = s3.config();
    let addr = s3.server.addr();
    let wanted = serde_json::json!({
        "bucket": "test-bucket", "prefix": "r/", "endpoint": addr.to_string(),
        "doNotUseTLS": true, "accessKeyID": "test", "secretAccessKey": "test-secret-key",
        "sessionToken": "", "roleARN": "", "sessionName": "", "duration": "0s",
        "roleEndpoint": "", "roleRegion": "", "region": "us-east-1",
    });
    assert_eq!(config["storage"]["type"], "s3");
    assert_eq!(config["storage"]["config"].to_string(), wanted.to_string());
    assert_eq!(config["description"], format!("Repository in S3: {addr} test-bucket"));
}

#[test]
fn credentials_come_from_flags_or_the_environment() {
    let s3 = S3Env::new();
    let place = s3.place();
    let text = s3.fails(13, &format!("repository create s3 {place}"));
    assert!(text.contains("credentials were not accepted: none were found"), "{text}");
    s3.server.set_credentials(vec![Credentials::new("k", "s").with_session_token("t")]);
    let S3Env { env, server, .. } = s3;
    let env = env.with("AWS_ACCESS_KEY_ID", "k").with("AWS_SECRET_ACCESS_KEY", "s");
    let env = env.with("AWS_SESSION_TOKEN", "t");
    env.ok(&format!("repository create s3 {place}"));
    assert_eq!(env.config()["storage"]["config"]["accessKeyID"], "k", "kept, as Kopia keeps it");
    env.ok("snapshot list");
    // A file without keys takes the environment's.
    let mut config = env.config();
    for name in ["accessKeyID", "secretAccessKey", "sessionToken"] {
        config["storage"]["config"][name] = "".into();
    }
    fs_err::write(env.config_file(), config.to_string()).unwrap();
    env.ok("snapshot list");
    let env = env.with("AWS_SECRET_ACCESS_KEY", "wrong");
    let text = env.fails(13, "snapshot list");
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    drop(server);
}

#[test]
fn wrong_credentials_and_missing_rights_are_exit_13() {
    let s3 = S3Env::new();
    let place = s3.place();
    let connect =
        format!("repository connect s3 {place} --access-key=nobody --secret-access-key=x");
    let text = s3.fails(13, &connect);
    assert!(text.starts_with("ERROR error connecting to repository: "), "{text}");
    assert!(!s3.config_file().exists());
    s3.create("");
    let source = s3.plant();
    s3.server.deny(s3_testkit::Action::Put, "r/p");
    let error = s3.json_error(13, &format!("snapshot create {source} --json"));
    assert_eq!(error["kind"], "access-denied");
}

#[test]
fn an_endpoint_that_nobody_answers_at_is_told_at_once() {
    let s3 = S3Env::new();
    s3.create("");
    // A port that is free, since somebody just had it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let flags = s3.flags().replace(&s3.server.addr().to_string(), &free.to_string());
    let begun = std::time::Instant::now();
    let text = s3.fails(1, &format!("repository connect s3 {flags}"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(text.contains(&format!("no connection to {free}")), "{text}");
}

#[test]
fn a_wrong_prefix_is_named() {
    let s3 = S3Env::new();
    s3.create("");
    let flags = s3.flags().replace("--prefix=r/", "--prefix=q/");
    let text = s3.fails(10, &format!("repository connect s3 {flags}"));
    assert!(text.contains("below the prefix \"q/\": q/kopia.repository is missing"), "{text}");
}

#[test]
fn a_wrong_region_is_not_kept() {
    let s3 = S3Env::new();
    s3.create("");
    let flags = s3.flags();
    let run = s3.line(&format!("repository connect s3 {flags} --region=eu-west-9"));
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("in the region us-east-1, not in eu-west-9"), "{run:#?}");
    assert_eq!(s3.config()["storage"]["config"]["region"], "us-east-1");
}

#[test]
fn a_repository_is_not_created_over_others_in_folders() {
    let s3 = S3Env::new();
    s3.create("");
    let flags = s3.flags().replace("--prefix=r/", "--prefix=");
    let text = s3.fails(1, &format!("repository create s3 {flags}"));
    assert!(text.contains("found existing data in storage location"), "{text}");
    assert!(text.contains("holds r/"), "{text}");
    assert!(s3.server.objects().keys("").iter().all(|key| key.starts_with("r/")));
}

#[test]
fn keys_may_come_from_a_profile() {
    let s3 = S3Env::new();
    s3.create("");
    let keys = "[backup]\naws_access_key_id = test\naws_secret_access_key = test-secret-key\n";
    s3.write("home/.aws/credentials", keys);
    let connect = format!("repository connect s3 {}", s3.place());
    let text = s3.fails(13, &connect);
    assert!(text.contains("none were found; looked in the connection"), "{text}");
    let env = s3.env.with("AWS_PROFILE", "backup");
    env.ok(&connect);
    assert_eq!(env.config()["storage"]["config"]["accessKeyID"], "", "no key is copied");
    env.ok("snapshot list");
}

#[test]
fn there_is_no_repository_and_no_bucket() {
    let s3 = S3Env::new();
    let flags = s3.flags();
    let text = s3.fails(10, &format!("repository connect s3 {flags}"));
    assert!(text.contains("holds no Kopia repository"), "{text}");
    let flags = flags.replace("test-bucket", "no-such-bucket");
    let text = s3.fails(10, &format!("repository connect s3 {flags}"));
    assert!(text.contains("no-such-bucket"), "{text}");
}

#[test]
fn a_repository_is_seen_as_it_was() {
    let s3 = S3Env::lockable();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let first = s3.newest();
    let then = s3.server.clock().text();
    s3.server.clock().advance(std::time::Duration::from_secs(3600));
    s3.write("src/later.txt", "later");
    s3.ok(&format!("snapshot create {source}"));
    s3.ok(&format!("snapshot delete {first} --delete"));
    assert_eq!(s3.json("snapshot list --all --json").as_array().unwrap().len(), 1);

    let flags = s3.flags();
    s3.ok(&format!("repository connect s3 {flags} --point-in-time={then}"));
    assert_eq!(s3.config()["storage"]["config"]["pointInTime"], then);
    let listed = s3.json("snapshot list --all --json");
    assert_eq!(listed[0]["id"], first);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    s3.ok(&format!("restore {first} out"));
    let restored = files(&s3.path("out"));
    assert_eq!(restored.len(), 3);
    assert!(restored.iter().all(|(name, _)| !name.ends_with("later.txt")), "{restored:?}");
    let text = s3.fails(1, &format!("snapshot create {source}"));
    assert!(text.contains("open for reading only"), "{text}");
    let text = s3.fails(1, &format!("repository connect s3 {flags} --point-in-time=yesterday"));
    assert!(text.contains("2026-01-02T03:04:05Z"), "{text}");
}

#[test]
fn a_bucket_without_versions_has_no_past() {
    let s3 = S3Env::new();
    s3.create("");
    let flags = s3.flags();
    let past = "--point-in-time=2026-01-01T00:00:00Z";
    let text = s3.fails(1, &format!("repository connect s3 {flags} {past}"));
    assert!(text.contains("does not keep versions"), "{text}");
}

#[test]
fn a_second_repository_is_not_put_on_top_of_the_first() {
    let s3 = S3Env::new();
    s3.create("");
    let text = s3.fails(1, &format!("repository create s3 {}", s3.flags()));
    assert!(text.contains("found existing data in storage location"), "{text}");
    // Beside it, under another prefix, is fine.
    let flags = s3.flags().replace("--prefix=r/", "--prefix=other/");
    s3.ok(&format!("repository create s3 {flags} --create-only"));
}

#[test]
fn object_lock_is_asked_for_with_every_blob() {
    let s3 = S3Env::lockable();
    let flags = s3.flags();
    let lock = "--retention-mode=GOVERNANCE --retention-period=720h";
    s3.ok(&format!("repository create {lock} s3 {flags}"));
    let status = s3.json("repository status --json");
    assert_eq!(status["blobRetention"]["retentionMode"], "GOVERNANCE");
    assert!(s3.ok("repository status").contains("Blob retention period:   720h0m0s"));
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let objects = s3.server.objects();
    let locked = |prefix: &str| -> Vec<bool> {
        let keys = objects.keys(&format!("r/{prefix}"));
        let headers = keys.iter().map(|key| objects.get(key).unwrap());
        headers.map(|it| it.header("x-amz-object-lock-mode") == Some("GOVERNANCE")).collect()
    };
    for prefix in ["p", "q", "x", "kopia.repository", "kopia.blobcfg"] {
        let all = locked(prefix);
        assert!(!all.is_empty() && all.iter().all(|locked| *locked), "{prefix}: {all:?}");
    }
    let text = s3.fails(1, "repository create --retention-mode=GOVERNANCE s3 --bucket=xyz");
    assert!(text.contains("belong together"), "{text}");
}

#[test]
fn an_unchanged_snapshot_takes_seven_requests() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    s3.server.requests().clear();
    s3.ok(&format!("snapshot create {source}"));
    // .storageconfig; epochs; marker, pack, index; epochs again; the marker's end. Format blobs,
    // index and folders are kept on this machine.
    let all = s3.server.requests().all();
    let kinds: Vec<_> = all.iter().map(|request| (request.kind, request.key.clone())).collect();
    assert_eq!(all.len(), 7, "{kinds:?}");
    // Who verifies believes nothing that was kept.
    s3.server.requests().clear();
    s3.ok("snapshot verify");
    assert_eq!(s3.server.requests().gets("r/kopia."), 2);
}
