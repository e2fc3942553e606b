//! `storage-config show | check | set | explain`.

use crate::env::{S3Env, TestEnv, keys};

#[test]
fn without_a_file_all_goes_to_standard() {
    let s3 = S3Env::new();
    s3.create("");
    assert_eq!(s3.ok("storage-config show"), "none: every blob goes to STANDARD\n");
    assert_eq!(s3.ok("storage-config show --raw"), "");
    assert_eq!(s3.ok("storage-config check"), "none: every blob goes to STANDARD\n");
    let json = s3.json("storage-config show --json");
    assert_eq!(json, serde_json::json!({"exists": false, "entries": [], "findings": []}));
}

#[test]
fn set_edits_shows_and_uploads() {
    let s3 = S3Env::new();
    s3.create("");
    let said = s3.line("storage-config set --add p=GLACIER_IR --default STANDARD_IA");
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.stderr.contains("Uploaded .storageconfig to S3: "), "{said:#?}");
    let stored = || s3.server.objects().get("r/.storageconfig").unwrap().bytes;
    let config: serde_json::Value = serde_json::from_slice(&stored()).unwrap();
    let wanted = serde_json::json!({"blobOptions": [
        {"prefix": "p", "storageClass": "GLACIER_IR"}, {"storageClass": "STANDARD_IA"}]});
    assert_eq!(config, wanted);
    let before = stored();
    let diff = s3.ok("storage-config set --add p=STANDARD -n");
    assert!(diff.contains("\n-") && diff.contains("GLACIER_IR") && diff.contains("\n+"), "{diff}");
    assert_eq!(stored(), before, "a dry run uploads nothing");
    assert!(s3.says("storage-config set --add p=GLACIER_IR").contains("No change."));
    s3.ok("storage-config set --remove p");
    let config: serde_json::Value = serde_json::from_slice(&stored()).unwrap();
    assert_eq!(config["blobOptions"].as_array().unwrap().len(), 1);
    s3.ok("storage-config set --clear --add q=STANDARD");
    let text = s3.ok("storage-config show");
    assert!(text.contains("\"prefix\": \"q\"") && text.contains("(bucket default)"), "{text}");
    assert!(s3.fails(1, "storage-config set").contains("no change was asked for"));
    assert!(s3.fails(1, "storage-config set --add p").contains("p"));
}

#[test]
fn set_keeps_unknown_fields_and_their_order() {
    let s3 = S3Env::new();
    s3.create("");
    s3.put_config(
        r#"{"zeta":1,"blobOptions":[{"note":"x","prefix":"p","storageClass":"STANDARD"}],
            "alpha":[2]}"#,
    );
    s3.ok("storage-config set --add p=GLACIER_IR");
    let text = s3.ok("storage-config show --raw");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys(&value), ["zeta", "blobOptions", "alpha"]);
    assert_eq!(keys(&value["blobOptions"][0]), ["note", "prefix", "storageClass"]);
}

#[test]
fn set_refuses_archives_beyond_packs_unless_forced() {
    let s3 = S3Env::new();
    s3.create("");
    let text = s3.fails(1, "storage-config set --default DEEP_ARCHIVE");
    assert!(text.contains("W-ARCHIVE-META") && text.contains("add --force"), "{text}");
    assert!(s3.server.objects().get("r/.storageconfig").is_none());
    s3.ok("storage-config set --add p=DEEP_ARCHIVE");
    s3.ok("storage-config set --add q=GLACIER --force");
    s3.write("broken.json", "{");
    s3.fails(1, "storage-config set --file broken.json --force");
}

#[test]
fn set_works_before_a_repository_exists() {
    let s3 = S3Env::new();
    let flags = s3.flags();
    s3.ok(&format!("storage-config set --add p=GLACIER_IR {flags}"));
    assert!(s3.server.objects().get("r/.storageconfig").is_some());
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    assert!(s3.classes().contains(&("p".to_owned(), "GLACIER_IR".to_owned())));
    // Keys in the environment do not mean that a bucket is to be named.
    let S3Env { env, server: _server, .. } = s3;
    let env = env.with("AWS_ACCESS_KEY_ID", "test").with("AWS_SECRET_ACCESS_KEY", "x");
    env.ok("storage-config set --add q=STANDARD");
    // Keys as flags do, and with a bucket the environment's are used.
    env.fails(2, "storage-config set --add q=GLACIER_IR --access-key=test");
    let env = env.with("AWS_SECRET_ACCESS_KEY", "test-secret-key");
    let place = flags.split(" --access-key").next().unwrap();
    env.ok(&format!("storage-config set --add q=GLACIER_IR {place}"));
}

#[test]
fn explain_names_entry_and_reason() {
    let env = TestEnv::new();
    env.write(
        "c.json",
        r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"},
            {"storageClass":"STANDARD_IA"}]}"#,
    );
    let text = env.ok("storage-config explain --file c.json p123 q xn0_5");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("p123 ") && lines[0].contains("GLACIER_IR"), "{text}");
    assert!(lines[0].contains("entry 0: "), "{text}");
    assert!(lines[1].contains("STANDARD_IA") && lines[1].contains("entry 1: "), "{text}");
    let all = env.ok("storage-config explain --file c.json");
    for kind in ["p", "q", "x", "s", "kopia."] {
        assert!(all.lines().any(|line| line.starts_with(kind)), "{kind} is not in\n{all}");
    }
    let json = env.json("storage-config explain --file c.json p123 --json");
    assert_eq!(
        keys(&json[0]),
        ["blob", "kind", "entry", "prefix", "storageClass", "options", "reason", "warnings"]
    );
}

#[test]
fn check_finds_what_is_wrong_and_where() {
    let env = TestEnv::new();
    env.write("good.json", r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"}]}"#);
    assert!(env.ok("storage-config check good.json").ends_with("valid\n"));
    env.write("typo.json", r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_RI"}]}"#);
    let text = env.ok("storage-config check typo.json");
    assert!(text.contains("warning W-") && text.contains("GLACIER_IR"), "{text}");
    env.fails(1, "storage-config check typo.json --strict");
    env.write("archive.json", r#"{"blobOptions":[{"storageClass":"GLACIER"}]}"#);
    let run = env.line("storage-config check archive.json");
    assert_eq!((run.code, run.stdout.lines().last()), (1, Some("valid, but dangerous: see above")));
    env.write("broken.json", "{\n \"blobOptions\": 5\n}");
    let run = env.line("storage-config check broken.json --json");
    assert_eq!(run.code, 1);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(keys(&json), ["source", "valid", "findings"]);
    assert_eq!(json["valid"], false);
    assert_eq!(json["findings"][0]["level"], "error");
    assert_eq!(json["findings"][0]["line"], 2, "{json}");
}

#[test]
fn a_folder_keeps_no_such_file() {
    let env = TestEnv::with_repository();
    let text = env.fails(1, "storage-config show");
    assert!(text.contains("keeps no .storageconfig: only S3 does"), "{text}");
}
