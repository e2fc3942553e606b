//! Jobs of Batch Operations, and the objects that go with them.

use blob_core::{Archive, BlobError, BlobStorage, ReadRange, ReadState};
use s3_backend::{S3Options, S3Storage};
use s3_testkit::{Fault, JOB_PREPARES, Kind, TestServer};

use crate::support::{BUCKET, id, open, options, server, storage};

const ACCOUNT: &str = "111122223333";
const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// The body of CreateJob, as the API reference writes it.
fn request(etag: &str, token: &str) -> String {
    format!(
        "<CreateJobRequest xmlns=\"http://awss3control.amazonaws.com/doc/2018-08-20/\">\
         <ConfirmationRequired>false</ConfirmationRequired><Operation><S3InitiateRestoreObject>\
         <ExpirationInDays>7</ExpirationInDays><GlacierJobTier>BULK</GlacierJobTier>\
         </S3InitiateRestoreObject></Operation><Report><Bucket>arn:aws:s3:::{BUCKET}</Bucket>\
         <Format>Report_CSV_20180820</Format><Enabled>true</Enabled><Prefix>jobs</Prefix>\
         <ReportScope>AllTasks</ReportScope></Report>\
         <ClientRequestToken>{token}</ClientRequestToken><Manifest><Spec>\
         <Format>S3BatchOperations_CSV_20180820</Format><Fields><member>Bucket</member>\
         <member>Key</member></Fields></Spec><Location>\
         <ObjectArn>arn:aws:s3:::{BUCKET}/jobs/m.csv</ObjectArn><ETag>{etag}</ETag></Location>\
         </Manifest><Priority>10</Priority>\
         <RoleArn>arn:aws:iam::{ACCOUNT}:role/thaw</RoleArn></CreateJobRequest>"
    )
}

async fn started(storage: &S3Storage, manifest: String) -> String {
    let etag = storage.put_object("jobs/m.csv", manifest.into(), "text/csv").await.unwrap();
    storage.create_batch_job(ACCOUNT, request(&etag, "t1")).await.unwrap()
}

