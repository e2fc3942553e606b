//! Log files: where they lie and how they are called, what is in them, which stay; lines on stderr.
//!
//! Forms were taken from what Kopia 0.23.1 leaves when it is asked for the same.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::env::{TestEnv, files, keys};

/// The folder of log files of a home.
fn folder(env: &TestEnv) -> PathBuf {
    env.path("cache/kopia/cli-logs")
}

/// The names of log files, sorted.
fn names(folder: &Path) -> Vec<String> {
    let all = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut all: Vec<_> = all.map(|name| name.into_string().unwrap()).collect();
    all.retain(|name| name.starts_with("kopia-") && name.ends_with(".log"));
    all.sort();
    all
}

/// What the last command left.
fn latest(env: &TestEnv) -> String {
    fs_err::read_to_string(folder(env).join("latest.log")).unwrap()
}

/// Digits as `0`, so that times have a form.
fn form(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// Level, name and the rest of a line, which must have Kopia's form.
fn parts(line: &str) -> (&str, &str, &str) {
    let words: Vec<_> = line.splitn(4, ' ').collect();
    let [time, level, name, rest] = words[..] else { panic!("{line:?}") };
    assert_eq!(form(time), "0000-00-00T00:00:00.000000Z", "{line:?}");
    assert!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&level), "{line:?}");
    (level, name, rest)
}

/// The lines of one level.
fn of_level<'a>(log: &'a str, level: &str) -> Vec<&'a str> {
    log.lines().map(parts).filter(|(own, ..)| *own == level).map(|(_, _, rest)| rest).collect()
}

/// A repository of which a library says something.
fn warned() -> TestEnv {
    let env = TestEnv::with_repository();
    fs_err::remove_file(env.path("repo/.shards")).unwrap();
    env
}

/// Sets back when a file was written.
fn age(path: &Path, hours: u64) {
    let file = std::fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
}

#[test]
fn every_command_leaves_a_log_where_kopia_leaves_its_own() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let (stdout, stderr) = {
        let run = env.line(&format!("snap create {source}"));
        assert_eq!(run.code, 0, "{run:#?}");
        (run.stdout, run.stderr)
    };
    let all = names(&folder(&env));
    assert_eq!(all.len(), 2, "{all:?}");
    let of = |command: &str| {
        let end = format!("-{command}.0.log");
        let name = all.iter().find(|name| name.ends_with(&end)).unwrap();
        let begin = form(name.strip_suffix(&end).unwrap());
        let pid = begin.strip_prefix("kopia-00000000-000000-").unwrap();
        assert!(pid.bytes().all(|digit| digit == b'0'), "{name}");
        name.clone()
    };
    of("repository-create-filesystem");
    let log = latest(&env);
    let first = format!("kopia-lite {}: snapshot create", env!("CARGO_PKG_VERSION"));
    assert_eq!(parts(log.lines().next().unwrap()), ("INFO", "kopia/cli", first.as_str()));
    let said = of_level(&log, "INFO");
    for line in stderr.lines() {
        assert!(said.contains(&line), "{line:?} is not in {log}");
    }
    assert!(stderr.contains("Created snapshot with root"), "{stderr}");
    // Results are no log.
    assert!(stdout.lines().all(|line| !log.contains(line)), "{stdout} {log}");
    let last = log.lines().last().map(parts).unwrap();
    assert!(last.2.starts_with("exit code 0 (done) after "), "{last:?}");

    let link = fs_err::read_link(folder(&env).join("latest.log")).unwrap();
    assert_eq!(link, Path::new(&of("snapshot-create")));
    let tag = fs_err::read_to_string(folder(&env).join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"), "{tag}");
    let mode = fs_err::metadata(folder(&env)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_file_has_a_level_of_its_own() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let quiet = env.line(&format!("snapshot create {source} --log-level=error"));
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert!(latest(&env).contains("Created snapshot with root"), "{}", latest(&env));
    let log = latest(&env);
    let details = of_level(&log, "DEBUG");
    assert!(details.iter().any(|line| line.contains("snapshotted directory")), "{details:#?}");
    let before = names(&folder(&env)).len();
    env.ok("snapshot list --file-log-level=info");
    assert_eq!(of_level(&latest(&env), "DEBUG").len(), 0, "{}", latest(&env));
    assert_eq!(names(&folder(&env)).len(), before + 1);
    // There is no line, so no file.
    env.ok("snapshot list --file-log-level=error");
    assert_eq!(names(&folder(&env)).len(), before + 1);
    env.fails(1, "show 0123456789abcdef0123456789abcdef --file-log-level=error");
    assert_eq!(latest(&env).lines().count(), 1, "{}", latest(&env));
    env.fails(2, "snapshot list --file-log-level=bad");
}

#[test]
fn what_the_libraries_say_is_in_the_log_with_its_fields() {
    let env = warned();
    env.ok("blob list");
    let log = latest(&env);
    let (_, name, rest) = log.lines().map(parts).find(|(level, ..)| *level == "WARN").unwrap();
    let (message, fields) = rest.split_once('\t').unwrap();
    assert_eq!((name, message), ("fs_backend/storage", "it is missing; the blobs tell the rules"));
    let fields: Value = serde_json::from_str(fields).unwrap();
    assert_eq!(keys(&fields), ["file"]);
}

#[test]
fn errors_are_in_the_log_as_people_read_them() {
    let env = TestEnv::new();
    let said = env.fails(10, "snapshot list");
    // The level is told once.
    let said = said.trim_end().strip_prefix("ERROR ").unwrap();
    assert_eq!(of_level(&latest(&env), "ERROR").join("\n"), said);
    env.json_error(10, "snapshot list --json --console-timestamps --json-log-console");
    assert_eq!(of_level(&latest(&env), "ERROR").join("\n"), said);
    let last = latest(&env);
    assert!(last.contains("exit code 10 (not-connected)"), "{last}");
}

#[test]
fn progress_is_no_log() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let run = env.line(&format!("snapshot create {source} --json-progress"));
    assert!(run.stderr.contains("{\"progress\":"), "{run:#?}");
    assert!(!latest(&env).contains("progress"), "{}", latest(&env));
}

