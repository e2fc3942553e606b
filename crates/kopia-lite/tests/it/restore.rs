//! `restore`, `list`, `show`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::env::{TestEnv, files, keys, masked, noise};

/// A repository with one snapshot of the planted tree; gives its ID.
fn snapshotted() -> (TestEnv, String, String) {
    let env = TestEnv::with_repository();
    let source = env.plant();
    fs_err::set_permissions(env.path("src/a.txt"), PermissionsExt::from_mode(0o640)).unwrap();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    (env, source, id)
}

#[test]
fn a_restore_brings_back_bytes_modes_links_and_folder_times() {
    let (env, _, id) = snapshotted();
    let target = env.text("out");
    let said = env.says(&format!("restore {id} {target}"));
    assert_eq!(
        said,
        format!(
            "Restoring to local filesystem ({target}) with parallelism=8...\n\
             Restored 2 files, 2 directories and 1 symbolic links (300 KB).\n"
        )
    );
    assert_eq!(files(&env.path("out")), files(&env.path("src")));
    for name in ["a.txt", "sub", "sub/b.bin", ""] {
        let meta = |top: &str| fs_err::metadata(env.path(top).join(name)).unwrap();
        let (was, is) = (meta("src"), meta("out"));
        assert_eq!(was.mode(), is.mode(), "{name}");
        assert_eq!((was.mtime(), was.mtime_nsec()), (is.mtime(), is.mtime_nsec()), "{name}");
    }
}

#[test]
fn every_source_form_is_understood() {
    let (env, source, id) = snapshotted();
    let root = env.json("snapshot list --json")[0]["rootEntry"]["obj"].as_str().unwrap().to_owned();
    for (number, from) in [
        id.clone(),
        root.clone(),
        id[..10].to_owned(),
        "latest".to_owned(),
        source.clone(),
        "src".to_owned(),
        format!("{source}@latest"),
        format!("u@h:{source}"),
    ]
    .iter()
    .enumerate()
    {
        let target = format!("out{number}");
        env.ok(&format!("restore {from} {}", env.text(&target)));
        assert_eq!(files(&env.path(&target)), files(&env.path("src")), "{from}");
    }
    env.ok(&format!("snapshot restore {root}/sub/b.bin {}", env.text("b.bin")));
    assert_eq!(fs_err::read(env.path("b.bin")).unwrap(), noise(1, 300_000));
    let said = env.says(&format!("restore {source}/sub {} --snapshot-time=latest", env.text("s")));
    let tail = masked(&said);
    assert!(
        tail.contains(&format!("Restoring from\n   Snapshot source: u@h:{source}\n")),
        "{said}"
    );
    assert!(tail.contains("   Relative path: sub\n   Object ID: ID\n"), "{said}");
    for (from, wanted) in [
        ("nosuch", "in any snapshot"),
        (&format!("{id}/nosuch"), "there is no nosuch in"),
        (&format!("{source} --snapshot-time=oldest-ish"), "is no time"),
        (&format!("{source} --snapshot-time=2001"), "in any snapshot"),
    ] {
        let text = env.fails(1, &format!("restore {from} {}", env.text("none")));
        assert!(text.contains(wanted), "{from}: {text}");
    }
    assert!(!env.path("none").exists());
}

#[test]
fn without_a_target_a_path_comes_back_in_place_and_an_id_does_not() {
    let (env, source, id) = snapshotted();
    env.write("src/a.txt", "changed\n");
    env.ok(&format!("restore {id}"));
    assert_eq!(fs_err::read(env.path("src/a.txt")).unwrap(), b"changed\n", "nobody named it");
    assert_eq!(fs_err::read(env.path(&id).join("a.txt")).unwrap(), b"hello\n");
    env.ok(&format!("restore {source}/a.txt"));
    assert_eq!(fs_err::read(env.path("src/a.txt")).unwrap(), b"hello\n");
    let text = env.fails(1, "restore latest");
    assert!(text.contains("restore requires a source and a target"), "{text}");
    env.ok(&format!("snapshot create {source} --override-source=x@y:/elsewhere"));
    let text = env.fails(1, "restore x@y:/elsewhere");
    assert!(text.contains("is a place of another user or machine"), "{text}");
}

#[test]
fn archives_are_written_by_ending_or_mode() {
    let (env, _, id) = snapshotted();
    for (name, kind, magic) in [
        ("o.zip", "zip file", b"PK".as_slice()),
        ("o.tar.gz", "tar+gzip file", b"\x1f\x8b"),
        ("o.tgz", "tar+gzip file", b"\x1f\x8b"),
    ] {
        let said = env.says(&format!("restore {id} {}", env.text(name)));
        assert!(said.starts_with(&format!("Restoring to a {kind} (")), "{said}");
        assert!(fs_err::read(env.path(name)).unwrap().starts_with(magic), "{name}");
    }
    env.ok(&format!("restore {id} {} --mode=tar", env.text("plain")));
    let tar = fs_err::read(env.path("plain")).unwrap();
    assert_eq!(&tar[257..262], b"ustar");
    env.ok(&format!("restore {id} {} --mode=local", env.text("folder.zip")));
    assert!(env.path("folder.zip/a.txt").exists());
}

