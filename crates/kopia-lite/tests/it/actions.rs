//! Actions of policies, with real scripts.

use std::{
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::env::{TestEnv, masked};

/// A home with a small tree, and a script that notes how it was called.
fn with_tree() -> TestEnv {
    let env = TestEnv::with_repository();
    env.write("src/a.txt", "a");
    env.write("src/sub/b.txt", "b");
    env.write("src/sub/deep/c.txt", "c");
    env.write("other/o.txt", "o");
    let log = env.text("log");
    let note = format!(
        "echo \"$KOPIA_ACTION $KOPIA_SOURCE_PATH $KOPIA_SNAPSHOT_PATH $*\" >>{log}\n\
         echo \"$KOPIA_SNAPSHOT_ID\" >>{log}.ids; test -n \"$KOPIA_VERSION\" || exit 9\n\
         test \"$(ls)\" = '' || exit 8"
    );
    script(&env, "note.sh", &note);
    script(&env, "other.sh", &format!("{note}\necho KOPIA_SNAPSHOT_PATH={}", env.text("other")));
    env
}

fn script(env: &TestEnv, name: &str, text: &str) {
    let file = env.write(name, format!("#!/bin/sh\n{text}\n"));
    fs_err::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
}

/// `policy set` of a folder below the home.
fn set(env: &TestEnv, folder: &str, flags: &[&str]) {
    let home = env.path("");
    let flags = flags.iter().map(|flag| flag.replace("$H/", home.to_str().unwrap()));
    let run = env.run(["policy", "set", folder].map(str::to_owned).into_iter().chain(flags));
    assert_eq!(run.code, 0, "{run:#?}");
}

/// What the script noted, without the path of the home.
fn noted(env: &TestEnv) -> Vec<String> {
    let text = fs_err::read_to_string(env.path("log")).unwrap_or_default();
    let _ = fs_err::remove_file(env.path("log"));
    let home = env.text("");
    text.lines().map(|line| line.replace(&home, "").trim().to_owned()).collect()
}

const ALL: [&str; 4] = [
    "--before-folder-action=$H/note.sh before",
    "--after-folder-action=$H/note.sh after",
    "--before-snapshot-root-action=$H/note.sh",
    "--after-snapshot-root-action=$H/note.sh",
];

#[test]
fn actions_run_around_the_snapshot_and_around_folders() {
    let env = with_tree();
    set(&env, "src", &ALL);
    set(&env, "src/sub/deep", &ALL[..2]);
    let expected = [
        "before-snapshot-root src src",
        "before-folder src src before",
        "before-folder src/sub/deep src/sub/deep before",
        "after-folder src/sub/deep src/sub/deep after",
        "after-folder src src after",
        "after-snapshot-root src src",
    ];
    env.ok("snapshot create src --force-enable-actions");
    assert_eq!(noted(&env), expected);
    let ids = fs_err::read_to_string(env.path("log.ids")).unwrap();
    let ids: Vec<_> = ids.lines().collect();
    assert!(ids.iter().all(|id| id.len() == 16), "{ids:?}");
    assert_eq!((ids[0], ids[1], ids[2]), (ids[5], ids[4], ids[3]));
    assert_ne!(ids[1], ids[2]);
    // Nothing has changed: folders with actions are gone through all the same.
    env.ok("snapshot create src --force-enable-actions");
    assert_eq!(noted(&env), expected);
}

#[test]
fn actions_run_only_where_that_is_allowed() {
    let env = with_tree();
    set(&env, "src", &ALL);
    let said = env.says("snapshot create src");
    let path = env.text("src");
    for name in ["before-snapshot-root", "before-folder", "after-folder", "after-snapshot-root"] {
        let line = format!(
            "Not executing {name} action on {path} because it's been disabled for this client.\n"
        );
        assert!(said.contains(&line), "{said}");
    }
    assert!(noted(&env).is_empty());
    let repo = env.text("repo");
    env.ok(&format!("repository connect filesystem --path={repo} --enable-actions"));
    set(&env, "src", &ALL);
    env.ok("snapshot create src");
    assert_eq!(noted(&env).len(), 4);
    env.ok("snapshot create src --force-disable-actions");
    assert!(noted(&env).is_empty());
}

#[test]
fn an_action_may_name_another_folder() {
    let env = with_tree();
    set(&env, "src", &["--before-snapshot-root-action=$H/other.sh", ALL[3]]);
    env.ok("snapshot create src --force-enable-actions");
    assert_eq!(noted(&env), ["before-snapshot-root src src", "after-snapshot-root src other"]);
    let names = |path: &str| {
        let list = env.ok(&format!("list {}{path}", env.newest()));
        list.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["o.txt"]);
    set(&env, "src", &["--before-snapshot-root-action=none"]);
    set(&env, "src/sub", &["--before-folder-action=$H/other.sh", ALL[1]]);
    env.ok("snapshot create src --force-enable-actions");
    assert_eq!(
        noted(&env),
        [
            "before-folder src/sub src/sub",
            "after-folder src/sub other after",
            "after-snapshot-root src src"
        ]
    );
    assert_eq!(
        (names(""), names("/sub")),
        (vec!["sub".into(), "a.txt".into()], vec!["o.txt".into()])
    );
    script(&env, "other.sh", "echo KOPIA_SNAPSHOT_PATH=/no/folder");
    let run = env.line("snapshot create src --force-enable-actions");
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(run.stderr.contains("KOPIA_SNAPSHOT_PATH names /no/folder, which is no"), "{run:#?}");
    assert_eq!(noted(&env)[0], "after-folder src/sub src/sub after");
}

#[test]
fn what_a_failure_means_is_said_by_the_mode() {
    let env = with_tree();
    script(&env, "fail.sh", "exit 7");
    set(&env, "src", &["--before-snapshot-root-action=$H/fail.sh", ALL[3]]);
    let said = env.fails(1, "snapshot create src --force-enable-actions");
    assert!(
        said.ends_with(
            "error executing before-snapshot-root action: error running 'before-snapshot-root' \
             action: essential action failed: exit status 7\n"
        ),
        "{said}"
    );
    assert!(noted(&env).is_empty());
    assert_eq!(env.ok("snapshot list"), "");
    let optional = "--action-command-mode=optional";
    set(&env, "src", &["--before-snapshot-root-action=$H/fail.sh", optional]);
    let said = masked(&env.says("snapshot create src --force-enable-actions"));
    assert!(
        said.contains("\nerror running non-essential action command: exit status 7\n"),
        "{said}"
    );
    assert_eq!(noted(&env), ["after-snapshot-root src src"]);
    set(
        &env,
        "src",
        &["--before-snapshot-root-action=", "--after-snapshot-root-action=/no/command"],
    );
    set(&env, "src/sub", &["--before-folder-action=$H/fail.sh", ALL[1]]);
    let run = env.line("snapshot create src --force-enable-actions");
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(
        run.stderr.contains(
            "Error when processing \"sub\": error executing before-folder action: error running \
             'before-folder' action: essential action failed: exit status 7\n"
        ),
        "{run:#?}"
    );
    assert!(
        run.stderr.contains(
            "error running 'after-snapshot-root' action: essential action failed: No such file"
        ),
        "{run:#?}"
    );
    assert!(noted(&env).is_empty());
}

#[test]
fn a_script_may_be_kept_in_the_policy() {
    let env = with_tree();
    let persist = "--persist-action-script";
    script(&env, "kept.sh", &format!("echo $KOPIA_ACTION $(ls) >{}", env.text("log")));
    set(&env, "src", &["--before-folder-action=$H/kept.sh", persist]);
    fs_err::remove_file(env.path("kept.sh")).unwrap();
    // Without an interpreter it is one for the shell, which ends at the first failure.
    env.write("plain.sh", format!("false\ntouch {}", env.text("more")));
    set(&env, "src", &["--after-folder-action=$H/plain.sh", persist]);
    let said = env.says("snapshot create src --force-enable-actions");
    assert!(said.contains("error running 'after-folder' action: essential action failed: exit"));
    // The script lies in the folder that it is run in.
    assert_eq!(noted(&env), ["before-folder before-folder.sh"]);
    assert!(!env.path("more").exists());
}

#[test]
fn an_action_that_takes_too_long_is_ended_with_all_that_it_started() {
    let env = with_tree();
    let late = env.text("late");
    script(&env, "slow.sh", &format!("(sleep 4; touch {late}) &\nsleep 60"));
    set(&env, "src", &["--before-folder-action=$H/slow.sh", "--action-command-timeout=1s"]);
    let begun = Instant::now();
    let said = env.fails(1, "snapshot create src --force-enable-actions");
    assert!(said.contains("essential action failed: it took longer than 1 s"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!env.path("late").exists());
}

#[test]
fn nobody_waits_for_an_action_that_is_async() {
    let env = with_tree();
    let done = env.text("done");
    script(&env, "slow.sh", &format!("sleep 3; touch {done}"));
    set(&env, "src", &["--before-folder-action=$H/slow.sh", "--action-command-mode=async"]);
    let mut command = env.command(["snapshot", "create", "src", "--force-enable-actions"]);
    // What the action holds open is not waited for either.
    assert!(command.stderr(Stdio::null()).status().unwrap().success());
    assert!(!env.path("done").exists());
    let begun = Instant::now();
    while !env.path("done").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_signal_ends_an_action_and_what_was_begun_is_put_in_order() {
    let env = with_tree();
    let started = env.text("started");
    script(&env, "slow.sh", &format!("touch {started}; sleep 60"));
    set(&env, "src", &ALL);
    set(&env, "src/sub", &["--before-folder-action=$H/slow.sh"]);
    let mut command = env.command(["snapshot", "create", "src", "--force-enable-actions"]);
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while !env.path("started").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(30));
    let noted = noted(&env);
    assert_eq!(noted[2..], ["after-folder src src after", "after-snapshot-root src src"]);
}
