//! The connection file, the password, and the environment, as both programs share them.

use std::os::unix::fs::PermissionsExt;

use crate::env::{PASSWORD, TestEnv};

/// A connection file as Kopia 0.23.1 writes it.
fn kopias(path: &str, more: &str) -> String {
    format!(
        r#"{{
  "storage": {{
    "type": "filesystem",
    "config": {{
      "path": "{path}",
      "fileMode": 384,
      "dirMode": 448,
      "dirShards": null{more}
    }}
  }},
  "caching": {{
    "cacheDirectory": "../../cache/kopia/0123456789abcdef",
    "maxCacheSize": 5242880000,
    "maxMetadataCacheSize": 5242880000,
    "maxListCacheDuration": 30
  }},
  "hostname": "h",
  "username": "u",
  "description": "Repository in Filesystem: {path}",
  "enableActions": false,
  "formatBlobCacheDuration": 900000000000
}}"#
    )
}

#[test]
fn what_we_write_is_what_kopia_writes() {
    let env = TestEnv::with_repository();
    let written = fs_err::read_to_string(env.config_file()).unwrap();
    let folder = written.split("cache/kopia/").nth(1).unwrap()[..16].to_owned();
    let wanted = kopias(&env.text("repo"), "").replace("0123456789abcdef", &folder);
    assert_eq!(written, wanted);
    let mode =
        |path: &std::path::Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&env.config_file()), 0o600);
    assert_eq!(mode(env.config_file().parent().unwrap()), 0o700);
    let mut stored = env.config_file().into_os_string();
    stored.push(".kopia-password");
    assert_eq!(fs_err::read(&stored).unwrap(), b"Zml4dHVyZQ==");
    assert_eq!(mode(stored.as_ref()), 0o600);
}

#[test]
fn what_kopia_writes_we_read_with_nothing_more() {
    let made = TestEnv::with_repository();
    let source = made.plant();
    made.ok(&format!("snapshot create {source}"));
    let env = TestEnv::new().with("KOPIA_PASSWORD", "");
    let file = env.write("config/kopia/repository.config", kopias(&made.text("repo"), ""));
    env.write("config/kopia/repository.config.kopia-password", "Zml4dHVyZQ==");
    assert!(env.ok("snapshot list").contains(" 300 KB drwxr-xr-x "));
    assert!(env.path("cache/kopia/0123456789abcdef/kopia-lite").is_dir(), "relative to the file");
    env.ok(&format!("snapshot create {source}"));
    // Named by a path, a name in the folder, and the environment.
    fs_err::rename(&file, env.path("config/kopia/work.config")).unwrap();
    fs_err::rename(
        env.path("config/kopia/repository.config.kopia-password"),
        env.path("config/kopia/work.config.kopia-password"),
    )
    .unwrap();
    env.fails(10, "snapshot list");
    env.ok("snapshot list --config-file=work.config");
    env.ok("--config-file config/kopia/work.config snapshot list");
    let env = env.with("KOPIA_CONFIG_PATH", "work.config");
    env.ok("snapshot list");
}

#[test]
fn the_environment_moves_the_cache() {
    let env = TestEnv::with_repository();
    let cache = env.text("elsewhere");
    let env = env.with("KOPIA_CACHE_DIRECTORY", cache.clone());
    env.ok("snapshot list");
    assert!(env.path("elsewhere/kopia-lite").is_dir());
    assert_eq!(env.ok("cache info --path").trim(), cache);
}

#[test]
fn a_wrong_password_is_exit_12_and_says_where() {
    let env = TestEnv::with_repository();
    let path = env.text("repo");
    let wanted = format!("wrong password for the repository at Filesystem: {path}");
    assert!(env.fails(12, "snapshot list -p wrong").contains(&wanted));
    let error = env.json_error(12, "snapshot list --password=wrong --json");
    assert_eq!(error["kind"], "wrong-password");
    assert!(error["message"].as_str().unwrap().contains(&wanted), "{error}");
    let text = env.fails(12, &format!("repository connect filesystem --path={path} -p wrong"));
    assert!(text.contains(&wanted), "{text}");
    let mut stored = env.config_file().into_os_string();
    stored.push(".kopia-password");
    assert!(std::path::Path::new(&stored).exists(), "the connection that was there stays");
    env.ok("snapshot list");
}

