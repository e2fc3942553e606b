//! A client that turned against its repository: it has the keys and the password, and object lock
//! is what it can't get past.

use blob_core::{BlobId, BlobStorage, Payload, PutOptions};
use s3_backend::{S3Options, S3Storage};

use crate::env::{S3Env, files};

/// What a client with all keys does: it replaces and deletes each blob. As on Amazon S3 all that
/// succeeds, and none of the locked versions goes: the view of the moment before has everything.
#[test]
fn a_ransomed_repository_is_restored_from_the_past() {
    let s3 = S3Env::lockable();
    let flags = s3.flags();
    s3.ok(&format!(
        "repository create --retention-mode=COMPLIANCE --retention-period=720h s3 {flags}"
    ));
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let id = s3.newest();
    let before = s3.server.clock().text();
    s3.server.clock().advance(std::time::Duration::from_secs(3600));

    let options: S3Options =
        serde_json::from_value(s3.config()["storage"]["config"].clone()).unwrap();
    let blobs = s3.json("blob list --json");
    let blobs = blobs.as_array().unwrap().iter();
    let ids: Vec<BlobId> = blobs.map(|it| it["id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(ids.len() > 5, "{ids:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = S3Storage::open(options).unwrap();
        for (number, id) in ids.iter().enumerate() {
            let ransom = Payload::from("ransom");
            storage.put(id, ransom, &PutOptions::default()).await.unwrap();
            if number % 2 == 0 {
                storage.delete(id).await.unwrap();
            }
        }
    });
    let text = s3.fails(20, "content verify --full");
    assert!(text.contains("kopia.repository"), "the present is lost: {text}");

    s3.ok(&format!("repository connect s3 {flags} --point-in-time={before}"));
    s3.ok("content verify --full");
    s3.ok(&format!("restore {id} out"));
    assert_eq!(files(&s3.path("out")), files(&s3.path("src")));
}
