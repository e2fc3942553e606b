//! `blob`, `index`, `manifest`, `cache`.

use crate::env::{TestEnv, keys, masked};

fn snapshotted() -> TestEnv {
    let env = TestEnv::with_repository();
    let source = env.plant();
    env.ok(&format!("snapshot create {source}"));
    env
}

#[test]
fn blobs_are_listed_filtered_and_shown() {
    let env = snapshotted();
    let all = env.json("blob list --json");
    let all = all.as_array().unwrap();
    assert_eq!(keys(&all[0]), ["id", "length", "timestamp"]);
    let ids = |line: &str| -> Vec<String> {
        let list = env.json(&format!("{line} --json"));
        let ids = list.as_array().unwrap().iter();
        ids.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("blob list --prefix=p").len(), 1);
    assert!(ids("blob list --data-only").iter().all(|id| id.starts_with(['p', 'q', 's'])));
    assert!(
        !ids("blob list --exclude-prefix=kopia --exclude-prefix=x")
            .iter()
            .any(|id| id.starts_with(['k', 'x']))
    );
    assert_eq!(ids("blob list --min-size=200000").len(), 1);
    assert_eq!(ids("blob list --max-size=200000").len(), all.len() - 1);
    let line = masked(&env.ok("blob list --prefix=kopia.repository"));
    assert_eq!(line.split_whitespace().next(), Some("kopia.repository"), "{line}");
    assert_eq!(line.find("TIME"), Some(70 + 1 + 10 + 1), "{line}");
    assert!(env.ok("blob show kopia.repository").contains("\"uniqueID\""));
    let index = &ids("blob list --prefix=xn")[0];
    let shown = env.command(["blob", "show", index, "--decrypt"]).output().unwrap();
    assert!(shown.status.success() && !shown.stdout.is_empty());
    let text = env.fails(1, "blob show nosuch");
    assert_eq!(text, "ERROR blob nosuch does not exist\n");
}

#[test]
fn blob_stats_have_kopias_histogram() {
    let env = snapshotted();
    let text = env.ok("blob stats --prefix=p");
    assert!(text.starts_with("Count: 1\nTotal: 303.4 KB"), "{text}");
    assert!(text.contains("Histogram:\n\n        0 between 0 B and 10 B (total 0 B)\n"), "{text}");
    assert!(text.contains("        1 between 100 KB and 1 MB (total 303.4 KB"), "{text}");
    let raw = env.ok("blob stats --raw --prefix=p");
    assert!(raw.contains("        1 between 100000 and 1000000 (total 303"), "{raw}");
    let json = env.json("blob stats --json --prefix=p");
    assert_eq!(json["count"], 1);
    assert_eq!(env.ok("blob stats --prefix=zz"), "Count: 0\nTotal: 0 B\n");
}

#[test]
fn index_list_sorts_and_sums() {
    let env = snapshotted();
    let json = env.json("index list --json");
    assert_eq!(keys(&json[0]), ["id", "length", "timestamp", "Superseded"]);
    assert_eq!(json[0]["Superseded"], serde_json::Value::Null);
    let count = json.as_array().unwrap().len();
    let text = env.ok("index list --summary --sort=size --superseded");
    assert!(text.ends_with(&format!("total {count} indexes\n")), "{text}");
    let sizes: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with('x'))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    assert!(sizes.is_sorted() && sizes.len() == count, "{text}");
}

#[test]
fn manifests_are_listed_and_shown() {
    let env = snapshotted();
    let list = env.json("manifest list --filter=type:snapshot --json");
    assert_eq!(keys(&list[0]), ["id", "length", "labels", "mtime"]);
    let id = list[0]["id"].as_str().unwrap();
    let text = env.ok(&format!("manifest show {id}"));
    assert!(text.starts_with(&format!("// id: {id}\n// length: ")), "{text}");
    assert!(text.contains("// label type:snapshot\n"), "{text}");
    assert!(
        text.ends_with("}") && text.contains("\n  \"source\": {\n    \"host\": \"h\","),
        "{text}"
    );
    assert_eq!(env.json(&format!("manifest show {id} --json"))["data"]["source"]["host"], "h");
    let line = masked(&env.ok("manifest list --sort=path --filter=type:snapshot"));
    assert!(line.contains(" TIME type:snapshot hostname:h path:"), "{line}");
    assert!(line.ends_with(" username:u\n"), "{line}");
    let text = env.fails(1, "manifest list --filter=foo");
    assert!(text.contains("invalid list filter \"foo\", missing ':'"), "{text}");
    let text = env.fails(1, "manifest show nosuch");
    assert!(text.contains("manifest nosuch does not exist"), "{text}");
}

#[test]
fn the_cache_is_ours_and_can_be_cleared() {
    let env = snapshotted();
    env.ok("snapshot list");
    let path = env.ok("cache info --path");
    let folder = std::path::Path::new(path.trim());
    assert!(folder.starts_with(env.path("cache/kopia")), "{path}");
    assert!(folder.join("kopia-lite").is_dir());
    let info = env.ok("cache info");
    assert!(info.contains("kopia-lite/indexes: ") && info.contains("(limit 5.2 GB)"), "{info}");
    let kopias = folder.join("contents");
    fs_err::create_dir_all(&kopias).unwrap();
    fs_err::write(kopias.join("theirs"), "x").unwrap();
    let indexes = || env.json("cache info --json").as_array().unwrap()[2]["count"].clone();
    assert!(env.says("cache clear --partial=blob-list").contains("no such part"));
    env.ok("cache clear --partial=metadata");
    let folders = env.json("cache info --json");
    assert_eq!(folders[0]["count"], 0, "{folders}");
    assert_ne!(indexes(), 0, "{folders}");
    let said = env.says("cache clear");
    assert_eq!(
        said,
        format!("Clearing cache directory: {}.\n", folder.join("kopia-lite").display())
    );
    let json = env.json("cache info --json");
    assert_eq!(keys(&json[0]), ["path", "count", "bytes", "limitBytes"]);
    assert_eq!(json[0]["count"], 0, "{json}");
    assert!(kopias.join("theirs").exists(), "Kopia's part is not ours to delete");
}

#[test]
fn a_connection_without_a_cache_works() {
    let env = TestEnv::with_repository();
    let (path, source) = (env.text("repo"), env.plant());
    env.ok(&format!("repository connect filesystem --path={path} --content-cache-size-mb=0"));
    env.ok(&format!("snapshot create {source}"));
    env.ok("snapshot verify --verify-files-percent=100");
    assert!(env.fails(1, "cache info").contains("caching not enabled"));
    assert!(env.fails(1, "cache clear").contains("caching not enabled"));
}
