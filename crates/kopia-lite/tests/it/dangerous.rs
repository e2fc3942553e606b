//! Commands that can lose data: refused unless they are asked for twice; and the bytes of contents.

use crate::env::TestEnv;

fn snapshotted() -> TestEnv {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env
}

const ENABLED: &str = "--dangerous-commands=enabled";

#[test]
fn a_blob_goes_only_when_it_is_asked_for_twice() {
    let env = snapshotted();
    let blobs = |env: &TestEnv| env.json("blob list --prefix=p --json").as_array().unwrap().len();
    let pack = env.json("blob list --prefix=p --json")[0]["id"].as_str().unwrap().to_owned();
    let said = env.fails(1, &format!("blob delete {pack}"));
    assert!(said.contains("set --dangerous-commands=enabled"), "{said}");
    assert!(said.ends_with("ERROR dangerous commands are disabled\n"), "{said}");
    env.fails(1, &format!("blob rm {pack} --dangerous-commands=yes"));
    let said = env.says(&format!("blob delete {pack} -n {ENABLED}"));
    assert!(said.starts_with(&format!("would delete {pack} (")), "{said}");
    assert_eq!(blobs(&env), 1);
    env.says(&format!("blob delete {pack} {ENABLED}"));
    assert_eq!(blobs(&env), 0);
    env.fails(20, "snapshot verify");
}

#[test]
fn a_manifest_goes_only_when_it_is_asked_for_twice() {
    let env = snapshotted().with("KOPIA_DANGEROUS_COMMANDS", "enabled");
    let id = env.newest();
    let said = env.fails(1, &format!("manifest delete {id} {}", "0".repeat(32)));
    assert!(said.contains("unable to delete manifest 000"), "{said}");
    let said = env.says(&format!("manifest rm {id} --dry-run"));
    assert_eq!(said, format!("would delete {id}, a manifest of type snapshot\n"));
    assert_eq!(env.json("snapshot list --json").as_array().unwrap().len(), 1);
    env.says(&format!("manifest remove {id}"));
    assert_eq!(env.json("snapshot list --json").as_array().unwrap().len(), 0);
    let env = env.with("KOPIA_DANGEROUS_COMMANDS", "");
    env.fails(1, "manifest delete x");
}

#[test]
fn the_bytes_of_contents_are_shown() {
    let env = snapshotted();
    let root = env.json("snapshot list --json")[0]["rootEntry"]["obj"].as_str().unwrap().to_owned();
    let bytes = env.ok(&format!("content show {root}"));
    assert_eq!(bytes, env.ok(&format!("show {root}")));
    let indented = env.ok(&format!("content cat -j {root}"));
    assert!(indented.starts_with("{\n  \"stream\": \"kopia:directory\""), "{indented}");
    let manifests = env.ok("content list --prefix=m");
    let manifest = manifests.lines().next().unwrap();
    assert!(env.json(&format!("content show -z {manifest}"))["entries"].is_array());
    let said = env.fails(1, &format!("content show -z {root}"));
    assert!(said.contains("is no gzip"), "{said}");
    let said = env.fails(1, &format!("content show {}", "0".repeat(32)));
    assert!(said.contains("error getting content"), "{said}");
    env.fails(1, "content show nonsense");
}
