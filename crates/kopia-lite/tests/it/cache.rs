//! The cache while other things happen to it: a limit, damage, a folder that goes away or can't be
//! written, two processes. It may cost time and never a byte.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use crate::env::{TestEnv, files, noise};

/// A repository with one snapshot of 14 MB in files of two megabytes.
fn big() -> (TestEnv, String) {
    let env = TestEnv::with_repository();
    for number in 0..7 {
        env.write(&format!("src/f{number}"), noise(number, 2_000_000));
    }
    env.ok(&format!("snapshot create {}", env.text("src")));
    let id = env.newest();
    (env, id)
}

fn folder(env: &TestEnv) -> PathBuf {
    PathBuf::from(env.ok("cache info --path").trim()).join("kopia-lite")
}

/// The bytes of a folder's files, also while others change it.
fn size_of(folder: &Path) -> u64 {
    let Ok(all) = std::fs::read_dir(folder) else { return 0 };
    let each = all.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    each.sum()
}

/// Files that somebody began to write into a cache and did not finish.
fn unfinished(cache: &Path) -> usize {
    let is_unfinished = |path: &Path| path.file_name().unwrap().as_encoded_bytes()[0] == b'.';
    files(cache).iter().filter(|(path, _)| is_unfinished(path)).count()
}

const MB: u64 = 1 << 20;

/// Does something over and over beside some work, until that ends. A failure ends it too: a thread
/// that went on would be waited for without end.
fn beside<T>(mut again: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                again();
            }
        });
        let _over = Over(&over);
        work()
    })
}

