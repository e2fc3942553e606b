//! A disk that is full: under the repository, under the target of a restore, under the cache; and
//! one that is read-only, under the cache.
//!
//! Two ways to have one. A limit on the size of files (`ulimit -f`) stops anybody's writes in the
//! middle. A small disk in memory is the real thing, in a mount namespace of its own; where the
//! system makes none for this user, those tests say that they were skipped.

use std::process::{Command, Stdio};

use kopia_fixtures::skip;

use crate::env::{Run, S3Env, TestEnv, files, noise};

/// Runs a shell script with the program as `$BIN` and the environment of `env`.
fn script(env: &TestEnv, wrap: &[&str], script: &str) -> Run {
    let program = env.command(["--version"]);
    let mut shell = match wrap.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg("sh");
            command
        }
        None => Command::new("sh"),
    };
    shell.arg("-c").arg(script).env_clear().current_dir(env.path(""));
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", std::env::var_os("PATH").unwrap()).env("BIN", program.get_program());
    Run::of(shell.stdin(Stdio::null()))
}

/// A repository with a snapshot of a small tree, and 3 MB more in the source.
fn grown() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    env.ok(&format!("snapshot create {}", env.plant()));
    let id = env.newest();
    for number in 0..3 {
        env.write(&format!("src/more{number}"), noise(100 + number, 1_000_000));
    }
    (env, id)
}

/// No file may get longer than 500 KB; whoever tries gets an error and no signal.
const LIMIT: &str = "ulimit -f 1000; trap '' XFSZ; exec \"$BIN\"";

#[test]
fn a_write_that_is_cut_off_in_the_middle_is_told_and_leaves_no_half_file() {
    let (env, id) = grown();
    let (source, out, repo) = (env.text("src"), env.text("out"), env.path("repo"));
    let before = files(&repo);
    let run = script(&env, &[], &format!("{LIMIT} snapshot create {source}"));
    assert_eq!(run.code, 1, "{run:#?}");
    assert!(run.stderr.contains("File too large") && run.stderr.contains("repo/"), "{run:#?}");
    for (path, bytes) in &before {
        assert!(&std::fs::read(repo.join(path)).unwrap() == bytes, "{}", path.display());
    }
    let temporary =
        |(path, _): &&(std::path::PathBuf, Vec<u8>)| path.to_str().unwrap().contains(".tmp");
    assert_eq!(files(&repo).iter().filter(temporary).count(), 0);
    env.ok(&format!("restore {id} {}", env.text("first")));
    env.ok(&format!("snapshot create {source}"));
    env.ok("content verify --full");
    // The target: the file that was cut off is named and gone, also when it is written aside.
    let id = env.newest();
    for more in ["", "--write-files-atomically"] {
        let run = script(&env, &[], &format!("{LIMIT} restore {id} {out} --parallel=1 {more}"));
        assert_eq!(run.code, 1, "{run:#?}");
        assert!(
            run.stderr.contains("cannot restore more") && run.stderr.contains("File too large"),
            "{run:#?}"
        );
        let all = files(env.path("out").as_ref());
        let whole = files(env.path("src").as_ref());
        assert!(all.iter().all(|file| whole.contains(file)), "half a file stayed");
        assert!(all.iter().all(|(path, _)| !path.starts_with("more0")));
    }
    // The cache takes no long file, and nobody minds.
    let run = script(&env, &[], &format!("ulimit -f 100; trap '' XFSZ; \"$BIN\" show {id}/a.txt"));
    assert_eq!((run.code, run.stdout.as_str()), (0, "hello\n"), "{run:#?}");
}

#[test]
fn a_thaw_whose_journal_is_cut_off_asks_for_nothing_and_leaves_no_half_journal() {
    let (s3, _, id) = crate::thaw::frozen("GLACIER");
    let limit = "ulimit -f 1; trap '' XFSZ; exec \"$BIN\"";
    let run = script(&s3, &[], &format!("{limit} thaw start {id} --yes"));
    assert_eq!(run.code, 1, "{run:#?}");
    assert!(run.stderr.contains("File too large"), "{run:#?}");
    assert_eq!(s3.server.requests().restores(""), 0);
    let run = s3.line("thaw list");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run:#?}");
    let folder = format!("{}.thaws", s3.config_file().display());
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    s3.ok(&format!("thaw start {id} --yes"));
}

