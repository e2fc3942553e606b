//! What `snapshot create --log-level=debug` tells of each entry, by flags and by policies.

use crate::env::TestEnv;

/// A tree with something of every kind in it.
fn planted() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    env.write("src/.kopiaignore", "*.tmp\n/left/\n");
    env.write("src/a.txt", "hello\n");
    env.write("src/b.tmp", "x");
    env.write("src/left/c", "x");
    env.write("src/sub/d", "deep");
    std::os::unix::fs::symlink("a.txt", env.path("src/link")).unwrap();
    let source = env.text("src");
    (env, source)
}

/// The lines of a run about entries, sorted, each as its message, its path and the names of its other
/// keys.
fn lines(env: &TestEnv, arguments: &str) -> Vec<String> {
    let run = env.line(&format!("snapshot create --no-progress {arguments}"));
    assert!(matches!(run.code, 0 | 3), "{arguments}\n{run:#?}");
    let mut all: Vec<_> = run.stderr.lines().filter_map(line).collect();
    all.sort();
    all
}

fn line(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix("DEBUG ")?;
    let (what, rest) = text.split_once(" path=\"")?;
    let (path, keys) = rest.split_once('"')?;
    // An error is the last but for how long it took, and has blanks.
    let names = keys.split_whitespace().filter_map(|key| Some(key.split_once('=')?.0));
    Some([what, path].into_iter().chain(names).collect::<Vec<_>>().join(" "))
}

const IGNORED: [&str; 2] = ["ignored b.tmp dur", "ignored directory left dur"];

/// With what is ignored in front.
fn with_ignored(lines: &[&str]) -> Vec<String> {
    IGNORED.iter().chain(lines).map(|&line| line.to_owned()).collect()
}

#[test]
fn by_default_folders_are_told_and_what_is_left_out() {
    let (env, source) = planted();
    let wanted = with_ignored(&[
        "snapshotted directory . dur size files dirs errors",
        "snapshotted directory sub dur size files dirs errors",
    ]);
    let debug = format!("{source} --log-level=debug");
    assert_eq!(lines(&env, &debug), wanted);
    // The same when everything is taken over.
    assert_eq!(lines(&env, &debug), wanted);
    assert_eq!(lines(&env, &format!("{debug} --log-dir-detail=-1")), wanted);
    assert_eq!(lines(&env, &format!("{source} --log-entry-detail=10")), [""; 0]);
}

#[test]
fn flags_say_how_much_is_told_of_what_is_stored() {
    let (env, source) = planted();
    let debug = format!("{source} --log-level=debug");
    let wanted = with_ignored(&[
        "snapshotted file .kopiaignore dur size mtime oid",
        "snapshotted file a.txt dur size mtime oid",
        "snapshotted file sub/d dur size mtime oid",
        "snapshotted symlink link dur size mtime oid",
    ]);
    assert_eq!(lines(&env, &format!("{debug} --log-dir-detail=0 --log-entry-detail=10")), wanted);
    let cached =
        ["cached .kopiaignore dur", "cached a.txt dur", "cached link dur", "cached sub/d dur"];
    let folders = [
        "snapshotted directory . dur size files dirs errors mtime oid",
        "snapshotted directory sub dur size files dirs errors mtime oid",
    ];
    let wanted: Vec<_> = [&cached[..], &IGNORED, &folders].concat();
    assert_eq!(lines(&env, &format!("{debug} --log-dir-detail=11 --log-entry-detail=1")), wanted);
    assert_eq!(lines(&env, &format!("{debug} --log-dir-detail=-5 --log-entry-detail=-5")), IGNORED);
    let said = env.fails(2, &format!("snapshot create {source} --log-dir-detail=x"));
    assert!(said.contains("--log-dir-detail"), "{said}");
}

#[test]
fn policies_say_how_much_is_told_in_each_folder() {
    let (env, source) = planted();
    let debug = format!("{source} --log-level=debug");
    env.ok(&format!(
        "policy set {source} --log-dir-snapshotted=1 --log-dir-ignored=0 --log-entry-snapshotted=3 \
         --log-entry-ignored=inherit --log-entry-cache-miss=5 --log-entry-cache-hit=3"
    ));
    // Without a word about details: nothing is told of what is in it.
    env.ok(&format!("policy set {source}/sub --add-ignore=nothing"));
    let wanted = [
        "ignored b.tmp dur",
        "snapshotted directory . dur",
        "snapshotted file .kopiaignore dur size",
        "snapshotted file a.txt dur size",
        "snapshotted symlink link dur size",
    ];
    assert_eq!(lines(&env, &debug), wanted);
    env.write("src/a.txt", "hello again\n");
    env.write("src/sub/d", "deeper");
    let wanted = [
        "cache miss a.txt mode size mtime",
        "cached .kopiaignore dur size",
        "cached link dur size",
        "ignored b.tmp dur",
        "snapshotted directory . dur",
        "snapshotted file a.txt dur size",
    ];
    assert_eq!(lines(&env, &debug), wanted);
}

#[test]
fn failures_are_told_at_every_level() {
    let (env, source) = planted();
    env.write("src/sub/.kopiaignore", "[a\n");
    let pipe = std::process::Command::new("mkfifo").arg(env.path("src/pipe")).status().unwrap();
    assert!(pipe.success());
    env.ok(&format!("policy set {source} --ignore-unknown-types=false"));
    let none = format!("{source} --log-level=debug --log-dir-detail=0 --log-entry-detail=0");
    let wanted = with_ignored(&["snapshotted directory sub error", "unknown entry pipe error"]);
    assert_eq!(lines(&env, &none), wanted);
    let run = env.line(&format!("snapshot create --no-progress {none}"));
    let text = "unknown entry path=\"pipe\" error=unknown or unsupported entry type";
    assert!(run.stderr.contains(text), "{}", run.stderr);
}

#[test]
fn a_stream_is_told_with_its_folder() {
    let (env, source) = planted();
    let arguments = format!("{source} --stdin-file=in --log-level=debug --log-entry-detail=1");
    let wanted =
        ["snapshotted directory . dur size files dirs errors", "snapshotted streaming file in dur"];
    assert_eq!(lines(&env, &arguments), wanted);
}
