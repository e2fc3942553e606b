//! `logs`: list, show and cleanup. Texts are Kopia's.

use std::sync::Arc;

use blob_core::{DynStorage, PutOptions};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_repo::{OpenOptions, Repository};
use serde_json::json;

use crate::{
    env::{PASSWORD, TestEnv, keys, masked},
    fixtures::connected,
};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// Writes a log with one line for each of `messages` into a repository.
pub fn write(storage: DynStorage, messages: &[&str]) {
    block_on(async {
        let password = PASSWORD.to_owned().into();
        let repo = Repository::open(storage, &password, OpenOptions::default()).await.unwrap();
        let log = repo.log("test", 0).unwrap();
        messages.iter().for_each(|message| log.append(message, &json!({"blobID": "p1"})));
        log.flush().await.unwrap();
    });
}

fn folder(env: &TestEnv) -> DynStorage {
    let options = FilesystemOptions::at(env.path("repo"));
    Arc::new(block_on(FilesystemStorage::open(options)).unwrap())
}

/// A repository with three logs.
fn with_logs() -> TestEnv {
    let env = TestEnv::with_repository();
    for message in ["first", "second", "third"] {
        write(folder(&env), &[message, "end"]);
    }
    env
}

fn log_ids(env: &TestEnv) -> Vec<String> {
    let text = env.ok("logs list");
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn logs_of_ours_are_listed_and_shown_as_kopia_does() {
    let env = with_logs();
    let listed = env.ok("logs list");
    assert_eq!(env.ok("log ls --all"), listed);
    for line in listed.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let shown = masked(&words[1..].join(" "));
        assert!(shown.starts_with("TIME 0s ") && shown.ends_with(" B 1"), "{line}");
    }
    let ids = log_ids(&env);
    assert_eq!(ids.len(), 3);
    let latest = env.line("logs list -n1");
    assert!(latest.stdout.starts_with(&ids[2]), "{latest:#?}");
    assert_eq!(latest.stderr, "NOTE: Listed 1/3 log sessions, pass --all to show all.\n");
    assert_eq!(env.ok("logs list --younger-than=1ms"), "");
    assert_eq!(env.ok("logs list --younger-than=1h"), listed);
    assert_eq!(env.ok("logs list --older-than=1h"), "");

    let last = env.line("logs show");
    assert!(last.stderr.starts_with("Showing the latest log (20"), "{last:#?}");
    let lines: Vec<serde_json::Value> =
        last.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(keys(&lines[0]), ["t", "span:client", "span:repo", "n", "m", "blobID"]);
    assert_eq!((&lines[0]["n"], &lines[0]["m"]), (&json!("test"), &json!("third")));
    assert_eq!(env.ok(&format!("logs show {}", ids[2])), last.stdout);
    let two = env.line(&format!("logs cat {} {}", ids[1], ids[0]));
    let messages: Vec<_> = ["first", "second"].iter().map(|m| two.stdout.find(m)).collect();
    assert!(messages[0].is_some() && messages[0] < messages[1], "{two:#?}");
    assert_eq!(two.stderr, "");
    assert_eq!(env.ok("logs show --all").lines().count(), 6);
    assert_eq!(env.fails(1, "logs show nosuch"), "ERROR no logs found\n");
    assert_eq!(env.fails(1, "logs show --older-than=1h"), "ERROR no logs found\n");
}

#[test]
fn the_list_as_json_has_every_blob() {
    let env = with_logs();
    let list = env.json("logs list --json");
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(keys(&list[0]), ["id", "startTime", "endTime", "totalSize", "segments"]);
    let segments = list[0]["segments"].as_array().unwrap();
    assert_eq!((segments.len(), keys(&segments[0])), (1, vec!["id", "length", "timestamp"]));
    assert_eq!(segments[0]["length"], list[0]["totalSize"]);
    assert_eq!(env.json("logs list --json --younger-than=1ms"), json!([]));
}

#[test]
fn cleanup_keeps_the_newest() {
    let env = with_logs();
    let ids = log_ids(&env);
    assert_eq!(env.says("logs cleanup"), "No logs found to delete.\n");
    assert_eq!(env.says("logs cleanup --max-count=2 --dry-run"), "Would delete 1 logs.\n");
    assert_eq!(env.says("logs cleanup --max-age=1ns -n"), "Would delete 3 logs.\n");
    assert_eq!(log_ids(&env), ids);
    assert_eq!(env.says("logs cleanup --max-count=2"), "Deleted 1 logs.\n");
    assert_eq!(log_ids(&env), ids[1..]);
    assert_eq!(
        env.says("logs cleanup --max-total-size-mb=0 --max-count=0"),
        "No logs found to delete.\n"
    );
    assert_eq!(env.says("logs cleanup --max-age=1ns"), "Deleted 2 logs.\n");
    assert_eq!(env.ok("logs list"), "");
    assert_eq!(env.fails(1, "logs show"), "ERROR no logs found\n");
}

#[test]
fn a_read_only_connection_deletes_no_logs() {
    let env = with_logs();
    let path = env.text("repo");
    env.ok(&format!("repository connect filesystem --path={path} --readonly"));
    assert_eq!(env.says("logs cleanup --max-count=1 --dry-run"), "Would delete 2 logs.\n");
    assert!(env.fails(1, "logs cleanup --max-count=1").contains("is read-only"));
    assert_eq!(log_ids(&env).len(), 3);
}

#[test]
fn what_is_no_log_is_skipped_and_what_is_damaged_is_told() {
    let env = with_logs();
    let storage = folder(&env);
    let put = |id: &str, bytes: Vec<u8>| {
        let options = PutOptions::default();
        block_on(storage.put(&id.parse().unwrap(), bytes.into(), &options)).unwrap();
    };
    put("_log_0_zero", Vec::new());
    let list = env.line("logs list");
    assert_eq!((list.code, list.stdout.lines().count()), (0, 3));
    assert!(list.stderr.contains("skipping unrecognized log"), "{list:#?}");
    put("_log_x_y_1_2_1_0123456789abcdef0123456789abcdef", vec![7; 100]);
    let text = env.fails(20, "logs show x_y");
    assert!(
        text.contains("blob _log_x_y_1_2_1_0123456789abcdef0123456789abcdef is damaged"),
        "{text}"
    );
    env.ok("logs show -n 1 --younger-than=1h");
}

#[test]
fn logs_of_kopia_are_listed_in_their_order() {
    let fixture = kopia_fixtures::repo("many");
    let env = connected(&fixture);
    let text = env.ok("logs list");
    // Printed by Kopia 0.23.1.
    let first = "20261124133511_e4de 2026-11-24 13:35:11 UTC 0s 0.9 KB 1\n\
        20261124133512_b742 2026-11-24 13:35:13 UTC 0s 1 KB 1\n\
        20261124133513_b362 2026-11-24 13:35:13 UTC 1s 1.6 KB 1\n";
    assert!(text.starts_with(first), "{text}");
    let shown = env.ok("logs show 20261124133511_e4de");
    assert!(shown.starts_with("{\"t\":\"2026-11-24T13:35:11."), "{shown}");
}