#[test]
fn what_is_there_is_replaced_kept_skipped_or_deleted_as_asked() {
    let (env, _, id) = snapshotted();
    let target = env.text("out");
    let restore = format!("restore {id} {target}");
    env.ok(&restore);
    let said = env.says(&format!("{restore} --skip-existing"));
    assert!(said.ends_with("(0 B), skipped 3 (300 KB).\n"), "{said}");
    env.fails(1, &format!("{restore} --no-overwrite-files"));
    env.fails(1, &format!("{restore} --no-overwrite-symlinks"));
    env.fails(1, &format!("{restore} --no-overwrite-directories"));
    env.write("out/extra", "x");
    env.ok(&restore);
    assert!(env.path("out/extra").exists());
    let said = env.says(&format!("{restore} --delete-extra --write-files-atomically --parallel=2"));
    assert!(said.contains(", deleted files 1."), "{said}");
    assert!(!env.path("out/extra").exists());
    env.ok(&format!(
        "{restore} --skip-times --skip-permissions --skip-owners --write-sparse-files"
    ));
    assert_eq!(files(&env.path("out")), files(&env.path("src")));
}

#[test]
fn json_says_what_was_read() {
    let (env, _, id) = snapshotted();
    let json = env.json(&format!("restore {id} {} --json", env.text("out")));
    let wanted = [
        "source",
        "target",
        "files",
        "dirs",
        "symlinks",
        "bytes",
        "skipped",
        "deleted",
        "ignoredErrors",
        "packsRead",
        "bytesRead",
        "requests",
        "seconds",
    ];
    assert_eq!(keys(&json), wanted);
    assert_eq!(
        (&json["files"], &json["dirs"], &json["symlinks"]),
        (&2.into(), &2.into(), &1.into())
    );
    let plan = env.json(&format!("restore {id} {} --json --dry-run", env.text("out2")));
    assert_eq!(plan["files"], 2);
    assert!(plan["requests"].as_u64().unwrap() <= 2, "{plan}");
    assert!(!env.path("out2").exists());
}

#[test]
fn lost_data_stops_a_restore_before_anything_is_written() {
    let (env, _, id) = snapshotted();
    for (path, _) in files(&env.path("repo")) {
        if path.starts_with("p") {
            fs_err::remove_file(env.path("repo").join(path)).unwrap();
        }
    }
    let target = env.text("out");
    let text = env.fails(20, &format!("restore {id} {target}"));
    assert!(
        text.contains("nothing was written. These packs do not exist or are cut short:\n  p"),
        "{text}"
    );
    assert!(!env.path("out").exists());
    env.fails(20, &format!("restore {id} {target} --dry-run"));
    let run = env.line(&format!("restore {id} {target} --ignore-errors"));
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains(", ignored 3 errors."), "{run:#?}");
    assert!(env.path("out/sub").is_dir());
    let error = env.json_error(20, &format!("restore {id} {target} --json"));
    assert_eq!(error["kind"], "damaged");
    assert_eq!(error["details"]["packs"].as_array().unwrap().len(), 1);
}

#[test]
fn list_prints_kopias_columns() {
    let (env, _, id) = snapshotted();
    assert_eq!(env.ok(&format!("list {id}")), "sub\na.txt\nlink\n");
    let long = env.ok(&format!("ls -l {id}"));
    let masked_lines = masked(&long);
    let lines: Vec<_> = masked_lines.lines().collect();
    assert_eq!(lines[0], "drwxr-xr-x       300000 TIME ID  sub/");
    assert_eq!(lines[1], "-rw-r-----            6 TIME ID   a.txt");
    assert!(lines[2].starts_with("L") && lines[2].ends_with(" link"), "{long}");
    let recursive = env.ok(&format!("ls -r {id}"));
    assert_eq!(recursive, format!("{id}/sub/\n{id}/sub/b.bin\n{id}/a.txt\n{id}/link\n"));
    assert_eq!(
        masked(&env.ok(&format!("ls -lr {id}/sub"))),
        "-rw-r--r--       300000 TIME ID   b.bin\n"
    );
    assert_eq!(masked(&env.ok(&format!("ls -o {id}"))), "ID  sub\nID   a.txt\nID   link\n");
    let json = env.json(&format!("ls -r {id} --json"));
    assert_eq!(json[1]["path"], "sub/b.bin");
    assert_eq!(keys(&json[2])[..5], ["name", "type", "mode", "size", "mtime"]);
    let text = env.fails(1, &format!("ls {id}/a.txt"));
    assert!(text.contains("is not a directory object"), "{text}");
    env.fails(1, &format!("ls {id}/nosuch"));
}

#[test]
fn show_writes_the_bytes_and_nothing_else() {
    let (env, _, id) = snapshotted();
    let shown = env.command(["show", &format!("{id}/sub/b.bin")]).output().unwrap();
    assert_eq!(shown.stdout, noise(1, 300_000));
    assert_eq!(env.ok(&format!("cat {id}/a.txt")), "hello\n");
    assert!(env.ok(&format!("show {id}")).starts_with(r#"{"stream":"kopia:directory""#));
    env.fails(1, &format!("show {id}/nosuch"));
}
