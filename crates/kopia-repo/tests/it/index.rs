//! Large indexes: the same answers however they are opened, few look-ups that read, little memory.

#[path = "../../benches/index/generate.rs"]
mod generate;

use std::{error::Error, path::Path, process::Command};

use generate::{BLOBS_PER_EPOCH, content, storage};
use kopia_repo::{CacheOptions, EntryFilter, IndexEntry, OpenOptions, Repository};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "a password";

/// A repository of `count` contents, made with a runtime of its own.
async fn made(count: u64, blobs_per_epoch: u64) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_owned();
    let make = move || generate::repository(&folder, count, blobs_per_epoch).unwrap();
    tokio::task::spawn_blocking(make).await.unwrap();
    place
}

fn cached(place: &Path) -> OpenOptions {
    let cache = CacheOptions {
        directory: place.join("cache"),
        content_bytes_max: 1 << 30,
        metadata_bytes_max: 1 << 30,
    };
    OpenOptions { cache: Some(cache), ..OpenOptions::default() }
}

async fn open(place: &Path, options: OpenOptions) -> Repository {
    let storage = storage(&place.join("repo")).await.unwrap();
    Repository::open(storage, &PASSWORD.into(), options).await.unwrap()
}

async fn entries(repository: &Repository) -> Vec<IndexEntry> {
    repository.entries(&EntryFilter::with_deleted()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_the_same_opened_at_once_one_by_one_without_a_cache_and_from_it() {
    let place = made(100_000, BLOBS_PER_EPOCH).await;
    let place = place.path();
    let alone = OpenOptions { threads: 0, requests_max: 1, ..OpenOptions::default() };
    let expected = entries(&open(place, alone).await).await;
    assert_eq!(expected.len(), 100_000);
    assert_eq!(entries(&open(place, OpenOptions::default()).await).await, expected, "without");
    for run in ["cold", "checked", "believed", "believed again"] {
        let opened = open(place, cached(place)).await;
        assert!(entries(&opened).await == expected, "{run}");
        assert_eq!(opened.index().await.unwrap().packs().len(), 500, "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_lookups_of_absent_contents_one_at_most_reads_an_index() {
    // As maintenance leaves it, and as one that never runs does.
    for blobs_per_epoch in [BLOBS_PER_EPOCH, 150] {
        let place = made(100_000, blobs_per_epoch).await;
        let opened = open(place.path(), cached(place.path())).await;
        let view = opened.index().await.unwrap();
        assert!(view.blobs().count() as u64 > 2 * blobs_per_epoch - 20);
        for n in 100_000..200_000 {
            assert_eq!(view.find(&content(n)).unwrap(), None);
        }
        let read = view.lookups_that_read();
        assert!(read <= 1_000, "{read} of 100000 look-ups in {} blobs", view.blobs().count());
        for n in 0..20_000 {
            assert_eq!(view.find(&content(n)).unwrap().unwrap().id, content(n));
        }
        assert_eq!(view.lookups_that_read() - read, 20_000);
    }
}

/// Mebibytes of this process: of its own, and of files.
#[cfg(target_os = "linux")]
fn memory() -> [f64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["RssAnon:", "RssFile:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    })
}

const CHILD: &str = "KOPIA_REPO_INDEX_MEMORY";

/// Half of the next test: what a process of its own takes.
#[cfg(target_os = "linux")]
#[test]
fn an_open_in_a_process_of_its_own() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let place = Path::new(&place);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = memory();
        let opened = open(place, cached(place)).await;
        let view = opened.index().await.unwrap();
        let after = memory();
        let count = view.entry_count() as u64;
        for n in 0..count {
            view.find(&content(n)).unwrap().unwrap();
            view.find(&content(n + count)).unwrap();
        }
        let asked = memory();
        println!("\nmemory {} {} {}", after[0] - before[0], after[1] - before[1], asked[1]);
    });
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_open_takes_little_more_than_two_bytes_a_content_and_few_pages() {
    const COUNT: u64 = 1_000_000;
    let place = made(COUNT, BLOBS_PER_EPOCH).await;
    for run in ["cold", "warm", "warm again"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "index::an_open_in_a_process_of_its_own", "--nocapture"]);
        let output = command.env(CHILD, place.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("memory ")).expect(&text);
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        eprintln!("{run}: {numbers:?} MiB");
        if run == "cold" {
            continue;
        }
        // 2.2 bytes a content, and what opening takes whatever the count.
        let most = 2.2 * COUNT as f64 / f64::from(1 << 20) + 4.0;
        assert!(numbers[0] < most, "{run}: {} MiB of its own", numbers[0]);
        assert!(numbers[1] < 24.0, "{run}: {} MiB of files at open", numbers[1]);
    }
}
