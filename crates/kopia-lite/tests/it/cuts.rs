//! Commands that write, killed at each of their writes: what lies there opens and verifies, and the
//! same command again completes it.
//!
//! For commands whose order of writes is made in the app. Each write is cut twice: the program dies
//! after it had its effect, and without any. Where the order is made by a library, its own tests cut
//! it there.

use std::{process::Stdio, sync::Arc, time::Duration};

use blob_core::DynStorage;
use bytes::Bytes;
use kopia_format::{ManifestId, snapshot::SnapshotManifest};
use kopia_repo::{CacheOptions, EntryFilter, OpenOptions, Repository, VerifyEvent, VerifyOptions};
use kopia_snapshot::{manifests, policies, verify};
use tokio_util::sync::CancellationToken;

use crate::env::{PASSWORD, S3Env};

const GATE: &str = "--dangerous-commands=enabled";

/// A repository in a bucket, as it is before the command.
struct Scene {
    s3: S3Env,
    before: Vec<(String, Bytes)>,
    runtime: tokio::runtime::Runtime,
}

/// What another client finds.
struct Seen {
    snapshots: Vec<SnapshotManifest>,
    manifests: Vec<ManifestId>,
    /// By target, how many snapshots each policy keeps.
    policies: Vec<(String, Option<i64>)>,
    /// The keys of all blobs.
    blobs: Vec<String>,
    /// Index blobs that can't be read.
    damaged: usize,
}

impl Seen {
    fn has_blob(&self, id: &str) -> bool {
        self.blobs.iter().any(|key| key.strip_prefix("r/") == Some(id))
    }
}

impl Scene {
    /// A repository with two snapshots of `src`, each written by a command of its own.
    fn new(flags: &str) -> Self {
        let s3 = S3Env::new();
        s3.create(flags);
        s3.plant();
        s3.ok("snapshot create src --no-auto-maintenance");
        s3.write("src/more.txt", "more");
        s3.ok("snapshot create src --no-auto-maintenance");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut scene = Self { s3, before: Vec::new(), runtime };
        scene.remember();
        scene
    }

    /// What lies there now is how it is before the command.
    fn remember(&mut self) {
        let objects = self.s3.server.objects();
        let keys = objects.keys("").into_iter();
        self.before = keys.map(|key| (key.clone(), objects.get(&key).unwrap().bytes)).collect();
    }

    fn put_back(&self) {
        let objects = self.s3.server.objects();
        objects.keys("").iter().for_each(|key| _ = objects.remove(key));
        self.before.iter().for_each(|(key, bytes)| objects.put(key, bytes.clone()));
    }