#[test]
fn none_is_written_where_none_is_wanted() {
    let env = TestEnv::new();
    env.ok("repository list --disable-file-logging");
    env.ok("repository list --log-dir=");
    env.ok("completion bash");
    env.ok("man pages");
    env.ok("repository list --help");
    env.fails(2, "repository list --bogus");
    assert!(!env.path("cache").exists());
    // Set to nothing is not set.
    env.with("KOPIA_LOG_DIR", "").ok("repository list --no-disable-file-logging");
}

#[test]
fn the_folder_is_chosen_by_flag_or_variable() {
    let env = TestEnv::new().with("KOPIA_LOG_DIR", "by-variable");
    env.ok("repository list");
    env.ok("repository list --log-dir=by-flag");
    for folder in ["by-variable/cli-logs", "by-flag/cli-logs"] {
        assert_eq!(names(&env.path(folder)).len(), 1, "{folder}");
    }
    assert!(!env.path("cache").exists());
}

#[test]
fn a_file_that_is_named_is_overwritten_and_its_folder_left_alone() {
    let env = TestEnv::new();
    let foreign = env.write("mine/kopia-old.log", "mine");
    age(&foreign, 10_000);
    env.ok("repository list --log-file=mine/x.log --log-dir-max-files=1");
    let first = fs_err::read_to_string(env.path("mine/x.0.log")).unwrap();
    env.ok("repository list --log-file=mine/x.log --file-log-level=info");
    let second = fs_err::read_to_string(env.path("mine/x.0.log")).unwrap();
    assert_eq!((first.lines().count(), second.lines().count()), (3, 2), "{first}{second}");
    // A tag would keep the whole folder out of snapshots.
    let found: Vec<_> = files(&env.path("mine")).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, [Path::new("kopia-old.log"), Path::new("x.0.log")]);
    assert!(!env.path("cache").exists());
    env.ok("repository list --log-file=one");
    assert!(env.path("one.0").exists());
}

