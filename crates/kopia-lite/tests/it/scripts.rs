//! Lines from the manual's tours and from wrappers in the wild, run under the name `kopia` as they
//! stand there: each must end with 0, and print what its script reads.

use serde_json::Value;

use crate::{
    env::{PASSWORD, S3Env, TestEnv, files},
    shell,
};

/// Runs a script, which must end with 0; gives stdout.
fn ok(env: &TestEnv, script: &str) -> String {
    let run = shell::run(env, script);
    assert_eq!(run.code, 0, "{script}\n{run:#?}");
    run.stdout
}

fn json(env: &TestEnv, script: &str) -> Value {
    let text = ok(env, script);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"))
}

fn ready() -> TestEnv {
    let env = TestEnv::with_repository();
    env.plant();
    env.write("src/x.db", "database");
    env
}

#[test]
fn connecting() {
    let s3 = S3Env::new();
    let flags = s3.flags();
    ok(
        &s3,
        &format!(
            "kopia repository create s3 {flags}; kopia snapshot list; kopia repository disconnect"
        ),
    );
    let env = ready();
    let repo = env.text("repo");
    ok(
        &env,
        &format!(
            "kopia repository connect filesystem --path={repo} --override-hostname=h \
         --override-username=u --cache-directory={} --no-check-for-updates",
            env.text("c")
        ),
    );
    let status = ok(&env, "kopia repository status -t -s");
    let token = status.lines().find_map(|line| line.split_once("--token ")).unwrap().1;
    env.write("token", token);
    let env = env.with("KOPIA_PASSWORD", "");
    ok(
        &env,
        "kopia repository disconnect; kopia repository connect from-config --token-stdin < token",
    );
    assert!(ok(&env, "kopia repository status").contains("Unique ID:"));
    ok(&env, "kopia repository disconnect");
    let run = shell::run(&env, "kopia snapshot list");
    assert_eq!(run.code, 1, "{run:?}");
}

#[test]
fn taking_snapshots() {
    let env = ready();
    let (file, source) = (env.config_file(), env.text("src"));
    let taken = json(
        &env,
        &format!(
            "kopia --config-file={} snapshot create {source} --tags=job:nightly --description=words \
         --parallel=4 --no-progress --json",
            file.display()
        ),
    );
    assert_eq!(
        (&taken["tags"]["tag:job"], &taken["description"]),
        (&"nightly".into(), &"words".into())
    );
    ok(&env, "kopia snapshot create --all --fail-fast");
    ok(&env, "tar c src | kopia snapshot create --stdin-file=x.tar /virtual");
    let list = json(&env, &format!("kopia snapshot list {source} --all --json"));
    let last = list.as_array().unwrap().last().unwrap();
    assert!(last["id"].as_str().unwrap().len() == 32, "{last}");
    let text = ok(&env, "kopia snap ls -a -n 1 -l");
    assert!(text.starts_with(&format!("u@h:{source}\n  20")), "{text}");
    assert!(text.contains("u@h:/virtual\n"), "{text}");
}

#[test]
fn restoring_and_looking() {
    let env = ready();
    let source = env.text("src");
    let first = json(&env, &format!("kopia snapshot create {source} --json"));
    env.write("src/new", "new");
    let second = json(&env, &format!("kopia snapshot create {source} --json"));
    let root = |it: &Value| it["rootEntry"]["obj"].as_str().unwrap().to_owned();
    let (one, two) = (root(&first), root(&second));
    ok(
        &env,
        &format!(
            "kopia restore {two} {} --skip-existing --parallel=32 --ignore-permission-errors \
         --no-overwrite-files",
            env.text("target")
        ),
    );
    assert_eq!(files(&env.path("src")), files(&env.path("target")));
    std::fs::remove_file(env.path("src/a.txt")).unwrap();
    ok(&env, &format!("kopia restore {source}/a.txt --snapshot-time=latest"));
    assert_eq!(std::fs::read(env.path("src/a.txt")).unwrap(), b"hello\n");
    ok(&env, &format!("kopia restore {two}/sub out.tar.gz; tar tzf out.tar.gz | grep -q b.bin"));
    let listed = ok(&env, &format!("kopia ls -lr {two} | grep '\\.db$'"));
    assert!(listed.starts_with("-rw-") && listed.ends_with("   x.db\n"), "{listed}");
    assert_eq!(ok(&env, &format!("kopia show {two}/a.txt > a.txt; cat a.txt")), "hello\n");
    let verified = json(
        &env,
        "kopia snapshot verify --verify-files-percent=10 \
                               --file-parallelism=10 --parallel=10 --json",
    );
    assert!(verified["stats"]["processedObjectCount"].as_u64() > Some(4), "{verified}");
    assert_eq!(one.len(), two.len());
}

#[test]
fn deleting_and_keeping() {
    let env = ready();
    let source = env.text("src");
    let taken = json(&env, &format!("kopia snapshot create {source} --json"));
    let id = taken["id"].as_str().unwrap();
    ok(&env, &format!("kopia snapshot pin {id} --add=keep"));
    let list = json(&env, "kopia snapshot list --json");
    assert_eq!(list[0]["pins"], serde_json::json!(["keep"]));
    let id = list[0]["id"].as_str().unwrap();
    ok(&env, "kopia snapshot expire --all --delete");
    ok(&env, &format!("kopia snapshot delete {id} --delete"));
    assert_eq!(json(&env, "kopia snapshot list --json"), serde_json::json!([]));
}

#[test]
fn policies_and_maintenance() {
    let env = ready();
    ok(&env, "kopia policy set --global --keep-daily=14 --compression=zstd --add-ignore='*.tmp'");
    let policy = json(&env, "kopia policy show --global --json");
    assert_eq!(
        (&policy["retention"]["keepDaily"], &policy["compression"]["compressorName"]),
        (&14.into(), &"zstd".into())
    );
    ok(&env, "kopia maintenance set --owner=me --quick-interval=6h --enable-full=true");
    ok(&env, "kopia maintenance run --full --safety=full; kopia gc run");
    let info = json(&env, "kopia maintenance info --json");
    assert!(info["schedule"]["nextFullMaintenance"].is_string(), "{info}");
    ok(&env, &format!("kopia snapshot create {}", env.text("src")));
    let blobs = json(&env, "kopia blob list --prefix=p --json");
    assert!(blobs[0]["id"].as_str().unwrap().starts_with('p'), "{blobs}");
    ok(&env, "kopia content verify --full");
}

#[test]
fn copies_limits_and_passwords() {
    let env = ready();
    let s3 = S3Env::new();
    ok(&env, &format!("kopia snapshot create {}", env.text("src")));
    ok(&env, &format!("kopia repository sync-to s3 {}", s3.flags()));
    ok(
        &env,
        &format!("kopia repository sync-to s3 {} --delete --parallel=8 --must-exist", s3.flags()),
    );
    ok(&env, "kopia repository throttle set --upload-bytes-per-second=10000000");
    assert!(ok(&env, "kopia repository throttle get").contains("10 MB/s"));
    ok(&env, &format!("kopia repository change-password --new-password={PASSWORD}2"));
    let env = env.with("KOPIA_PASSWORD", format!("{PASSWORD}2"));
    ok(&env, "kopia snapshot list; kopia repository disconnect");
}
