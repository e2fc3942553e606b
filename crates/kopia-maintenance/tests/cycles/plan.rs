//! A plan writes nothing, and what it says is what a run then does.

use blob_core::{BlobStorage, layers::Operation};
use kopia_maintenance::Mode;

use crate::{
    delete::orphan,
    world::{DAY, HOUR, World},
};

/// Plans and runs a cycle, and holds one against the other.
async fn agree(world: &World, mode: Mode, state: &str) {
    let before = world.save().await.listing();
    world.counting.clear();
    let plan = world.plan(mode).await;
    for op in [Operation::Put, Operation::Delete, Operation::Thaw, Operation::ExtendRetention] {
        assert_eq!(world.counting.count(op), 0, "{state}: {op:?}");
    }
    assert_eq!(world.save().await.listing(), before, "{state}");
    let report = world.run(mode).await;
    assert_eq!(plan.tasks.len(), report.tasks.len(), "{state}");
    for (planned, done) in plan.tasks.iter().zip(&report.tasks) {
        let name = format!("{state}, {}", planned.task);
        assert_eq!(planned.task, done.task, "{name}");
        assert_eq!(planned.verdict, done.verdict, "{name}: {} | {}", planned.reason, done.reason);
        assert_eq!(planned.contents, done.contents, "{name}");
        assert_eq!(planned.deletes, done.deletes, "{name}");
        let names = |plan: &kopia_maintenance::plan::TaskPlan| {
            let names = plan.deletions.iter().map(|deletion| deletion.blob.clone());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(planned), names(done), "{name}");
    }
}

#[tokio::test]
async fn a_plan_is_what_a_run_does_from_the_first_cycle_to_the_last() {
    let world = World::new().await;
    agree(&world, Mode::Full, "a new repository").await;
    let garbage = world.write(None, 2, 1_000).await;
    let recovered = world.write(None, 1, 1_000).await;
    for _ in 0..3 {
        world.write_needed(None, 2, 1_000).await;
        world.write_needed(Some(b'k'), 1, 1_000).await;
    }
    for number in 0..3 {
        orphan(&world, 'p', number, 10).await;
    }
    agree(&world, Mode::Quick, "new contents").await;
    agree(&world, Mode::Full, "all is young").await;
    world.advance(DAY + HOUR);
    agree(&world, Mode::Full, "garbage to be marked, packs to be emptied").await;
    world.advance(HOUR / 2);
    agree(&world, Mode::Full, "nothing may be deleted yet").await;
    world.needed.add(recovered[0]);
    world.advance(5 * HOUR);
    agree(&world, Mode::Full, "one content is needed again").await;
    world.needed.remove(&recovered[0]);
    for n in 0..8 {
        world.write_needed(None, 1, 1_000).await;
        world.advance(5 * HOUR);
        agree(&world, Mode::Full, &format!("cycle {n}")).await;
    }
    assert_eq!(world.entry(&garbage[0]).await, None, "all steps were passed");
}

#[tokio::test]
async fn what_is_about_to_be_needed_again_is_not_planned_to_go() {
    let world = World::new().await;
    let ids = world.write(None, 2, 1_000).await;
    world.write_needed(Some(b'k'), 1, 100).await;
    world.advance(DAY);
    world.full().await;
    world.advance(5 * HOUR);
    world.full().await;
    world.advance(5 * HOUR);
    // The next cycle drops them; one is named by a new snapshot.
    world.needed.add(ids[0]);
    agree(&world, Mode::Full, "needed again in the last moment").await;
    assert!(!world.is_deleted(&ids[0]).await);
    assert_eq!(world.entry(&ids[1]).await, None);
    world.repo.content(&ids[0]).await.unwrap();
}

#[tokio::test]
async fn epochs_go_on_as_planned() {
    let world = World::new().await;
    for turn in 0..4 {
        for _ in 0..20 {
            world.write_needed(None, 1, 100).await;
            world.advance(DAY / 19);
        }
        let mode = if turn % 2 == 0 { Mode::Quick } else { Mode::Full };
        agree(&world, mode, &format!("turn {turn}")).await;
        world.advance(5 * HOUR);
        world.write_needed(None, 1, 100).await;
        agree(&world, Mode::Full, &format!("after turn {turn}")).await;
    }
    assert!(world.names("xe").contains(&"xe4".to_owned()));
}

#[tokio::test]
async fn a_legacy_repository_is_maintained_as_planned() {
    let world = World::legacy().await;
    world.write(None, 2, 1_000).await;
    for _ in 0..3 {
        for _ in 0..4 {
            world.write_needed(None, 1, 1_000).await;
            world.write_needed(Some(b'k'), 1, 1_000).await;
        }
        agree(&world, Mode::Quick, "quick").await;
        world.advance(DAY + HOUR);
        agree(&world, Mode::Full, "full").await;
        world.advance(5 * HOUR);
        agree(&world, Mode::Quick, "quick again").await;
    }
}

#[tokio::test]
async fn a_plan_says_whether_its_cycle_is_due_and_whose_task_it_is() {
    let world = World::new().await;
    let plan = world.plan(Mode::Quick).await;
    assert!(plan.is_due && plan.owner == "user@host");
    world.full().await;
    assert!(!world.plan(Mode::Quick).await.is_due);
    world.advance(HOUR);
    assert!(world.plan(Mode::Quick).await.is_due && !world.plan(Mode::Full).await.is_due);
    assert!(world.memory.head(&"kopia.maintenance".parse().unwrap()).await.is_ok());
}