#[test]
fn json_lines_have_kopias_keys() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source} --json-log-file"));
    let log = latest(&env);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        // What it is about follows, as keys of its own.
        assert_eq!(keys(line)[..4], ["l", "t", "n", "m"], "{line}");
        assert_eq!(form(line["t"].as_str().unwrap()), "0000-00-00T00:00:00.000000Z");
    }
    assert_eq!((&lines[0]["l"], &lines[0]["n"]), (&"INFO".into(), &"kopia/cli".into()));
    let folder = lines.iter().find(|line| line["m"] == "snapshotted directory").unwrap();
    assert!(folder["path"].is_string() && folder["l"] == "DEBUG", "{folder}");
}

#[test]
fn times_are_of_utc_unless_the_zone_of_the_machine_is_wanted() {
    let env = TestEnv::new().with("TZ", "Asia/Kolkata");
    env.ok("repository list");
    assert!(latest(&env).lines().map(parts).count() > 0);
    let env = env.with("KOPIA_FILE_LOG_LOCAL_TZ", "true");
    env.ok("repository list");
    let log = latest(&env);
    let time = log.split(' ').next().unwrap();
    assert_eq!(form(time), "0000-00-00T00:00:00.000000+00:00");
    assert!(time.ends_with("+05:30"), "{time}");
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let logs = env.text("logs");
    let line = format!("snapshot create {source} --log-dir={logs} --max-log-file-segment-size=200");
    env.ok(&line);
    let folder = env.path("logs/cli-logs");
    let all = names(&folder);
    assert!(all.len() > 1, "{all:?}");
    let (mut whole, mut last) = (String::new(), String::new());
    for number in 0..all.len() {
        let end = format!("-snapshot-create.{number}.log");
        last = all.iter().find(|name| name.ends_with(&end)).unwrap().clone();
        let text = fs_err::read_to_string(folder.join(&last)).unwrap();
        assert!(text.len() <= 200 || text.lines().count() == 1, "{text}");
        whole += &text;
    }
    let lines: Vec<_> = whole.lines().map(parts).collect();
    assert!(lines[0].2.ends_with(": snapshot create"), "{whole}");
    assert!(lines.last().unwrap().2.starts_with("exit code 0"), "{whole}");
    assert_eq!(fs_err::read_link(folder.join("latest.log")).unwrap(), Path::new(&last));
}

#[test]
fn old_logs_are_deleted_and_nothing_else() {
    let env = TestEnv::new();
    let old =
        |name: &str, hours| age(&env.write(&format!("l/cli-logs/{name}"), [b'x'; 600]), hours);
    let left = || -> Vec<_> {
        let all = files(&env.path("l/cli-logs")).into_iter();
        let mut all: Vec<_> = all.map(|(path, _)| path.display().to_string()).collect();
        all.retain(|name| !name.contains("-repository-list.") && name != "latest.log");
        all
    };
    let begin = || {
        let _ = std::fs::remove_dir_all(env.path("l"));
        for (name, hours) in [
            ("kopia-1.log", 721),
            ("kopia-2.log", 30),
            ("kopia-3.log", 20),
            ("other.log", 9000),
            ("kopia-notes.txt", 9000),
        ] {
            old(name, hours);
        }
    };
    let others = ["CACHEDIR.TAG", "kopia-notes.txt", "other.log"];
    let with = |logs: &[&str]| {
        let mut all: Vec<_> = others.iter().chain(logs).map(ToString::to_string).collect();
        all.sort();
        all
    };
    let line = "repository list --log-dir=l";
    for (flags, stay) in [
        ("", &["kopia-2.log", "kopia-3.log"][..]),
        ("--log-dir-max-age=25h", &["kopia-3.log"]),
        ("--log-dir-max-age=0", &["kopia-1.log", "kopia-2.log", "kopia-3.log"]),
        ("--log-dir-max-files=2", &["kopia-3.log"]),
        // Of megabytes: the own log and one of 600 bytes.
        ("--log-dir-max-total-size-mb=0.0011", &["kopia-3.log"]),
        ("--wait-for-log-sweep=false --log-dir-max-files=1", &[]),
    ] {
        begin();
        env.ok(&format!("{line} {flags}"));
        assert_eq!(left(), with(stay), "{flags}");
    }
    begin();
    let env = &env;
    let by_variable = |name: &str, value: &str| {
        let run = crate::env::Run::of(env.command(line.split(' ')).env(name, value));
        assert_eq!(run.code, 0, "{run:#?}");
    };
    by_variable("KOPIA_LOG_DIR_MAX_AGE", "25h");
    assert_eq!(left(), with(&["kopia-3.log"]));
    by_variable("KOPIA_LOG_DIR_MAX_FILES", "1");
    assert_eq!(left(), with(&[]));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing_and_is_named_once() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("file", "in the way");
    let line = format!("snapshot create {source} --log-dir=file --no-auto-maintenance");
    let run = env.line(&line);
    assert_eq!(run.code, 0, "{run:#?}");
    let about = run.stderr.lines().filter(|line| line.contains("log file"));
    let about: Vec<_> = about.collect();
    assert_eq!(about.len(), 1, "{run:#?}");
    let path = env.text("file/cli-logs/kopia-");
    assert!(about[0].starts_with(&format!("cannot write the log file {path}")), "{about:?}");
    assert!(about[0].ends_with(".0.log: Not a directory (os error 20)"), "{about:?}");
    assert_eq!(run.stderr.lines().count(), 3, "{run:#?}");
    // The same where the home is no folder.
    let file = env.text("file");
    let env = env.with("XDG_CACHE_HOME", file);
    let run = env.line("snapshot list --all");
    assert_eq!((run.code, run.stderr.lines().count()), (0, 1), "{run:#?}");
    assert!(run.stdout.contains("src"), "{run:#?}");
}

