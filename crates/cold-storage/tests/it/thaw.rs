//! Plans of thaws and their execution, on a storage in memory with a clock that is moved.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use blob_core::{
    Amount, BlobId, BlobStorage, Clock, DynStorage, ManualClock, MemoryStorage, PutAttributes,
    PutOptions, SeededEntropy, StorageClass, Tier, Timestamp, look_up,
};
use cold_storage::{
    PriceTable, Transfer,
    thaw::{
        Asked, BlobState, Fallback, Header, Journal, JournalError, Need, Outcome, PlanError,
        Progress, RunOptions, Step, ThawError, ThawOptions, ThawPlan, new_id, run,
    },
};
use tokio_util::sync::CancellationToken;

const DAY: i64 = 24 * 60 * 60;
const NOW: i64 = 1_795_525_531;

fn options(tier: Tier, days: u16) -> ThawOptions {
    ThawOptions { tier, days, now: Timestamp::from_secs(NOW), extend: false, upgrade: false }
}

fn need(blob: &str, class: StorageClass, state: BlobState, until: Option<i64>) -> Need {
    Need {
        blob: blob.to_owned(),
        size: 20 << 20,
        class: Some(class),
        state,
        until: until.map(Timestamp::from_secs),
        asked_days: None,
        reads: Amount { count: 2, bytes: 5 << 20 },
    }
}

fn steps(plan: &ThawPlan) -> Vec<Step> {
    plan.items.iter().map(|item| item.step).collect()
}

#[test]
fn each_state_has_its_step() {
    use BlobState::{Archived, Missing, Online, Thawing, Unknown};
    let glacier = || StorageClass::GLACIER;
    let all = [Online, Archived, Thawing, Unknown, Missing]
        .map(|state| need("p", glacier(), state, None));
    let table = PriceTable::built_in();
    let plan = ThawPlan::new(all.clone(), &options(Tier::Bulk, 7), table).unwrap();
    assert_eq!(
        steps(&plan),
        [Step::Nothing, Step::Start(7), Step::Wait, Step::Nothing, Step::Lost]
    );
    assert_eq!(plan.expected_seconds, 12 * 3600);
    let faster = ThawOptions { upgrade: true, ..options(Tier::Expedited, 7) };
    let plan = ThawPlan::new(all.clone(), &faster, table).unwrap();
    assert_eq!(steps(&plan)[2], Step::Upgrade(7), "nobody knows the days of the first request");
    let all = all.map(|need| Need { asked_days: Some(3), ..need });
    let plan = ThawPlan::new(all, &faster, table).unwrap();
    assert_eq!(steps(&plan)[2], Step::Upgrade(3), "with the days of the first request");
    assert_eq!(plan.usage().all_thaws(), Amount { count: 2, bytes: 40 << 20 });
}

#[test]
fn a_tier_that_a_class_lacks_is_no_plan_and_no_estimate() {
    let deep = need("p1", StorageClass::DEEP_ARCHIVE, BlobState::Archived, None);
    let table = PriceTable::built_in();
    let refused = ThawPlan::new([deep.clone()], &options(Tier::Expedited, 1), table).unwrap_err();
    assert!(matches!(&refused, PlanError::NoSuchTier { offered, .. } if offered.len() == 2));
    let estimates =
        ThawPlan::estimates(&[deep], &options(Tier::Standard, 1), table, Transfer::None);
    let tiers: Vec<_> = estimates.iter().map(|one| (one.tier, one.expected_seconds)).collect();
    assert_eq!(tiers, [(Tier::Bulk, 48 * 3600), (Tier::Standard, 12 * 3600)]);
    // A part of a plan takes the time of its own tier and blobs, and a tier that they have.
    let cold = [StorageClass::GLACIER, StorageClass::DEEP_ARCHIVE];
    let cold = cold.map(|class| need(class.as_str(), class.clone(), BlobState::Archived, None));
    let plan = ThawPlan::new(cold, &options(Tier::Standard, 2), table).unwrap();
    let part = plan.part(|blob| blob == "GLACIER", Tier::Bulk, table).unwrap();
    assert_eq!((steps(&part), part.expected_seconds), (vec![Step::Start(2)], 12 * 3600));
    assert_eq!(part.expected_end(), NOW + 12 * 3600);
    assert!(plan.part(|_| true, Tier::Expedited, table).is_err());
    // What is readable needs no tier at all.
    let warm = need("p2", StorageClass::DEEP_ARCHIVE, BlobState::Thawed, Some(NOW + 30 * DAY));
    assert!(ThawPlan::new([warm], &options(Tier::Expedited, 1), table).is_ok());
    let none = ThawPlan::new([], &options(Tier::Bulk, 0), table);
    assert_eq!(none.unwrap_err(), PlanError::NoDays);
}

