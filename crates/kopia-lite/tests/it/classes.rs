//! `.storageconfig` decides where blobs go: what the server stored, not what we meant.

use s3_testkit::Kind;

use crate::env::S3Env;

/// The example of Kopia's manual, to the letter (requirement S9).
const EXAMPLE: &str = r#"{
   "blobOptions": [
     { "prefix": "p", "storageClass": "INTELLIGENT_TIERING" },
     { "prefix": "s", "storageClass": "REDUCED_REDUNDANCY" },
     { "storageClass": "STANDARD_IA" }
  ]
}
"#;

/// Every kind of blob that a repository with a snapshot has went where the example says.
fn assert_as_the_example_says(s3: &S3Env) {
    // Session markers are deleted at the end: the log has them.
    for put in s3.server.requests().of(Kind::Put, "r/") {
        let wanted = match put.key.as_bytes()["r/".len()] {
            b'p' => Some("INTELLIGENT_TIERING"),
            b's' => Some("REDUCED_REDUNDANCY"),
            b'.' => None,
            _ => Some("STANDARD_IA"),
        };
        assert_eq!(put.header("x-amz-storage-class"), wanted, "{}", put.key);
    }
    assert!(s3.server.requests().puts("r/s") > 0, "no session marker was written");
    let classes = s3.classes();
    let of =
        |kind: &str| classes.iter().filter(|it| it.0 == kind).map(|it| &*it.1).collect::<Vec<_>>();
    assert_eq!(of("p"), ["INTELLIGENT_TIERING"]);
    for kind in ["q", "xn", "kopia.repository", "kopia.blobcfg"] {
        assert_eq!(of(kind), ["STANDARD_IA"], "{kind}");
    }
    assert_eq!(of("."), ["STANDARD"]);
}

#[test]
fn the_example_uploaded_before_the_repository_exists_counts_from_the_first_blob() {
    let s3 = S3Env::new();
    s3.put_config(EXAMPLE);
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    assert_as_the_example_says(&s3);
}

#[test]
fn create_can_upload_the_example_itself() {
    let s3 = S3Env::new();
    s3.write("example.json", EXAMPLE);
    s3.create("--storage-config=example.json");
    assert_eq!(s3.server.requests().all()[0].key, "r/.storageconfig");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    assert_as_the_example_says(&s3);
    let stored = s3.server.objects().get("r/.storageconfig").unwrap();
    assert_eq!(stored.bytes, EXAMPLE.as_bytes());
    assert!(s3.ok("repository status").contains(".storageconfig:      3 entries"));
    let list = s3.ok("blob list");
    assert!(!list.contains(".storageconfig"), "it is no blob: {list}");
}

#[test]
fn a_change_counts_for_what_is_written_later() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let before = s3.classes();
    assert!(before.iter().all(|(_, class)| class == "STANDARD"), "{before:?}");
    let old: Vec<_> = s3.server.objects().keys("r/");
    s3.ok("storage-config set --add p=GLACIER_IR");
    s3.write("src/new", crate::env::noise(4, 5000));
    s3.ok(&format!("snapshot create {source}"));
    for key in s3.server.objects().keys("r/") {
        let class = s3.server.objects().get(&key).unwrap().storage_class;
        let is_new_pack = key.starts_with("r/p") && !old.contains(&key);
        assert_eq!(class, if is_new_pack { "GLACIER_IR" } else { "STANDARD" }, "{key}");
    }
    assert_eq!(s3.server.requests().copies(""), 0, "nothing is moved behind the user's back");
}

