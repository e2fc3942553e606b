//! A thaw by Batch Operations, from the plan's blobs to readable ones: the parts fit each other.

use blob_core::{BlobStorage, Tier};
use cold_storage::batch::{
    JobReport, JobRequest, JobState, JobStatus, Manifest, ManifestLocation, ReportManifest,
    ReportScope,
};
use futures::TryStreamExt;
use s3_testkit::JOB_PREPARES;

use crate::env::S3Env;

const ACCOUNT: &str = "111122223333";

#[test]
fn a_job_made_of_blobs_thaws_them_and_reports_what_it_could_not() {
    let s3 = S3Env::new();
    let storage = s3.storage("my backups/ü+1/");
    let objects = s3.server.objects();
    for name in ["p1", "p2"] {
        objects.put_with_class(&format!("my backups/ü+1/{name}"), "cold", "GLACIER");
    }
    objects.put("my backups/ü+1/p3", "warm");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (status, rows) = runtime.block_on(async {
        let all: Vec<_> = storage.list("p").try_collect().await.unwrap();
        let blobs = all.iter().map(|meta| &meta.id);
        let manifest = Manifest::of(storage.bucket(), storage.prefix(), blobs).unwrap();
        assert_eq!(manifest.count(), 3);
        let key = "thaws/a & b.csv".to_owned();
        let bytes = manifest.into_bytes().into();
        let etag = storage.put_object(&key, bytes, "text/csv").await.unwrap();
        let bucket = storage.bucket().to_owned();
        let report =
            JobReport { bucket: bucket.clone(), prefix: "thaws/".into(), scope: ReportScope::All };
        let request = JobRequest {
            account: ACCOUNT.into(),
            role_arn: format!("arn:aws:iam::{ACCOUNT}:role/thaw"),
            tier: Tier::Standard,
            days: 7,
            manifest: ManifestLocation { bucket, key, etag },
            report: Some(report.clone()),
            priority: 10,
            token: "t-20261124-130531-9c1f".into(),
            description: Some("kopia-lite: thaw <3 packs>".into()),
        };
        let xml = request.to_xml().unwrap();
        let job = storage.create_batch_job(ACCOUNT, xml).await.unwrap();
        let describe = || async {
            JobStatus::parse(&storage.describe_batch_job(ACCOUNT, &job).await.unwrap()).unwrap()
        };
        assert_eq!(describe().await.state, JobState::Running("Preparing".into()));
        s3.server.clock().advance(JOB_PREPARES);
        let status = describe().await;
        assert_eq!(status.id, job);
        let list = storage.get_object(&report.manifest_key(&job)).await.unwrap().unwrap();
        let list = ReportManifest::parse(&list).unwrap();
        let mut rows = Vec::new();
        for file in &list.results {
            let csv = storage.get_object(&file.key).await.unwrap().unwrap();
            rows.extend(list.rows(&csv).unwrap());
        }
        (status, rows)
    });
    assert_eq!(status.state, JobState::Complete);
    assert_eq!((status.total, status.succeeded, status.failed), (3, 2, 1));
    let failed: Vec<_> = rows.iter().filter(|row| !row.succeeded).collect();
    assert!(failed.len() == 1 && failed[0].is_of("my backups/ü+1/p3"), "{rows:?}");
    assert_eq!(failed[0].code.as_deref(), Some("InvalidObjectState"));
    assert_eq!(failed[0].http_status, Some(403));
    for name in ["p1", "p2"] {
        let thaw = objects.get(&format!("my backups/ü+1/{name}")).unwrap().restore.unwrap();
        assert_eq!((thaw.tier, thaw.days), (s3_testkit::Tier::Standard, Some(7)));
    }
}
