//! What a process that opens the repository sees: time, memory by the kernel's count, look-ups.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use kopia_format::keys;
use kopia_repo::{CacheOptions, IndexView, OpenOptions, Repository};

use crate::{
    Outcome, PASSWORD,
    generate::{content, storage},
};

/// The columns of the lines.
pub const HEADING: &str = " contents run       open ms  peak MiB  heap MiB  mapped MiB | \
    misses/s  touched % |   hits/s  touched %  peak MiB  heap MiB  mapped MiB";

/// Opens the repository in `place`, asks, and prints a line.
pub fn child(place: &Path, count: u64, lookups: u64, no_cache: bool) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let storage = runtime.block_on(storage(&place.join("repo")))?;
    let cache = CacheOptions {
        directory: place.join("cache"),
        content_bytes_max: 1 << 40,
        metadata_bytes_max: 1 << 40,
    };
    let options = OpenOptions { cache: (!no_cache).then_some(cache), ..OpenOptions::default() };
    let begun = Instant::now();
    let opened = runtime.block_on(Repository::open(storage, &PASSWORD.into(), options))?;
    let view = runtime.block_on(opened.index())?;
    let open = begun.elapsed().saturating_sub(key_time(&opened)?);
    let after_open = Memory::now()?;
    let misses = ask(&view, lookups, |n| count + n, false)?;
    let hits = ask(&view, lookups, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count, true)?;
    println!(
        "{:>8.0} {after_open} | {misses} | {hits} {}",
        open.as_secs_f64() * 1e3,
        Memory::now()?
    );
    Ok(())
}

/// The time to make the key of the password, which every repository costs, whatever its index.
fn key_time(repository: &Repository) -> Outcome<Duration> {
    let blob = repository.format_blob();
    let begun = Instant::now();
    black_box(keys::derive_format_key(&blob.key_algo, PASSWORD.as_bytes(), &blob.unique_id)?);
    Ok(begun.elapsed())
}

/// Look-ups a second, and how many of a hundred read a page of an index.
fn ask(
    view: &IndexView,
    lookups: u64,
    number: impl Fn(u64) -> u64,
    there: bool,
) -> Outcome<String> {
    let (begun, read_before) = (Instant::now(), view.lookups_that_read());
    let mut found = 0;
    for n in 0..lookups {
        found += u64::from(view.find(&content(number(n)))?.is_some());
    }
    let rate = lookups as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(found, if there { lookups } else { 0 });
    let read = view.lookups_that_read() - read_before;
    let share = 100.0 * read as f64 / lookups.max(1) as f64;
    Ok(format!("{rate:>8.0} {share:>10.3}"))
}

/// Megabytes of this process.
struct Memory {
    peak: u64,
    heap: u64,
    mapped: u64,
}

impl Memory {
    fn now() -> Outcome<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let words = line.and_then(|line| line.split_whitespace().nth(1));
            words.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
        };
        Ok(Self { peak: field("VmHWM"), heap: field("RssAnon"), mapped: field("RssFile") })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9} {:>9} {:>11}", self.peak, self.heap, self.mapped)
    }
}
