//! Copies all blobs of one connection to another, eight at a time.
//!
//! `cargo run -p s3-backend --example copy -- FROM.json TO.json`, where each file holds the `config`
//! object of one of Kopia's connection files. Without arguments it copies within a test server.

use std::error::Error;

use blob_core::{BlobStorage, Payload, PutOptions, ReadRange};
use futures::TryStreamExt;
use s3_backend::{S3Options, S3Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let read = |path: &String| -> Result<S3Options, Box<dyn Error>> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    };
    let server; // lives as long as the storages
    let (from, to) = match arguments.as_slice() {
        [from, to] => (read(from)?, read(to)?),
        _ => {
            server = s3_testkit::TestServer::start(Default::default()).await?;
            server.objects().put("here/p1", "a blob");
            let keys = server.credentials().ok_or("the server has no keys")?;
            let from = S3Options {
                bucket: server.bucket().into(),
                prefix: "here/".into(),
                endpoint: server.addr().to_string(),
                do_not_use_tls: true,
                access_key_id: keys.access_key.clone(),
                secret_access_key: keys.secret_key.as_str().into(),
                ..S3Options::default()
            };
            (from.clone(), S3Options { prefix: "there/".into(), ..from })
        }
    };
    let (from, to) = (S3Storage::open(from)?, S3Storage::open(to)?);
    let (from, to) = (&from, &to);
    let copy = |blob: blob_core::BlobMeta| async move {
        let bytes = from.get(&blob.id, ReadRange::Full).await?;
        to.put(&blob.id, Payload::from(bytes), &PutOptions::default()).await?;
        println!("{:>10}  {}", blob.size, blob.id);
        Ok(())
    };
    from.list("").try_for_each_concurrent(8, copy).await?;
    Ok(())
}