#[test]
fn a_limit_of_ten_megabytes_holds_while_more_is_read() {
    let (env, id) = big();
    let connect = format!(
        "repository connect filesystem --path={} --override-hostname=h --override-username=u \
         --content-cache-size-mb=10 --metadata-cache-size-mb=10",
        env.text("repo")
    );
    env.ok(&connect);
    let cache = folder(&env);
    let kinds = ["contents", "packs", "indexes"];
    let mut most = kinds.map(|_| 0);
    let measure = || {
        for (kind, most) in kinds.iter().zip(&mut most) {
            *most = size_of(&cache.join(kind)).max(*most);
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    beside(measure, || {
        for number in 0..7 {
            env.ok(&format!("show {id}/f{number}"));
        }
        env.ok(&format!("restore {id} {}", env.text("out")));
    });
    for (kind, most) in kinds.iter().zip(most) {
        let most = most.max(size_of(&cache.join(kind)));
        assert!(most <= 10 * MB, "{most} bytes of {kind}");
    }
    assert!(size_of(&cache.join("contents")) > 5 * MB, "the cache was used");
    assert_eq!(files(&env.path("out")), files(&env.path("src")));
}

#[test]
fn a_flipped_byte_of_any_cache_file_changes_nothing_and_is_replaced() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let cache = folder(&env);
    let read = || {
        let shown = env.run(["show", &format!("{id}/sub/b.bin")]);
        assert_eq!(shown.code, 0, "{shown:#?}");
        env.ok(&format!("list -lr {id}"))
    };
    let listed = read();
    let entries = || {
        let mut all = files(&cache);
        all.retain(|(path, _)| path.components().count() == 3);
        all
    };
    let good = entries();
    assert!(good.len() >= 3, "{:?}", good.iter().map(|(path, _)| path).collect::<Vec<_>>());
    // Its first byte, one in the middle, and the last one of its checksum; a cut.
    for damage in 0..4 {
        for (path, bytes) in &good {
            let mut bytes = bytes.clone();
            let at = [0, bytes.len() / 2, bytes.len() - 1][damage.min(2)];
            match damage {
                3 => bytes.truncate(at),
                _ => bytes[at] ^= 0x10,
            }
            std::fs::write(cache.join(path), bytes).unwrap();
        }
        assert_eq!(read(), listed);
    }
    // Those that are read whole are as they were; of the others the bytes that were read are right.
    let again = entries();
    let indexes = |all: &[(PathBuf, Vec<u8>)]| {
        all.iter().filter(|(path, _)| path.starts_with("indexes")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(indexes(&again), indexes(&good));
}

#[test]
fn the_folder_may_vanish_at_any_time() {
    let (env, id) = {
        let env = TestEnv::with_repository();
        let source = env.plant();
        env.ok(&format!("snapshot create {source}"));
        let id = env.newest();
        (env, id)
    };
    let cache = folder(&env);
    let mut removed = 0;
    let remove = || {
        removed += usize::from(std::fs::remove_dir_all(&cache).is_ok());
        std::thread::sleep(Duration::from_millis(3));
    };
    beside(remove, || {
        env.write("src/new", noise(77, 100_000));
        for line in [
            format!("snapshot create {}", env.text("src")),
            format!("restore {id} {}", env.text("out")),
            format!("snapshot verify {id} --verify-files-percent=100"),
            "snapshot list --all".to_owned(),
            format!("list -lr {id}"),
            "cache info".to_owned(),
        ] {
            env.ok(&line);
        }
    });
    assert!(removed > 1, "the folder was there to be removed");
    assert_eq!(std::fs::read(env.path("out/sub/b.bin")).unwrap(), noise(1, 300_000));
}

#[test]
fn a_folder_that_cannot_be_written_or_made_costs_nothing_but_time() {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    let id = env.newest();
    let cache = folder(&env);
    let whole = |why: &str| {
        let out = env.text("out");
        env.ok(&format!("restore {id} {out}"));
        assert_eq!(files(&env.path("out")), files(&env.path("src")), "{why}");
        std::fs::remove_dir_all(out).unwrap();
    };
    let set_modes = |mode: u32| {
        for path in [&cache, &cache.join("packs"), &cache.join("indexes")] {
            let _ = std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
        }
    };
    // Root writes into it all the same; what stops root too is in full_disk.rs.
    set_modes(0o500);
    whole("read-only");
    set_modes(0o700);
    std::fs::remove_dir_all(cache.join("packs")).unwrap();
    std::fs::write(cache.join("packs"), "in the way").unwrap();
    whole("a file in the place of a kind's folder");
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "in the way").unwrap();
    let run = env.line(&format!("restore {id} {}", env.text("out")));
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("going on without a cache"), "{run:#?}");
    assert!(run.stderr.contains(cache.to_str().unwrap()), "{run:#?}");
    assert_eq!(std::fs::read(&cache).unwrap(), b"in the way");
    assert_eq!(files(&env.path("out")), files(&env.path("src")));
}

#[test]
fn two_processes_share_a_cold_cache() {
    let env = TestEnv::with_repository();
    for number in 0..10 {
        env.write(&format!("src/{number}/f"), noise(number, 200_000));
    }
    env.ok(&format!("snapshot create {}", env.text("src")));
    let id = env.newest();
    let cache = folder(&env);
    for round in 0..2 {
        std::fs::remove_dir_all(&cache).unwrap();
        let out = |number: usize| env.text(&format!("out-{round}-{number}"));
        let mut both: Vec<_> = (0..2)
            .map(|number| {
                let mut command = env.command(["restore", &id, &out(number)]);
                command.stderr(std::process::Stdio::null()).spawn().unwrap()
            })
            .collect();
        for child in &mut both {
            assert!(child.wait().unwrap().success());
        }
        for number in 0..2 {
            assert_eq!(files(out(number).as_ref()), files(&env.path("src")));
        }
        assert!(size_of(&cache) > 0);
        assert_eq!(unfinished(&cache), 0);
    }
}

#[test]
fn the_cache_holds_no_byte_of_a_file_and_no_name_in_the_clear() {
    let env = TestEnv::with_repository();
    let words = "A sentence that nobody else would write, forty times. ";
    env.write("src/a-name-that-nobody-else-has", words.repeat(40));
    env.ok(&format!("snapshot create {} --description=told-to-nobody", env.text("src")));
    let id = env.newest();
    env.ok(&format!("show {id}/a-name-that-nobody-else-has"));
    env.ok(&format!("list -lr {id}"));
    let cache = folder(&env);
    let all = files(&cache);
    for kind in ["packs", "contents", "indexes"] {
        assert!(all.iter().any(|(path, _)| path.starts_with(kind)), "{kind} are kept");
    }
    for (path, bytes) in &all {
        for secret in ["that nobody else would", "a-name-that-nobody", "told-to-nobody"] {
            let told = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!told, "{secret:?} in {}", path.display());
        }
        let mode = std::fs::metadata(cache.join(path)).unwrap().permissions().mode();
        assert!(mode & 0o077 == 0 || path.ends_with("CACHEDIR.TAG"), "{mode:o} {}", path.display());
    }
}

