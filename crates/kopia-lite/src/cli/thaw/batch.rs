//! `thaw start --batch`: the list is handed to S3 Batch Operations, which asks for each pack.

use anyhow::Context;
use blob_core::{BlobError, OsEntropy, Tier};
use clap::Args;
use cold_storage::{
    batch::{
        JobReport, JobRequest, JobState, JobStatus, Manifest, ManifestLocation, ReportManifest,
        ReportScope,
    },
    thaw::{BatchJob, Header, Journal, Noted, Step, ThawPlan, ThawRun, new_id},
};
use s3_backend::S3Storage;
use serde_json::{Value, json};

use crate::{
    cli::{
        App,
        prices::PriceFlags,
        thaw::{
            json::{Now, thaw as thaw_json},
            show::at,
        },
    },
    compose::Client,
    exit::{Exit, Failure},
    jobs::thaw::folder,
    ui::{json::JsonFlags, text},
};

/// Where manifests and reports go, if nothing else is said. A slash makes it no blob.
const PLACE: &str = "kopia-lite-thaws";
/// Failures that a status names.
const FAILURES_SHOWN: usize = 10;

/// A job of S3 Batch Operations.
#[derive(Debug, Clone, Args)]
pub struct BatchFlags {
    /// Hand the list to S3 Batch Operations instead of asking for each pack: for millions of them.
    #[arg(long, requires = "role_arn", conflicts_with = "fallback_tier")]
    pub batch: bool,
    /// With --batch: the role that the job works as.
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// With --batch: the key of the manifest in the repository's bucket.
    #[arg(long, value_name = "KEY", requires = "batch")]
    manifest_location: Option<String>,
    /// With --batch: what the keys of the job's report begin with.
    #[arg(long, value_name = "PREFIX", requires = "batch")]
    report_location: Option<String>,
    /// With --batch: jobs of a higher number go first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    priority: u32,
}

impl BatchFlags {
    /// Takes out of `plan` what a job can't do, before anybody is asked for consent.
    pub fn prepare(&self, app: &App, client: &Client, plan: &mut ThawPlan) -> anyhow::Result<()> {
        let bucket = client.bucket.as_ref().context("only S3 has Batch Operations")?;
        if plan.items.iter().any(|item| matches!(item.step, Step::Start(_))) {
            manifest_of(bucket, plan)?;
        }
        let mut others = 0;
        for item in &mut plan.items {
            let instead = match item.step {
                Step::Extend(_) => Step::Nothing,
                Step::Upgrade(_) => Step::Wait,
                Step::Start(_) | Step::Nothing | Step::Wait | Step::Lost => continue,
            };
            others += 1;
            item.step = instead;
        }
        if others > 0 {
            app.warn(format!(
                "{others} packs have copies, or get them: what is to be changed of those a job \
                 can't do, for it has one number of days for all; ask for it without --batch"
            ));
        }
        // A job that can't be noted is one that nobody could wait for.
        Ok(Journal::check(&folder(app))?)
    }

    /// Uploads the manifest, creates the job and notes it. Where the right to one of them is missing,
    /// prints what an administrator needs.
    pub async fn run(
        &self,
        app: &App,
        client: &Client,
        plan: ThawPlan,
        arguments: &[String],
        prices: &PriceFlags,
        json_flags: JsonFlags,
    ) -> anyhow::Result<Exit> {
        let bucket = client.bucket.as_ref().context("only S3 has Batch Operations")?;
        // What is asked of the bucket passes no layer that would refuse it.
        if app.connection()?.readonly {
            return Err(BlobError::ReadOnly { op: "thaw" }.into());
        }
        let table = prices.table()?;
        let role = self.role_arn.clone().context("--batch needs --role-arn")?;
        let id = new_id(app.now(), &OsEntropy);
        let manifest = manifest_of(bucket, &plan)?;
        let count = manifest.count();
        let key = self.manifest_location.clone();
        let key = key.unwrap_or_else(|| format!("{PLACE}/{id}.csv"));
        let report = self.report_location.clone();
        let report = report.unwrap_or_else(|| format!("{PLACE}/{id}"));
        let request = |etag: String| JobRequest {
            account: account_of(&role),
            role_arn: role.clone(),
            tier: plan.tier,
            days: plan.days,
            manifest: ManifestLocation { bucket: bucket.bucket().into(), key: key.clone(), etag },
            report: Some(JobReport {
                bucket: bucket.bucket().to_owned(),
                prefix: report.clone(),
                scope: ReportScope::FailedOnly,
            }),
            priority: self.priority,
            token: id.clone(),
            description: Some(format!("kopia-lite thaw {id}")),
        };
        // What can't be asked for is refused before anything is uploaded.
        request("0".to_owned()).to_xml()?;
        let bytes = bytes::Bytes::from(manifest.into_bytes());
        let etag = match bucket.put_object(&key, bytes.clone(), "text/csv").await {
            Ok(etag) => etag,
            Err(BlobError::AccessDenied { reason, .. }) => {
                let file = folder(app).join(format!("{id}.csv"));
                fs_err::create_dir_all(folder(app))?;
                fs_err::write(&file, &bytes)?;
                text::line(format!("aws s3 cp {} s3://{}/{key}", file.display(), bucket.bucket()));
                text::line(request("ETAG-OF-THE-MANIFEST".to_owned()).command(&bucket.region())?);
                let message = format!(
                    "the manifest could not be uploaded as {key}: {reason}. It lies in {}; the \
                     commands for somebody who may are on standard output",
                    file.display()
                );
                return Err(Failure::new(Exit::Denied, message).into());
            }
            Err(error) => return Err(error).context("cannot upload the manifest"),
        };
        let request = request(etag);
        let account = request.account.clone();
        let job = match bucket.create_batch_job(&account, request.to_xml()?).await {
            Ok(job) => job,
            Err(error @ (BlobError::AccessDenied { .. } | BlobError::Unsupported { .. })) => {
                text::line(request.command(&bucket.region())?);
                let message = format!(
                    "the job was not created ({error}): it takes s3:CreateJob and iam:PassRole. The \
                     manifest lies at {key}; the command for somebody who may is on standard output"
                );
                return Err(Failure::new(Exit::Denied, message).into());
            }
            Err(error) => return Err(error).context("cannot create the job"),
        };
        let header = Header {
            thaw_id: id.clone(),
            storage: client.bare.info().name.clone(),
            arguments: arguments.to_vec(),
            job: Some(BatchJob { account, id: job.clone(), report }),
            cost: plan.cost(&table, prices.transfer()),
            plan,
        };
        Journal::create(&folder(app), &header)
            .with_context(|| format!("job {job} was created, but can't be noted"))?;
        if json_flags.json {
            let now = Now::after(&header.plan, &ThawRun::default());
            let noted = Noted { header, fallback: None, notes: Vec::new() };
            let mut value = thaw_json(&noted, Some(&now), None, &table);
            value["manifest"] = json!({"bucket": bucket.bucket(), "key": key});
            json_flags.print(&value);
        } else {
            text::line(format!("Thaw {id}, job {job}"));
            app.info(format!(
                "The job asks for {count} packs. Readable by about {}, if it begins at once. To wait: \
                 kopia-lite thaw wait {id}",
                at(app, header.plan.expected_end())
            ));
        }
        Ok(Exit::Done)
    }
}

