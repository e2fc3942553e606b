//! Archived packs: none is read, and dead ones go when their class bills them no longer.

use std::time::Duration;

use blob_core::{Archive, BlobId, StorageClass, ThawRequest, Tier};
use kopia_maintenance::{ColdPolicy, MinimumDays, Mode, Task, plan::Verdict};

use crate::{
    delete::orphan,
    world::{DAY, HOUR, World, of},
};

const DELETE: Task = Task::DeleteBlobs(Mode::Full);
const REWRITE: Task = Task::RewriteContents(Mode::Full);

fn minimum() -> MinimumDays {
    MinimumDays::new(|class| match *class == StorageClass::DEEP_ARCHIVE {
        true => 180 * DAY,
        false => Duration::ZERO,
    })
}

/// A dead archived pack of 1000 bytes that is ten days old.
async fn world_with_a_dead_pack() -> (World, BlobId) {
    let mut world = World::new().await;
    world.options.minimum = minimum();
    let dead = orphan(&world, 'p', 1, 1_000).await;
    world.class(&dead, StorageClass::DEEP_ARCHIVE);
    world.advance(10 * DAY);
    (world, dead)
}

#[tokio::test]
async fn a_dead_archived_pack_goes_when_its_minimum_days_are_over() {
    let (world, dead) = world_with_a_dead_pack().await;
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!((plan.verdict, plan.cold_skipped), (Verdict::Nothing, 1));
    let days = plan.early_byte_days[&StorageClass::DEEP_ARCHIVE];
    assert_eq!(days, 170 * 1_000);
    assert!(plan.notes.iter().any(|note| note.contains("--now")), "{:?}", plan.notes);
    assert!(world.has(&dead));
    world.advance(170 * DAY - Duration::from_secs(2));
    let report = world.full().await;
    assert_eq!(of(&report.tasks, DELETE).early_byte_days[&StorageClass::DEEP_ARCHIVE], 1_000);
    assert!(world.has(&dead), "a day that has begun is billed");
    world.advance(Duration::from_secs(1));
    let report = world.full().await;
    assert!(!world.has(&dead));
    let plan = of(&report.tasks, DELETE);
    assert!(plan.early_byte_days.is_empty());
    assert_eq!(plan.deletions[0].class, Some(StorageClass::DEEP_ARCHIVE));
    assert!(plan.deletions[0].margin.ends_with("its class bills 180 days at least"));
}

#[tokio::test]
async fn it_goes_at_once_where_that_is_wanted_and_costs_the_same() {
    let (mut world, dead) = world_with_a_dead_pack().await;
    world.options.dead_now = true;
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!((plan.deletes.count, plan.cold_skipped), (1, 0));
    assert_eq!(plan.early_byte_days[&StorageClass::DEEP_ARCHIVE], 170 * 1_000);
    assert!(!world.has(&dead));
    assert_eq!(world.gets("p"), 0);
}

#[tokio::test]
async fn it_stays_for_good_where_the_policy_keeps_it() {
    let (mut world, dead) = world_with_a_dead_pack().await;
    ColdPolicy::Keep.write(&world.repo).await.unwrap();
    world.options.cold = ColdPolicy::read(&world.other().await).await.unwrap();
    assert_eq!(world.options.cold, ColdPolicy::Keep);
    world.options.dead_now = true;
    world.advance(400 * DAY);
    // The policy is one more short pack of metadata.
    world.full().await;
    world.advance(2 * HOUR);
    let report = world.full().await;
    let plan = of(&report.tasks, DELETE);
    assert_eq!(plan.cold_skipped, 1);
    assert!(plan.deletions.iter().all(|deletion| deletion.blob.starts_with("q")), "{plan:?}");
    assert!(plan.notes[0].contains("as the policy says"), "{:?}", plan.notes);
    assert!(world.has(&dead));
}