    /// Opens the repository as another client, reads everything, and finds nothing wrong.
    fn look(&self) -> Seen {
        self.runtime.block_on(async {
            let storage: DynStorage = Arc::new(self.s3.storage("r/"));
            // With the key of the password kept: making it takes longer than all the rest.
            let directory = self.s3.path("another-cache");
            let cache = CacheOptions { directory, content_bytes_max: 0, metadata_bytes_max: 0 };
            let options =
                OpenOptions { cache: Some(cache), keep_key: true, ..OpenOptions::default() };
            let options = OpenOptions { pass_over_damaged_index: true, ..options };
            let password = PASSWORD.to_owned().into();
            let repo = Repository::open(storage, &password, options).await.unwrap();
            let options = VerifyOptions { filter: EntryFilter::default(), read_percent: 100.0 };
            let problem = |event: VerifyEvent<'_>| {
                if let VerifyEvent::Problem { id, error } = event {
                    panic!("{id}: {error}");
                }
            };
            repo.verify_contents(&options, problem).await.unwrap();
            let snapshots = manifests::find(&repo, &[]).await.unwrap();
            let roots = snapshots.iter().filter_map(|it| it.root_entry.clone());
            let roots: Vec<_> = roots.map(|root| ("root".to_owned(), root)).collect();
            let options = verify::VerifyOptions { files_percent: 100.0, ..Default::default() };
            let stop = CancellationToken::new();
            let found = verify::verify(&repo, &roots, &options, &|_| {}, &stop).await.unwrap();
            // What a damaged index blob may say is not known as long as it is there.
            let view = repo.index_as_read();
            let is_of_damaged = |blob: &String| {
                view.damaged().iter().any(|damaged| damaged.blob.id.as_str() == blob.as_str())
            };
            let known = |it: &verify::VerifyProblem| it.blob.as_ref().is_some_and(is_of_damaged);
            assert!(found.problems.iter().all(known), "{:?}", found.problems);
            let policies = policies::all(&repo).await.unwrap().into_iter();
            let policies = policies
                .map(|it| (it.target.to_string(), it.policy.retention.keep_latest))
                .collect();
            let all = repo.manifests().all().await.unwrap();
            let manifests = all.into_iter().map(|entry| entry.id).collect();
            let blobs = self.s3.server.objects().keys("");
            Seen { snapshots, manifests, policies, blobs, damaged: view.damaged().len() }
        })
    }

    /// Runs a command until it ends, or kills it at the write that the server holds. `None`: killed.
    fn run_until_cut(&self, line: &str) -> Option<i32> {
        let mut command = self.s3.command(line.split_whitespace());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        loop {
            if self.s3.server.cut().is_cut().is_some() {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills the command at each of its writes, both ways. `is_right` is asked whenever it was killed,
    /// `is_done` when it got through and when it was run again after a kill. Gives how many writes it
    /// makes.
    fn survives(
        &self,
        line: &str,
        is_right: impl Fn(&Seen) -> bool,
        is_done: impl Fn(&Seen) -> bool,
    ) -> usize {
        let mut writes = [0, 0];
        for with_effect in [false, true] {
            for moment in 0.. {
                let at = format!("{line}: {moment} writes, the last with effect: {with_effect}");
                self.put_back();
                self.s3.server.cut().after_writes(moment, with_effect);
                let ended = self.run_until_cut(line);
                self.s3.server.cut().clear();
                let seen = self.look();
                if let Some(code) = ended {
                    assert_eq!(code, 0, "{at}");
                    assert!(is_done(&seen), "{at}: it said that it is done");
                    break;
                }
                assert!(is_right(&seen), "{at}");
                let was_done = is_done(&seen);
                let again = self.s3.line(line);
                // What is done already may be refused: there is nothing of that name any more.
                assert!(again.code == 0 || was_done, "{at}: {again:#?}");
                assert!(is_done(&self.look()), "{at}: the next run completes it");
                writes[usize::from(with_effect)] += 1;
            }
        }
        assert_eq!(writes[0], writes[1], "{line}");
        println!("{line}: {} writes", writes[0]);
        writes[0]
    }
}

#[test]
fn an_import_of_policies_changes_all_of_them_or_none() {
    let mut scene = Scene::new("");
    scene.s3.ok("policy set /gone --keep-latest=1 --no-auto-maintenance");
    scene.s3.ok("policy set /data --keep-latest=2 --no-auto-maintenance");
    scene.remember();
    scene.s3.write(
        "p.json",
        r#"{"(global)":{},"u@h:/data":{"retention":{"keepLatest":3}},
            "u@h:/new":{"retention":{"keepLatest":4}}}"#,
    );
    let policies = |all: &[(&str, Option<i64>)]| {
        let mut all: Vec<_> = all.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        all.sort();
        all
    };
    let global = ("(global)", scene.look().policies[0].1);
    let old = policies(&[global, ("u@h:/data", Some(2)), ("u@h:/gone", Some(1))]);
    let new = policies(&[("(global)", None), ("u@h:/data", Some(3)), ("u@h:/new", Some(4))]);
    let found = |seen: &Seen| {
        let mut found = seen.policies.clone();
        found.sort();
        found
    };
    let writes = scene.survives(
        "policy import --from-file=p.json --delete-other-policies --no-auto-maintenance",
        |seen| [&old, &new].contains(&&found(seen)) && seen.snapshots.len() == 2,
        |seen| found(seen) == new,
    );
    assert!(writes >= 4, "{writes} writes");
}

#[test]
fn manifests_that_are_deleted_together_go_together() {
    let scene = Scene::new("");
    let seen = scene.look();
    let ids: Vec<_> = seen.snapshots.iter().map(|it| it.id.to_string()).collect();
    let all = seen.manifests.len();
    let writes = scene.survives(
        &format!("manifest delete {} {} {GATE}", ids[0], ids[1]),
        |seen| [all, all - 2].contains(&seen.manifests.len()),
        |seen| seen.manifests.len() == all - 2 && seen.snapshots.is_empty(),
    );
    assert!(writes >= 4, "{writes} writes");
}

#[test]
fn a_deletion_of_blobs_goes_on_where_it_was_cut() {
    let mut scene = Scene::new("");
    let ids = ["_log_1", "pstray", "zz"];
    ids.iter().for_each(|id| scene.s3.server.objects().put(&format!("r/{id}"), "stray"));
    scene.remember();
    let writes = scene.survives(
        &format!("blob delete {} {GATE}", ids.join(" ")),
        |seen| seen.snapshots.len() == 2,
        |seen| seen.snapshots.len() == 2 && !ids.iter().any(|id| seen.has_blob(id)),
    );
    assert_eq!(writes, ids.len());
}

#[test]
fn a_recovery_of_a_lost_index_goes_on_where_it_was_cut() {
    let mut scene = Scene::new("");
    let objects = scene.s3.server.objects();
    objects.keys("r/xn").iter().for_each(|key| _ = objects.remove(key));
    scene.remember();
    let writes = scene.survives(
        &format!("index recover --commit {GATE}"),
        |seen| [0, 2].contains(&seen.snapshots.len()),
        |seen| seen.snapshots.len() == 2,
    );
    assert!(writes >= 1, "{writes} writes");
}

/// The damaged blob goes when what it said is written anew.
#[test]
fn a_recovery_of_a_damaged_index_goes_on_where_it_was_cut() {
    let mut scene = Scene::new("");
    let keys = scene.s3.server.objects().keys("r/xn");
    let damaged = keys.last().unwrap();
    scene.s3.server.objects().corrupt(damaged, 50);
    scene.remember();
    let all = scene.s3.server.objects().keys("r/").len();
    let writes = scene.survives(
        &format!("index recover --commit --delete-indexes {GATE}"),
        |seen| seen.damaged == 1 || seen.snapshots.len() == 2,
        |seen| seen.damaged == 0 && seen.snapshots.len() == 2 && seen.blobs.len() >= all,
    );
    assert_eq!(writes, 2);
}

/// The old blobs go one by one, and only when the new one is there.
#[test]
fn old_indexes_are_deleted_one_by_one_and_nothing_is_lost_meanwhile() {
    let scene = Scene::new("--format-version=1");
    let old = scene.s3.server.objects().keys("r/n");
    assert!(old.len() >= 2, "{old:?}");
    let writes = scene.survives(
        &format!("index recover --commit --delete-indexes {GATE}"),
        |seen| seen.snapshots.len() == 2,
        |seen| seen.snapshots.len() == 2 && !old.iter().any(|key| seen.blobs.contains(key)),
    );
    assert_eq!(writes, old.len() + 1);
}

#[test]
fn a_repair_writes_the_format_blob_or_does_not() {
    let mut scene = Scene::new("--format-version=1");
    let blob = "r/kopia.repository";
    let whole = scene.s3.server.objects().get(blob).unwrap().bytes;
    // One that is there is written over if that is asked for.
    let flags = scene.s3.flags();
    let line = format!("repository repair --recover-format=yes s3 {flags} {GATE}");
    let writes = scene.survives(&line, |_| true, |_| true);
    assert_eq!(writes, 1);
    // One that is lost: after the cut it is there, byte for byte, or it is still lost.
    let line = format!("repository repair s3 {flags} {GATE}");
    let is = || scene.s3.server.objects().get(blob).map(|object| object.bytes);
    scene.s3.server.objects().remove(blob);
    scene.before.retain(|(key, _)| key != blob);
    for with_effect in [false, true] {
        scene.put_back();
        scene.s3.server.cut().after_writes(0, with_effect);
        assert_eq!(scene.run_until_cut(&line), None);
        scene.s3.server.cut().clear();
        assert_eq!(is(), with_effect.then(|| whole.clone()));
        scene.s3.ok(&line);
        assert_eq!(is(), Some(whole.clone()));
        assert_eq!(scene.look().snapshots.len(), 2);
    }
}
