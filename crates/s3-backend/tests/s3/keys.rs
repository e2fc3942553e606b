//! Keys: what is put together of prefix and ID arrives as it is, whatever characters it has.

use blob_core::{BlobStorage, ReadRange};
use s3_backend::S3Options;

use crate::support::{id, names, open, options, put, server};

const ODD: [&str; 12] = [
    "a b+c",
    "ü&=?#%25;:@,$!*'()~",
    "日本",
    "..",
    ".",
    "a..b",
    "%2F",
    "+",
    "a\\b",
    "\"quoted\"",
    "<tag>&amp;",
    "trailing ",
];

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_are_put_listed_read_and_deleted() {
    let server = server().await;
    for prefix in ["", "pre fix/+ü/"] {
        let storage = open(S3Options { prefix: prefix.into(), ..options(&server) });
        for name in ODD {
            put(&storage, name, b"x").await;
            assert!(server.objects().get(&format!("{prefix}{name}")).is_some(), "{name}");
            assert_eq!(storage.get(&id(name), ReadRange::Full).await.unwrap(), &b"x"[..]);
            assert_eq!(storage.head(&id(name)).await.unwrap().size, 1);
        }
        let mut expected = ODD.map(str::to_owned);
        expected.sort();
        let mut found = names(&storage, "").await;
        found.sort();
        assert_eq!(found, expected);
        for name in ODD {
            storage.delete(&id(name)).await.unwrap();
        }
    }
    assert!(server.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_with_empty_and_dotted_folders_is_taken_literally() {
    let server = server().await;
    let storage = open(S3Options { prefix: "x//./z/../w".into(), ..options(&server) });
    put(&storage, "p1", b"x").await;
    assert_eq!(server.objects().keys(""), ["x//./z/../wp1"]);
    assert_eq!(names(&storage, "p").await, ["p1"]);
}