/// Three short packs that are archived, and two that are not.
async fn world_with_short_packs() -> (World, Vec<BlobId>, Vec<BlobId>) {
    let world = World::new().await;
    let mut packs = Vec::new();
    for _ in 0..5 {
        let ids = world.write_needed(None, 2, 2_000).await;
        packs.push(world.pack_of(&ids[0]).await);
    }
    let warm = packs.split_off(3);
    packs.iter().for_each(|pack| world.class(pack, StorageClass::DEEP_ARCHIVE));
    world.advance(3 * HOUR);
    (world, packs, warm)
}

async fn packs_in_use(world: &World) -> Vec<BlobId> {
    let mut used = Vec::new();
    for id in world.needed.all() {
        used.push(world.pack_of(&id).await);
    }
    used
}

#[tokio::test]
async fn short_archived_packs_are_not_read_and_the_others_move() {
    let (world, cold, warm) = world_with_short_packs().await;
    let report = world.full().await;
    let plan = of(&report.tasks, REWRITE);
    assert_eq!((plan.contents, plan.cold_skipped), (4, 3));
    let used = packs_in_use(&world).await;
    for pack in &cold {
        assert_eq!(world.gets(pack.as_str()), 0, "{pack}");
        assert_eq!(used.iter().filter(|used| *used == pack).count(), 2, "{pack}");
    }
    assert!(!used.iter().any(|pack| warm.contains(pack)));
    assert!(world.kept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_that_somebody_paid_for_is_read_only_where_compacting_asked_for_it() {
    let (mut world, cold, warm) = world_with_short_packs().await;
    for pack in &cold {
        let request = ThawRequest { days: 30, tier: Tier::Bulk };
        world.memory.thaw(pack, &request).await.unwrap();
    }
    world.advance(3 * DAY);
    world.options.compact.insert(cold[0].as_str().to_owned());
    let report = world.full().await;
    let plan = of(&report.tasks, REWRITE);
    assert_eq!((plan.contents, plan.cold_skipped), (6, 2));
    let used = packs_in_use(&world).await;
    assert!(!used.iter().any(|pack| warm.contains(pack) || *pack == cold[0]));
    for pack in &cold[1..] {
        assert_eq!(world.gets(pack.as_str()), 0, "{pack}");
    }
    assert!(world.gets(cold[0].as_str()) > 0);
}

#[tokio::test]
async fn a_pack_that_was_to_be_compacted_and_has_no_copy_yet_is_not_read() {
    let (mut world, cold, _) = world_with_short_packs().await;
    world.options.compact.insert(cold[0].as_str().to_owned());
    let report = world.full().await;
    assert_eq!(of(&report.tasks, REWRITE).cold_skipped, 3);
    assert_eq!(world.gets(cold[0].as_str()), 0);
}

#[tokio::test]
async fn a_whole_life_with_archived_packs_reads_none_of_them() {
    let mut world = World::new().await;
    world.options.minimum = minimum();
    let garbage = world.write(None, 2, 1_000).await;
    let dead = world.pack_of(&garbage[0]).await;
    for _ in 0..3 {
        world.write_needed(None, 2, 1_000).await;
    }
    for name in world.names("p") {
        world.class(&name.parse().unwrap(), StorageClass::DEEP_ARCHIVE);
    }
    let recovered = garbage[1];
    world.counting.clear();
    world.advance(DAY);
    world.full().await;
    world.needed.add(recovered);
    world.advance(5 * HOUR);
    world.full().await;
    assert!(!world.is_deleted(&recovered).await, "brought back without a thaw");
    world.needed.remove(&recovered);
    world.advance(10 * DAY);
    for _ in 0..4 {
        world.advance(5 * HOUR);
        world.full().await;
    }
    assert_eq!(world.entry(&recovered).await, None);
    assert!(world.has(&dead), "dead, and billed all the same");
    world.advance(180 * DAY);
    world.full().await;
    assert!(!world.has(&dead));
    assert_eq!(world.gets("p"), 0);
}