#[test]
fn a_disk_that_is_full_ends_the_log_and_not_the_command() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let env = TestEnv::new();
    fs_err::create_dir(env.path("l")).unwrap();
    std::os::unix::fs::symlink("/dev/full", env.path("l/x.0.log")).unwrap();
    let run = env.line("repository list --log-file=l/x.log");
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains("log file")).collect();
    assert_eq!((run.code, lines.len()), (0, 1), "{run:#?}");
    assert!(lines[0].contains("x.0.log: No space left on device"), "{lines:?}");
}

#[test]
fn lines_on_stderr_have_the_time_where_it_is_wanted() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let with_times = |run: crate::env::Run| {
        for line in run.stderr.lines() {
            let (time, _) = line.split_at_checked(13).unwrap_or_default();
            assert_eq!(form(time), "00:00:00.000 ", "{line:?}");
        }
        run
    };
    let run = with_times(env.line(&format!("snapshot create {source} --console-timestamps")));
    assert!(run.code == 0 && run.stderr.contains(" Created snapshot with root"), "{run:#?}");
    let env = env.with("KOPIA_CONSOLE_TIMESTAMPS", "1").with("KOPIA_FORCE_COLOR", "1");
    let run = with_times(warned().line("blob list --console-timestamps"));
    assert!(run.stderr.contains(" WARN it is missing"), "{run:#?}");
    let run = with_times(env.line("show nothing"));
    assert!(run.stderr.contains(" there is no "), "{run:#?}");
    let policy = "policy set --global --compression=zstd-best-compression";
    let run = with_times(env.line(policy));
    assert!(run.stderr.contains(" \x1b[33m"), "{run:#?}");
}

#[test]
fn lines_on_stderr_are_objects_where_they_are_wanted() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    let objects = |run: &crate::env::Run| -> Vec<Value> {
        run.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let run = env.line(&format!("snapshot create {source} --json-log-console"));
    let all = objects(&run);
    assert!(all.len() >= 2 && all.iter().all(|one| keys(one) == ["n", "m"]), "{run:#?}");
    assert_eq!(all[0]["n"], "kopia/cli");
    assert!(all[1]["m"].as_str().unwrap().starts_with("Created snapshot with root"), "{run:#?}");
    let flags = "--json-log-console --console-timestamps --force-color";
    let run = warned().line(&format!("blob list {flags}"));
    assert_eq!(keys(&objects(&run)[0]), ["t", "n", "m", "file"], "{run:#?}");
    let run = env.line(&format!("show nothing {flags}"));
    let all = objects(&run);
    assert_eq!(keys(&all[0]), ["t", "n", "m"], "{run:#?}");
    assert!(all[0]["t"].as_str().unwrap().starts_with("20"), "{run:#?}");
}
