//! Two clients work at once over a bad network until the power goes, or to their end: whatever was
//! answered for is there afterwards, and nothing is there by half.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use blob_core::{DynStorage, Layer, MemoryStorage, SeededEntropy, layers::Retry};
use blob_testkit::{Mishaps, SimulatedStorage, Weather};
use kopia_format::{ManifestId, policy::Policy};
use kopia_snapshot::{SnapshotError, create::create, manifests, policies, restore::RestoreOptions};

use crate::support::{Found, Memory, copy, noise, open_storage, plant, request, tree, write};

/// What a client knows to be done: snapshots that are there, with the tree that they hold, and
/// those that are deleted.
#[derive(Default)]
struct Promised {
    there: BTreeMap<ManifestId, BTreeMap<String, Found>>,
    gone: Vec<ManifestId>,
}

/// Works on `folder` until something fails for good.
async fn work(
    storage: DynStorage,
    folder: &Path,
    client: u32,
    promised: &Mutex<Promised>,
) -> Result<(), SnapshotError> {
    let repo = open_storage(storage, "memory").await?;
    for round in 0..3 {
        write(folder.join(format!("round{round}/new")), noise(client * 10 + round, 60_000));
        write(folder.join("changes"), format!("{client} {round}"));
        let now = tree(folder);
        let writer = repo.writer().unwrap();
        let created = create(&writer, request(folder)).await?;
        let source = created.manifest.source.clone();
        policies::save(&writer, &source, &Policy::default()).await?;
        writer.flush().await?;
        promised.lock().unwrap().there.insert(created.manifest.id.clone(), now);
        if round == 1 {
            // The first one of this client is not needed any more.
            let own = manifests::of_source(&repo, &source).await?;
            let first = own.iter().min_by_key(|manifest| manifest.start_time).unwrap().id.clone();
            // From here on it may be gone.
            promised.lock().unwrap().there.remove(&first);
            let writer = repo.writer().unwrap();
            writer.delete_manifest(&first).await?;
            writer.flush().await?;
            promised.lock().unwrap().gone.push(first);
        }
    }
    Ok(())
}

/// Lets two clients work over `blobs`; cuts the power after so many calls.
async fn together(
    blobs: &MemoryStorage,
    weather: Weather,
    seed: u64,
    calls: usize,
) -> (Promised, Vec<String>, Mishaps) {
    let simulated = SimulatedStorage::over(Arc::new(blobs.clone()), weather, seed);
    simulated.cut_power_after(calls);
    let promised = Mutex::new(Promised::default());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    folders.iter().for_each(|folder| plant(folder.path()));
    let client = |number: u32| {
        let entropy = Arc::new(SeededEntropy::new(seed + u64::from(number)));
        let pauses = (Duration::from_millis(1), Duration::from_millis(20));
        let retry = Retry::new().pauses(pauses.0, pauses.1).entropy(entropy);
        let storage = retry.wrap(simulated.clone());
        work(storage, folders[number as usize].path(), number, &promised)
    };
    let (one, two) = tokio::join!(client(0), client(1));
    let errors = [one, two].into_iter().filter_map(Result::err).map(|error| error.to_string());
    (promised.into_inner().unwrap(), errors.collect(), simulated.mishaps())
}

/// What must hold for whoever comes next, in calm weather.
async fn check(blobs: &MemoryStorage, promised: &Promised, first: &Path) -> Result<(), String> {
    let memory = Memory::over(blobs.clone()).await;
    let all = memory.snapshots().await;
    let ids: Vec<_> = all.iter().map(|manifest| &manifest.id).collect();
    if let Some(lost) = promised.there.keys().find(|id| !ids.contains(id)) {
        return Err(format!("snapshot {lost} is lost"));
    }
    if let Some(back) = promised.gone.iter().find(|id| ids.contains(id)) {
        return Err(format!("snapshot {back} was deleted and is back"));
    }
    // Also those that nobody answered for are whole if they are there.
    for manifest in &all {
        let target = tempfile::tempdir().unwrap();
        let root = manifest.root_entry.as_ref().unwrap();
        let restored = memory.restore(root, target.path(), &RestoreOptions::default()).await;
        restored.map_err(|error| format!("snapshot {}: {error}", manifest.id))?;
        if let Some(wanted) = promised.there.get(&manifest.id)
            && tree(target.path()) != *wanted
        {
            return Err(format!("snapshot {} restores to something else", manifest.id));
        }
    }
    let report = memory
        .repo
        .verify_contents(
            &kopia_repo::VerifyOptions {
                read_percent: 100.0,
                ..kopia_repo::VerifyOptions::default()
            },
            |_| {},
        )
        .await;
    let problems = report.map_err(|error| error.to_string())?.problems();
    if problems > 0 {
        return Err(format!("{problems} contents are lost"));
    }
    let created = memory.snapshot(first).await;
    if memory.snapshots().await.iter().all(|manifest| manifest.id != created.manifest.id) {
        return Err("the next snapshot is not there".to_owned());
    }
    Ok(())
}

/// A repository with one snapshot, and the folder that it is of.
async fn scene() -> (Memory, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    (memory, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_weather_costs_time_and_nothing_else() {
    let (memory, folder) = scene().await;
    let mut mishaps = Mishaps::default();
    let enough = |Mishaps { lost_requests, lost_answers, torn_lists, .. }: &Mishaps| {
        *lost_requests > 15 && *lost_answers > 15 && *torn_lists > 2
    };
    // Which calls meet with a mishap hangs on how the threads take turns, too.
    for seed in 0..40 {
        if seed >= 6 && enough(&mishaps) {
            break;
        }
        let blobs = copy(&memory.blobs).await;
        let (promised, errors, seen) = together(&blobs, Weather::stormy(), seed, usize::MAX).await;
        assert!(errors.is_empty(), "seed {seed}: a storm is no reason to give up: {errors:?}");
        check(&blobs, &promised, folder.path())
            .await
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        mishaps.lost_requests += seen.lost_requests;
        mishaps.lost_answers += seen.lost_answers;
        mishaps.torn_lists += seen.torn_lists;
    }
    println!("{mishaps:?}");
    assert!(enough(&mishaps), "{mishaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_answered_for() {
    let (memory, folder) = scene().await;
    let (mut cut_off, mut in_the_dark) = (0, 0);
    for seed in 0..24 {
        let blobs = copy(&memory.blobs).await;
        let calls = 5 + usize::try_from(seed).unwrap() * 4;
        let (promised, errors, seen) =
            together(&blobs, Weather::stormy(), 1000 + seed, calls).await;
        check(&blobs, &promised, folder.path())
            .await
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        cut_off += usize::from(!errors.is_empty());
        in_the_dark += seen.done_in_the_dark;
    }
    println!("{cut_off} cut off, {in_the_dark} done in the dark");
    assert!(cut_off > 15 && in_the_dark > 5, "{cut_off} cut off, {in_the_dark} done in the dark");
}
