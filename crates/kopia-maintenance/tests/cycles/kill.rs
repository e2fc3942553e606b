//! Maintenance that is cut off at any moment loses nothing, and the next one does what is left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use blob_core::BlobId;
use blob_testkit::FaultyStorage;
use bytes::Bytes;
use kopia_format::ContentId;
use kopia_maintenance::{Change, Mode, Task, Which};
use kopia_repo::{EntryFilter, Repository};

use crate::{
    delete::orphan,
    world::{DAY, HOUR, Saved, World, of, open, open_options},
};

/// A repository with work for every task, and what must hold of it for ever.
struct Scene {
    world: World,
    saved: Saved,
    faulty: Arc<FaultyStorage>,
    victim: Repository,
    bytes: BTreeMap<ContentId, Bytes>,
    manifests: usize,
    /// Contents and packs that must be gone in the end.
    garbage: Vec<ContentId>,
    dead: Vec<BlobId>,
}

impl Scene {
    async fn new(world: World) -> Self {
        world.change(&[Change::RetainedLogCount(2)]).await;
        let mut garbage = world.write(None, 2, 1_000).await;
        let mut dead = vec![world.pack_of(&garbage[0]).await];
        let recovered = world.write(None, 1, 1_000).await;
        world.advance(DAY);
        world.full().await;
        world.advance(5 * HOUR);
        world.full().await;
        world.needed.add(recovered[0]);
        let writer = world.repo.writer().unwrap();
        for n in 0..20 {
            // A manifest is in a content of its own, and 20 index blobs over a day end the epoch.
            world.advance(DAY / 19 + Duration::from_secs(1));
            writer.put_manifest(&[("type", "note"), ("n", &n.to_string())], &n).await.unwrap();
            writer.flush().await.unwrap();
        }
        world.quick().await;
        for n in 0..20 {
            world.advance(DAY / 19 + Duration::from_secs(1));
            match n {
                0..3 => _ = world.write_needed(None, 2, 1_000).await,
                3 => garbage.extend(world.write(Some(b'k'), 2, 1_000).await),
                _ => _ = world.write_needed(Some(b'k'), 1, 100).await,
            }
        }
        for number in 0..3 {
            dead.push(orphan(&world, 'p', number, 10).await);
        }
        world.advance(DAY + HOUR);
        let storage = Arc::new(world.memory.clone());
        let faulty = FaultyStorage::over(storage);
        let victim = open(faulty.clone(), open_options(&world.clock)).await;
        let bytes = world.needed_bytes(&world.repo).await;
        let manifests = world.repo.manifests().all().await.unwrap().len();
        let saved = world.save().await;
        Self { world, saved, faulty, victim, bytes, manifests, garbage, dead }
    }

    /// Two cycles: what the first one empties, the second one deletes. False when they were cut.
    async fn cycles(&self) -> bool {
        for _ in 0..2 {
            let run = self.world.try_run_by(&self.victim, Which::This(Mode::Full)).await;
            if !run.is_ok_and(|report| report.failed.is_empty()) {
                return false;
            }
            self.world.advance(5 * HOUR);
        }
        true
    }

    async fn look(&self, repo: &Repository, moment: &str) {
        repo.refresh().await.unwrap_or_else(|e| panic!("{moment}: {e}"));
        for (id, bytes) in &self.bytes {
            let found = repo.content(id).await.unwrap_or_else(|e| panic!("{moment}: {id}: {e}"));
            assert_eq!(found, bytes, "{moment}: {id}");
        }
        let manifests = repo.manifests().all().await.unwrap_or_else(|e| panic!("{moment}: {e}"));
        assert_eq!(manifests.len(), self.manifests, "{moment}");
        // Whatever the index names is there, for those that are marked can come back.
        for entry in repo.entries(&EntryFilter::with_deleted()).await.unwrap() {
            let pack: BlobId = entry.pack.parse().unwrap();
            assert!(self.world.has(&pack), "{moment}: {} is in {pack}, which is gone", entry.id);
        }
    }

    /// Lets it die in the `n`th call or write, and lets another client go on.
    async fn dies(&self, kill: impl Fn(&FaultyStorage, usize), n: usize, kind: &str) -> bool {
        let moment = format!("{kind} {n}");
        self.faulty.heal();
        self.world.go_back(&self.saved).await;
        self.victim.refresh().await.unwrap();
        kill(&self.faulty, n);
        let finished = self.cycles().await;
        self.faulty.heal();
        // A client that has never been here sees what one sees that has looked again.
        match n % 8 {
            0 => self.look(&self.world.other().await, &moment).await,
            _ => self.look(&self.world.repo, &moment).await,
        }
        // By then the session of the one that died guards nothing any more.
        self.world.advance(5 * DAY);
        for _ in 0..4 {
            let run = self.world.try_run(Which::This(Mode::Full)).await;
            let report = run.unwrap_or_else(|e| panic!("{moment}: the next one: {e}"));
            assert_eq!(report.failed, [], "{moment}: the next one");
            self.look(&self.world.repo, &moment).await;
            self.world.advance(5 * HOUR);
        }
        for id in &self.garbage {
            assert_eq!(self.world.entry(id).await, None, "{moment}: garbage stays");
        }
        for pack in &self.dead {
            assert!(!self.world.has(pack), "{moment}: {pack} stays");
        }
        assert_eq!(self.world.names("s"), [""; 0], "{moment}: sessions stay");
        finished
    }

    /// In each write, before its effect and after it, which is every state that a death can leave;
    /// and in some of the calls between, for what a failed read leads to.
    async fn dies_everywhere(&self) {
        let mut writes = 0;
        for has_effect in [false, true] {
            let kill = move |storage: &FaultyStorage, n| storage.kill_after_writes(n, has_effect);
            let mut n = 0;
            while !self.dies(kill, n, "write").await {
                n += 1;
            }
            writes = n;
        }
        let mut calls = 0;
        while !self.dies(FaultyStorage::kill_after, calls, "call").await {
            calls += 7;
        }
        println!("cut in each of {writes} writes and after {calls} calls");
        assert!(calls > 60 && writes > 25, "{calls} calls, {writes} writes");
    }
}

#[tokio::test]
async fn a_full_cycle_may_be_cut_anywhere() {
    let scene = Scene::new(World::new().await).await;
    // There is work for all tasks that take part in it.
    scene.world.repo.refresh().await.unwrap();
    let plan = scene.world.plan(Mode::Full).await;
    for task in [
        Task::MergeManifests,
        Task::SnapshotGc,
        Task::RewriteContents(Mode::Full),
        Task::DropDeleted,
        Task::AdvanceEpoch,
        Task::CleanupLogs,
    ] {
        assert!(of(&plan.tasks, task).is_due(), "{task}: {}", of(&plan.tasks, task).reason);
    }
    scene.dies_everywhere().await;
}

#[tokio::test]
async fn a_full_cycle_without_epochs_may_be_cut_anywhere() {
    let scene = Scene::new(World::legacy().await).await;
    scene.dies_everywhere().await;
}
