//! What a modern tool has: profiles, progress for programs, colours on demand, manual pages; and
//! the program under Kopia's name.

use std::{
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

use crate::env::{Run, TestEnv, files, keys, noise};

#[test]
fn a_profile_is_a_connection_file_by_its_name() {
    let env = TestEnv::with_repository();
    let work = env.text("work-repository");
    env.ok(&format!(
        "repository create filesystem --path={work} -P work --override-hostname=h2 \
         --override-username=u2 --readonly --description=Work"
    ));
    assert!(env.path("config/kopia/work.config").is_file());
    assert!(env.ok("--profile=work repository status").contains(&work));
    // It goes before the variable that names another one.
    let env = env.with("KOPIA_CONFIG_PATH", "nowhere.config");
    assert!(env.ok("repository status -P work").contains(&work));
    env.write("config/kopia/broken.config", "{");
    env.write("config/kopia/broken.config.kopia-password", "");
    let text = env.ok("repository list -P work");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("  broken      connection file "), "{text}");
    assert_eq!(lines[1], format!("  repository  {} as u@h", env.text("repo")));
    assert_eq!(lines[2], format!("* work        {work} as u2@h2, read-only"));
    let json = env.json("repo ls --json");
    let names = ["profile", "configFile", "current", "storage", "owner", "description", "readonly"];
    assert_eq!(keys(&json[2]), names);
    assert_eq!((&json[2]["owner"], &json[2]["storage"]), (&"u2@h2".into(), &work.clone().into()));
    assert_eq!(keys(&json[0]), ["profile", "configFile", "current", "error"]);
    for bad in ["a/b", "", ".."] {
        let run = env.run(["repository", "status", "-P", bad]);
        assert_eq!(run.code, if bad == ".." { 10 } else { 2 }, "{run:#?}");
    }
    assert_eq!(TestEnv::new().json("repository list --json"), serde_json::json!([]));
}

#[test]
fn progress_for_programs_is_an_object_a_line() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let said = env.says(&format!("snapshot create {source} --json-progress"));
    let first = said.lines().find(|line| line.starts_with('{')).unwrap();
    let progress: serde_json::Value = serde_json::from_str(first).unwrap();
    let progress = &progress["progress"];
    assert_eq!(progress["stage"], "upload", "{said}");
    assert!(progress["bytes"].is_u64() && progress["errors"] == 0, "{said}");
    let id = env.newest();
    let said = env.line(&format!("restore {id} {} --json-progress --json", env.text("out")));
    let objects = said.stderr.lines().filter(|line| line.starts_with('{'));
    let all: Vec<serde_json::Value> = objects.map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(!all.is_empty(), "{said:?}");
    for progress in all.iter().map(|it| &it["progress"]) {
        assert_eq!(progress["stage"], "restore");
        let bytes = |name: &str| progress[name].as_u64().unwrap();
        assert!(bytes("bytes") <= bytes("bytesTotal"), "{progress}");
    }
    let quiet = env.says(&format!("snapshot create {source} --json-progress --no-progress"));
    assert!(!quiet.contains('{'), "{quiet}");
}

#[test]
fn an_upload_that_takes_long_says_when_it_will_end() {
    let env = TestEnv::with_repository();
    env.write("src/.kopiaignore", "left-out\n");
    env.write("src/left-out", noise(9, 500_000));
    env.write("src/a", noise(1, 500_000));
    env.write("src/late/b", noise(2, 500_000));
    let slow = env.run(["policy", "set", "src/late", "--before-folder-action=/bin/sleep 2"]);
    assert_eq!(slow.code, 0, "{slow:?}");
    let said = env.says("snapshot create src --json-progress --force-enable-actions");
    let objects = said.lines().filter(|line| line.starts_with('{'));
    let all: Vec<serde_json::Value> = objects.map(|it| serde_json::from_str(it).unwrap()).collect();
    let last = &all.last().unwrap()["progress"];
    assert_eq!(
        (&last["filesTotal"], &last["bytesTotal"]),
        (&3.into(), &1_000_009.into()),
        "{said}"
    );
    assert!(all[0]["progress"]["bytesTotal"].is_null(), "nothing is counted at first: {said}");
}

#[test]
fn a_command_may_be_slower_than_its_connection() {
    let env = TestEnv::with_repository();
    env.write("src/a", noise(1, 900_000));
    let begun = Instant::now();
    env.says("snapshot create src --limit-upload=300KB");
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    env.fails(2, "snapshot list --limit-upload=0");
    env.fails(2, "snapshot list --limit-download=fast");
}

