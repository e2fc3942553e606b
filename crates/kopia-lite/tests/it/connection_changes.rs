//! What can be changed of a connection and of a repository, and connections by token.

use serde_json::json;

use crate::env::{PASSWORD, TestEnv};

#[test]
fn a_token_connects_with_or_without_its_password() {
    let env = TestEnv::with_repository();
    let token = |flags: &str| {
        let text = env.ok(&format!("repository status {flags}"));
        let at = text.find("--token ").unwrap() + "--token ".len();
        text[at..].split_whitespace().next().unwrap().to_owned()
    };
    let (bare, full) = (token("-t"), token("-t -s"));
    let file = env.write("token", format!("{full}\n"));
    let connected = |other: &TestEnv, flags: &str| {
        let said = other.says(&format!("repository connect from-config {flags}"));
        assert!(said.ends_with("Connected to repository.\n"), "{said}");
        assert_eq!(other.config()["storage"], env.config()["storage"]);
        assert_eq!(
            fs_err::read_to_string(other.text("config/kopia/repository.config.kopia-password"))
                .unwrap(),
            "Zml4dHVyZQ=="
        );
        other.ok("snapshot list --password=");
    };
    connected(&TestEnv::new(), &format!("--token={bare}"));
    connected(&TestEnv::new(), &format!("--file={}", env.config_file().display()));
    let beside = TestEnv::new();
    beside.write("work.config", fs_err::read(env.config_file()).unwrap());
    connected(&beside, "--file=work.config");
    // The token's password goes before any other.
    let other = || TestEnv::new().with("KOPIA_PASSWORD", "another");
    connected(&other(), &format!("--token={full}"));
    connected(&other(), &format!("--token-file={}", file.display()));
    let wrong = other().fails(12, &format!("repository connect from-config --token={bare}"));
    assert!(wrong.contains("wrong password"), "{wrong}");
    let missing = other().fails(1, "repository connect from-config");
    assert!(missing.contains("one of --file, --token-file, --token-stdin or --token"), "{missing}");
    let broken = other().fails(1, "repository connect from-config --token=e!");
    assert!(broken.contains("invalid token"), "{broken}");
    let stdin = TestEnv::new().with("KOPIA_PASSWORD", "another");
    let mut command = stdin.command(["repository", "connect", "from-config", "--token-stdin"]);
    let run = command.stdin(fs_err::File::open(&file).unwrap().into_parts().0).status().unwrap();
    assert!(run.success());
    stdin.ok("snapshot list --password=");
}

#[test]
fn a_new_password_opens_and_is_kept() {
    let env = TestEnv::with_repository();
    let said = env.says("repository change-password --new-password=second -n");
    assert_eq!(said, "The password would be changed.\n");
    let said = env.says("repository change-password --new-password=second");
    assert_eq!(said, "NOTE: Repository password has been changed.\n");
    let text = env.fails(12, "snapshot list");
    assert!(text.contains("wrong password"), "{text}: {PASSWORD} is the old one");
    let kept = env.with("KOPIA_PASSWORD", "");
    kept.ok("snapshot list");
    let variable = kept.with("KOPIA_NEW_PASSWORD", " third\n");
    variable.says("repository change-password");
    variable.ok("snapshot list");
    let forgotten = variable.with("KOPIA_NEW_PASSWORD", "");
    let text = forgotten.fails(12, "repository change-password");
    assert!(text.contains("tried --new-password, KOPIA_NEW_PASSWORD"), "{text}");
    forgotten.says("repository change-password --new-password=fourth --no-persist-credentials");
    forgotten.fails(12, "snapshot list");
    forgotten.with("KOPIA_PASSWORD", "fourth").ok("snapshot list");
}