/// What the job's description says after it has worked.
async fn ended(server: &TestServer, storage: &S3Storage, job: &str) -> String {
    server.clock().advance(JOB_PREPARES);
    let told = storage.describe_batch_job(ACCOUNT, job).await.unwrap();
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_thaws_what_its_manifest_lists() {
    let server = server().await;
    let storage = open(S3Options { prefix: "a b/".into(), ..options(&server) });
    for name in ["p1", "p2", "p3"] {
        server.objects().put_with_class(&format!("a b/{name}"), "cold", "DEEP_ARCHIVE");
    }
    server.requests().clear();
    let manifest = format!("{BUCKET},a+b/p1\n{BUCKET},a+b/p2\n{BUCKET},a+b/none\n");
    let job = started(&storage, manifest.clone()).await;

    let put = &server.requests().of(Kind::Put, "jobs/")[0];
    assert_eq!((put.key.as_str(), put.header("x-amz-storage-class")), ("jobs/m.csv", None));
    let create = &server.requests().of(Kind::Batch, "jobs")[0];
    assert_eq!(create.header("x-amz-account-id"), Some(ACCOUNT));
    let signature = create.header("authorization").unwrap();
    assert!(signature.contains("/us-east-1/s3/aws4_request"), "{signature}");
    assert!(signature.contains("x-amz-account-id"), "{signature}");
    assert_eq!(create.query, "");

    let told = storage.describe_batch_job(ACCOUNT, &job).await.unwrap();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("<Status>Preparing</Status>"), "{told}");
    assert_eq!(storage.read_state(&id("p1")).await.unwrap(), ReadState::Cold);
    let told = ended(&server, &storage, &job).await;
    assert!(told.contains("<Status>Complete</Status>"), "{told}");
    assert!(
        told.contains("<NumberOfTasksSucceeded>2<") && told.contains("<NumberOfTasksFailed>1<")
    );
    let states = [id("p1"), id("p2"), id("p3")];
    let mut found = Vec::new();
    for blob in &states {
        found.push(storage.read_state(blob).await.unwrap());
    }
    assert_eq!(found, [ReadState::Thawing, ReadState::Thawing, ReadState::Cold]);
    assert_eq!(server.requests().of(Kind::Restore, "").len(), 0, "the job asks, not the client");
    server.clock().advance(49 * HOUR);
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"cold"[..]);

    let key = format!("jobs/job-{job}/manifest.json");
    let list = storage.get_object(&key).await.unwrap().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let failed = list["Results"].as_array().unwrap().iter();
    let failed = failed.clone().find(|it| it["TaskExecutionStatus"] == "failed").unwrap();
    let csv = storage.get_object(failed["Key"].as_str().unwrap()).await.unwrap().unwrap();
    let csv = String::from_utf8_lossy(&csv).into_owned();
    assert!(csv.starts_with(&format!("{BUCKET},a+b/none,,failed,NoSuchKey,404,")), "{csv}");
    assert_eq!(storage.get_object("jobs/nothing").await.unwrap(), None);
    // The same request again is the same job, another one with its token is none.
    let etag = server.objects().get("jobs/m.csv").unwrap().etag;
    let again = storage.create_batch_job(ACCOUNT, request(&etag, "t1")).await.unwrap();
    assert_eq!(again, job);
    let other = storage.create_batch_job(ACCOUNT, request("other", "t1")).await.unwrap_err();
    assert!(matches!(other, BlobError::InvalidOption { .. }), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_none_fails_the_job() {
    let lines = [
        (format!("Bucket,Key\n{BUCKET},p1\n"), "InvalidManifestContent"),
        ("Bucket,Key\n".to_owned(), "NoSuchBucket"),
        (format!("{BUCKET},p1,v1\n"), "InvalidManifestContent"),
        (String::from("\n"), "InvalidManifestContent"),
    ];
    for (manifest, code) in lines {
        let server = server().await;
        let storage = storage(&server);
        server.objects().put_with_class("p1", "cold", "GLACIER");
        let job = started(&storage, manifest).await;
        let told = ended(&server, &storage, &job).await;
        assert!(told.contains("<Status>Failed</Status>"), "{told}");
        assert!(told.contains(&format!("<FailureCode>{code}</FailureCode>")), "{told}");
        assert_eq!(storage.read_state(&id("p1")).await.unwrap(), ReadState::Cold);
    }
    // An ETag of other bytes: somebody changed the manifest after it was uploaded.
    let server = server().await;
    let storage = storage(&server);
    let manifest = format!("{BUCKET},p1\n");
    storage.put_object("jobs/m.csv", manifest.into(), "text/csv").await.unwrap();
    let job = storage.create_batch_job(ACCOUNT, request("0123", "t2")).await.unwrap();
    let told = ended(&server, &storage, &job).await;
    assert!(told.contains("<FailureCode>ManifestETagMismatch</FailureCode>"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_and_a_wrong_request_are_told_apart() {
    let server = server().await;
    let storage = storage(&server);
    server.faults().push(Fault::access_denied().on(Kind::Batch));
    let error = storage.create_batch_job(ACCOUNT, request("e", "t")).await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { .. }), "{error:?}");
    // Wrapped in another document, as S3 Control does.
    let error = storage.create_batch_job("999999999999", request("e", "t")).await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { .. }), "{error:?}");
    assert!(error.to_string().contains("Access Denied"), "{error}");
    let fast = request("e", "t").replace("BULK", "EXPEDITED");
    let error = storage.create_batch_job(ACCOUNT, fast).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    assert!(error.to_string().contains("not STANDARD or BULK"), "{error}");
    let error = storage.describe_batch_job(ACCOUNT, "00-no-such-job").await.unwrap_err();
    assert!(error.to_string().contains("The job does not exist."), "{error}");
    let before = server.requests().total();
    for (account, job) in [("1", "j"), ("evil.example/", "j"), (ACCOUNT, ""), (ACCOUNT, "../x")] {
        let error = storage.describe_batch_job(account, job).await.unwrap_err();
        assert!(matches!(error, BlobError::InvalidOption { .. }), "{account} {job:?}: {error:?}");
    }
    assert_eq!(server.requests().total(), before, "nothing of it was sent");
    server.faults().push(Fault::error_in_ok("InternalError").on(Kind::Batch));
    let error = storage.describe_batch_job(ACCOUNT, "j").await.unwrap_err();
    assert!(matches!(error, BlobError::Transient { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_where_they_are_told_to() {
    let (server, control) = (server().await, server().await);
    let builder = || S3Storage::builder(options(&server));
    let told = builder().environment(|_| None).control_endpoint(control.endpoint());
    told.open().unwrap().create_batch_job(ACCOUNT, request("e", "t")).await.unwrap();
    let url = control.endpoint();
    let name = "AWS_ENDPOINT_URL_S3_CONTROL";
    let found = builder().environment(move |it| (it == name).then(|| url.clone()));
    found.open().unwrap().create_batch_job(ACCOUNT, request("e", "t2")).await.unwrap();
    assert_eq!(control.requests().of(Kind::Batch, "").len(), 2);
    assert_eq!(server.requests().total(), 0);
    let wrong = builder().environment(|_| None).control_endpoint("localhost:1").open();
    assert!(matches!(wrong, Err(BlobError::InvalidOption { .. })), "{wrong:?}");
}