#[test]
fn the_password_may_be_in_a_file_or_be_printed_by_a_command() {
    let env = TestEnv::with_repository().with("KOPIA_PASSWORD", "");
    env.write("password", format!("{PASSWORD}\n"));
    env.write("wrong", "wrong");
    env.write("empty", "\n");
    env.ok("snapshot list --password-file=password");
    let command = format!("--password-command=echo {PASSWORD}");
    assert_eq!(env.run(["snapshot", "list", &command]).code, 0);
    // They go before the password that is kept.
    env.fails(12, "snapshot list --password-file=wrong");
    let text = env.fails(12, "snapshot list --password-file=empty");
    assert!(text.contains("the password file empty holds no password"), "{text}");
    let text = env.fails(12, "snapshot list --password-command=false");
    assert!(text.contains("--password-command ended with exit status: 1"), "{text}");
    let env = env.with("KOPIA_LITE_PASSWORD_FILE", "wrong");
    env.fails(12, "snapshot list");
    env.ok(&format!("snapshot list -p {PASSWORD}"));
}

#[test]
fn the_password_comes_from_flag_environment_or_file() {
    let env = TestEnv::with_repository().with("KOPIA_PASSWORD", "");
    env.ok("snapshot list");
    env.ok("repository disconnect");
    let path = env.text("repo");
    let connect = format!("repository connect filesystem --path={path}");
    let text = env.fails(12, &connect);
    assert!(text.contains("no password: tried --password, KOPIA_PASSWORD, --password-file and --password-command, and"), "{text}");
    let run = env.run([
        "repository",
        "connect",
        "filesystem",
        "--path",
        &path,
        "-p",
        " fixture\n",
        "--no-persist-credentials",
    ]);
    assert_eq!(run.code, 0, "white space around it is cut off: {run:#?}");
    env.fails(12, "snapshot list");
    let env = env.with("KOPIA_PASSWORD", PASSWORD);
    env.ok("snapshot list");
}

#[test]
fn the_key_is_kept_only_where_the_password_is() {
    let env = TestEnv::with_repository();
    let kept = || {
        let caches = std::fs::read_dir(env.path("cache/kopia")).into_iter().flatten();
        let mut keys = caches.map(|cache| cache.unwrap().path().join("kopia-lite/key"));
        keys.any(|key| key.exists())
    };
    assert!(kept(), "made when the password was tried");
    env.ok("snapshot list");
    assert!(kept(), "the variable says what is stored, too");
    env.fails(12, "snapshot list -p wrong");
    assert!(!kept());
    env.ok("snapshot list");
    assert!(kept());
    env.ok("repository disconnect");
    assert!(!kept());
    let path = env.text("repo");
    env.ok(&format!("repository connect filesystem --path={path} --no-persist-credentials"));
    env.ok("snapshot list");
    assert!(!kept());
}

