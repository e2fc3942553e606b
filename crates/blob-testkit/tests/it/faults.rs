//! The script of faults does what it says, so that crash tests can build on it.

use std::{error::Error, sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobId, BlobStorage, MemoryStorage, Payload, PutOptions, ReadRange, Result,
    layers::Operation,
};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Killed, Rule};
use futures::StreamExt;

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

async fn put(storage: &FaultyStorage, name: &str) -> Result<()> {
    storage.put(&id(name), Payload::from("x"), &PutOptions::default()).await.map(drop)
}

fn bench() -> (MemoryStorage, Arc<FaultyStorage>) {
    let memory = MemoryStorage::new();
    let faulty = FaultyStorage::over(Arc::new(memory.clone()));
    (memory, faulty)
}

fn was_killed(error: &BlobError) -> bool {
    error.source().is_some_and(|source| source.is::<Killed>())
}

#[tokio::test]
async fn a_kill_lets_so_many_calls_through_and_none_after() {
    for through in 0..4 {
        let (memory, faulty) = bench();
        faulty.kill_after(through);
        let mut worked = 0;
        for n in 0..6 {
            match put(&faulty, &format!("p{n}")).await {
                Ok(()) => worked += 1,
                Err(error) => assert!(was_killed(&error), "{error}"),
            }
        }
        assert_eq!((worked, memory.len()), (through, through));
        assert!(was_killed(&faulty.head(&id("p0")).await.unwrap_err()));
        let items: Vec<_> = faulty.list("").collect().await;
        assert!(matches!(items.as_slice(), [Err(error)] if was_killed(error)));
        faulty.heal();
        put(&faulty, "p9").await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_by_writes_counts_no_reads_and_can_let_the_last_write_happen() {
    for with_effect in [false, true] {
        let (memory, faulty) = bench();
        faulty.kill_after_writes(2, with_effect);
        put(&faulty, "p0").await.unwrap();
        for _ in 0..5 {
            faulty.get(&id("p0"), ReadRange::Full).await.unwrap();
        }
        put(&faulty, "p1").await.unwrap();
        assert!(was_killed(&put(&faulty, "p2").await.unwrap_err()));
        assert!(was_killed(&put(&faulty, "p3").await.unwrap_err()));
        assert!(was_killed(&faulty.get(&id("p0"), ReadRange::Full).await.unwrap_err()));
        assert_eq!(memory.len(), if with_effect { 3 } else { 2 });
        assert_eq!((faulty.writes(), faulty.calls()), (4, 10));
    }
}

#[tokio::test]
async fn rules_meet_the_calls_they_name_as_often_as_they_say() {
    let (memory, faulty) = bench();
    let puts_of_q = || Rule::new(Fault::before(Fault::transient)).on(Operation::Put).of("q");
    faulty.rule(puts_of_q().skip(1).times(2));
    let mut failed = Vec::new();
    for name in ["q0", "p0", "q1", "q2", "q3"] {
        if put(&faulty, name).await.is_err() {
            failed.push(name);
        }
    }
    assert_eq!(failed, ["q1", "q2"]);
    assert_eq!(memory.ids(), ["p0", "q0", "q3"].map(id));
    assert!(faulty.delete(&id("q0")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_late_call_works_later() {
    let (_, faulty) = bench();
    faulty.rule(Rule::new(Fault::Late(Duration::from_secs(7))));
    let begun = tokio::time::Instant::now();
    put(&faulty, "p1").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test]
async fn the_log_has_every_call_in_order() {
    let storage = CountingStorage::over(Arc::new(MemoryStorage::new()));
    let options = PutOptions { if_absent: true, ..PutOptions::default() };
    storage.put(&id("p1"), Payload::from("12345"), &options).await.unwrap();
    storage.get(&id("p1"), ReadRange::Suffix(2)).await.unwrap();
    _ = storage.list("p").collect::<Vec<_>>().await;
    storage.delete(&id("p1")).await.unwrap();
    let calls = storage.calls();
    let ops: Vec<_> = calls.iter().map(|call| (call.op, call.id.as_str())).collect();
    let (put, get) = ((Operation::Put, "p1"), (Operation::Get, "p1"));
    assert_eq!(ops, [put, get, (Operation::List, "p"), (Operation::Delete, "p1")]);
    assert_eq!((calls[0].length, calls[0].options.clone()), (Some(5), Some(options)));
    assert_eq!(calls[1].range, Some(ReadRange::Suffix(2)));
    assert_eq!((storage.bytes_put(), storage.count_of(Operation::Get, "p")), (5, 1));
    storage.clear();
    assert!(storage.calls().is_empty());
}
