//! `snapshot verify --subset`, and `--remember`, with which in time all files are read.

use serde_json::Value;

use crate::env::{TestEnv, noise};

const FILES: u64 = 40;

/// A snapshot of forty files.
fn with_files() -> TestEnv {
    let env = TestEnv::with_repository();
    for number in 0..FILES {
        env.write(&format!("src/{number}"), noise(number, 3000));
    }
    env.ok(&format!("snapshot create {}", env.text("src")));
    env
}

fn read(value: &Value) -> u64 {
    value["stats"]["readFileCount"].as_u64().unwrap()
}

#[test]
fn parts_read_each_file_once() {
    let env = with_files();
    let parts: Vec<u64> = (1..=4)
        .map(|n| read(&env.json(&format!("snapshot verify --json --subset={n}/4"))))
        .collect();
    assert_eq!(parts.iter().sum::<u64>(), FILES, "{parts:?}");
    assert!(parts.iter().all(|part| *part < FILES), "{parts:?}");
    assert_eq!(read(&env.json("snapshot verify --json --subset=100%")), FILES);
    assert_eq!(read(&env.json("snapshot verify --json --subset=1GB")), FILES);
    let some = read(&env.json("snapshot verify --json --subset=60KB"));
    assert!(some > 0 && some < FILES, "{some}");
    let said = env.says("snapshot verify --subset=2/4");
    let wanted = "Read in full: 25.0% of all files, from 25.0% on.\n";
    assert!(said.ends_with(wanted), "{said}");
    assert!(env.json("snapshot verify --json").get("subset").is_none());
}

#[test]
fn what_is_remembered_goes_around() {
    let env = with_files();
    let run = |flags: &str| {
        let run = env.line(&format!("snapshot verify --json --remember {flags}"));
        (run.code, serde_json::from_str::<Value>(&run.stdout).unwrap())
    };
    let place = |value: &Value| {
        let of = |name: &str| value["subset"][name].as_f64().unwrap();
        (of("from"), of("share"))
    };
    let (_, first) = run("--subset=25%");
    let (_, second) = run("--subset=25%");
    let (from, share) = place(&first);
    assert!(((from + share) % 1.0 - place(&second).0).abs() < 1e-9, "{first} {second}");
    let all = [first, second, run("--subset=25%").1, run("--subset=25%").1];
    assert_eq!(all.iter().map(read).sum::<u64>(), FILES);
    // The cache may go; what was read is known all the same. Other sources have a place of their own.
    env.ok("cache clear");
    run(&format!("--subset=50% --sources={}", env.text("src")));
    let (again, _) = place(&run("--subset=25%").1);
    assert!((again - from).abs() < 1e-9, "once around");
    // A file that is broken is found within one round.
    let pack = env.json("blob list --prefix=p --json")[0]["id"].as_str().unwrap().to_owned();
    let path = crate::env::files(&env.path("repo")).into_iter().find(|(path, _)| {
        let name = path.to_string_lossy().replace('/', "");
        name.strip_suffix(".f").is_some_and(|name| name == pack)
    });
    let (path, mut bytes) = path.unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(env.path("repo").join(path), bytes).unwrap();
    let codes: Vec<_> = (0..4).map(|_| run("--subset=25%").0).collect();
    assert_eq!(codes.iter().filter(|code| **code == 20).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3, "{codes:?}");
    let kept = env.path("config/kopia/repository.config.kopia-lite-verified");
    assert!(kept.exists());
    env.ok("repository disconnect");
    assert!(!kept.exists());
}

#[test]
fn a_subset_that_is_none_is_refused() {
    let env = with_files();
    for text in ["0/4", "5/4", "1/0", "x", "0%", "101%", "-1%", "0", "/"] {
        let said = env.fails(1, &format!("snapshot verify --subset={text}"));
        assert!(said.contains("say N/T as 3/10"), "{text}: {said}");
    }
    let said = env.fails(1, "snapshot verify --subset=1/4 --remember");
    assert!(said.contains("--remember goes on from part to part"), "{said}");
    for line in ["--remember", "--subset=1% --verify-files-percent=1", "--subset=1% --depth=read"] {
        assert_eq!(env.line(&format!("snapshot verify {line}")).code, 2, "{line}");
    }
}
