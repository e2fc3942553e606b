//! Writes, reads and deletes one blob.
//!
//! `cargo run -p s3-backend --example roundtrip -- BUCKET [ENDPOINT] [http]`, with the keys in
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Without arguments it uses a test server.

use std::error::Error;

use blob_core::{BlobId, BlobStorage, Payload, PutOptions, ReadRange};
use s3_backend::{S3Options, S3Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server; // lives as long as the storage
    let options = match arguments.as_slice() {
        [] => {
            server = s3_testkit::TestServer::start(Default::default()).await?;
            let keys = server.credentials().ok_or("the server has no keys")?;
            S3Options {
                bucket: server.bucket().into(),
                endpoint: server.addr().to_string(),
                do_not_use_tls: true,
                access_key_id: keys.access_key.clone(),
                secret_access_key: keys.secret_key.as_str().into(),
                ..S3Options::default()
            }
        }
        [bucket, rest @ ..] => S3Options {
            bucket: bucket.clone(),
            endpoint: rest.first().cloned().unwrap_or_else(|| S3Options::default().endpoint),
            do_not_use_tls: rest.get(1).is_some_and(|scheme| scheme == "http"),
            ..S3Options::default()
        },
    };
    let storage = S3Storage::open(options)?;
    let id = BlobId::new("s3-backend-example")?;
    let mut data = Payload::from(&b"in two "[..]);
    data.push(&b"pieces"[..]);
    storage.put(&id, data, &PutOptions::default()).await?;
    let range = ReadRange::Bytes { offset: 3, length: 3 };
    println!("{} holds {:?}", storage.info().name, storage.get(&id, range).await?);
    println!("{:?}", storage.head(&id).await?);
    storage.delete(&id).await?;
    Ok(())
}
