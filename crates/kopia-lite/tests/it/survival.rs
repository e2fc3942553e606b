//! What is left usable when blobs are lost or damaged: each in turn.

use std::path::{Path, PathBuf};

use crate::env::{TestEnv, files};

/// A repository with two snapshots of two sources and a policy, each written by a command of its
/// own, and nothing kept on this machine.
fn made() -> TestEnv {
    let env = TestEnv::with_repository();
    env.write("one/a.txt", crate::env::noise(1, 50_000));
    env.write("two/b.txt", crate::env::noise(2, 50_000));
    env.ok("policy set two --add-ignore=*.tmp --no-auto-maintenance");
    env.ok("snapshot create one --no-auto-maintenance");
    env.ok("snapshot create two --no-auto-maintenance");
    env.ok("cache set --content-cache-size-mb=0");
    env
}

/// The files of blobs that begin so.
fn blobs(repo: &Path, prefix: &str) -> Vec<PathBuf> {
    let all = files(repo).into_iter().map(|(path, _)| path);
    let wanted = all.filter(|path| path.to_str().unwrap().replace('/', "").starts_with(prefix));
    wanted.map(|path| repo.join(path)).collect()
}

/// The name of a blob by its file.
fn name(repo: &Path, file: &Path) -> String {
    let below = file.strip_prefix(repo).unwrap().to_str().unwrap();
    below.replace('/', "").trim_end_matches(".f").to_owned()
}

#[test]
fn a_lost_pack_of_folders_and_manifests_leaves_the_rest_usable() {
    let env = made();
    let repo = env.path("repo");
    let all = env.json("snapshot list --all --json");
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 2);
    let mut hit_a_manifest = 0;
    for pack in blobs(&repo, "q") {
        let id = name(&repo, &pack);
        let whole = fs_err::read(&pack).unwrap();
        for bytes in [None, Some(vec![0; whole.len()]), Some(whole[..20].to_vec())] {
            match bytes {
                None => fs_err::remove_file(&pack).unwrap(),
                Some(bytes) => fs_err::write(&pack, bytes).unwrap(),
            }
            let list = env.line("snapshot list --all --json");
            let left: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
            let left = left.as_array().unwrap();
            let is_hit = list.code != 0;
            if is_hit {
                hit_a_manifest += 1;
                assert_eq!(list.code, 3, "{list:#?}");
                assert!(list.stderr.contains(&format!("pack {id}")), "{list:#?}");
            } else {
                assert_eq!(left.len(), 2);
            }
            // What is still listed and has its folders comes back.
            let mut restored = 0;
            for snapshot in left {
                let out = env.text("out");
                let run = env.line(&format!("restore {} {out}", snapshot["id"].as_str().unwrap()));
                assert!([0, 20].contains(&run.code), "{run:#?}");
                restored += usize::from(run.code == 0);
                let _ = fs_err::remove_dir_all(&out);
            }
            assert!(restored >= 1, "{id} hits both snapshots");
            let verify = env.line("snapshot verify");
            assert_eq!(verify.code, 20, "{verify:#?}");
            assert!(verify.stderr.contains(&id), "{id}: {verify:#?}");
            let maintenance = env.line("maintenance run --full --safety=none");
            assert!(!is_hit || maintenance.code == 20, "{maintenance:#?}");
        }
        fs_err::write(&pack, whole).unwrap();
        assert_eq!(env.json("snapshot list --all --json").as_array().unwrap().len(), 2);
        env.ok("snapshot verify --verify-files-percent=100");
    }
    assert!(hit_a_manifest >= 6, "{hit_a_manifest}");
}

#[test]
fn a_snapshot_is_taken_though_manifests_are_lost_and_nothing_expires() {
    let env = made();
    let repo = env.path("repo");
    env.ok("policy set one --keep-latest=1 --keep-hourly=0 --keep-daily=0 --keep-weekly=0 \
         --keep-monthly=0 --keep-annual=0 --no-auto-maintenance");
    let packs = blobs(&repo, "q");
    let hit = |pack: &PathBuf| {
        let whole = fs_err::read(pack).unwrap();
        fs_err::remove_file(pack).unwrap();
        let run = env.line("snapshot list one");
        let is_hit = run.code == 3 && run.stdout.contains("one");
        fs_err::write(pack, whole).unwrap();
        is_hit
    };
    // Manifests are in it, but not that of the snapshot.
    let pack = packs.iter().find(|pack| hit(pack)).unwrap();
    let whole = fs_err::read(pack).unwrap();
    fs_err::remove_file(pack).unwrap();
    env.write("one/new.txt", "new");
    let run = env.line("snapshot create one");
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(run.stderr.contains("Created snapshot with root"), "{run:#?}");
    assert!(run.stderr.contains("nothing expires"), "{run:#?}");
    let out = env.text("out");
    env.ok(&format!("restore {} {out}", env.text("one")));
    assert_eq!(fs_err::read_to_string(env.path("out/new.txt")).unwrap(), "new");
    // What takes away refuses, unless that is asked for.
    let said = env.fails(20, "snapshot expire --all --delete");
    assert!(said.contains(&name(&repo, pack)), "{said}");
    env.fails(20, "policy set one --keep-latest=2");
    let env = env.with("KOPIA_IGNORE_MALFORMED_MANIFEST_CONTENTS", "1");
    assert_eq!(env.line("policy set one --keep-latest=2").code, 3);
    env.fails(20, "maintenance run --full --safety=none");
    fs_err::write(pack, whole).unwrap();
    env.ok("snapshot verify");
    env.ok("maintenance run --full --safety=none");
    env.ok("snapshot verify --verify-files-percent=100");
}

#[test]
fn a_lost_index_blob_leaves_the_rest_usable_and_comes_back() {
    let env = made();
    let repo = env.path("repo");
    for blob in blobs(&repo, "xn0_") {
        let whole = fs_err::read(&blob).unwrap();
        fs_err::remove_file(&blob).unwrap();
        let list = env.line("snapshot list --all --json");
        assert_eq!(list.code, 0, "{list:#?}");
        let left: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
        assert!(!left.as_array().unwrap().is_empty());
        assert!([0, 20].contains(&env.line("snapshot verify").code));
        fs_err::write(&blob, whole).unwrap();
    }
    // All of them at once, and back from the packs.
    blobs(&repo, "xn0_").iter().for_each(|blob| fs_err::remove_file(blob).unwrap());
    assert_eq!(env.ok("snapshot list --all"), "");
    env.ok("index recover --commit --dangerous-commands=enabled");
    assert_eq!(env.json("snapshot list --all --json").as_array().unwrap().len(), 2);
    env.ok("snapshot verify --verify-files-percent=100");
}
