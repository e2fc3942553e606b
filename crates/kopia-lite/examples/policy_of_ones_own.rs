//! A repository whose storage classes a closure decides, instead of the bucket's `.storageconfig`.
//!
//! `cargo run -p kopia-lite --example policy_of_ones_own`

use std::sync::Arc;

use blob_core::{BlobId, FnPolicy, MemoryStorage, PutAttributes, StorageClass};
use kopia_lite::{compose::ClientBuilder, connect::backends::Backend};
use kopia_repo::CreateOptions;
use secrecy::SecretString;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let memory = MemoryStorage::new();
    let backend =
        Backend { storage: Arc::new(memory.clone()), has_storage_config: true, bucket: None };
    let password = SecretString::from("a password");

    let packs_only = FnPolicy::new(|id: &BlobId, _length| PutAttributes {
        class: id.starts_with("p").then_some(StorageClass::GLACIER_IR),
        ..PutAttributes::default()
    });
    let builder = ClientBuilder::over(backend).policy(packs_only);
    builder.create(&password, CreateOptions::default()).await?;

    let client = builder.open(&password).await?;
    let writer = client.repo.writer()?;
    let content = writer.put_content("some data".into(), None, None).await?;
    writer.flush().await?;

    println!("content {content} is in one of these blobs:");
    for id in memory.ids() {
        let class = memory.attributes(&id).and_then(|attributes| attributes.class);
        let class = class.map_or("STANDARD".to_owned(), |class| class.to_string());
        println!("  {id}  {class}");
    }
    Ok(())
}
