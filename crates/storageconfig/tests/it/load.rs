//! Rows 14 to 16 of `storageconfig-cases.json`: what a storage may answer, and what that means.

use async_trait::async_trait;
use blob_core::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, Payload, PutOptions, PutReceipt, ReadRange,
    ReadState, Result, StorageClass, StorageInfo, Timestamp, Volume,
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use serde_json::Value;
use std::sync::Mutex;
use storageconfig::{FILE_NAME, LoadError, Loaded, load, store};

/// Answers as it is told, by the words of the cases; remembers what was put.
#[derive(Debug)]
struct Told {
    get: String,
    list: String,
    file: Mutex<Option<Bytes>>,
    puts: Mutex<Vec<PutOptions>>,
    info: StorageInfo,
}

fn told(get: &str, list: &str) -> Told {
    let info = StorageInfo { name: "told".into(), kind: "test", concurrency: 1, read_only: false };
    let (file, puts) = (Mutex::default(), Mutex::default());
    Told { get: get.into(), list: list.into(), file, puts, info }
}

fn failure(answer: &str, op: &'static str) -> BlobError {
    let id = BlobId::new(FILE_NAME).unwrap();
    match answer {
        "404 NoSuchKey" => BlobError::NotFound { id },
        "404 NoSuchBucket" => {
            BlobError::NoStorage { storage: "told".into(), reason: answer.into() }
        }
        "403 AccessDenied" => BlobError::AccessDenied { op, id: Some(id), reason: answer.into() },
        "403 InvalidObjectState" => BlobError::Archived {
            id,
            class: Some(StorageClass::DEEP_ARCHIVE),
            state: ReadState::Cold,
        },
        "5xx or timeout after all retries" => BlobError::Transient { op, source: answer.into() },
        other => panic!("unknown answer {other}"),
    }
}

#[async_trait]
impl BlobStorage for Told {
    fn info(&self) -> &StorageInfo {
        &self.info
    }
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        assert_eq!((id.as_str(), range), (FILE_NAME, ReadRange::Full));
        match (&*self.get, &*self.file.lock().unwrap()) {
            ("file", Some(bytes)) => Ok(bytes.clone()),
            ("file", None) => Err(BlobError::NotFound { id: id.clone() }),
            (answer, _) => Err(failure(answer, "get")),
        }
    }
    async fn head(&self, _: &BlobId) -> Result<BlobMeta> {
        panic!("nobody should ask")
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        assert_eq!(prefix, FILE_NAME);
        let meta = |name: &str, class| {
            Ok(BlobMeta {
                id: BlobId::new(name).unwrap(),
                size: 2,
                modified: Timestamp::default(),
                class,
                state: None,
                has_checksum: None,
            })
        };
        let answers = match &*self.list {
            "200, key not listed" => vec![meta(".storageconfig.bak", None)],
            "200, key listed" => vec![meta(FILE_NAME, Some(StorageClass::STANDARD))],
            "200, key listed as archived" => vec![meta(FILE_NAME, Some(StorageClass::GLACIER))],
            "nobody should ask" => panic!("listed for nothing"),
            answer => vec![Err(failure(answer, "list"))],
        };
        stream::iter(answers).boxed()
    }
    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        let mut file = self.file.lock().unwrap();
        if options.if_absent && file.is_some() {
            return Err(BlobError::AlreadyExists { id: id.clone() });
        }
        *file = Some(data.to_bytes().unwrap());
        self.puts.lock().unwrap().push(options.clone());
        Ok(PutReceipt::default())
    }
    async fn delete(&self, _: &BlobId) -> Result<()> {
        panic!("nobody should ask")
    }
    async fn close(&self) -> Result<()> {
        Ok(())
    }
    fn archive(&self) -> Option<&dyn Archive> {
        None
    }
    fn retain(&self) -> Option<&dyn blob_core::Retain> {
        None
    }
    fn volume(&self) -> Option<&dyn Volume> {
        None
    }
}

fn codes(result: &std::result::Result<Loaded, LoadError>) -> Vec<&'static str> {
    match result {
        Ok(loaded) => loaded.findings.iter().map(|finding| finding.code).collect(),
        Err(error) => error.code().into_iter().collect(),
    }
}

#[tokio::test]
async fn every_answer_of_a_store_has_the_outcome_of_its_case() {
    let cases: Value =
        serde_json::from_slice(include_bytes!("../../storageconfig-cases.json")).unwrap();
    let fetches = cases["cases"].as_array().unwrap().iter().filter_map(|c| c["fetch"].as_array());
    let fetches: Vec<_> = fetches.flatten().collect();
    assert_eq!(fetches.len(), 8);
    for fetch in fetches {
        let list = fetch["list"].as_str().unwrap_or("nobody should ask");
        let result = load(&told(fetch["get"].as_str().unwrap(), list)).await;
        let opens = fetch["ours"].as_str().unwrap().starts_with("opens");
        assert_eq!(result.is_ok(), opens, "{fetch}: {result:?}");
        let expected: Vec<_> = fetch["messages"].as_array().unwrap().iter().collect();
        let expected: Vec<_> = expected.iter().map(|m| m["code"].as_str().unwrap()).collect();
        assert_eq!(codes(&result), expected, "{fetch}");
        if let Ok(loaded) = result {
            assert!(loaded.config.is_empty() && loaded.text.is_none());
        }
    }
}

#[tokio::test]
async fn an_archived_file_is_told_from_a_forbidden_one_where_the_listing_knows() {
    let result = load(&told("403 AccessDenied", "200, key listed as archived")).await;
    assert_eq!(codes(&result), ["E-CONFIG-ARCHIVED"]);
}

#[tokio::test]
async fn a_file_that_kopia_refuses_keeps_the_repository_shut() {
    let storage = told("file", "nobody should ask");
    *storage.file.lock().unwrap() = Some(Bytes::from_static(b"{\"blobOptions\": {}}"));
    let error = load(&storage).await.unwrap_err();
    assert_eq!(error.code(), Some("E-TYPE"));
    assert_eq!(
        error.to_string(),
        ".storageconfig: line 1, column 17: blobOptions must be an array, not an object"
    );
}

#[tokio::test]
async fn a_file_is_stored_as_standard_json_and_never_over_a_change_of_somebody_else() {
    let storage = told("file", "nobody should ask");
    let text = br#"{"blobOptions":[{"storageClass":"STANDARD_IA"}]}"#.to_vec();
    store(&storage, text.clone(), None).await.unwrap();
    let loaded = load(&storage).await.unwrap();
    assert_eq!(loaded.config.class_of("p1"), Some("STANDARD_IA"));
    assert_eq!(codes(&Ok(loaded.clone())), ["N-IA-CHURN"]);

    let error = store(&storage, b"{}".to_vec(), None).await.unwrap_err();
    assert!(matches!(error, LoadError::Changed), "a new file over an old one: {error}");
    let error = store(&storage, b"{}".to_vec(), Some(b"{ }")).await.unwrap_err();
    assert!(matches!(error, LoadError::Changed), "{error}");
    store(&storage, b"{}".to_vec(), loaded.text.as_deref()).await.unwrap();

    let puts = storage.puts.lock().unwrap();
    assert_eq!(puts.len(), 2);
    for put in &*puts {
        assert_eq!(put.attributes.class, None);
        assert_eq!(put.content_type, Some("application/json"));
    }
    assert_eq!((puts[0].if_absent, puts[1].if_absent), (true, false));
}
