//! A client that turned against its repository: it has the keys and the password, and object lock
//! is what it can't get past.

use blob_core::{BlobError, BlobId, BlobStorage, Payload, PutOptions};
use s3_backend::{S3Options, S3Storage};

use crate::env::{S3Env, files};

#[test]
fn locked_blobs_survive_a_client_with_all_rights() {
    let s3 = S3Env::new();
    let flags = s3.flags();
    s3.ok(&format!(
        "repository create --retention-mode=COMPLIANCE --retention-period=720h s3 {flags}"
    ));
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let id = s3.newest();
    let options: S3Options =
        serde_json::from_value(s3.config()["storage"]["config"].clone()).unwrap();
    let blobs = s3.json("blob list --json");
    let ids: Vec<BlobId> = blobs
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap().parse().unwrap())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (deleted, replaced) = runtime.block_on(async {
        let storage = S3Storage::open(options).unwrap();
        let (mut deleted, mut replaced) = (Vec::new(), Vec::new());
        for id in &ids {
            let put = storage.put(id, Payload::from("ransom"), &PutOptions::default()).await;
            replaced.extend(put.is_ok().then_some(id.to_string()));
            match storage.delete(id).await {
                Ok(()) => deleted.push(id.to_string()),
                Err(BlobError::Locked { .. } | BlobError::AccessDenied { .. }) => {}
                Err(error) => panic!("{id}: {error}"),
            }
        }
        (deleted, replaced)
    });
    assert!(ids.len() > 5 && deleted.is_empty() && replaced.is_empty(), "{deleted:?} {replaced:?}");
    s3.ok("content verify --full");
    s3.ok(&format!("restore {id} out"));
    assert_eq!(files(&s3.path("out")), files(&s3.path("src")));
}
