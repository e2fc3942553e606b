//! Index blobs that are damaged: what reads goes on and names them, what writes refuses, and
//! `index recover` brings back what they said.

use std::path::{Path, PathBuf};

use crate::env::{TestEnv, files, noise};

const GATE: &str = "--dangerous-commands=enabled";

/// A repository with two snapshots of two sources, each written by a command of its own, and no index
/// kept on this machine.
fn made() -> TestEnv {
    let env = TestEnv::with_repository();
    env.write("one/a.txt", noise(1, 50_000));
    env.write("two/b.txt", noise(2, 50_000));
    env.ok("snapshot create one --no-auto-maintenance");
    env.ok("snapshot create two --no-auto-maintenance");
    let mut config = env.config();
    config["caching"] = serde_json::json!({});
    fs_err::write(env.config_file(), config.to_string()).unwrap();
    env
}

/// The files of the index blobs, and their names.
fn index_blobs(repo: &Path) -> Vec<(PathBuf, String)> {
    let names = files(repo).into_iter().map(|(path, _)| {
        let name = path.to_str().unwrap().replace('/', "").trim_end_matches(".f").to_owned();
        (repo.join(path), name)
    });
    names.filter(|(_, name)| name.starts_with("xn0_")).collect()
}

/// What becomes of a blob.
fn damages(whole: &[u8]) -> [Vec<u8>; 3] {
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    [flipped, whole[..whole.len() - 1].to_vec(), Vec::new()]
}

fn count(env: &TestEnv, line: &str, code: i32) -> usize {
    let run = env.line(line);
    assert_eq!(run.code, code, "{line}: {run:#?}");
    serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap().as_array().unwrap().len()
}

/// The index blobs whose loss hides a snapshot.
fn with_a_snapshot(env: &TestEnv) -> (PathBuf, String) {
    let blobs = index_blobs(&env.path("repo"));
    let hides = |(file, _): &&(PathBuf, String)| {
        let whole = fs_err::read(file).unwrap();
        fs_err::remove_file(file).unwrap();
        let left = count(env, "snapshot list --all --json", 0);
        fs_err::write(file, whole).unwrap();
        left == 1
    };
    blobs.iter().find(hides).unwrap().clone()
}

#[test]
fn what_reads_goes_on_and_names_the_blob_and_the_way_out() {
    let env = made();
    let (file, name) = with_a_snapshot(&env);
    let whole = fs_err::read(&file).unwrap();
    let ids: Vec<_> = env.json("snapshot list --all --json").as_array().unwrap().clone();
    let ids: Vec<_> = ids.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    for (number, bytes) in damages(&whole).into_iter().enumerate() {
        fs_err::write(&file, bytes).unwrap();
        assert_eq!(count(&env, "snapshot list --all --json", 3), 1);
        if number > 0 {
            continue;
        }
        for (line, code) in [
            ("repository status", 0),
            ("repository check", 1),
            ("blob list", 0),
            ("index list", 0),
            ("index inspect --active", 20),
            ("index recover", 0),
            ("content list", 3),
            ("content verify", 20),
            ("snapshot list --all", 3),
            ("snapshot verify", 20),
        ] {
            let run = env.line(line);
            assert_eq!(run.code, code, "{line}: {run:#?}");
            for wanted in [format!("index blob {name} is damaged"), "index recover".to_owned()] {
                assert!(run.stderr.contains(&wanted), "{line}: {run:#?}");
            }
        }
        let listed = env.ok("index list");
        assert!(listed.contains(&name), "{listed}");
        let checked = env.line("repository check").stdout;
        assert!(
            checked.contains(&format!("ERROR   indexes        index blob {name}")),
            "{checked}"
        );
    }
    // Another machine, which has nothing of it yet.
    fs_err::remove_dir_all(env.path("cache")).unwrap();
    let again = format!("repository connect filesystem --path={}", env.text("repo"));
    let said = env.says(&again);
    assert!(said.contains(&name) && said.contains("Connected"), "{said}");
    // One snapshot comes back; that of the other nobody says that it is not there.
    let codes: Vec<_> = ids
        .iter()
        .map(|id| {
            let run = env.line(&format!("restore {id} {}", env.text(&format!("out-{id}"))));
            assert!(run.stderr.contains(&format!("index blob {name} is damaged")), "{run:#?}");
            run.code
        })
        .collect();
    assert!(codes.contains(&0) && codes.contains(&20), "{codes:?}");
    fs_err::write(&file, whole).unwrap();
    env.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn what_writes_or_deletes_refuses_and_changes_nothing() {
    let env = made();
    let (file, name) = with_a_snapshot(&env);
    let id = env.newest();
    let whole = fs_err::read(&file).unwrap();
    fs_err::write(&file, &damages(&whole)[0]).unwrap();
    let before = files(&env.path("repo"));
    env.write("one/new.txt", "new");
    let copy = env.text("copy");
    fs_err::create_dir(&copy).unwrap();
    for line in [
        "snapshot create one".to_owned(),
        "snapshot expire --all --delete".to_owned(),
        format!("snapshot delete {id} --delete"),
        format!("snapshot pin {id} --add=x"),
        "policy set one --keep-latest=2".to_owned(),
        format!("manifest delete {id} {GATE}"),
        "maintenance run --full --safety=none".to_owned(),
        "maintenance run --full -n".to_owned(),
        "repository set-parameters --max-pack-size-mb=30".to_owned(),
        format!("repository sync-to filesystem --path={copy}"),
    ] {
        let said = env.fails(20, &line);
        assert!(said.contains(&format!("index blob {name} is damaged")), "{line}: {said}");
        assert!(said.contains("index recover --commit"), "{line}: {said}");
    }
    assert!(files(&env.path("repo")) == before);
    fs_err::write(&file, whole).unwrap();
    env.ok("snapshot create one");
}

#[test]
fn what_it_said_is_recovered_from_the_packs_and_the_blob_goes() {
    let env = made();
    let (file, name) = with_a_snapshot(&env);
    let whole = fs_err::read(&file).unwrap();
    fs_err::write(&file, &damages(&whole)[1]).unwrap();
    // Without the word for it the damaged blob stays, and nobody writes yet.
    let said = env.says(&format!("index recover --commit {GATE}"));
    assert!(said.contains("Recovered ") && said.contains(&name), "{said}");
    assert_eq!(count(&env, "snapshot list --all --json", 3), 2);
    env.fails(20, "snapshot create one");
    // Nor does it go while only some packs were read.
    let said =
        env.says(&format!("index recover --commit --delete-indexes --blob-prefixes=q {GATE}"));
    assert!(said.contains("The old indexes stay") && file.exists(), "{said}");
    let said = env.says(&format!("index recover --commit --delete-indexes {GATE}"));
    assert!(said.contains(&format!("deleting old index blob: {name}")), "{said}");
    assert!(!said.contains("is damaged"), "{said}");
    assert!(!file.exists());
    assert_eq!(count(&env, "snapshot list --all --json", 0), 2);
    env.ok("snapshot verify --verify-files-percent=100");
    env.ok("snapshot create one");
    // Or it is deleted by name.
    let (file, name) = index_blobs(&env.path("repo")).pop().unwrap();
    fs_err::write(&file, "").unwrap();
    assert_eq!(env.says(&format!("blob delete {name} {GATE}")), "");
    env.ok("repository check");
}
