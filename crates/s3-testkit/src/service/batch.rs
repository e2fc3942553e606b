//! S3 Batch Operations, as far as thaws need them: CreateJob and DescribeJob of S3 Control.
//!
//! A job reads its manifest when it has been prepared, asks for each object as a client's
//! RestoreObject would, and writes its report; none of that is in the log of requests. Errors are
//! wrapped in `<ErrorResponse>`, as S3 Control does. The codes of failed jobs are this server's own.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::{Method, StatusCode};
use md5::{Digest as _, Md5};
use s3s::dto::{GlacierJobParameters, RestoreRequest, StreamingBlob, Tier};
use s3s::{Body, S3Error, S3Request, S3Response, S3Result};
use serde_json::json;

use super::Service;
use super::untyped::document;
use crate::access::header;
use crate::jobs::{Job, Order, Outcome};
use crate::objects::StoredObject;
use crate::text::{hex, iso_date, percent_decode, xml_escape};

const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";
const SCHEMA: &str = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage";

/// One object of a manifest: bucket, key as it is written there, version.
type Task = (String, String, Option<String>);
/// Why a job failed: code and sentence.
type Failed = (&'static str, String);

impl Service {
    /// Answers `/v20180820/jobs` and what is below.
    pub(super) async fn batch_request(
        &self,
        key: &str,
        request: S3Request<Body>,
    ) -> S3Result<S3Response<Body>> {
        let account = header(&request.headers, "x-amz-account-id").unwrap_or_default();
        if account.len() != 12 || account.bytes().any(|byte| !byte.is_ascii_digit()) {
            let message = "x-amz-account-id is not 12 digits";
            return Ok(refusal(StatusCode::BAD_REQUEST, "InvalidRequest", message));
        }
        if account != self.0.options.owner {
            return Ok(refusal(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied"));
        }
        match (&request.method, key.strip_prefix("jobs").unwrap_or_default()) {
            (&Method::POST, "") => {
                let body = Some(StreamingBlob::from(request.input));
                let received = self.receive(body, &request.headers, || None).await?;
                Ok(self.create_job(received.bytes))
            }
            (&Method::GET, id) => Ok(self.describe_job(id.trim_start_matches('/'))),
            _ => {
                let message = "The specified method is not allowed against this resource.";
                Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message))
            }
        }
    }

    fn create_job(&self, request: bytes::Bytes) -> S3Response<Body> {
        let order = match Order::parse(&request) {
            Ok(order) => order,
            Err(reason) => return refusal(StatusCode::BAD_REQUEST, "InvalidRequest", &reason),
        };
        let mut jobs = self.0.jobs.lock();
        if let Some(earlier) = jobs.iter().find(|job| job.order.token == order.token) {
            if earlier.request == request {
                return created(&earlier.id);
            }
            let message = "The token was used for another request.";
            return refusal(StatusCode::BAD_REQUEST, "IdempotencyException", message);
        }
        let id = format!("00000000-0000-4000-8000-{:012}", jobs.len() + 1);
        let (created_at, outcome) = (self.0.clock.now(), Outcome::Waiting);
        jobs.push(Job { id: id.clone(), created: created_at, order, request, outcome });
        created(&id)
    }

    fn describe_job(&self, id: &str) -> S3Response<Body> {
        let jobs = self.0.jobs.lock();
        let Some(job) = jobs.iter().find(|job| job.id == id) else {
            return refusal(StatusCode::NOT_FOUND, "NoSuchJob", "The job does not exist.");
        };
        let (succeeded, failed) = match job.outcome {
            Outcome::Done { succeeded, failed } => (succeeded, failed),
            _ => (0, 0),
        };
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <DescribeJobResult xmlns=\"{NAMESPACE}\"><Job><JobId>{id}</JobId>\
             <ConfirmationRequired>{}</ConfirmationRequired><Status>{}</Status>\
             <Priority>{}</Priority><ProgressSummary><TotalNumberOfTasks>{}</TotalNumberOfTasks>\
             <NumberOfTasksSucceeded>{succeeded}</NumberOfTasksSucceeded>\
             <NumberOfTasksFailed>{failed}</NumberOfTasksFailed></ProgressSummary>",
            job.order.needs_confirmation,
            job.state(),
            job.order.priority,
            succeeded + failed,
        );
        if let Outcome::Failed { code, reason } = &job.outcome {
            let reason = xml_escape(reason);
            let _ = write!(
                text,
                "<FailureReasons><member><FailureCode>{code}</FailureCode>\
                 <FailureReason>{reason}</FailureReason></member></FailureReasons>"
            );
        }
        let (time, role) = (iso_date(job.created), xml_escape(&job.order.role));
        let _ = write!(text, "<CreationTime>{time}</CreationTime><RoleArn>{role}</RoleArn>");
        text.push_str("</Job></DescribeJobResult>");
        document(text)
    }

    /// Lets jobs work that have been prepared by now.
    pub(crate) fn settle_jobs(&self) {
        let now = self.0.clock.now();
        let mut jobs = self.0.jobs.lock();
        for job in jobs.iter_mut().filter(|job| job.is_due(now)) {
            job.outcome = match self.run(job, now) {
                Ok((succeeded, failed)) => Outcome::Done { succeeded, failed },
                Err((code, reason)) => Outcome::Failed { code, reason },
            };
        }
    }

    fn run(&self, job: &Job, now: SystemTime) -> Result<(u64, u64), Failed> {
        let order = &job.order;
        let tasks = self.tasks(order)?;
        if let Some((bucket, ..)) = &order.report {
            self.require_bucket(bucket)?;
        }
        let asked = RestoreRequest {
            days: order.days.and_then(|days| i32::try_from(days).ok()),
            glacier_job_parameters: Some(GlacierJobParameters {
                tier: Tier::from(order.tier.to_owned()),
            }),
            ..RestoreRequest::default()
        };
        let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
        for task in tasks {
            let (bucket, key, version) = &task;
            let key = percent_decode(key, true);
            match self.restore_object(bucket, &key, version.as_deref(), &asked) {
                Ok(_) => succeeded.push(row(&task, None)),
                Err(error) => failed.push(row(&task, Some(&error))),
            }
        }
        if let Some((bucket, prefix, only_failed)) = &order.report {
            let reported: &[(&str, &[String])] = match only_failed {
                true => &[("failed", &failed)],
                false => &[("succeeded", &succeeded), ("failed", &failed)],
            };
            let slash = if prefix.is_empty() { "" } else { "/" };
            let folder = format!("{prefix}{slash}job-{}", job.id);
            self.write_report(bucket, &folder, reported, now);
        }
        Ok((succeeded.len() as u64, failed.len() as u64))
    }

    /// The objects that the manifest names.
    fn tasks(&self, order: &Order) -> Result<Vec<Task>, Failed> {
        let (bucket, key) = &order.manifest;
        let found = self.object(bucket, key, None);
        let (manifest, _) = found.map_err(|_| ("ManifestNotFound", "there is none".to_owned()))?;
        if manifest.etag != order.etag {
            return Err(("ManifestETagMismatch", "the manifest has another ETag".into()));
        }
        let text = String::from_utf8_lossy(&manifest.bytes);
        let mut tasks: Vec<Task> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let cells: Vec<_> = line.split(',').collect();
            let (bucket, key, version) = match (&cells[..], order.has_versions) {
                ([bucket, key], false) => (bucket, key, None),
                ([bucket, key, version], true) => (bucket, key, Some((*version).to_owned())),
                _ => {
                    let reason = format!("the line {line:?} has not the fields of the request");
                    return Err(("InvalidManifestContent", reason));
                }
            };
            if tasks.first().is_some_and(|(first, ..)| first != bucket) {
                let reason = "its objects are not all in one bucket".to_owned();
                return Err(("InvalidManifestContent", reason));
            }
            tasks.push(((*bucket).to_owned(), (*key).to_owned(), version));
        }
        match tasks.first() {
            Some((bucket, ..)) => self.require_bucket(bucket)?,
            None => return Err(("InvalidManifestContent", "it is empty".into())),
        }
        Ok(tasks)
    }

    fn require_bucket(&self, bucket: &str) -> Result<(), Failed> {
        let missing = |_| ("NoSuchBucket", format!("there is no bucket {bucket:?}"));
        self.with_bucket(bucket, |_, _| Ok(())).map_err(missing)
    }

    fn write_report(
        &self,
        bucket: &str,
        folder: &str,
        reported: &[(&str, &[String])],
        now: SystemTime,
    ) {
        let mut results = Vec::new();
        let mut files = Vec::new();
        for (status, rows) in reported.iter().filter(|(_, rows)| !rows.is_empty()) {
            let csv: String = rows.concat();
            let sum = hex(&Md5::digest(csv.as_bytes()));
            let key = format!("{folder}/results/{sum}.csv");
            results.push(json!({
                "TaskExecutionStatus": status, "Bucket": bucket, "MD5Checksum": sum, "Key": key,
            }));
            files.push((key, csv));
        }
        let list = json!({
            "Format": "Report_CSV_20180820",
            "ReportCreationDate": iso_date(now),
            "Results": results,
            "ReportSchema": SCHEMA,
        });
        files.push((format!("{folder}/manifest.json"), list.to_string()));
        // The bucket was there when the job began; whoever removes it meanwhile wants no report.
        let _ = self.with_bucket(bucket, |bucket, now| {
            for (key, text) in files {
                bucket.store(&key, StoredObject::new(text, now));
            }
            Ok(())
        });
    }
}

/// A line of a report.
fn row((bucket, key, version): &Task, error: Option<&S3Error>) -> String {
    let version = version.as_deref().unwrap_or_default();
    match error {
        None => format!("{bucket},{key},{version},succeeded,,200,Successful\n"),
        Some(error) => {
            let status = error.status_code().map_or(500, |status| status.as_u16());
            let message = error.message().unwrap_or_default().replace('"', "\"\"");
            let code = error.code().as_str();
            format!("{bucket},{key},{version},failed,{code},{status},\"{message}\"\n")
        }
    }
}

fn created(id: &str) -> S3Response<Body> {
    document(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <CreateJobResult xmlns=\"{NAMESPACE}\"><JobId>{id}</JobId></CreateJobResult>"
    ))
}

fn refusal(status: StatusCode, code: &str, message: &str) -> S3Response<Body> {
    let message = xml_escape(message);
    let mut response = document(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error></ErrorResponse>"
    ));
    response.status = Some(status);
    response
}