#[test]
fn more_than_packs_in_an_archive_is_refused_with_the_reason() {
    let s3 = S3Env::new();
    s3.write("bad.json", r#"{"blobOptions":[{"storageClass":"GLACIER"}]}"#);
    let create = format!("repository create s3 {} --storage-config=bad.json", s3.flags());
    let text = s3.fails(1, &create);
    assert!(text.contains("W-ARCHIVE-META") && text.contains("--force-storage-config"), "{text}");
    assert!(s3.server.objects().is_empty(), "nothing was uploaded");
    s3.write("broken.json", r#"{"blobOptions":[{"#);
    let forced = create.replace("bad.json", "broken.json") + " --force-storage-config";
    let text = s3.fails(1, &forced);
    assert!(text.contains("no client would open the repository"), "{text}");
    assert!(s3.server.objects().is_empty());
    s3.write("packs.json", r#"{"blobOptions":[{"prefix":"p","storageClass":"DEEP_ARCHIVE"}]}"#);
    s3.create("--storage-config=packs.json");
}

#[test]
fn more_than_packs_in_an_archive_is_warned_of_at_every_opening() {
    let s3 = S3Env::new();
    s3.create("");
    s3.put_config(r#"{"blobOptions":[{"prefix":"q","storageClass":"GLACIER"}]}"#);
    let run = s3.line("snapshot list");
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains(".storageconfig: warning W-ARCHIVE-META"), "{run:#?}");
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER"}]}"#);
    assert_eq!(s3.line("snapshot list").stderr, "", "packs alone may be archived");
    s3.put_config("{");
    let text = s3.fails(1, "snapshot list");
    assert!(text.contains(".storageconfig"), "Kopia does not open it either: {text}");
}

#[test]
fn extra_keys_reach_the_server() {
    let s3 = S3Env::new();
    s3.put_config(
        r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR",
            "serverSideEncryption":"AES256","tags":{"team":"backup","kind":"pack"},
            "metadata":{"owner":"home"},"cacheControl":"no-store","checksumAlgorithm":"SHA256"},
           {"prefix":"q","acl":"bucket-owner-full-control"}]}"#,
    );
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let header = |prefix: &str, name: &str| {
        let puts = s3.server.requests().of(Kind::Put, prefix);
        puts[0].header(name).map(str::to_owned)
    };
    for (name, wanted) in [
        ("x-amz-storage-class", "GLACIER_IR"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "kind=pack&team=backup"),
        ("x-amz-meta-owner", "home"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(header("r/p", name).as_deref(), Some(wanted), "{name}");
    }
    assert!(header("r/p", "x-amz-checksum-sha256").is_some());
    assert_eq!(header("r/q", "x-amz-acl").as_deref(), Some("bucket-owner-full-control"));
    assert_eq!(header("r/q", "x-amz-tagging"), None, "the first entry that fits gives everything");
    s3.ok(&format!("restore latest {}", s3.text("out")));
}

#[test]
fn a_bad_extra_key_lets_read_and_refuses_the_writes_it_matches() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","serverSideEncryption":"rot13"}]}"#);
    s3.ok(&format!("restore latest {}", s3.text("out")));
    s3.write("src/new", crate::env::noise(5, 5000));
    let text = s3.fails(1, &format!("snapshot create {source}"));
    assert!(text.contains("serverSideEncryption"), "{text}");
}

#[test]
fn a_bad_extra_key_stops_its_blobs_until_somebody_decides() {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    let open =
        r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR","acl":"public-read"}]}"#;
    s3.write("open.json", open);
    let text = s3.fails(1, "storage-config set --file=open.json");
    assert!(text.contains("public-read"), "{text}");
    s3.ok("storage-config set --file=open.json --force");
    let text = s3.fails(1, &format!("snapshot create {source}"));
    assert!(text.contains("entry 0: acl public-read is refused"), "{text}");
    assert!(text.contains("--storage-config-extra-keys=ignore"), "{text}");
    assert!(s3.server.objects().keys("r/p").is_empty(), "nothing was sent");
    for (choice, acl) in [("ignore", None), ("force", Some("public-read"))] {
        let old = s3.server.objects().keys("r/p");
        s3.write("src/new", crate::env::noise(choice.len() as u64, 5_000));
        s3.ok(&format!("snapshot create {source} --storage-config-extra-keys={choice}"));
        let new = s3.server.objects().keys("r/p");
        let new: Vec<_> = new.iter().filter(|key| !old.contains(key)).collect();
        assert_eq!(new.len(), 1, "{choice}");
        let object = s3.server.objects().get(new[0]).unwrap();
        assert_eq!(object.storage_class, "GLACIER_IR");
        assert_eq!(object.header("x-amz-acl"), acl, "{choice}");
    }
}

#[test]
fn of_two_locks_neither_is_shortened() {
    let s3 = S3Env::lockable();
    let lock = r#"{"blobOptions":[{"prefix":"p","storageClass":"STANDARD",
        "objectLockMode":"COMPLIANCE","objectLockRetainDays":365}]}"#;
    s3.put_config(lock);
    let flags = s3.flags();
    s3.ok(&format!(
        "repository create --retention-mode=GOVERNANCE --retention-period=24h s3 {flags}"
    ));
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let objects = s3.server.objects();
    let of = |prefix: &str| {
        let key = objects.keys(prefix).remove(0);
        let object = objects.get(&key).unwrap();
        let header = |name| object.header(name).unwrap_or_default().to_owned();
        (header("x-amz-object-lock-mode"), header("x-amz-object-lock-retain-until-date"))
    };
    let (mode, until) = of("r/p");
    let (short_mode, short_until) = of("r/q");
    assert_eq!((mode.as_str(), short_mode.as_str()), ("COMPLIANCE", "GOVERNANCE"));
    let months =
        |date: &str| 12 * date[..4].parse::<i32>().unwrap() + date[5..7].parse::<i32>().unwrap();
    assert!(months(&until) - months(&short_until) >= 11, "{until} {short_until}");
}
