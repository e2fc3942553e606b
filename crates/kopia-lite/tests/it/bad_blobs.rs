//! Blobs of every kind that are cut, empty, foreign, another repository's, or gone: the exit code,
//! the words, and that reading changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    env::{TestEnv, files},
    fixtures::connected,
};

/// What becomes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Cut,
    Empty,
    Text,
    /// The bytes of a blob of the same kind of another repository.
    Foreign,
    Gone,
}

use Damage::{Cut, Empty, Foreign, Gone, Text};

/// The files of all blobs whose ID begins so.
fn blobs(repo: &Path, prefix: &str) -> Vec<PathBuf> {
    let all = files(repo).into_iter().map(|(path, _)| path);
    let is_wanted = |path: &PathBuf| path.to_str().unwrap().replace('/', "").starts_with(prefix);
    all.filter(is_wanted).collect()
}

/// Damages all blobs of a kind, runs a command, and puts them back. Gives exit code and stderr.
fn run_damaged(env: &TestEnv, repo: &Path, prefix: &str, how: Damage, line: &str) -> (i32, String) {
    let stranger = (how == Foreign).then(|| kopia_fixtures::repo("format-v3"));
    let whole = files(repo);
    let damaged = blobs(repo, prefix);
    assert!(!damaged.is_empty(), "no blob {prefix}");
    for path in &damaged {
        let path = repo.join(path);
        let bytes = fs::read(&path).unwrap();
        let bytes = match how {
            Cut => bytes[..40.min(bytes.len() / 2)].to_vec(),
            Empty => Vec::new(),
            Text => b"I am not a blob.\n".to_vec(),
            Foreign => {
                let place = stranger.as_ref().unwrap().path();
                let theirs = fs::read(place.join(&blobs(&place, prefix)[0])).unwrap();
                // At least as long as ours, so that it is not merely cut.
                theirs.iter().copied().cycle().take(bytes.len().max(theirs.len())).collect()
            }
            Gone => {
                fs::remove_file(path).unwrap();
                continue;
            }
        };
        fs::write(path, bytes).unwrap();
    }
    let before = files(repo);
    let run = env.line(line);
    assert!(!run.stderr.contains("panicked"), "{prefix} {how:?}: {run:#?}");
    assert!(files(repo) == before, "{prefix} {how:?}: the repository was changed: {run:#?}");
    for (path, bytes) in whole.iter().filter(|(path, _)| damaged.contains(path)) {
        fs::write(repo.join(path), bytes).unwrap();
    }
    (run.code, run.stderr)
}

