//! What a 403 for `.storageconfig` means: surface of the rows 15 and 16 of the storage-config
//! cases.

use s3_testkit::{Action, Kind};

use crate::env::S3Env;

fn created() -> S3Env {
    let s3 = S3Env::new();
    s3.create("");
    s3.server.requests().clear();
    s3
}

#[test]
fn denied_but_not_listed_is_none_with_a_warning() {
    let s3 = created();
    s3.server.deny(Action::Get, "r/.storageconfig");
    let run = s3.line("snapshot list");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("W-CONFIG-FORBIDDEN"), "{run:#?}");
    let lists = s3.server.requests().of(Kind::List, "r/.storageconfig");
    assert_eq!(lists.len(), 1, "one listing of the exact key");
}

#[test]
fn denied_and_listed_is_refused() {
    let s3 = created();
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"}]}"#);
    s3.server.deny(Action::Get, "r/.storageconfig");
    let source = s3.plant();
    let text = s3.fails(13, &format!("snapshot create {source}"));
    assert!(text.contains(".storageconfig may not be read, though it exists"), "{text}");
    assert_eq!(s3.server.requests().puts(""), 0, "data could go to a wrong class");
}

#[test]
fn denied_with_the_listing_denied_is_refused() {
    let s3 = created();
    s3.server.deny(Action::Get, "r/.storageconfig");
    s3.server.deny(Action::List, "r/");
    let text = s3.fails(13, "snapshot list");
    let wanted = ".storageconfig may not be read, and a listing was denied, too";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn an_archived_file_is_named_without_a_listing() {
    let s3 = created();
    s3.put_config(r#"{"blobOptions":[]}"#);
    assert!(s3.server.objects().set_class("r/.storageconfig", "GLACIER"));
    let error = s3.json_error(4, "snapshot list --json");
    assert_eq!(error["kind"], "archived");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(".storageconfig is itself archived (GLACIER): thaw it"), "{message}");
    assert_eq!(s3.server.requests().lists(""), 0);
}
