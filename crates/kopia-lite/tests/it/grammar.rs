//! Flags, aliases and help: what Kopia's users type without thinking.

use crate::env::TestEnv;

#[test]
fn flags_may_stand_anywhere() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    for line in [
        format!("--no-progress snapshot create {source} --tags=a:b --parallel 2 --json"),
        format!("snapshot --no-progress create --json {source} --tags a:b --parallel=2"),
        format!("snapshot create --description=x {source} --log-level=error --json --pin=keep"),
    ] {
        let json = env.json(&line);
        assert_eq!(json["source"]["path"], source.as_str());
    }
    let list = env.json("snapshot list --tags=a:b --json");
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[test]
fn every_boolean_has_its_no() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let with = env.ok("snapshot list --retention --no-all");
    let without = env.ok("snapshot list --no-retention --no-progress --human-readable=false");
    assert!(with.contains("(latest-1,hourly-1,daily-1,weekly-1,monthly-1,annual-1)"), "{with}");
    assert!(!without.contains("latest-1") && without.contains(" 300006 "), "{without}");
    env.fails(2, "snapshot list --no-max-results");
}

#[test]
fn variables_may_be_empty_and_booleans_are_gos() {
    let env = TestEnv::with_repository()
        .with("KOPIA_DISABLE_REPOSITORY_LOG", "1")
        .with("KOPIA_FORCE_COLOR", "0")
        .with("KOPIA_PERSIST_CREDENTIALS_ON_CONNECT", "T")
        .with("KOPIA_SNAPSHOT_FAIL_FAST", "")
        .with("KOPIA_CONFIG_PATH", "")
        .with("KOPIA_CACHE_DIRECTORY", "");
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let text = env.with("KOPIA_FORCE_COLOR", "yes").fails(2, "snapshot list");
    assert!(text.contains("neither true nor false"), "{text}");
}

#[test]
fn kopias_measurements_are_taken_in_silence() {
    let env = TestEnv::with_repository();
    env.ok("repository status --content-log-dir-max-files=3 --disable-content-log \
         --upgrade-no-block --dangerous-commands=enabled --metrics-listen-addr=:1 --profile-cpu \
         --no-auto-maintenance --progress-update-interval=1s");
    env.fails(2, "repository status --ignore-missing-required-features");
}

#[test]
fn kopias_aliases_work() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snap create {source}"));
    let id = env.newest();
    for line in [
        "repo status".to_owned(),
        "snap ls".to_owned(),
        format!("ls {id}"),
        format!("cat {id}/a.txt"),
        "policies ls".to_owned(),
        "policy get --global".to_owned(),
        "blob ls".to_owned(),
        "blob cat kopia.repository".to_owned(),
        "contents ls".to_owned(),
        "manifest ls".to_owned(),
        "index ls".to_owned(),
        format!("snapshot rm {id}"),
        format!("snapshot remove {id}"),
        "policy rm -n --global".to_owned(),
    ] {
        env.ok(&line);
    }
}

#[test]
fn h_is_for_human_where_kopia_has_it_so_and_help_elsewhere() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    assert!(env.ok(&format!("list -lh {id}")).contains(" 300 KB "));
    assert!(env.ok("content list -l -h").lines().count() >= 5);
    assert!(env.ok("snapshot list -h").contains("Usage: kopia-lite snapshot list"));
    for help in ["list --help", "help list", "content list --help", "--help", "help", "--help-full"]
    {
        let text = env.ok(help);
        assert!(text.contains("Usage: kopia-lite"), "{help}: {text}");
    }
}

#[test]
fn help_names_both_twins_and_the_exit_codes() {
    let env = TestEnv::new();
    let text = env.ok("snapshot list --help");
    assert!(text.contains("--[no-]human-readable"), "{text}");
    assert!(!text.contains("[=<"), "{text}");
    let text = env.ok("--help");
    for wanted in ["Exit codes:", "12 wrong password", "--config-file", "Advanced:"] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    assert!(env.ok("-h").len() * 2 < env.ok("snapshot list --help").len() + text.len());
    assert_eq!(env.ok(""), env.ok("-h"), "no command at all is help, as in Kopia");
}

#[test]
fn the_version_begins_with_the_version() {
    let env = TestEnv::new();
    let text = env.ok("--version");
    let wanted = concat!(env!("CARGO_PKG_VERSION"), " build: kopia-lite from: ");
    assert!(text.starts_with(wanted), "{text}");
    let json = env.json("--version --json");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["formats"]["writes"], serde_json::json!([1, 2, 3]));
}

#[test]
fn wrong_usage_is_exit_2_in_words_and_in_json() {
    let env = TestEnv::new();
    for line in [
        "frobnicate",
        "snapshot",
        "snapshot frobnicate",
        "snapshot list --bogus",
        "restore",
        "show",
    ] {
        let text = env.fails(2, line);
        assert!(text.contains("Usage: kopia-lite"), "{line}: {text}");
    }
    let error = env.json_error(2, "snapshot list --bogus --json");
    assert_eq!(error["kind"], "usage");
    assert!(error["message"].as_str().unwrap().contains("--bogus"), "{error}");
}

#[test]
fn flags_for_what_is_not_there_are_taken() {
    let env = TestEnv::with_repository();
    let flags = "--no-auto-maintenance --disable-file-logging --disable-content-log \
                 --initial-update-check-delay=1h --track-releasable=x --disable-color";
    env.ok(&format!("snapshot list {flags}"));
    let path = env.text("repo");
    let more = "--no-check-for-updates --no-enable-actions --max-list-cache-duration=1m \
                --content-min-sweep-age=1h";
    env.ok(&format!("repository connect filesystem --path={path} {more}"));
    assert_eq!(env.config()["caching"]["maxListCacheDuration"], 60);
}

#[test]
fn colours_are_for_terminals_unless_forced() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let policy = format!("policy set {source} --compression=zstd-best-compression");
    let plain = env.line(&policy).stderr;
    assert!(plain.contains("is deprecated") && !plain.contains('\x1b'), "{plain:?}");
    let forced = env.line(&format!("{policy} --force-color")).stderr;
    assert!(forced.contains("\x1b[33m"), "{forced:?}");
}

#[test]
fn debug_says_what_the_libraries_do() {
    let env = TestEnv::new();
    let path = env.text("repo");
    env.ok(&format!("repository create filesystem --path={path} --log-level=error"));
    let quiet = env.line("snapshot list --log-level=error");
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn usage_names_no_flag_that_came_from_a_variable() {
    let env = TestEnv::new().with("AWS_SECRET_ACCESS_KEY", "k").with("KOPIA_PASSWORD", "p");
    let text = env.fails(2, "repository connect s3");
    let usage = text.lines().find(|line| line.starts_with("Usage:"));
    let wanted = "Usage: kopia-lite repository connect s3 [OPTIONS] --bucket <BUCKET>";
    assert_eq!(usage, Some(wanted), "{text}");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = env.ok(&format!("completion {shell}"));
        for word in ["kopia-lite", "storage-config", "config-file", "keep-daily"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    env.fails(2, "completion tcsh");
    // Bash itself must understand it.
    let path = env.write("script", env.ok("completion bash"));
    let checked = std::process::Command::new("bash").arg("-n").arg(&path).status();
    assert!(checked.is_ok_and(|status| status.success()), "bash -n");
}
