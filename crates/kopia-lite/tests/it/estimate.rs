//! `snapshot estimate`.

use crate::env::{TestEnv, keys, noise};

/// A tree with files of several sizes, and rules that leave some of it out.
fn planted() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    env.write("src/large.bin", noise(1, 1_200_000));
    env.write("src/small.txt", "12345");
    env.write("src/.kopiaignore", "*.tmp\n/skip/\n");
    env.write("src/x.tmp", noise(2, 2000));
    env.write("src/skip/deep/file", "not counted");
    env.write("src/cache/data", "not counted");
    env.write("src/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    std::os::unix::fs::symlink("small.txt", env.path("src/link")).unwrap();
    let source = env.text("src");
    (env, source)
}

#[test]
fn an_estimate_has_kopias_lines() {
    let (env, source) = planted();
    let run = env.line(&format!("snapshot estimate {source} -q"));
    let wanted = "\
Snapshot includes 3 file(s), total size 1.2 MB
   1 MB  ... 10 MB:       1 files, total size 1.2 MB
   0 B   ...  1 KB:       2 files, total size 18 B

Snapshot excludes 1 file(s), total size 2 KB
   1 KB  ... 10 KB:       1 files, total size 2 KB
 - x.tmp - 2 KB
Snapshot excludes 2 directories. Examples:
";
    let (head, tail) = run.stdout.split_at(wanted.len().min(run.stdout.len()));
    assert_eq!(head, wanted, "{run:?}");
    let mut lines: Vec<_> = tail.lines().collect();
    lines.sort_unstable();
    let wanted = ["", " - cache", " - skip", "Estimated upload time: 0s at 10 Mbit/s"];
    assert_eq!(lines, wanted);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let run = env.line(&format!("snapshot estimate {source} --show-files --upload-speed=0.5"));
    assert!(run.stdout.contains("\n - large.bin - 1.2 MB\n"), "{run:?}");
    assert!(run.stdout.ends_with("Estimated upload time: 19s at 0.5 Mbit/s\n"), "{run:?}");
    assert!(run.stderr.starts_with("Analyzing ....\n"), "{run:?}");
    assert!(run.stderr.contains("Analyzing cache...\n"), "{run:?}");
    let run = env.line(&format!("snapshot estimate {source} --max-examples-per-bucket=0"));
    assert!(!run.stdout.contains(" - "), "{run:?}");
}

#[test]
fn it_counts_what_a_snapshot_has() {
    let (env, source) = planted();
    let value = env.json(&format!("snapshot estimate {source} --json"));
    let fields = [
        "files",
        "size",
        "directories",
        "included",
        "excludedFiles",
        "excludedSize",
        "excluded",
        "excludedDirectories",
        "excludedDirectoryExamples",
        "errors",
        "ignoredErrors",
        "uploadSpeedMbits",
        "uploadSeconds",
    ];
    assert_eq!(keys(&value), fields);
    let line = format!("snapshot create {source} --json --json-verbose");
    let taken = env.json(&line);
    let summary = &taken["rootEntry"]["summ"];
    assert_eq!((&value["files"], &value["size"]), (&summary["files"], &summary["size"]));
    assert_eq!(value["directories"], summary["dirs"]);
    assert_eq!(value["excludedFiles"], taken["stats"]["excludedFileCount"]);
    assert_eq!(value["excludedSize"], taken["stats"]["excludedTotalSize"]);
    assert_eq!(value["excludedDirectories"], taken["stats"]["excludedDirCount"]);
}

#[test]
fn what_can_be_no_source_is_refused() {
    let (env, source) = planted();
    let text = env.fails(1, &format!("snapshot estimate {source}/small.txt"));
    assert!(text.contains("must be a directory"), "{text}");
    assert!(env.fails(1, "snapshot estimate nowhere").contains("nowhere"));
    let text = env.fails(1, &format!("snapshot estimate {source} --upload-speed=0"));
    assert!(text.contains("--upload-speed must be more than 0"), "{text}");
    // A folder whose rules can't be read is named, and the rest is counted.
    env.write("src/bad/.kopiaignore", "[\n");
    env.write("src/bad/file", "not counted");
    let run = env.line(&format!("snapshot estimate {source} -q"));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.starts_with("Error in bad: "), "{run:?}");
    assert!(run.stdout.contains("\nEncountered 1 error(s).\n"), "{run:?}");
}