#[test]
fn a_copy_that_lasts_is_left_and_no_end_ever_comes_nearer() {
    let table = PriceTable::built_in();
    for extend in [false, true] {
        for days in [1_u16, 2, 7, 30] {
            for left in [0, 1, DAY / 2, DAY, 3 * DAY, 7 * DAY, 29 * DAY, 90 * DAY] {
                for others in [false, true] {
                    let deep = || StorageClass::DEEP_ARCHIVE;
                    let copy = need("p1", deep(), BlobState::Thawed, Some(NOW + left));
                    let cold = others.then(|| need("p2", deep(), BlobState::Archived, None));
                    let options = ThawOptions { extend, ..options(Tier::Bulk, days) };
                    let plan = ThawPlan::new([copy].into_iter().chain(cold), &options, table);
                    let plan = plan.unwrap();
                    let ready = if others { 2 * DAY } else { 0 };
                    let case = format!("extend {extend} days {days} left {left} others {others}");
                    match plan.items[0].step {
                        Step::Nothing => {
                            let enough = if extend { i64::from(days) * DAY } else { ready + DAY };
                            assert!(left >= enough, "{case}");
                        }
                        Step::Extend(more) => {
                            assert!(i64::from(more) * DAY >= left, "{case}: shortened to {more}");
                            assert!(i64::from(more) * DAY >= ready + DAY, "{case}: too short");
                        }
                        other => panic!("{case}: {other:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_plan_is_plain_data_and_names_its_quantities() {
    let table = PriceTable::built_in();
    let deep = need("p1", StorageClass::DEEP_ARCHIVE, BlobState::Archived, None);
    let warm = need("p2", StorageClass::STANDARD_IA, BlobState::Online, None);
    let plan = ThawPlan::new([deep, warm], &options(Tier::Standard, 2), table).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<ThawPlan>(&text).unwrap(), plan);
    let usage = plan.usage();
    let class = (StorageClass::DEEP_ARCHIVE, Tier::Standard);
    assert_eq!(usage.thaws[&class], Amount { count: 1, bytes: 20 << 20 });
    assert_eq!(usage.copy_byte_days, u128::from(20_u32 << 20) * 3);
    assert_eq!(usage.gets[&StorageClass::STANDARD_IA], Amount { count: 2, bytes: 5 << 20 });
    assert_eq!(usage.bytes_read(), 10 << 20);
    let cost = plan.cost(table, Transfer::Internet);
    // 20 MiB at 0.02 a GB, and the fee of the class that has one: 5 MiB at 0.01.
    let gib = 1024.0;
    let wanted = 20.0 / gib * 0.02 + 5.0 / gib * 0.01;
    let given: f64 = cost.retrieval.to_string().parse().unwrap();
    assert!((given - wanted).abs() < 1e-11, "{given} {wanted}");
    assert_eq!(plan.cold_by_class()[&StorageClass::DEEP_ARCHIVE].count, 1);
    assert_eq!(plan.states()[&BlobState::Online].count, 1);
}

/// A storage with `count` blobs in an archive, and its clock.
async fn frozen(count: u32) -> (MemoryStorage, Arc<ManualClock>, Vec<String>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW)));
    let memory = MemoryStorage::with_clock(clock.clone());
    let class = Some(StorageClass::GLACIER);
    let attributes = PutAttributes { class, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    let mut names = Vec::new();
    for n in 0..count {
        let id = BlobId::new(format!("p{n:04}")).unwrap();
        memory.put(&id, vec![7; 100].into(), &options).await.unwrap();
        names.push(id.as_str().to_owned());
    }
    (memory, clock, names)
}

async fn planned(storage: &DynStorage, names: &[String], days: u16, now: Timestamp) -> ThawPlan {
    let found = look_up(storage, names.iter().map(String::as_str), 4).await.unwrap();
    let needs = names.iter().map(|name| Need::whole(&found[name]));
    let options = ThawOptions { now, ..options(Tier::Bulk, days) };
    ThawPlan::new(needs, &options, PriceTable::built_in()).unwrap()
}

fn paced(clock: &Arc<ManualClock>, per_second: u32) -> RunOptions {
    RunOptions { per_second, at_once: 1, clock: clock.clone() }
}

#[tokio::test]
async fn a_run_keeps_its_rate_and_a_second_one_asks_for_nothing() {
    let (memory, clock, names) = frozen(100).await;
    let storage: DynStorage = Arc::new(memory);
    let plan = planned(&storage, &names, 3, clock.now()).await;
    let (stop, began) = (CancellationToken::new(), clock.now());
    let mut asked = Vec::new();
    let note = |one: Asked<'_>| {
        asked.push((one.blob.to_owned(), one.outcome));
        Ok(())
    };
    let ran = run(&plan, &storage, &paced(&clock, 10), &stop, note).await.unwrap();
    assert_eq!((ran.started, ran.left, ran.failed.len()), (100, 0, 0));
    assert_eq!(asked.len(), 100);
    assert!(asked.iter().all(|(_, outcome)| *outcome == Outcome::Started));
    let took = clock.now().since(began);
    assert!((9..=11).contains(&took.as_secs()), "100 requests at 10 a second took {took:?}");
    let again = planned(&storage, &names, 3, clock.now()).await;
    assert_eq!(again.requests().count(), 0);
    clock.advance(Duration::from_secs(12 * 3600));
    let found = look_up(&storage, names.iter().map(String::as_str), 4).await.unwrap();
    let progress = Progress::of(names.iter().map(String::as_str), &found);
    assert_eq!((progress.readable(), progress.thawing(), progress.archived()), (100, 0, 0));
    assert!(progress.expires.is_some());
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_the_rest_and_the_next_one_does_it() {
    let (memory, clock, names) = frozen(50).await;
    let storage: DynStorage = Arc::new(memory);
    let plan = planned(&storage, &names, 3, clock.now()).await;
    let stop = CancellationToken::new();
    let seen = Mutex::new(0);
    let note = |_: Asked<'_>| {
        let mut seen = seen.lock().unwrap();
        *seen += 1;
        if *seen == 20 {
            stop.cancel();
        }
        Ok(())
    };
    let ran = run(&plan, &storage, &paced(&clock, 1000), &stop, note).await.unwrap();
    assert_eq!((ran.started, ran.left), (20, 30));
    let rest = planned(&storage, &names, 3, clock.now()).await;
    assert_eq!(rest.requests().count(), 30);
    // A journal that can't be written ends the run: no request is made that nobody remembers.
    let full = |_: Asked<'_>| Err(std::io::Error::other("no space"));
    let stop = CancellationToken::new();
    let four = RunOptions { at_once: 4, ..paced(&clock, 1000) };
    let failed = run(&rest, &storage, &four, &stop, full).await.unwrap_err();
    let ThawError::Journal { run, .. } = failed else { panic!("{failed:?}") };
    // What was under way is paid for: it is waited for and counted, and nothing is lost sight of.
    assert!((1..=4).contains(&run.started), "{run:?}");
    assert_eq!(run.started + run.left, 30, "{run:?}");
    let after = planned(&storage, &names, 3, clock.now()).await;
    assert_eq!(after.requests().count() as u64, run.left);
}

#[tokio::test]
async fn a_request_that_waits_for_its_turn_is_not_made_after_a_stop() {
    let (memory, clock, names) = frozen(8).await;
    let storage: DynStorage = Arc::new(memory);
    let plan = planned(&storage, &names, 3, clock.now()).await;
    let stop = CancellationToken::new();
    // One is made at once; the others wait for a turn that comes within seconds.
    let clock = Arc::new(blob_core::SystemClock);
    let slow = RunOptions { per_second: 1, at_once: 4, clock };
    let note = |_: Asked<'_>| {
        stop.cancel();
        Ok(())
    };
    let ran = run(&plan, &storage, &slow, &stop, note).await.unwrap();
    assert_eq!((ran.started, ran.left), (1, 7));
}

#[tokio::test]
async fn what_is_gone_or_has_no_such_tier_is_said_of_the_blob() {
    let (memory, clock, names) = frozen(3).await;
    let storage: DynStorage = Arc::new(memory.clone());
    let plan = planned(&storage, &names, 3, clock.now()).await;
    memory.delete(&BlobId::new("p0001").unwrap()).await.unwrap();
    let stop = CancellationToken::new();
    let ran = run(&plan, &storage, &paced(&clock, 1000), &stop, |_| Ok(())).await.unwrap();
    assert_eq!((ran.started, ran.failed.len()), (2, 1));
    assert_eq!(ran.failed[0].blob, "p0001");
    // It moved to a class without the tier: nothing is decided for the user.
    memory.set_class(&BlobId::new("p0000").unwrap(), StorageClass::DEEP_ARCHIVE);
    let fast = ThawPlan { tier: Tier::Expedited, ..plan };
    let failed = run(&fast, &storage, &paced(&clock, 1000), &stop, |_| Ok(())).await.unwrap_err();
    assert!(failed.to_string().contains("DEEP_ARCHIVE has no such tier"), "{failed}");
    let ThawError::Storage { run: ran, .. } = failed else { panic!("{failed:?}") };
    let (done, lost) = (ran.already_running, ran.failed.len() as u64);
    assert_eq!(done + lost + ran.left, 3, "each of them is in one place: {ran:?}");
    let folder: DynStorage = Arc::new(memory.without_classes());
    let failed = run(&fast, &folder, &paced(&clock, 1000), &stop, |_| Ok(())).await.unwrap_err();
    assert!(failed.to_string().contains("does not support thaw"), "{failed}");
}

#[tokio::test]
async fn a_journal_survives_a_kill_in_the_middle_of_a_line() {
    let (memory, clock, names) = frozen(4).await;
    let storage: DynStorage = Arc::new(memory);
    let plan = planned(&storage, &names, 3, clock.now()).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("thaws");
    assert_eq!(Journal::ids(&folder).unwrap(), Vec::<String>::new());
    let id = new_id(clock.now(), &SeededEntropy::new(1));
    assert!(id.starts_with("t-20261124-130531-") && id.len() == 22, "{id}");
    let header = Header {
        thaw_id: id.clone(),
        storage: "memory".into(),
        arguments: vec!["latest".into()],
        job: None,
        cost: plan.cost(PriceTable::built_in(), Transfer::Internet),
        plan: plan.clone(),
    };
    let mut journal = Journal::create(&folder, &header).unwrap();
    let stop = CancellationToken::new();
    let ran = run(&plan, &storage, &paced(&clock, 100), &stop, |one| journal.note(&one)).await;
    assert_eq!(ran.unwrap().started, 4);
    let noted = Journal::read(&folder, &id).unwrap();
    assert_eq!((&noted.header, noted.notes.len()), (&header, 4));
    let path = folder.join(format!("{id}.jsonl"));
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    let cut = Journal::read(&folder, &id).unwrap();
    assert_eq!((cut.notes.len(), cut.unanswered().len()), (3, 1));
    // Whoever goes on begins a new line.
    let mut journal = Journal::reopen(&folder, &id).unwrap();
    let request = plan.requests().next().unwrap().1;
    let (outcome, at) = (Outcome::AlreadyRunning, clock.now());
    journal.note(&Asked { blob: "p0003", request, outcome, at }).unwrap();
    let noted = Journal::read(&folder, &id).unwrap();
    assert_eq!(noted.notes.last().unwrap().blob, "p0003");
    assert_eq!(noted.notes.len(), 4);
    assert_eq!(noted.unanswered(), Vec::<&str>::new());
    assert_eq!((noted.cost(), noted.expected_end()), (header.cost, plan.expected_end()));
    // Another tier has another price and another end.
    let other = Fallback {
        fallback_tier: Tier::Bulk,
        cost: Default::default(),
        expected_end_seconds: plan.expected_end() + 7,
    };
    journal.fall_back(&other).unwrap();
    let noted = Journal::read(&folder, &id).unwrap();
    assert_eq!((noted.fallback, noted.notes.len()), (Some(other), 4));
    assert_eq!((noted.cost(), noted.expected_end()), (other.cost, plan.expected_end() + 7));
    assert_eq!(Journal::ids(&folder).unwrap(), [id.as_str()]);
    for bad in ["t-none", "../x", "x"] {
        let unknown = Journal::read(&folder, bad).unwrap_err();
        assert!(matches!(unknown, JournalError::Unknown { .. }), "{unknown}");
    }
    std::fs::write(folder.join("t-broken.jsonl"), "{}\n").unwrap();
    let broken = Journal::read(&folder, "t-broken").unwrap_err();
    assert!(matches!(broken, JournalError::Malformed { .. }), "{broken}");
}
