//! Archived packs: everything but their data can be used, and a restore says so before it begins.

use crate::env::{S3Env, noise};

/// A repository whose packs lie in an archive; gives the snapshot.
fn frozen(class: &str) -> (S3Env, String, String) {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let id = s3.newest();
    for key in s3.server.objects().keys("r/p") {
        assert!(s3.server.objects().set_class(&key, class));
    }
    s3.server.requests().clear();
    (s3, source, id)
}

#[test]
fn a_restore_that_needs_archived_packs_writes_nothing_and_names_them() {
    let (s3, _, id) = frozen("DEEP_ARCHIVE");
    let pack = s3.server.objects().keys("r/p")[0]["r/".len()..].to_owned();
    let target = s3.text("out");
    let text = s3.fails(4, &format!("restore {id} {target}"));
    assert!(text.contains("1 of 1 packs (303.4 KB) are archived in DEEP_ARCHIVE;"), "{text}");
    let error = s3.json_error(4, &format!("restore {id} {target} --json"));
    assert_eq!(error["kind"], "archived");
    let packs = &error["details"]["packs"];
    assert_eq!(packs[0]["blob"], pack.as_str());
    assert_eq!(packs[0]["storageClass"], "DEEP_ARCHIVE");
    assert!(packs[0]["bytes"].as_u64().unwrap() > 300_000);
    s3.fails(4, &format!("restore {id}/a.txt {target}"));
    s3.fails(4, &format!("restore {id} {target}.tar"));
    let run = s3.line(&format!("restore {id} {target} --dry-run --json"));
    assert_eq!(run.code, 4);
    let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(plan["archivedPacks"], serde_json::json!([pack]));
    assert!(!s3.path("out").exists() && !s3.path("out.tar").exists());
    assert_eq!(s3.server.requests().gets("r/p"), 0, "the listing told it");
    // Once thawed, the same command works.
    s3.server.objects().set_class(&format!("r/{pack}"), "STANDARD");
    s3.ok(&format!("restore {id} {target}"));
}

#[test]
fn all_else_works_while_packs_are_cold() {
    let (s3, source, id) = frozen("GLACIER");
    s3.ok("repository disconnect");
    let flags = s3.flags();
    s3.ok(&format!("repository connect s3 {flags} --override-hostname=h --override-username=u"));
    s3.ok("repository status");
    assert!(s3.ok("snapshot list").contains(" 300 KB "));
    s3.ok(&format!("list -lr {id}"));
    s3.ok("policy show --global");
    s3.ok("snapshot verify");
    s3.ok("content verify");
    s3.ok("blob stats");
    s3.write("src/new.bin", noise(8, 50_000));
    let json = s3.json(&format!("snapshot create {source} --json --json-verbose"));
    assert_eq!(json["stats"]["cachedFiles"], 3, "{json}");
    s3.ok(&format!("snapshot pin {id} --add=keep"));
    s3.ok("snapshot expire --all --delete");
    assert_eq!(s3.server.requests().gets("r/p"), 0);
    // What can't be read now is not damaged.
    let text = s3.fails(4, "snapshot verify --verify-files-percent=100");
    assert!(text.contains("GLACIER"), "{text}");
    let run = s3.line("content verify --full --json");
    assert!(run.code == 0 && run.stderr.contains("are archived and were not read"), "{run:?}");
    let json = s3.json("snapshot verify --depth=list --json");
    assert_eq!((&json["packs"]["listed"], &json["packs"]["read"]), (&4.into(), &0.into()));
    assert_eq!(json["packs"]["archived"], 1, "{json}");
    let run = s3.line("snapshot verify --depth=checksum --json");
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["packs"]["checksummed"], 4, "each was written with one: {json}");
    assert_eq!(run.stderr, "");
    for key in s3.server.objects().keys("r/p") {
        // Written by somebody who sent none.
        let object = s3.server.objects().get(&key).unwrap();
        s3.server.objects().put_with_class(&key, object.bytes, &object.storage_class);
    }
    let run = s3.line("snapshot verify --depth=checksum");
    assert!(run.stderr.contains("packs the storage does not tell that it keeps a"), "{run:?}");
    let run = s3.line("snapshot verify --depth=read");
    assert_eq!(run.code, 4, "{run:?}");
    assert!(
        run.stderr.contains("Packs: 3 read, 1 checked by a listing alone, 1 of them"),
        "{run:?}"
    );
    assert!(run.stderr.contains("Read 1 files (50 KB)"), "{run:?}");
    // What needs no cold pack can be restored: the new file lies in a warm one.
    let newest = s3.newest();
    s3.ok(&format!("restore {newest}/new.bin {}", s3.text("new.bin")));
    assert_eq!(fs_err::read(s3.path("new.bin")).unwrap(), noise(8, 50_000));
    let run = s3.line(&format!("restore {newest} {} --ignore-errors", s3.text("partly")));
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(s3.path("partly/new.bin").exists() && !s3.path("partly/sub/b.bin").exists());
    let text = s3.fails(4, &format!("show {newest}/a.txt"));
    assert!(text.contains("archived"), "{text}");
}
