//! `--memory-limit` is kept, whatever the tree: the peak of the real program, as the system counts
//! it.

use std::{process::Stdio, time::Duration};

use crate::env::{S3Env, TestEnv, files, noise};

/// What the program may take besides its working memory: code, stacks, and the lists of one folder.
const BESIDES: u64 = 32 << 20;

/// A big file, files of one piece, and many that are tiny; other ones for another seed.
fn write_tree(env: &TestEnv, seed: u64) {
    let seed = seed * 1_000_000;
    env.write("src/big", noise(seed, 120 << 20));
    for number in 0..24 {
        env.write(&format!("src/pieces/f{number}"), noise(seed + 100 + number, 2_500_000));
    }
    for number in 0..4000 {
        let (folder, length) = (number / 200, usize::try_from(number % 900).unwrap());
        env.write(&format!("src/tiny/d{folder}/f{number}"), noise(seed + 1000 + number, length));
    }
}

/// Runs a command to its end and gives its peak in bytes. The system's mark only rises, so the last
/// look before the end misses what the last millisecond added.
fn peak(env: &TestEnv, line: &str) -> u64 {
    let mut command = env.command(line.split_whitespace());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{line}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stays_within_the_limit(env: &TestEnv) {
    if !std::path::Path::new("/proc/self/status").exists() {
        kopia_fixtures::skip("memory", "the system does not tell the peak of a process in /proc");
        return;
    }
    for limit in [64_u64, 128] {
        write_tree(env, limit);
        let allowed = (limit << 20) + BESIDES;
        for what in ["new", "unchanged"] {
            let line = format!("snapshot create src --memory-limit={limit}MiB");
            let peak = peak(env, &line);
            println!("{what}, limit {limit} MiB: {} MiB", peak >> 20);
            assert!(peak > 10 << 20, "the mark was read: {peak}");
            assert!(peak <= allowed, "{what}: {peak} bytes, and {allowed} are allowed");
        }
        let peak = peak(env, &format!("restore src back --memory-limit={limit}MiB"));
        println!("restored, limit {limit} MiB: {} MiB", peak >> 20);
        assert!(peak <= allowed, "restored: {peak} bytes, and {allowed} are allowed");
    }
}

#[test]
fn a_snapshot_to_a_folder_takes_no_more_than_its_limit() {
    stays_within_the_limit(&TestEnv::with_repository());
}

#[test]
fn a_snapshot_to_s3_takes_no_more_than_its_limit() {
    // Over plain HTTP the bytes are signed, and a pack is copied for that while it is sent.
    let s3 = S3Env::over_tls();
    s3.create("");
    stays_within_the_limit(&s3);
}

/// Kopia takes packs of up to 120 MiB, and its longest splitter makes pieces of up to 16 MiB.
#[test]
fn long_packs_and_long_pieces_take_no_more() {
    let env = TestEnv::with_packs_of(120 << 20);
    env.write("src/long", noise(7, 150 << 20));
    stays_within_the_limit(&env);
    let packs = files(&env.path("repo")).into_iter();
    let longest = packs.map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!(longest > 120 << 20, "no pack was long: {longest}");
    env.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn a_limit_that_is_none_is_refused_with_the_reason() {
    let env = TestEnv::new();
    for (value, reason) in
        [("1MiB", "it must be 64MiB at least"), ("much", "it must be a number of bytes")]
    {
        let run = env.line(&format!("snapshot list --memory-limit={value}"));
        assert_eq!(run.code, 2, "{run:#?}");
        assert!(run.stderr.contains(reason), "{run:#?}");
    }
}