type Case = (&'static str, Damage, i32, &'static [&'static str]);

fn check(env: &TestEnv, repo: &Path, line: &str, cases: &[Case]) {
    for &(prefix, how, code, wanted) in cases {
        let (is, text) = run_damaged(env, repo, prefix, how, line);
        assert_eq!(is, code, "{prefix} {how:?}: {text}");
        for wanted in wanted {
            assert!(text.contains(wanted), "{prefix} {how:?} lacks {wanted:?}: {text}");
        }
    }
    env.ok(line);
}

/// A repository with a snapshot, whose cache is never used twice.
fn made() -> (TestEnv, PathBuf, String) {
    let env = TestEnv::with_repository();
    env.ok(&format!("snapshot create {}", env.plant()));
    let id = env.newest();
    let (repo, out) = (env.path("repo"), env.text("out"));
    let mut config = env.config();
    config["caching"] = serde_json::json!({});
    fs::write(env.config_file(), config.to_string()).unwrap();
    (env, repo, format!("restore {id} {out}"))
}

const REPAIR: &str = "put back a copy of it";

#[test]
fn blobs_of_the_format_are_named_with_the_way_out() {
    let (env, repo, restore) = made();
    let damaged: &[&str] = &["blob kopia.repository is damaged", REPAIR];
    let config: &[&str] = &["kopia.blobcfg is damaged", "object lock must then be set again"];
    let lost: &[&str] = &["blob kopia.repository is missing", "`kopia repository repair`"];
    check(
        &env,
        &repo,
        &restore,
        &[
            ("kopia.repository", Cut, 20, damaged),
            ("kopia.repository", Empty, 20, damaged),
            ("kopia.repository", Text, 20, damaged),
            ("kopia.repository", Foreign, 20, &["or kopia.repository is another repository's"]),
            ("kopia.repository", Gone, 10, lost),
            ("kopia.blobcfg", Cut, 20, config),
            ("kopia.blobcfg", Empty, 20, config),
            ("kopia.blobcfg", Text, 20, config),
            ("kopia.blobcfg", Foreign, 20, config),
            ("kopia.blobcfg", Gone, 0, &[]),
            (".shards", Cut, 1, &[".shards can't be read"]),
            (".shards", Empty, 1, &[".shards can't be read: it is empty"]),
            (".shards", Text, 1, &[".shards can't be read"]),
        ],
    );
}

#[test]
fn packs_and_indexes_are_named_whatever_became_of_them() {
    let (env, repo, restore) = made();
    let gone: &[&str] = &["nothing was written", "do not exist or are cut short:\n  p"];
    check(
        &env,
        &repo,
        &restore,
        &[
            ("p", Cut, 20, gone),
            ("p", Empty, 20, gone),
            ("p", Foreign, 20, &["cannot restore", "in pack p"]),
            ("p", Gone, 20, gone),
            ("q", Text, 20, &["pack q", "is lost"]),
            ("q", Empty, 20, &["pack q", "is lost"]),
            ("q", Foreign, 20, &["in pack q", "is damaged"]),
            ("q", Gone, 20, &["its pack q", "does not exist"]),
            ("xn0_", Cut, 20, &["index blob xn0_", "is damaged"]),
            ("xn0_", Empty, 20, &["index blob xn0_", "is damaged"]),
            ("xn0_", Text, 20, &["index blob xn0_", "is damaged"]),
            ("xn0_", Foreign, 20, &["index blob xn0_", "is damaged"]),
            // Nothing tells an index that is gone from one that never was, to Kopia neither.
            ("xn0_", Gone, 1, &["there is no snapshot or object"]),
        ],
    );
}

#[test]
fn a_repository_of_the_old_format_names_its_index_blobs_too() {
    let fixture = kopia_fixtures::repo("format-v1");
    let env = connected(&fixture);
    check(
        &env,
        &fixture.path(),
        "snapshot list --all",
        &[
            ("n", Cut, 3, &["index blob n", "is damaged"]),
            ("n", Empty, 3, &["index blob n", "is damaged"]),
            ("n", Text, 3, &["index blob n", "is damaged"]),
            ("kopia.repository", Gone, 10, &["`kopia repository repair`"]),
        ],
    );
}

#[test]
fn markers_logs_and_the_schedule_of_maintenance_stop_nobody() {
    let (env, repo, restore) = made();
    let strays = [
        "_log_20260101000000_a_1_2_3_0123456789abcdef0123456789abcdef",
        "s0123456789abcdef0123456789abcdef-s0123456789abcdef147",
        "kopia.maintenance",
        "zz-of-another-program-that-writes-here",
    ];
    for (number, name) in strays.iter().enumerate() {
        let short = if name.len() <= 20 {
            format!("{name}.f")
        } else {
            format!("{}/{}/{}.f", &name[..1], &name[1..4], &name[4..])
        };
        let text = ["", "I am not a blob."][number % 2];
        env.write(&format!("repo/{short}"), text);
    }
    let before = files(&repo);
    for line in ["snapshot list --all", &restore, "content verify --full", "blob list"] {
        env.ok(line);
    }
    assert!(files(&repo) == before);
    let source = env.text("src");
    env.ok(&format!("snapshot create {source} --no-auto-maintenance"));
    for (path, bytes) in before {
        assert!(fs::read(repo.join(&path)).unwrap() == bytes, "{}", path.display());
    }
    // Maintenance alone can't go on without its schedule: that is told, and the snapshot is saved.
    let count = env.json("snapshot list --all --json").as_array().unwrap().len();
    let said = env.fails(20, &format!("snapshot create {source}"));
    assert!(
        said.contains("running auto-maintenance") && said.contains("kopia.maintenance"),
        "{said}"
    );
    assert!(said.contains("delete the blob"), "{said}");
    assert_eq!(env.json("snapshot list --all --json").as_array().unwrap().len(), count + 1);
}

#[test]
fn a_manifest_that_is_none_is_named_with_what_takes_it_out() {
    let env = TestEnv::with_repository();
    env.ok(&format!("snapshot create {}", env.plant()));
    // What another program may have written: manifests of kinds that are known, and other bodies.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids = runtime.block_on(forged(&env.path("repo")));
    let repo = env.path("repo");
    let before = files(&repo);
    for (line, id) in [("snapshot list --all", &ids[0]), ("policy list", &ids[1])] {
        let text = env.fails(20, line);
        let wanted = format!("`kopia manifest delete {id}` takes it out");
        assert!(text.contains(&wanted), "{line}: {text}");
    }
    assert!(files(&repo) == before);
    env.ok("manifest list");
    for id in &ids {
        env.ok(&format!("manifest show {id}"));
    }
    env.ok("content verify");
}

/// Writes a snapshot and a policy whose bodies are no such things; gives their IDs.
async fn forged(repo: &Path) -> Vec<String> {
    use std::sync::Arc;
    let options = fs_backend::FilesystemOptions::at(repo);
    let storage = Arc::new(fs_backend::FilesystemStorage::open(options).await.unwrap());
    let password = crate::env::PASSWORD.to_owned().into();
    let repo = kopia_repo::Repository::open(storage, &password, kopia_repo::OpenOptions::default());
    let writer = repo.await.unwrap().writer().unwrap();
    let mut ids = Vec::new();
    for kind in ["snapshot", "policy"] {
        let mut labels = vec![("type", kind), ("hostname", "h"), ("username", "u")];
        labels.push(("path", "/forged"));
        if kind == "policy" {
            labels.push(("policyType", "path"));
        }
        let body = serde_json::json!({"startTime": 17, "retention": "for ever", "source": []});
        ids.push(writer.put_manifest(&labels, &body).await.unwrap().to_string());
    }
    writer.flush().await.unwrap();
    ids
}

/// Kopia would write the rules of its first versions, and then find nothing.
#[test]
fn lost_rules_of_a_folder_are_told_by_its_blobs() {
    for flags in ["", "--flat"] {
        let env = TestEnv::new();
        env.ok(&format!("repository create filesystem --path={} {flags}", env.text("repo")));
        let source = env.plant();
        env.ok(&format!("snapshot create {source}"));
        let shards = env.path("repo/.shards");
        let before = fs_err::read(&shards).unwrap();
        fs_err::remove_file(&shards).unwrap();
        let flags = if flags.is_empty() { "" } else { "--no-flat" };
        env.ok(&format!("repository connect filesystem --path={} {flags}", env.text("repo")));
        env.ok("snapshot verify --verify-files-percent=100");
        assert_eq!(fs_err::read(&shards).unwrap(), before);
    }
}
