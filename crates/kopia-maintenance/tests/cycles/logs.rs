//! Logs: what maintenance says of itself, and how many are kept.

use std::collections::HashMap;

use blob_core::layers::Operation;
use kopia_maintenance::{Change, Task};
use serde_json::Value;

use crate::world::{DAY, HOUR, World, of};

/// Of each blob that was deleted since the calls were cleared the line of the log that explained it:
/// the line must have been in the storage before the blob went. Markers of own sessions are none of
/// that.
pub async fn explained(world: &World) -> Vec<Value> {
    let calls = world.counting.calls();
    let put_at =
        |id: &str| calls.iter().position(|call| call.op == Operation::Put && call.id == id);
    let mut lines: HashMap<String, (usize, Value)> = HashMap::new();
    for session in world.repo.log_sessions().await.unwrap().sessions {
        for chunk in &session.chunks {
            let Some(at) = put_at(&chunk.id) else { continue };
            let text = world.repo.read_log(chunk).await.unwrap().lines(64 << 20).unwrap();
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Value = serde_json::from_slice(line).unwrap();
                if let (Some(blob), true) =
                    (line["blobID"].as_str(), line["m"].as_str().unwrap().starts_with("delet"))
                {
                    lines.insert(blob.to_owned(), (at, line.clone()));
                }
            }
        }
    }
    let is_own = |id: &str| id.starts_with('s') && put_at(id).is_some();
    let mut explained = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        if call.op != Operation::Delete || is_own(&call.id) {
            continue;
        }
        let (at, line) = lines.remove(&call.id).unwrap_or_else(|| panic!("{}: why?", call.id));
        assert!(at < n, "{} was gone before its line was there", call.id);
        explained.push(line);
    }
    assert!(lines.is_empty(), "the log tells of deletions that did not happen: {lines:?}");
    explained
}

#[tokio::test]
async fn only_as_many_logs_are_kept_as_the_parameters_say() {
    let world = World::new().await;
    world.change(&[Change::RetainedLogCount(3)]).await;
    for n in 0..6 {
        world.repo.log(&format!("n{n}"), 0).unwrap().append("hello", &serde_json::json!({}));
        let log = world.repo.log("client", 0).unwrap();
        log.append("hello", &serde_json::json!({"n": n}));
        log.flush().await.unwrap();
        world.advance(HOUR);
    }
    let before = world.names("_log");
    assert_eq!(before.len(), 6);
    world.counting.clear();
    let report = world.full().await;
    let plan = of(&report.tasks, Task::CleanupLogs);
    assert_eq!((plan.deletes.count, plan.retained.0), (3, 3));
    assert!(world.names("_log").iter().filter(|name| before.contains(name)).count() == 3);
    assert_eq!(world.number("cleanup-logs", "deletedBlobCount").await, 3);
    assert_eq!(world.number("cleanup-logs", "retainedBlobCount").await, 3);
    let explained = explained(&world).await;
    assert!(explained.iter().all(|line| line["reason"] == "log-expired"));
    assert_eq!(explained.len(), 3);
}

#[tokio::test]
async fn old_logs_go_and_a_cycle_says_when_it_began() {
    let world = World::new().await;
    world.full().await;
    let old = world.names("_log");
    assert_eq!(old.len(), 1);
    world.advance(30 * DAY + HOUR);
    world.full().await;
    let now = world.names("_log");
    assert!(!now.contains(&old[0]) && !now.is_empty(), "{now:?}");
    let sessions = world.repo.log_sessions().await.unwrap().sessions;
    let text = world.repo.read_log(&sessions[0].chunks[0]).await.unwrap();
    let text = String::from_utf8(text.lines(1 << 20).unwrap()).unwrap();
    assert!(text.contains("maintenance begins") && text.contains("user@host"), "{text}");
}
