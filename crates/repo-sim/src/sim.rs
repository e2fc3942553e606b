//! One simulation: clients, keepers and a reader until time is up, then quiet.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    check,
    machine::Machine,
    plant::Plant,
    reader,
    template::Template,
    upkeep::{self, Keeper},
    world::{Outcome, World},
    writers::Writer,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Full cycles after which nothing may be left of what was garbage before the first: a marker of a
/// session guards for four days, and a pack goes in the second cycle after one that moved contents.
const QUIET_CYCLES: u32 = 10;

/// Runs the simulation of `seed` to its end.
///
/// # Errors
/// It could not be begun.
pub fn run(seed: u64, template: &Arc<Template>, plant: Option<Plant>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(months(seed, Arc::clone(template), plant))
}

async fn months(
    seed: u64,
    template: Arc<Template>,
    plant: Option<Plant>,
) -> anyhow::Result<Outcome> {
    let world = World::new(seed, template, plant).await?;
    let repo = check::open(&world).await.map_err(anyhow::Error::msg)?;
    upkeep::set_up(&repo, "anna").await?;
    drop(repo);
    let mut all = JoinSet::new();
    for (stream, host) in (10..).zip(["anna", "bert"]) {
        all.spawn(Writer::new(Machine::new(&world, host, stream)).work());
        all.spawn(Keeper::new(Machine::new(&world, host, stream + 10)).work());
    }
    // A third that only writes.
    all.spawn(Writer::new(Machine::new(&world, "cleo", 30)).work());
    all.spawn(reader::read(Machine::new(&world, "dora", 40)));
    all.spawn(now_and_then(Arc::clone(&world)));
    while let Some(ended) = all.join_next().await {
        // A panic is a finding like any other.
        if let Err(error) = ended {
            world.fail("sim", format!("panicked: {error}"));
        }
    }
    if !world.has_failed()
        && let Err(wrong) = quiet(&world).await
    {
        world.fail("quiet", wrong);
    }
    Ok(world.outcome())
}

async fn now_and_then(world: Arc<World>) {
    let mut chance = crate::chance::Chance::new(world.seed, 50);
    while !world.is_over() {
        tokio::time::sleep(chance.span(4 * HOUR, 40 * HOUR)).await;
        check::all(&world, "check").await;
    }
}

/// Nobody writes any more: everything that nobody needs must go, and nothing else.
async fn quiet(world: &World) -> Result<(), String> {
    check::all(world, "quiet").await;
    let garbage = check::garbage(world).await?;
    let packs = check::sizes(world).await.len();
    world.note("quiet", format!("{} of {packs} packs and markers are garbage", garbage.len()));
    for _ in 0..QUIET_CYCLES {
        tokio::time::sleep(26 * HOUR).await;
        let repo = check::open(world).await?;
        upkeep::quiet_cycle(&repo).await?;
        check::all(world, "quiet").await;
        if world.has_failed() {
            return Ok(());
        }
    }
    let left = check::garbage(world).await?;
    let left: Vec<_> = left.intersection(&garbage).collect();
    match left.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} of {} blobs that nobody needs are still there, as {first}",
            left.len(),
            garbage.len()
        )),
    }
}
