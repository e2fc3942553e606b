//! Sums up files on all cores, in the order given, in 8 MiB:
//! `cargo run --example checksums FILE…`.

use dataplane::{Budget, CpuPool, Reorder};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (budget, cpu) = (Budget::new(8 << 20), CpuPool::new(4));
    let window = Reorder::new(|(name, sum): (String, u64)| println!("{sum:016x}  {name}"));
    let mut tasks = tokio::task::JoinSet::new();
    for name in std::env::args().skip(1) {
        let grant = budget.acquire(std::fs::metadata(&name)?.len()).await;
        let (bytes, ticket, cpu) = (std::fs::read(&name)?, window.ticket(), cpu.clone());
        tasks.spawn(async move {
            let sum = cpu
                .run(move || bytes.iter().fold(0_u64, |sum, b| sum.rotate_left(5) ^ u64::from(*b)))
                .await;
            drop(grant);
            ticket.deliver((name, sum));
        });
    }
    tasks.join_all().await;
    Ok(())
}