/// The list of what a job has to ask for: all packs without a copy.
pub fn manifest_of(bucket: &S3Storage, plan: &ThawPlan) -> anyhow::Result<Manifest> {
    anyhow::ensure!(plan.tier != Tier::Expedited, "Batch Operations has no expedited tier");
    let starts = plan.items.iter().filter(|item| matches!(item.step, Step::Start(_)));
    let blobs = starts.map(|item| item.blob.as_str());
    Ok(Manifest::of(bucket.bucket(), bucket.prefix(), blobs)?)
}

/// The account in a role's ARN: `arn:aws:iam::ACCOUNT:role/NAME`.
fn account_of(role: &str) -> String {
    role.split(':').nth(4).unwrap_or_default().to_owned()
}

/// How far the job of a thaw is, and what it could not ask for.
#[derive(Debug)]
pub struct JobProgress {
    status: JobStatus,
    /// The first of what failed: key and why.
    failed: Vec<(String, String)>,
}

impl JobProgress {
    /// Asks for it.
    pub async fn of(client: &Client, job: &BatchJob) -> anyhow::Result<Self> {
        let bucket = client.bucket.as_ref().context("only S3 has Batch Operations")?;
        let answer = bucket.describe_batch_job(&job.account, &job.id).await?;
        let status = JobStatus::parse(&answer)?;
        let mut failed = Vec::new();
        if status.state.is_over() && status.failed > 0 {
            failed = failures(bucket, job).await?;
        }
        Ok(Self { status, failed })
    }

    /// Packs that it has asked for.
    pub fn succeeded(&self) -> u64 {
        self.status.succeeded
    }

    /// The first keys that it could not ask for, and why.
    pub fn failed(&self) -> &[(String, String)] {
        &self.failed
    }

    /// Will it still ask for packs?
    pub fn is_running(&self) -> bool {
        !self.status.state.is_over()
    }

    /// Did it end without having worked?
    pub fn has_failed(&self) -> bool {
        matches!(self.status.state, JobState::Failed(_))
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let JobStatus { id, state, total, succeeded, failed, reasons, .. } = &self.status;
        let mut lines = vec![format!(
            "  job {id}: {}, {succeeded} of {total} packs asked for, {failed} failed",
            state.as_str()
        )];
        lines.extend(reasons.iter().map(|one| format!("    {}: {}", one.code, one.reason)));
        lines.extend(self.failed.iter().map(|(key, why)| format!("    {key}: {why}")));
        lines
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let JobStatus { id, state, total, succeeded, failed, reasons, .. } = &self.status;
        let reasons = reasons.iter().map(|one| format!("{}: {}", one.code, one.reason));
        let blobs = self.failed.iter().map(|(key, why)| json!({"key": key, "error": why}));
        json!({
            "id": id, "state": state.as_str(), "total": total, "succeeded": succeeded,
            "failed": failed, "reasons": reasons.collect::<Vec<_>>(),
            "failures": blobs.collect::<Vec<_>>(),
        })
    }
}

/// The first failures that the job's report names.
async fn failures(bucket: &S3Storage, job: &BatchJob) -> anyhow::Result<Vec<(String, String)>> {
    let scope = ReportScope::FailedOnly;
    let report =
        JobReport { bucket: bucket.bucket().to_owned(), prefix: job.report.clone(), scope };
    let Some(list) = bucket.get_object(&report.manifest_key(&job.id)).await? else {
        return Ok(Vec::new()); // not written as yet
    };
    let list = ReportManifest::parse(&list)?;
    let mut failed = Vec::new();
    for file in &list.results {
        let Some(csv) = bucket.get_object(&file.key).await? else { continue };
        for row in list.rows(&csv)?.into_iter().filter(|row| !row.succeeded) {
            let code = row.code.unwrap_or_default();
            failed.push((row.key, format!("{code} {}", row.message).trim().to_owned()));
            if failed.len() == FAILURES_SHOWN {
                return Ok(failed);
            }
        }
    }
    Ok(failed)
}
