//! Logs: written and read again, in the order of the lines; those of Kopia; storages that fail.

use std::{sync::Arc, time::Duration};

use crate::common::{at, create_with, fresh, ids, noise, open, reopen};
use blob_core::{
    BlobError, BlobStorage, ManualClock, MemoryStorage, PutOptions, StorageStack, Timestamp,
    layers::ReadOnly,
};
use blob_testkit::{Fault, FaultyStorage, Rule};
use kopia_format::{
    log::{LogBlob, LogBlobName},
    maintenance::LogRetention,
    time::GoTime,
};
use kopia_repo::{CreateOptions, RepoError, Repository, RepositoryLog};
use serde_json::{Value, json};

/// All lines of all logs, in order.
async fn lines(repository: &Repository) -> Vec<Value> {
    let mut all = Vec::new();
    for session in repository.log_sessions().await.unwrap().sessions {
        for chunk in &session.chunks {
            let text = repository.read_log(chunk).await.unwrap().lines(64 << 20).unwrap();
            let text = String::from_utf8(text).unwrap();
            all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    all
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["m"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_found_again_with_who_wrote_them() {
    for ecc_overhead_percent in [0, 5] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let storage = Arc::new(MemoryStorage::with_clock(clock.clone()));
        let options = CreateOptions { ecc_overhead_percent, ..CreateOptions::default() };
        let repository = create_with(storage.clone(), options, at(&clock)).await;
        let log = repository.log("maintenance", 3600).unwrap();
        log.flush().await.unwrap();
        assert!(ids(&storage, "_").is_empty(), "nothing is put where there is nothing to say");

        log.append("begun", &json!({"safe": true}));
        let inner = log.named("maintenance-pack-gc").span("pack-gc");
        clock.advance(Duration::from_secs(2));
        inner.append("DeleteBlob", &json!({"blobID": "p1", "length": 20}));
        log.flush().await.unwrap();
        clock.advance(Duration::from_secs(2));
        inner.named("storage").append("ended", &());
        inner.flush().await.unwrap();
        inner.flush().await.unwrap();

        let blobs = ids(&storage, "_");
        let names: Vec<_> =
            blobs.iter().map(|id| LogBlobName::parse(id.as_str()).unwrap()).collect();
        assert_eq!(names.len(), 2);
        assert!(names[0].session.starts_with("20270115090000_"), "{}", names[0].session);
        assert_eq!(names[0].session, names[1].session);
        let facts = names.iter().map(|name| (name.start_secs, name.end_secs, name.chunk));
        let expected = [(1_800_000_000, 1_800_000_002, 1), (1_800_000_004, 1_800_000_004, 2)];
        assert_eq!(facts.collect::<Vec<_>>(), expected);

        let lines = lines(&reopen(storage.clone()).await).await;
        assert_eq!(messages(&lines), ["begun", "DeleteBlob", "ended"]);
        assert_eq!(lines[0]["t"], "2027-01-15T08:00:00.000000Z");
        assert_eq!((&lines[0]["n"], &lines[0]["safe"]), (&json!("maintenance"), &json!(true)));
        let keys: Vec<_> = lines[1].as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["t", "span:client", "span:repo", "n", "span:pack-gc", "m", "blobID", "length"];
        assert_eq!(keys, expected);
        assert_eq!(lines[2]["n"], "storage");
        for key in ["span:client", "span:repo"] {
            assert!(lines.iter().all(|line| line[key] == lines[0][key]), "{key}");
        }
        assert_eq!(lines[1]["span:pack-gc"], lines[2]["span:pack-gc"]);
    }
}

/// A line that adds a good 64 KiB to a chunk, and says its number.
fn long(number: u64) -> Value {
    json!({"number": number, "noise": hex(&noise(number, 64 << 10))})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_full_chunk_goes_by_itself_and_lines_keep_their_order() {
    let (storage, repository) = fresh().await;
    let log = repository.log("n", 0).unwrap();
    (0..80).for_each(|number| log.append("line", &long(number)));
    let arrived = async {
        while ids(&storage, "_log_").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("the first chunk is put");
    log.flush().await.unwrap();
    assert_eq!(ids(&storage, "_log_").len(), 2);
    let lines = lines(&repository).await;
    assert!(lines.iter().map(|line| line["number"].as_u64().unwrap()).eq(0..80));
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (storage, repository) = runtime.block_on(fresh());
    let log = repository.log("n", 0).unwrap();
    // Outside of a runtime nothing goes by itself, as with a storage that hangs.
    let count = 5 * 70;
    (0..count).for_each(|number| log.append("line", &long(number)));
    runtime.block_on(log.flush()).unwrap();
    log.append("after", &());
    runtime.block_on(log.flush()).unwrap();
    let lines = runtime.block_on(lines(&repository));
    let kept = lines.iter().filter(|line| line["m"] == "line").count() as u64;
    assert!(kept < count && kept > 200, "{kept}");
    let lost: Vec<_> = lines.iter().filter(|line| line["lines"].is_u64()).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(messages(&lines)[kept as usize..], ["lines of this log were lost", "after"]);
    assert_eq!(kept + lost[0]["lines"].as_u64().unwrap(), count);
    assert_eq!(ids(&storage, "_log_").len(), 6);
}

#[tokio::test]
async fn a_flush_that_fails_loses_nothing() {
    let (storage, _) = fresh().await;
    let faulty = FaultyStorage::over(storage.clone());
    let repository = reopen(faulty.clone()).await;
    let log = repository.log("n", 0).unwrap();
    log.append("one", &());
    faulty.rule(Rule::new(Fault::before(Fault::transient)).of("_log_").times(1));
    assert!(matches!(log.flush().await, Err(RepoError::Blob(_))));
    log.append("two", &());
    log.flush().await.unwrap();
    assert_eq!(messages(&lines(&repository).await), ["one", "two"]);
    assert_eq!(ids(&storage, "_log_").len(), 2);
}

#[tokio::test]
async fn no_log_is_written_where_nothing_may_be() {
    let (storage, _) = fresh().await;
    let read_only = StorageStack::over(storage.clone()).layer(ReadOnly).build();
    let repository = reopen(read_only).await;
    assert!(matches!(repository.log("n", 0), Err(RepoError::ReadOnly { .. })));
    assert!(matches!(repository.delete_logs(&[]).await, Err(RepoError::ReadOnly { .. })));
    let log = RepositoryLog::nowhere();
    log.named("x").span("y").append("z", &1);
    log.flush().await.unwrap();
    assert!(ids(&storage, "_").is_empty());
}

#[tokio::test]
async fn only_logs_are_deleted_and_only_the_old_ones() {
    let (storage, repository) = fresh().await;
    for (id, length) in [("_log_1", 5), ("_other", 7), ("s1", 9)] {
        let id = id.parse().unwrap();
        storage.put(&id, vec![0; length].into(), &PutOptions::default()).await.unwrap();
    }
    let none = LogRetention { max_total_size: 1, ..LogRetention::default() };
    let gone = repository.expired_logs(&none).await.unwrap();
    assert_eq!((gone.expired.len(), gone.expired_bytes, gone.retained_count), (2, 12, 0));
    let one = LogRetention { max_count: 1, ..LogRetention::default() };
    let gone = repository.expired_logs(&one).await.unwrap();
    assert_eq!((gone.expired.len(), gone.retained_count), (1, 1));
    assert_eq!(repository.delete_logs(&gone.expired).await.unwrap(), 1);
    assert_eq!(ids(&storage, "_").len(), 1);
    let mut wrong = gone.expired.clone();
    wrong.push(LogBlob { id: "s1".into(), timestamp: GoTime::ZERO, length: 9 });
    let error = repository.delete_logs(&wrong).await.unwrap_err();
    assert!(matches!(error, RepoError::Unsupported { .. }), "{error}");
    assert_eq!(ids(&storage, "s1").len(), 1);
}

#[tokio::test]
async fn logs_of_kopia_are_read() {
    let (fixture, repository) = open("many").await;
    let logs = repository.log_sessions().await.unwrap();
    let expected = fixture.expected["blobs"].as_array().unwrap().iter();
    let expected = expected.filter(|blob| blob["id"].as_str().unwrap().starts_with("_log_"));
    assert_eq!(logs.sessions.len(), expected.count());
    assert!(logs.unrecognized.is_empty() && logs.sessions.len() > 3);
    let lines = lines(&repository).await;
    assert!(lines.len() > 20);
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys[..4], ["t", "span:client", "span:repo", "n"], "{line}");
        assert_eq!(line["span:client"], kopia_format::log::client_span("user", "host"));
        assert!(line["m"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn logs_that_kopia_wrote_far_from_utc_are_read_and_an_empty_one_is_skipped() {
    let (_fixture, repository) = open("zone-offsets").await;
    let sessions = repository.log_sessions().await.unwrap().sessions;
    assert_eq!(sessions.len(), 11);
    // The time in the ID is local, the times behind it and in the lines are not.
    let east = sessions.iter().find(|session| session.id.starts_with("20261124202231_")).unwrap();
    assert_eq!(GoTime::from_secs(east.start_secs).to_string(), "2026-11-24T14:52:31Z");
    assert!(lines(&repository).await.iter().all(|line| line["t"].as_str().unwrap().ends_with('Z')));
    let (_fixture, repository) = open("damaged-zero-blobs").await;
    let logs = repository.log_sessions().await.unwrap();
    assert_eq!((logs.sessions.len(), logs.unrecognized.len()), (0, 1));
}

#[tokio::test]
async fn what_is_no_log_is_an_error_and_no_panic() {
    let (storage, repository) = fresh().await;
    repository.log("n", 0).unwrap().flush().await.unwrap();
    let hash = "0123456789abcdef0123456789abcdef";
    let bad = [format!("_log_a_b_1_2_3_{hash}"), "_log_a_b_1_2_3_z".into(), "_log_zero".into()];
    for id in &bad {
        let id = id.parse().unwrap();
        storage.put(&id, noise(1, 100).into(), &PutOptions::default()).await.unwrap();
    }
    let logs = repository.log_sessions().await.unwrap();
    assert_eq!((logs.sessions.len(), logs.unrecognized.len()), (1, 1));
    for chunk in &logs.sessions[0].chunks {
        let error = repository.read_log(chunk).await.unwrap_err();
        assert!(matches!(error, RepoError::BlobDamaged { .. }), "{error}");
    }
    let long = LogBlob { length: 65 << 20, ..logs.sessions[0].chunks[0].clone() };
    let error = repository.read_log(&long).await.unwrap_err();
    assert!(error.to_string().contains("bytes are too many"), "{error}");
    let gone = LogBlob { id: format!("_log_a_b_1_2_4_{hash}"), length: 1, ..long };
    let error = repository.read_log(&gone).await.unwrap_err();
    assert!(matches!(error, RepoError::Blob(BlobError::NotFound { .. })), "{error}");

    // Sealed as it should be, and no gzip inside.
    let prefix = "_log_a_b_1_2_5_";
    let (id, sealed) = repository.codec().seal_blob(prefix, "", [1; 12], b"no gzip");
    storage.put(&id.parse().unwrap(), sealed.into(), &PutOptions::default()).await.unwrap();
    let chunk = LogBlob { id, length: 1, timestamp: GoTime::ZERO };
    assert!(repository.read_log(&chunk).await.unwrap().lines(100).is_err());
}
