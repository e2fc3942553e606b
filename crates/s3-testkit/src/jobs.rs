//! Jobs of S3 Batch Operations: what was asked for, and what became of it.
//!
//! The form of a request is checked as the API reference writes it ("CreateJob", S3 Control API),
//! more strictly than S3 may do: a client that deviates should not learn it from S3. What can only
//! be known from the manifest makes the job fail later, as with S3.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::tree::Element;

/// How long a job prepares, by the server's clock, before it makes its requests.
pub const JOB_PREPARES: Duration = Duration::from_secs(60);

const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub needs_confirmation: bool,
    pub days: Option<u32>,
    /// `Standard` or `Bulk`, as RestoreObject has them.
    pub tier: &'static str,
    /// Bucket, prefix, and whether only failures are reported.
    pub report: Option<(String, String, bool)>,
    pub token: String,
    pub has_versions: bool,
    /// Bucket and key of the manifest.
    pub manifest: (String, String),
    pub etag: String,
    pub priority: u32,
    pub role: String,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Waiting,
    Failed { code: &'static str, reason: String },
    Done { succeeded: u64, failed: u64 },
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub id: String,
    pub created: SystemTime,
    pub order: Order,
    /// The request as it came: another one with the same token is an error.
    pub request: Bytes,
    pub outcome: Outcome,
}

impl Job {
    pub fn state(&self) -> &'static str {
        match &self.outcome {
            Outcome::Waiting if self.order.needs_confirmation => "Suspended",
            Outcome::Waiting => "Preparing",
            Outcome::Failed { .. } => "Failed",
            Outcome::Done { .. } => "Complete",
        }
    }

    /// Has it to make its requests now?
    pub fn is_due(&self, now: SystemTime) -> bool {
        let waits = self.outcome == Outcome::Waiting && !self.order.needs_confirmation;
        waits && now >= self.created + JOB_PREPARES
    }
}

/// The jobs of one server, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<Vec<Job>>);

impl Jobs {
    pub fn lock(&self) -> MutexGuard<'_, Vec<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request is refused.
type Refused = String;

impl Order {
    /// Reads the body of CreateJob.
    pub fn parse(document: &[u8]) -> Result<Self, Refused> {
        let root = Element::parse(document)?;
        if root.name != "CreateJobRequest" || root.namespace != NAMESPACE {
            return Err("the root is not CreateJobRequest of the namespace of 2018-08-20".into());
        }
        expect(
            &root,
            &[
                "ConfirmationRequired",
                "Operation",
                "Report",
                "ClientRequestToken",
                "Manifest",
                "Description",
                "Priority",
                "RoleArn",
            ],
        )?;
        let restore = needed(needed(&root, "Operation")?, "S3InitiateRestoreObject")?;
        expect(needed(&root, "Operation")?, &["S3InitiateRestoreObject"])?;
        expect(restore, &["ExpirationInDays", "GlacierJobTier"])?;
        let days = restore.text_of("ExpirationInDays").map(|text| match text.parse() {
            Ok(days) if days > 0 => Ok(days),
            _ => Err(format!("ExpirationInDays is {text:?}")),
        });
        let tier = match text(restore, "GlacierJobTier")? {
            "BULK" => "Bulk",
            "STANDARD" => "Standard",
            other => return Err(format!("GlacierJobTier {other:?} is not STANDARD or BULK")),
        };
        let token = text(&root, "ClientRequestToken")?;
        if token.len() > 64 {
            return Err("ClientRequestToken has more than 64 characters".into());
        }
        let (has_versions, manifest, etag) = manifest(needed(&root, "Manifest")?)?;
        let role = text(&root, "RoleArn")?;
        if !role.starts_with("arn:aws:iam::") || !role.contains(":role/") {
            return Err(format!("RoleArn {role:?} names no role"));
        }
        let priority = text(&root, "Priority")?;
        Ok(Self {
            needs_confirmation: bool_of(&root, "ConfirmationRequired")?.unwrap_or(false),
            days: days.transpose()?,
            tier,
            report: report(needed(&root, "Report")?)?,
            token: token.to_owned(),
            has_versions,
            manifest,
            etag,
            priority: priority.parse().map_err(|_| format!("Priority is {priority:?}"))?,
            role: role.to_owned(),
        })
    }
}

fn report(element: &Element) -> Result<Option<(String, String, bool)>, Refused> {
    expect(element, &["Bucket", "Format", "Enabled", "Prefix", "ReportScope"])?;
    if bool_of(element, "Enabled")? != Some(true) {
        return Ok(None);
    }
    if text(element, "Format")? != "Report_CSV_20180820" {
        return Err("the report's Format is not Report_CSV_20180820".into());
    }
    let only_failed = match text(element, "ReportScope")? {
        "AllTasks" => false,
        "FailedTasksOnly" => true,
        other => return Err(format!("ReportScope is {other:?}")),
    };
    let bucket = text(element, "Bucket")?;
    let bucket = bucket.strip_prefix("arn:aws:s3:::").ok_or("the report's Bucket is no ARN")?;
    let prefix = element.text_of("Prefix").unwrap_or_default();
    Ok(Some((bucket.to_owned(), prefix.to_owned(), only_failed)))
}

fn manifest(element: &Element) -> Result<(bool, (String, String), String), Refused> {
    expect(element, &["Spec", "Location"])?;
    let (spec, location) = (needed(element, "Spec")?, needed(element, "Location")?);
    expect(spec, &["Format", "Fields"])?;
    expect(location, &["ObjectArn", "ETag"])?;
    if text(spec, "Format")? != "S3BatchOperations_CSV_20180820" {
        return Err("the manifest's Format is not S3BatchOperations_CSV_20180820".into());
    }
    let fields = &needed(spec, "Fields")?.children;
    let has_versions = match fields.iter().map(|it| (&*it.name, &*it.text)).collect::<Vec<_>>()[..]
    {
        [("member", "Bucket"), ("member", "Key")] => false,
        [("member", "Bucket"), ("member", "Key"), ("member", "VersionId")] => true,
        _ => return Err("Fields are not Bucket, Key and perhaps VersionId".into()),
    };
    let arn = text(location, "ObjectArn")?;
    let place = arn.strip_prefix("arn:aws:s3:::").and_then(|place| place.split_once('/'));
    let (bucket, key) = place.ok_or_else(|| format!("ObjectArn {arn:?} names no object"))?;
    let etag = text(location, "ETag")?.to_owned();
    Ok((has_versions, (bucket.to_owned(), key.to_owned()), etag))
}

fn expect(element: &Element, names: &[&str]) -> Result<(), Refused> {
    if element.has_only(names) {
        return Ok(());
    }
    let found: Vec<_> = element.children.iter().map(|child| child.name.as_str()).collect();
    Err(format!("{} has {found:?}; the order is {names:?}", element.name))
}

fn needed<'a>(element: &'a Element, name: &str) -> Result<&'a Element, Refused> {
    element.child(name).ok_or_else(|| format!("{} lacks {name}", element.name))
}

