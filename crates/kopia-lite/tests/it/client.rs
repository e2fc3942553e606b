//! The client as a library, and its policy as one layer among others (requirement C5).

use std::sync::Arc;

use blob_core::{
    BlobId, BlobStorage, FnPolicy, MemoryStorage, Payload, PutAttributes, PutOptions, StorageClass,
};
use kopia_lite::{
    compose::{Client, ClientBuilder, ClientOptions},
    connect::backends::Backend,
};
use kopia_repo::CreateOptions;
use secrecy::SecretString;

const CONFIG: &str = r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR"}]}"#;

fn backend(memory: &MemoryStorage) -> Backend {
    Backend { storage: Arc::new(memory.clone()), has_storage_config: true, bucket: None }
}

fn password() -> SecretString {
    "a password".into()
}

/// Writes a content through a client that `with` was done to, and gives the class of its pack and
/// of its index.
async fn classes_of(
    with: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> [Option<StorageClass>; 2] {
    let memory = MemoryStorage::new();
    let id = BlobId::new(".storageconfig").unwrap();
    memory.put(&id, Payload::from(CONFIG), &PutOptions::default()).await.unwrap();
    let builder = with(ClientBuilder::over(backend(&memory)));
    builder.create(&password(), CreateOptions::default()).await.unwrap();
    let client = builder.open(&password()).await.unwrap();
    let writer = client.repo.writer().unwrap();
    let content = writer.put_content("data".into(), None, None).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(client.repo.content(&content).await.unwrap(), "data");
    let of = |prefix: &str| {
        let ids = memory.ids();
        let id = ids.iter().find(|id| id.starts_with(prefix)).unwrap();
        memory.attributes(id).unwrap().class
    };
    [of("p"), of("xn")]
}

#[tokio::test]
async fn the_policy_is_the_files_somebody_elses_or_nobodys_and_nothing_else_changes() {
    let by_file = classes_of(|builder| builder).await;
    assert_eq!(by_file, [Some(StorageClass::GLACIER_IR), None]);
    let by_nobody = classes_of(ClientBuilder::no_policy).await;
    assert_eq!(by_nobody, [None, None]);
    let index_only = FnPolicy::new(|id: &BlobId, _length| PutAttributes {
        class: id.starts_with("x").then_some(StorageClass::STANDARD_IA),
        ..PutAttributes::default()
    });
    let by_closure = classes_of(|builder| builder.policy(index_only)).await;
    assert_eq!(by_closure, [None, Some(StorageClass::STANDARD_IA)]);
}

#[tokio::test]
async fn a_storage_without_such_a_file_is_never_asked_for_one() {
    let memory = MemoryStorage::new();
    let backend = Backend { has_storage_config: false, ..backend(&memory) };
    let builder = ClientBuilder::over(backend.clone());
    builder.create(&password(), CreateOptions::default()).await.unwrap();
    let client = Client::open(backend, &password(), ClientOptions::default()).await.unwrap();
    assert!(client.storage_config.is_none());
    let asked = client.metrics.snapshot().of(blob_core::layers::Operation::Get, ".");
    assert_eq!(asked.attempts, 0);
}

#[tokio::test]
async fn a_read_only_client_writes_nothing() {
    let memory = MemoryStorage::new();
    let builder = ClientBuilder::over(backend(&memory));
    builder.create(&password(), CreateOptions::default()).await.unwrap();
    let before = memory.ids();
    let options = ClientOptions { read_only: true, ..ClientOptions::default() };
    let client = Client::open(backend(&memory), &password(), options).await.unwrap();
    assert!(client.repo.writer().is_err());
    assert_eq!(memory.ids(), before);
}
