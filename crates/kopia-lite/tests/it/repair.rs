//! `repository repair`.

use crate::env::{TestEnv, files};

const GATE: &str = "--dangerous-commands=enabled";

/// A home with a repository of this format version and a snapshot.
fn made(version: u32) -> (TestEnv, String) {
    let env = TestEnv::new();
    let path = env.text("repo");
    env.ok(&format!("repository create filesystem --path={path} --format-version={version}"));
    env.plant();
    env.ok("snapshot create src --no-auto-maintenance");
    (env, format!("filesystem --path={path} {GATE}"))
}

#[test]
fn a_lost_format_blob_is_recovered_from_a_pack() {
    let (env, place) = made(1);
    let blob = env.path("repo/kopia.repository.f");
    let before = fs_err::read(&blob).unwrap();
    let exists = "looking for format blob...\n\
                  format blob already exists, not recovering, pass --recover-format=yes\n";
    assert_eq!(env.says(&format!("repository repair {place}")), exists);
    fs_err::remove_file(&blob).unwrap();
    assert_eq!(env.says(&format!("repository repair --recover-format=no {place}")), "");
    let said = env.says(&format!("repository repair -n {place}"));
    assert!(
        said.starts_with("looking for format blob...\nlooking for replica of format blob in q")
    );
    assert!(said.contains("\nWould write kopia.repository ("), "{said}");
    assert!(!blob.exists());
    let said = env.says(&format!("repository repair {place}"));
    assert!(said.contains("\nWriting kopia.repository ("), "{said}");
    assert!(said.lines().last().unwrap().starts_with("recovered replica block from q"), "{said}");
    assert_eq!(fs_err::read(&blob).unwrap(), before);
    env.ok("snapshot verify --verify-files-percent=100");
    // It is written over only if that is asked for.
    fs_err::write(&blob, "damaged").unwrap();
    assert_eq!(env.says(&format!("repository repair {place}")), exists);
    env.says(&format!("repository repair --recover-format=yes {place}"));
    assert_eq!(fs_err::read(&blob).unwrap(), before);
    fs_err::remove_file(&blob).unwrap();
    let said = env.says(&format!("repository repair --recover-format-block-prefixes=p {place}"));
    assert!(said.contains("recovered replica block from p"), "{said}");
}

#[test]
fn without_a_copy_nothing_is_written() {
    let (env, place) = made(3);
    fs_err::remove_file(env.path("repo/kopia.repository.f")).unwrap();
    let before = files(&env.path("repo"));
    let said = env.fails(1, &format!("repository repair {place}"));
    assert!(said.ends_with("ERROR could not find a replica of a format blob\n"), "{said}");
    assert_eq!(files(&env.path("repo")), before);
    let place = place.replace(GATE, "");
    assert!(env.fails(1, &format!("repository repair {place}")).contains("are disabled"));
}