fn text<'a>(element: &'a Element, name: &str) -> Result<&'a str, Refused> {
    let text = needed(element, name)?.text.as_str();
    if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
}

fn bool_of(element: &Element, name: &str) -> Result<Option<bool>, Refused> {
    let text = element.text_of(name);
    text.map(|text| text.parse().map_err(|_| format!("{name} is {text:?}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request syntax of the API reference, as far as a thaw needs it.
    const REQUEST: &str = "<CreateJobRequest xmlns=\"http://awss3control.amazonaws.com/doc/2018-08-20/\">\
        <ConfirmationRequired>false</ConfirmationRequired><Operation><S3InitiateRestoreObject>\
        <ExpirationInDays>7</ExpirationInDays><GlacierJobTier>BULK</GlacierJobTier>\
        </S3InitiateRestoreObject></Operation><Report><Bucket>arn:aws:s3:::b</Bucket>\
        <Format>Report_CSV_20180820</Format><Enabled>true</Enabled><Prefix>r</Prefix>\
        <ReportScope>FailedTasksOnly</ReportScope></Report>\
        <ClientRequestToken>t</ClientRequestToken><Manifest><Spec>\
        <Format>S3BatchOperations_CSV_20180820</Format><Fields><member>Bucket</member>\
        <member>Key</member></Fields></Spec><Location><ObjectArn>arn:aws:s3:::b/m/x.csv</ObjectArn>\
        <ETag>e</ETag></Location></Manifest><Priority>10</Priority>\
        <RoleArn>arn:aws:iam::111122223333:role/x</RoleArn></CreateJobRequest>";

    #[test]
    fn a_request_as_documented_is_understood() {
        let order = Order::parse(REQUEST.as_bytes()).unwrap();
        assert_eq!((order.days, order.tier, order.priority), (Some(7), "Bulk", 10));
        assert_eq!(order.manifest, ("b".into(), "m/x.csv".into()));
        assert_eq!(order.report, Some(("b".into(), "r".into(), true)));
        let none = REQUEST.replace("<ExpirationInDays>7</ExpirationInDays>", "");
        assert_eq!(Order::parse(none.as_bytes()).unwrap().days, None);
    }

    #[test]
    fn whatever_deviates_is_refused() {
        let reason = |from: &str, to: &str| {
            assert!(REQUEST.contains(from), "{from}");
            Order::parse(REQUEST.replace(from, to).as_bytes()).unwrap_err()
        };
        assert!(reason("2018-08-20/\"", "2006-03-01/\"").contains("namespace"));
        assert!(reason("BULK", "EXPEDITED").contains("GlacierJobTier"));
        assert!(reason("BULK", "Bulk").contains("GlacierJobTier"));
        assert!(reason(">7<", ">0<").contains("ExpirationInDays"));
        assert!(reason("<member>Key</member>", "").contains("Fields"));
        assert!(reason("<ETag>e</ETag>", "").contains("lacks ETag"));
        assert!(reason("arn:aws:s3:::b/m/x.csv", "b/m/x.csv").contains("ObjectArn"));
        assert!(reason("FailedTasksOnly", "Failed").contains("ReportScope"));
        assert!(reason("<Priority>10</Priority>", "").contains("lacks Priority"));
        assert!(
            reason(
                "<ConfirmationRequired>false</ConfirmationRequired><Operation>",
                "<Operation><ConfirmationRequired>false</ConfirmationRequired>"
            )
            .contains("the order is")
        );
        assert!(
            reason("<Priority>10</Priority>", "<Priority>10</Priority><X/>").contains("the order")
        );
    }
}