#[test]
fn connections_that_are_not_ours_to_use_say_so() {
    let env = TestEnv::new();
    let server = r#"{"apiServer":{"url":"https://x"},"hostname":"h","username":"u"}"#;
    let storage = |kind: &str| {
        format!(r#"{{"storage":{{"type":"{kind}","config":{{}}}},"hostname":"h","username":"u"}}"#)
    };
    for (text, code, wanted) in [
        (
            server.to_owned(),
            10,
            "belongs to a connection to a Kopia server; connect to the storage directly",
        ),
        (storage("b2"), 10, "b2 is not a storage that kopia-lite knows; Kopia does"),
        (storage("martian"), 10, "unsupported kind of storage: martian"),
        (r#"{"hostname":"h","username":"u"}"#.to_owned(), 10, "names no storage"),
        ("junk".to_owned(), 1, "not JSON"),
        (
            kopias("/x", r#","readsPerSecond":-1"#),
            1,
            "the limit readsPerSecond can't be negative: -1",
        ),
        (
            kopias("/x", r#","concurrentReads":-1"#),
            1,
            "the limit concurrentReads can't be negative: -1",
        ),
        (
            storage("filesystem").replacen('{', r#"{"permissiveCacheLoading":true,"#, 1),
            1,
            "permissiveCacheLoading is set",
        ),
    ] {
        env.write("config/kopia/repository.config", text);
        let said = env.fails(code, "snapshot list");
        assert!(said.contains(wanted), "{said}");
    }
    env.write("config/kopia/repository.config", "junk");
    env.ok("repository disconnect");
    assert!(!env.config_file().exists(), "what can't be read can be forgotten");
}

#[test]
fn unknown_fields_of_the_file_survive_and_limits_are_kept() {
    let env = TestEnv::with_repository();
    let path = env.text("repo");
    let limits = "--max-upload-speed=200000 --max-download-speed=1e6";
    env.ok(&format!("repository connect filesystem --path={path} {limits}"));
    let config = env.config();
    assert_eq!(config["storage"]["config"]["maxUploadSpeedBytesPerSecond"], 200_000);
    assert_eq!(config["storage"]["config"]["maxDownloadSpeedBytesPerSecond"], 1_000_000);
    let source = env.plant();
    let begun = std::time::Instant::now();
    env.ok(&format!("snapshot create {source}"));
    let took = begun.elapsed();
    // 300 KB leave a debt of 100 KB, which whatever is written next pays: half a second.
    assert!(took.as_millis() >= 500, "{took:?}");
    // Limits of the connection take the place of the storage's.
    let mut config = env.config();
    config["throttlingLimits"] = serde_json::json!({"maxUploadSpeedBytesPerSecond": 1e9});
    fs_err::write(env.config_file(), config.to_string()).unwrap();
    env.write("src/sub/b.bin", crate::env::noise(7, 4_000_000));
    let begun = std::time::Instant::now();
    env.ok(&format!("snapshot create {source}"));
    let took = begun.elapsed();
    assert!(took.as_secs() < 15, "{took:?}, and twenty seconds by the storage's limit");
}

#[test]
fn a_flat_repository_without_its_shards_file_is_connected_as_flat() {
    let env = TestEnv::new();
    env.ok(&format!("repository create filesystem --flat --path={}", env.text("flat")));
    env.ok("repository disconnect");
    std::fs::remove_file(env.path("flat").join(".shards")).unwrap();
    env.ok(&format!("repository connect filesystem --flat --path={}", env.text("flat")));
    assert_eq!(env.config()["storage"]["config"]["dirShards"], serde_json::json!([]));
    env.ok("snapshot list");
}

#[test]
fn a_tilde_that_the_shell_has_left_is_the_home_folder() {
    let env = TestEnv::new();
    std::fs::create_dir_all(env.path("home")).unwrap();
    env.ok("repository create filesystem --path=~/repo");
    assert!(env.path("home/repo/kopia.repository.f").exists());
    env.fails(1, "repository connect filesystem --path=relative");
}

#[test]
fn a_stored_password_may_end_with_a_line_break() {
    let env = TestEnv::with_repository().with("KOPIA_PASSWORD", "");
    let file = env.config_file().with_extension("config.kopia-password");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push('\n');
    std::fs::write(&file, text).unwrap();
    env.ok("snapshot list");
}

#[test]
fn a_connection_file_named_without_its_folder_has_an_absolute_cache() {
    let env = TestEnv::with_repository();
    let repo = env.config()["storage"]["config"]["path"].as_str().unwrap().to_owned();
    let there = env.path("there");
    std::fs::create_dir_all(&there).unwrap();
    let run = |line: &str| {
        let mut command = env.command(line.split(' '));
        let ended = command.current_dir(&there).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    run(&format!("--config-file=./own.config repository connect filesystem --path={repo}"));
    let text = std::fs::read_to_string(there.join("own.config")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cache = config["caching"]["cacheDirectory"].as_str().unwrap();
    assert!(cache.starts_with('/'), "{cache}");
    run("--config-file=./own.config snapshot list");
    assert!(std::path::Path::new(cache).exists());
    run("--config-file=./own.config repository disconnect");
    assert!(!std::path::Path::new(cache).exists(), "the cache went with its connection");
}
