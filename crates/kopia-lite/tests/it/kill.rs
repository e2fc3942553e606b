//! Real kills: `snapshot create` is ended by SIGKILL at random instants, and nothing is lost.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use blob_core::{Entropy, SeededEntropy};

use crate::env::{S3Env, TestEnv, files, noise};

const KILLS: u64 = 25;

/// A number below `most`, drawn by `seed`.
fn draw(seed: u64, most: u64) -> u64 {
    let mut bytes = [0; 8];
    SeededEntropy::new(seed).fill(&mut bytes);
    u64::from_le_bytes(bytes) % most
}

/// A tree whose files all are new in each generation, with one that stays: more than one pack of
/// them, so that packs are written long before the index.
fn change(env: &TestEnv, generation: u64) {
    env.write("src/stays", "the same in every generation");
    for number in 0..12 {
        let seed = generation * 100 + number;
        env.write(&format!("src/d{}/f{number}", number % 3), noise(seed, 1_800_000));
    }
}

/// How long one undisturbed snapshot takes.
fn time_of_one(env: &TestEnv) -> Duration {
    let begun = Instant::now();
    env.ok("snapshot create src");
    begun.elapsed()
}

/// Kills a snapshot of every generation at an instant drawn from the time that a whole one takes.
/// Gives how many of them were cut off before their end, and how many of those had saved something.
fn kill_many(env: &TestEnv) -> (u64, u64) {
    env.ok("policy set --global --keep-latest=100");
    change(env, 0);
    let whole = time_of_one(env);
    let mut cut = 0;
    for generation in 1..=KILLS {
        change(env, generation);
        let mut command = env.command(["snapshot", "create", "src"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Some get through, so that later ones find work of several generations.
        let most = u64::try_from(whole.as_micros()).unwrap() * 5 / 4;
        std::thread::sleep(Duration::from_micros(draw(generation, most)));
        // One that has ended already can't be killed any more.
        let _ = child.kill();
        let status = child.wait().unwrap();
        cut += u64::from(!status.success());
    }
    let blobs = env.json("blob list --prefix=p --json").as_array().unwrap().len();
    (cut, blobs as u64)
}

/// What must hold after the kills: all opens, all is whole, and the next snapshot goes on.
fn check(env: &TestEnv, cut: u64) {
    let all = env.json("snapshot list --all --json");
    let all = all.as_array().unwrap();
    assert!(all.len() as u64 > KILLS - cut, "{} snapshots after {cut} of {KILLS} kills", all.len());
    env.ok("content verify --full");
    env.ok("snapshot verify --verify-files-percent=100");
    env.ok("snapshot create src");
    let newest = env.newest();
    env.ok(&format!("restore {newest} out"));
    assert_eq!(files(&env.path("out")), files(&env.path("src")));
    // Every one was read in full a moment ago; some of them come back.
    for (number, snapshot) in all.iter().enumerate().step_by(4) {
        let id = snapshot["id"].as_str().unwrap();
        env.ok(&format!("restore {id} old{number}"));
        let old = files(&env.path(&format!("old{number}")));
        assert_eq!(old.len(), 13);
        fs_err::remove_dir_all(env.path(&format!("old{number}"))).unwrap();
    }
}

#[test]
fn a_folder_survives_kills_at_random_instants() {
    let env = TestEnv::with_repository();
    let (cut, packs) = kill_many(&env);
    println!("{cut} of {KILLS} snapshots were cut, {packs} packs");
    assert!(cut > KILLS / 4 && packs > 1, "{cut} were cut, {packs} packs");
    check(&env, cut);
}

#[test]
fn a_bucket_survives_kills_at_random_instants() {
    let s3 = S3Env::new();
    s3.create("");
    let (cut, packs) = kill_many(&s3);
    println!("{cut} of {KILLS} snapshots were cut, {packs} packs");
    assert!(cut > KILLS / 4 && packs > 1, "{cut} were cut, {packs} packs");
    check(&s3, cut);
}
