//! Ctrl-C: what is done is kept, and the next run goes on from there.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use s3_testkit::{Fault, Kind};

use crate::env::{S3Env, files, noise};

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Starts a snapshot whose first pack takes a while, and signals it when that has begun; gives exit
/// code and stderr.
fn interrupted(s3: &S3Env, source: &str, which: Signal) -> (Option<i32>, String) {
    s3.server.faults().push(Fault::stall(Duration::from_secs(1)).on(Kind::Put).keys("r/p"));
    let mut command = s3.command(["snapshot", "create", source]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first pack", || s3.server.requests().puts("r/p") > 0);
    signal(&child, which);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_interrupted_snapshot_is_saved_and_completed_by_the_next_run() {
    let s3 = S3Env::new();
    s3.create("--object-splitter=FIXED-4M");
    let source = s3.text("src");
    s3.write("src/a-first.txt", "hello\n");
    s3.write("src/big.bin", noise(6, 60_000_000));
    s3.server.requests().clear();
    let (code, text) = interrupted(&s3, &source, Signal::INT);
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("Stopping in good order."), "{text}");
    let all = s3.json("snapshot list --incomplete --json");
    assert_eq!(all[0]["incomplete"], "canceled", "{all}");
    assert!(s3.ok("snapshot list").lines().all(|line| !line.contains("incomplete")));
    assert!(s3.ok("snapshot list -i").contains(" incomplete:canceled "));

    s3.ok(&format!("snapshot create {source}"));
    let newest = s3.newest();
    s3.ok(&format!("restore {newest} {}", s3.text("out")));
    assert_eq!(files(&s3.path("out")), files(&s3.path("src")));
    s3.ok("content verify");
}

#[test]
fn a_command_that_waits_for_the_storage_ends_at_once() {
    let s3 = S3Env::new();
    s3.create("");
    s3.write("src/a", "hello\n");
    let source = s3.text("src");
    for args in
        [vec!["snapshot", "list"], vec!["policy", "list"], vec!["snapshot", "create", &source]]
    {
        s3.server.requests().clear();
        s3.server.faults().push(Fault::stall(Duration::from_secs(20)).on(Kind::List));
        let mut command = s3.command(args);
        let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        wait_for("the first list", || s3.server.requests().count(Kind::List, "") > 0);
        let begun = Instant::now();
        signal(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{text}");
        assert!(text.ends_with("ERROR stopped\n"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        s3.server.faults().clear();
    }
}

#[test]
fn a_command_that_changes_a_little_finishes() {
    let s3 = S3Env::new();
    s3.create("");
    s3.server.requests().clear();
    s3.server.faults().push(Fault::stall(Duration::from_secs(1)).on(Kind::Put).keys("r/q"));
    let mut command = s3.command(["policy", "set", "/p", "--keep-latest=7"]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first pack", || s3.server.requests().puts("r/q") > 0);
    signal(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(s3.json("policy show /p --json")["retention"]["keepLatest"], 7);
}

#[test]
fn a_terminated_snapshot_is_exit_143() {
    let s3 = S3Env::new();
    s3.create("--object-splitter=FIXED-4M");
    s3.write("src/big.bin", noise(6, 60_000_000));
    s3.server.requests().clear();
    let (code, text) = interrupted(&s3, &s3.text("src"), Signal::TERM);
    assert_eq!(code, Some(143), "{text}");
}
