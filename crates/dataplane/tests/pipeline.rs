//! The parts together: read, work on all cores, put in order, in bounded memory.

use std::sync::{Arc, Mutex};

use dataplane::{Budget, CpuPool, Reorder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_keeps_its_order_and_its_bound() {
    let (budget, cpu) = (Budget::new(10_000), CpuPool::new(4));
    let out = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&out);
    let window = Reorder::new(move |(number, grant): (u64, _)| {
        drop(grant);
        sink.lock().expect("no panic holds it").push(number);
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500_u64 {
        let grant = budget.acquire(1_000).await;
        assert!(budget.used() <= 10_000);
        let (ticket, cpu) = (window.ticket(), cpu.clone());
        tasks.spawn(async move {
            let number = cpu.run(move || spin(number)).await;
            ticket.deliver((number, grant));
        });
    }
    tasks.join_all().await;
    assert_eq!(*out.lock().expect("no panic holds it"), (0..500).collect::<Vec<_>>());
    assert_eq!(budget.used(), 0);
}

/// Takes a time that depends on `number`, so that results come back in disorder.
fn spin(number: u64) -> u64 {
    let mut state = number;
    for _ in 0..(number % 13) * 1_000 {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005));
    }
    number
}