#[test]
fn colours_can_be_asked_for_and_refused() {
    let env = TestEnv::with_repository();
    let line = format!("policy set {} --compression=zstd-best-compression", env.plant());
    let said = |env: &TestEnv, more: &str| env.line(&format!("{line} {more}")).stderr;
    assert!(said(&env, "--color=always").contains("\x1b[33m"));
    assert!(!said(&env, "").contains('\x1b'));
    let env = env.with("CLICOLOR_FORCE", "1");
    assert!(said(&env, "").contains("\x1b[33m"));
    assert!(!said(&env, "--color=never").contains('\x1b'));
    let env = env.with("NO_COLOR", "1");
    assert!(!said(&env, "").contains('\x1b'));
    assert!(env.fails(2, "snapshot list --color=blue").contains("always"));
}

#[test]
fn every_command_has_a_manual_page() {
    let env = TestEnv::new();
    let root = env.ok("man");
    assert!(root.starts_with(".ie") || root.contains(".TH kopia-lite"), "{root}");
    assert_eq!(env.ok("--help-man"), root);
    let pages = env.json(&format!("man {} --json", env.text("man1")));
    let written = files(&env.path("man1"));
    assert_eq!(pages.as_array().unwrap().len(), written.len());
    let page = |name: &str| {
        let found = written.iter().find(|(path, _)| path.to_str() == Some(name));
        String::from_utf8(found.unwrap_or_else(|| panic!("no {name}")).1.clone()).unwrap()
    };
    let create = page("kopia-lite-snapshot-create.1");
    assert!(create.contains("fail\\-fast") && create.contains("Examples:"), "{create}");
    assert!(!create.contains("[=<"), "{create}");
    page("kopia-lite.1");
}

#[test]
fn under_kopias_name_it_ends_as_kopia_does() {
    let env = TestEnv::with_repository();
    let link = env.path("kopia");
    symlink(env!("CARGO_BIN_EXE_kopia-lite"), &link).unwrap();
    let run = |line: &str| {
        let template = env.command(line.split_whitespace());
        let mut command = Command::new(&link);
        command.args(template.get_args()).env_clear();
        command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Run::of(command.current_dir(env.path(".")))
    };
    assert_eq!(run("snapshot list").code, 0);
    let usage = run("snapshot frobnicate");
    assert_eq!(usage.code, 1);
    assert!(usage.stderr.contains("Usage: kopia snapshot"), "{usage:?}");
    assert_eq!(run("snapshot list -p wrong").code, 1);
    assert_eq!(env.line("snapshot list -p wrong").code, 12);
    assert!(run("--version").stdout.contains(" build: kopia-lite from: "));
}

#[test]
fn help_is_short_by_h_and_long_with_examples() {
    let env = TestEnv::new();
    let (short, long) = (env.ok("snapshot create -h"), env.ok("snapshot create --help"));
    assert!(!short.contains("--config-file") && !short.contains("Examples:"), "{short}");
    assert!(long.contains("--config-file"), "{long}");
    assert!(long.contains("Examples:\n  kopia-lite snapshot create ~/Documents"), "{long}");
    let root = env.ok("--help");
    for heading in ["Back up and restore:\n  snapshot ", "Advanced:\n", "Shell:\n  completion "] {
        assert!(root.contains(heading), "{root}");
    }
    for (line, nearest) in
        [("snapsho", "snapshot"), ("snapshot creat", "create"), ("snapshot list --al", "--all")]
    {
        let said = env.fails(2, line);
        assert!(said.contains(&format!("'{nearest}'")), "{line}: {said}");
    }
}

#[test]
fn every_command_without_bytes_for_its_result_has_json() {
    let mut without = Vec::new();
    for words in crate::cold_walk::commands() {
        let mut command = kopia_lite::cli::definition();
        command.build();
        let mut at = &command;
        for word in words.split(' ') {
            at = at.find_subcommand(word).unwrap();
        }
        if !at.get_arguments().any(|arg| arg.get_long() == Some("json")) {
            without.push(words);
        }
    }
    let bytes = ["show", "completion", "blob show", "content show", "logs show"];
    assert!(without.iter().all(|words| bytes.contains(&words.as_str())), "{without:?}");
    let env = TestEnv::with_repository();
    let done = env.json("repository set-client --description=words -n --json");
    let said = ["Setting description to words"];
    assert_eq!(
        done,
        serde_json::json!({"command": "repository set-client", "dryRun": true, "said": said})
    );
    let path = env.text("other");
    let done = env.json(&format!(
        "repository create filesystem --path={path} --json --config-file={}",
        env.text("other.config")
    ));
    assert_eq!(done["said"][0], "Initializing repository with:", "{done}");
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let done = env.json(&format!("snapshot delete {id} --delete --json"));
    assert!(done["said"][0].as_str().unwrap().contains(&id), "{done}");
}