#[test]
fn set_changes_the_connection_and_nothing_else() {
    let env = TestEnv::with_repository();
    let before = env.config();
    let flags = "--content-cache-size-mb=100 --content-cache-size-limit-mb=200 \
                 --metadata-cache-size-mb=50 --metadata-cache-size-limit-mb=60 \
                 --max-list-cache-duration=45s --metadata-min-sweep-age=2h \
                 --content-min-sweep-age=3m --index-min-sweep-age=1h30m";
    // What Kopia 0.23.1 says.
    let said = "changing content cache size to 100 MB\n\
                changing content cache size limit to 200 MB\n\
                changing metadata cache size to 50 MB\n\
                changing metadata cache size limit to 60 MB\n\
                changing list cache duration to 45s\n\
                changing minimum metadata sweep age to 2h0m0s\n\
                changing minimum content sweep age to 3m0s\n\
                changing minimum index sweep age to 1h30m0s\n";
    assert_eq!(env.says(&format!("cache set {flags} -n")), said);
    assert_eq!(env.config(), before);
    assert_eq!(env.says(&format!("cache set {flags}")), said);
    let mut after = env.config();
    assert_eq!(
        after["caching"].to_string(),
        format!(
            "{{\"cacheDirectory\":{},\"maxCacheSize\":100000000,\
             \"contentCacheSizeLimitBytes\":200000000,\"maxMetadataCacheSize\":50000000,\
             \"metadataCacheSizeLimitBytes\":60000000,\"maxListCacheDuration\":45,\
             \"minMetadataSweepAge\":7200,\"minContentSweepAge\":180,\"minIndexSweepAge\":5400}}",
            before["caching"]["cacheDirectory"]
        )
    );
    after["caching"] = before["caching"].clone();
    assert_eq!(after, before);
    assert_eq!(env.fails(1, "cache set"), "ERROR no changes\n");
    env.fails(2, "cache set --content-cache-size-mb=-3");
    let said = env.says("cache set --cache-directory=elsewhere");
    assert_eq!(said, "setting cache directory to elsewhere\n");
    assert_eq!(env.ok("cache info --path"), format!("{}\n", env.text("elsewhere")));
    env.ok("snapshot list");
    assert!(env.path("elsewhere").is_dir());
    env.ok("cache set --content-cache-size-mb=0");
    assert_eq!(env.config()["caching"], serde_json::json!({}));
    assert_eq!(env.fails(1, "cache info --path"), "ERROR caching not enabled\n");
    env.ok("snapshot list");
    env.ok("cache set --content-cache-size-mb=10");
    assert!(env.ok("cache info --path").contains("/cache/kopia/"));
}

#[test]
fn a_dry_run_of_clear_only_says_what_would_go() {
    let env = TestEnv::with_repository();
    env.plant();
    env.ok("snapshot create src");
    env.ok("snapshot list");
    let cached = || env.caches().iter().flat_map(|cache| files(cache)).collect::<Vec<_>>();
    let before = cached();
    assert!(!before.is_empty());
    let said = env.says("cache clear -n --partial=indexes");
    assert!(said.starts_with("Would clear cache directory: ") && said.ends_with("/indexes.\n"));
    assert!(env.says("cache clear -n").starts_with("Would clear cache directory: "));
    assert_eq!(cached(), before);
}
