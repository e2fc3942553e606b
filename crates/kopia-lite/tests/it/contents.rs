//! `content list | stats | verify`.

use crate::env::{TestEnv, keys, masked};

fn snapshotted() -> TestEnv {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.write("src/text", "the same line over and over\n".repeat(2000));
    env.ok("policy set --global --compression=zstd");
    env.ok(&format!("snapshot create {source}"));
    env
}

#[test]
fn contents_are_listed_in_three_widths() {
    let env = snapshotted();
    let ids = env.ok("content list");
    let count = ids.lines().count();
    assert!(count >= 7, "{ids}");
    let long = masked(&env.ok("content list -l --prefix=k"));
    let line = long.lines().next().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!((words[0], words[2]), ("ID", "TIME"), "{line}");
    assert!(words[3].starts_with("ID-s") && words[4].contains('+'), "{line}");
    assert_eq!(words[5], "zstd-fastest", "{line}");
    let wide = env.ok("content list -c --non-prefixed");
    assert!(
        wide.lines().any(|line| line.contains(" length 56000 packed ") && line.contains("% ")),
        "{wide}"
    );
    let human = env.ok("content list -c -h -s");
    assert!(human.contains(" length 56 KB packed "), "{human}");
    assert!(
        human.lines().last().unwrap().starts_with(&format!("Total: {count}  contents, ")),
        "{human}"
    );
    let json = env.json("content list --json --prefixed");
    assert_eq!(
        keys(&json[0]),
        [
            "packFile",
            "time",
            "originalLength",
            "length",
            "packOffset",
            "compression",
            "contentID",
            "deleted",
            "formatVersion"
        ]
    );
    assert_eq!(env.ok("content list --deleted-only"), "");
}

#[test]
fn stats_add_up_by_method() {
    let env = snapshotted();
    let text = env.ok("content stats");
    for wanted in [
        "Count: ",
        "Total Bytes: ",
        "Total Packed: ",
        "By Method:",
        "(uncompressed)",
        "zstd-fastest",
        "Histogram:",
    ] {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
    let json = env.json("content stats --json");
    assert_eq!(keys(&json), ["count", "bytes", "packedBytes", "methods"]);
    let listed = env.json("content list --json");
    assert_eq!(json["count"], listed.as_array().unwrap().len());
}

#[test]
fn verify_ends_with_kopias_counters() {
    let env = snapshotted();
    let count = env.ok("content list").lines().count();
    let said = env.says("content verify --full");
    let last = said.lines().last().unwrap();
    assert_eq!(
        last,
        format!(
            "verifyCounters:\t{{\"verifiedContents\":{count},\"totalErrorCount\":0,\
             \"contentsInMissingPacks\":0,\"contentsInTruncatedPacks\":0,\
             \"unreadableContents\":0,\"readContents\":{count},\"missingPacks\":0,\
             \"truncatedPacks\":0,\"corruptedPacks\":0}}"
        )
    );
    assert_eq!(env.json("content verify --json")["readContents"], 0);
    let folder = env.path("repo");
    for (path, bytes) in crate::env::files(&folder) {
        if path.starts_with("p") {
            fs_err::write(folder.join(path), &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let run = env.line("content verify");
    assert_eq!(run.code, 20, "{run:#?}");
    assert!(run.stderr.contains("\"truncatedPacks\":1"), "{run:#?}");
    assert!(
        run.stderr.ends_with(" errors\n")
            && run.stderr.contains("ERROR verify contents: encountered"),
        "{run:#?}"
    );
}

#[test]
fn verify_looks_at_the_range_that_is_asked_for() {
    let env = snapshotted();
    let count = |flags: &str| {
        let all = env.json(&format!("content verify --json {flags}"));
        all["verifiedContents"].as_u64().unwrap()
    };
    let (all, k) = (count(""), count("--prefix=k"));
    assert!(0 < k && k < all, "{k} of {all}");
    assert_eq!(count("--prefix=zz"), 0);
    assert_eq!(count("--prefixed") + count("--non-prefixed --prefix=k"), all);
}