#[test]
fn what_a_client_is_can_be_changed() {
    let env = TestEnv::with_repository();
    assert!(env.fails(1, "repository set-client").ends_with("no changes\n"));
    let said = env.says("repository set-client --read-only --username=x --hostname=y");
    assert_eq!(
        said,
        "Setting repository to read-only mode.\nSetting local username to x\n\
         Setting local hostname to y\n"
    );
    let config = env.config();
    assert_eq!([&config["username"], &config["hostname"]], ["x", "y"]);
    assert_eq!(config["readonly"], true);
    let source = env.write("data/a", "a");
    env.fails(1, &format!("snapshot create {}", source.display()));
    let text = env.fails(1, "repository set-client --read-only");
    assert!(text.starts_with("Repository is already in read-only mode."), "{text}");
    env.says("repository set-client --username=x");
    env.says("repository set-client --read-write --description=words");
    env.says("repository set-client --repository-format-cache-duration=5m -n");
    assert_eq!(env.config()["formatBlobCacheDuration"], 900_000_000_000_i64, "a dry run");
    env.says("repository set-client --disable-repository-format-cache");
    env.says("repository set-client --disable-repository-format-cache");
    let config = env.config();
    assert_eq!(config["formatBlobCacheDuration"], -1);
    assert_eq!((&config["description"], config.get("readonly")), (&json!("words"), None));
}

#[test]
fn limits_are_kept_and_lifted() {
    let env = TestEnv::with_repository();
    assert_eq!(env.says("repository throttle set"), "No changes made.\n");
    assert_eq!(env.json("repository throttle get --json"), json!({}));
    let said = env.says(
        "repository throttle set --upload-bytes-per-second=10000000 --concurrent-reads=3 \
         --read-requests-per-second=2.5",
    );
    assert_eq!(
        said,
        "Setting max upload speed to 10 MB/s.\nSetting reads per second to 2.5.\n\
         Setting concurrent reads to 3.\n"
    );
    assert_eq!(
        env.json("repository throttle get --json"),
        json!({"readsPerSecond": 2.5, "maxUploadSpeedBytesPerSecond": 10_000_000, "concurrentReads": 3})
    );
    let text = env.ok("repository throttle get");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Max Download Speed:            (unlimited)");
    assert_eq!(lines[1], "Max Upload Speed:              10 MB/s");
    assert_eq!(lines.len(), 7);
    env.says("repository throttle set --upload-bytes-per-second=- --concurrent-reads=unlimited");
    assert_eq!(env.json("repository throttle get --json"), json!({"readsPerSecond": 2.5}));
    assert!(env.fails(1, "repository throttle set --concurrent-reads=x").contains("can't parse"));
    env.fails(1, "repository throttle set --concurrent-reads=-1");
    env.fails(1, "repository throttle set --read-requests-per-second=NaN");
    assert_eq!(env.says("repository throttle set --concurrent-reads="), "No changes made.\n");
    env.ok("snapshot list");
}

#[test]
fn parameters_of_the_repository_can_be_changed() {
    let env = TestEnv::with_repository();
    assert_eq!(env.says("repository set-parameters"), "no changes\n");
    let said = env.says("repository set-params --max-pack-size-mb=30 --epoch-min-duration=12h");
    assert!(said.contains(" - setting maximum pack size to 31.5 MB.\n"), "{said}");
    assert!(said.contains(" - setting minimum epoch duration to 12h0m0s.\n"), "{said}");
    assert!(said.contains("NOTE: Repository parameters updated"), "{said}");
    let format = |env: &TestEnv| env.json("repository status --json")["contentFormat"].clone();
    assert_eq!(format(&env)["maxPackSize"], 30 << 20);
    assert_eq!(format(&env)["epochParameters"]["MinEpochDuration"], 43_200_000_000_000_i64);
    env.says("repository set-parameters --max-pack-size-mb=40 --dry-run");
    assert_eq!(format(&env)["maxPackSize"], 30 << 20, "a dry run");
    // What another client changes while this one keeps the format blobs stays changed.
    let (other, path) = (TestEnv::new(), env.text("repo"));
    other.ok(&format!("repository connect filesystem --path={path}"));
    other.says("repository set-parameters --max-pack-size-mb=50");
    env.says("repository set-parameters --epoch-advance-on-count=15");
    assert_eq!(format(&env)["maxPackSize"], 50 << 20);
    assert_eq!(format(&env)["epochParameters"]["EpochAdvanceOnCountThreshold"], 15);
    let text = env.fails(1, "repository set-parameters --max-pack-size-mb=5");
    assert!(text.contains("10 and 120 MiB"), "{text}");
    let text = env.fails(1, "repository set-parameters --index-version=1");
    assert!(text.contains("can only be upgraded"), "{text}");
    let text = env.fails(1, "repository set-parameters --retention-mode=GOVERNANCE");
    assert!(text.contains("retention"), "{text}");
    let text = env.fails(1, "repository set-parameters --upgrade");
    assert!(text.contains("Kopia does"), "{text}");
}