#[test]
fn a_long_pack_that_the_cache_has_no_room_for_stays_in_memory() {
    // On a server, so that only the temporary file is cut off: it may have 8 MB, the pack 30.
    let (made, s3) = (TestEnv::with_packs_of(30 << 20), S3Env::new());
    for blob in ["kopia.repository", "kopia.blobcfg"] {
        if let Ok(bytes) = std::fs::read(made.path(&format!("repo/{blob}.f"))) {
            s3.server.objects().put(&format!("r/{blob}"), bytes);
        }
    }
    s3.ok(&format!("repository connect s3 {}", s3.flags()));
    s3.write("src/long", noise(1, 40 << 20));
    let limit = "ulimit -f 16000; trap '' XFSZ; exec \"$BIN\" snapshot create src";
    let run = script(&s3, &[], &format!("{limit} --memory-limit=64MiB"));
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(run.stderr.matches("stays in memory").count(), 1, "told once: {run:#?}");
    let sizes = s3.server.objects().keys("r/p").into_iter();
    let sizes: Vec<_> =
        sizes.map(|key| s3.server.objects().get(&key).unwrap().bytes.len()).collect();
    assert!(sizes.iter().any(|size| *size > 30 << 20), "{sizes:?}");
    s3.ok("snapshot verify --verify-files-percent=100");
}

/// How to run a script that may mount disks; `None`, and told, where this user may not.
fn mounting(test: &str) -> Option<&'static [&'static str]> {
    let wrap: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "-m"]
    } else {
        &["unshare", "-r", "-m"]
    };
    let env = TestEnv::new();
    let probe = script(&env, wrap, "mkdir -p disk && mount -t tmpfs -o size=64k tmpfs disk");
    if probe.code != 0 {
        let why = format!("this user may not make a small disk in memory: {}", probe.stderr);
        skip(&format!("full_disk::{test}"), &why);
        return None;
    }
    Some(wrap)
}

#[test]
fn a_cache_on_a_read_only_disk_costs_nothing_but_time() {
    let Some(wrap) = mounting("a_cache_on_a_read_only_disk_costs_nothing_but_time") else { return };
    let (env, id) = grown();
    env.ok(&format!("restore {id} {}", env.text("first")));
    let run = script(
        &env,
        wrap,
        &format!(
            r#"set -eu
        mount --bind cache cache && mount -o remount,bind,ro cache cache
        ! touch cache/it 2>/dev/null
        "$BIN" restore {id} second --skip-owners >/dev/null 2>&1; echo restore $?
        cmp second/sub/b.bin src/sub/b.bin && echo same
        "$BIN" snapshot create src >/dev/null 2>&1; echo create $?
        "#
        ),
    );
    assert_eq!(run.stdout, "restore 0\nsame\ncreate 0\n", "{run:#?}");
}

#[test]
fn a_disk_without_room_is_told_and_what_was_there_stays() {
    let Some(wrap) = mounting("a_disk_without_room_is_told_and_what_was_there_stays") else {
        return;
    };
    let (env, id) = grown();
    // Owners are left alone: in a namespace of an ordinary user there is only one. Each step prints
    // its exit code; the checks run on the same disk.
    let run = script(
        &env,
        wrap,
        &format!(
            r#"set -u
        cp -a repo kept && mount -t tmpfs -o size=2m tmpfs repo && cp -a kept/. repo/
        "$BIN" snapshot create src 2>err1; echo create $?; grep -o 'No space left' err1 | head -1
        find repo -name '*.tmp*' | wc -l
        for f in $(cd kept && find . -type f); do cmp kept/$f repo/$f || echo changed $f; done
        "$BIN" restore {id} first --skip-owners >/dev/null 2>&1; echo restore $?
        cmp first/sub/b.bin src/sub/b.bin && echo same
        rm src/more*; "$BIN" snapshot create src >/dev/null 2>&1; echo again $?
        "$BIN" content verify --full >/dev/null 2>&1; echo verify $?
        mkdir -p disk && mount -t tmpfs -o size=128k tmpfs disk
        "$BIN" restore {id} disk --skip-owners --parallel=1 2>err2; echo target $?
        grep -o 'cannot restore sub/b.bin.*No space' err2 || cat err2
        find disk -name b.bin | wc -l
        mkdir -p small && mount -t tmpfs -o size=64k tmpfs small
        export KOPIA_CACHE_DIRECTORY=$PWD/small/cache
        "$BIN" restore {id} third --skip-owners >/dev/null 2>&1; echo cache $?
        cmp third/sub/b.bin src/sub/b.bin && echo same
        head -c 200k /dev/zero > small/filler 2>/dev/null
        "$BIN" restore {id} fourth --skip-owners >/dev/null 2>&1; echo full $?
        cmp fourth/sub/b.bin src/sub/b.bin && echo same
        "#
        ),
    );
    let wanted = "create 1\nNo space left\n0\nrestore 0\nsame\nagain 0\nverify 0\ntarget 1\n\
                  cannot restore sub/b.bin: No space\n0\ncache 0\nsame\nfull 0\nsame\n";
    assert_eq!(run.stdout, wanted, "{run:#?}");
}
