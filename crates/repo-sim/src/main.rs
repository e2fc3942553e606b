//! `repo-sim --seed N --count M [--plant NAME] [--threads T]`: runs seeds, and says what they found.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, bail};
use repo_sim::{Outcome, Plant, Tally, Template, run};

/// With so many seeds, each of [`MUST_HAPPEN`] must.
const SEEDS_MANY: u64 = 500;
/// What must have happened, or what was simulated proves nothing about it.
const MUST_HAPPEN: &[&str] = &[
    "kopia-lite-merge-manifests",
    "snapshot-gc",
    "contents needed again",
    "full-rewrite-contents",
    "quick-rewrite-contents",
    "full-drop-deleted-content",
    "full-delete-blobs",
    "quick-delete-blobs",
    "index-compaction",
    "compact-single-epoch",
    "advance-epoch",
    "generate-epoch-range-index",
    "cleanup-epoch-markers",
    "delete-superseded-epoch-indexes",
    "cleanup-logs",
    "checkpoints",
    "streams",
    "sleeps",
    "cut off",
    "wrong clock",
    "new owners",
];

struct Flags {
    seed: u64,
    count: u64,
    threads: usize,
    plant: Option<Plant>,
}

fn flags() -> anyhow::Result<Flags> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut flags = Flags { seed: 0, count: 1, threads: cores, plant: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, args.next()),
        };
        let value = value.with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--seed" => flags.seed = value.parse()?,
            "--count" => flags.count = value.parse()?,
            "--threads" => flags.threads = value.parse()?,
            "--plant" => {
                flags.plant = Some(Plant::named(&value).with_context(|| {
                    let names: Vec<_> = Plant::ALL.iter().map(|(name, _)| *name).collect();
                    format!("there is no {value}; there are {}", names.join(", "))
                })?);
            }
            other => bail!("unknown flag {other}"),
        }
    }
    Ok(flags)
}

fn main() -> ExitCode {
    match flags().and_then(|flags| simulate(&flags)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if what was found is what should be: nothing, or the mistake that was made.
fn simulate(flags: &Flags) -> anyhow::Result<bool> {
    let template = Arc::new(Template::new()?);
    let (begun, next, stop) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let outcomes: Mutex<(u64, Tally, Vec<Outcome>)> = Mutex::default();
    let work = || -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= flags.count {
                break;
            }
            let outcome = run(flags.seed + at, &template, flags.plant)?;
            let mut all = outcomes.lock().expect("no holder of this lock panics");
            all.0 += 1;
            for (what, times) in &outcome.tally {
                *all.1.entry(what.clone()).or_default() += times;
            }
            if outcome.wrong.is_some() || flags.count == 1 {
                stop.fetch_or(flags.plant.is_some(), Ordering::Relaxed);
                if let Some(wrong) = &outcome.wrong {
                    println!("seed {}: {wrong}", outcome.seed);
                }
                all.2.push(outcome);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..flags.threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    let (seeds, tally, mut found) = outcomes.into_inner().expect("no holder panicked");
    found.sort_by_key(|outcome| outcome.seed);
    // Of a finding the trace too: where threads take part, in what order is not the seed's to say, and
    // another run of it may not find it again.
    if flags.count == 1 || flags.plant.is_none() {
        found.iter().flat_map(|outcome| &outcome.trace).for_each(|line| println!("{line}"));
    }
    for (what, times) in &tally {
        println!("{times:10}  {what}");
    }
    let wrong: Vec<_> = found.iter().filter(|outcome| outcome.wrong.is_some()).collect();
    let secs = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds in {secs:.1} s, {:.1} a second; {} wrong",
        seeds as f64 / secs,
        wrong.len()
    );
    let mut never = MUST_HAPPEN.iter().filter(|what| !tally.contains_key(**what)).peekable();
    if seeds >= SEEDS_MANY && never.peek().is_some() {
        bail!("never happened: {}", never.copied().collect::<Vec<_>>().join(", "));
    }
    Ok(wrong.is_empty() != flags.plant.is_some())
}
