//! Lists the blobs that a connection leads to, with class and state.
//!
//! `cargo run -p s3-backend --example list -- CONFIG.json [PREFIX]`, where `CONFIG.json` holds the
//! `config` object of one of Kopia's connection files. Without arguments it starts a test server
//! and lists that.

use std::error::Error;

use blob_core::{BlobId, BlobStorage, PutOptions};
use futures::TryStreamExt;
use s3_backend::{S3Options, S3Storage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(config) = arguments.next() else { return demonstrate().await };
    let options: S3Options = serde_json::from_str(&std::fs::read_to_string(config)?)?;
    print(&S3Storage::open(options)?, &arguments.next().unwrap_or_default()).await
}

async fn print(storage: &S3Storage, prefix: &str) -> Result<(), Box<dyn Error>> {
    println!("{}", storage.info().name);
    let mut blobs = storage.list(prefix);
    while let Some(blob) = blobs.try_next().await? {
        let class = blob.class.map_or_else(|| "-".to_owned(), |class| class.to_string());
        let state = blob.state.map_or_else(|| "-".to_owned(), |state| format!("{state:?}"));
        println!("{:>10}  {class:<20}  {state:<10}  {}", blob.size, blob.id);
    }
    Ok(())
}

async fn demonstrate() -> Result<(), Box<dyn Error>> {
    let server = s3_testkit::TestServer::start(Default::default()).await?;
    let keys = server.credentials().ok_or("the server has no keys")?;
    let storage = S3Storage::open(S3Options {
        bucket: server.bucket().into(),
        endpoint: server.addr().to_string(),
        do_not_use_tls: true,
        access_key_id: keys.access_key.clone(),
        secret_access_key: keys.secret_key.as_str().into(),
        ..S3Options::default()
    })?;
    for name in ["kopia.repository", "p0001", "q0001"] {
        let id = BlobId::new(name)?;
        storage.put(&id, name.as_bytes().to_vec().into(), &PutOptions::default()).await?;
    }
    print(&storage, "").await
}
