//! A job as it is asked for: the body of CreateJob, and the same as a command of AWS' client.
//!
//! Elements stand in the order of the API reference's request syntax ("CreateJob",
//! "S3InitiateRestoreObjectOperation", S3 Control API). Whatever a job can't be asked for is refused
//! here, before anything is uploaded.

use blob_core::Tier;
use serde_json::json;

use super::{BatchError, invalid};

const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";
const MANIFEST_FORMAT: &str = "S3BatchOperations_CSV_20180820";
const REPORT_FORMAT: &str = "Report_CSV_20180820";

/// A job that asks for readable copies of all objects of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// The account that the job is of: 12 digits.
    pub account: String,
    /// The role that the job works as, `arn:aws:iam::ACCOUNT:role/NAME`. Its partition (`aws`,
    /// `aws-cn` …) is that of the buckets, too.
    pub role_arn: String,
    /// How fast. There is no expedited job.
    pub tier: Tier,
    /// For how many days the copies are kept; at least 1.
    pub days: u16,
    /// Where the manifest was uploaded.
    pub manifest: ManifestLocation,
    /// Where the job reports; `None`: it doesn't.
    pub report: Option<JobReport>,
    /// Jobs of a higher number go first.
    pub priority: u32,
    /// A second request with the same token makes no second job. At most 64 characters.
    pub token: String,
    /// A text for people; at most 256 characters.
    pub description: Option<String>,
}

/// The object that is the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLocation {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its ETag, with quotes or without.
    pub etag: String,
}

/// Where a job reports, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// The bucket.
    pub bucket: String,
    /// What the report's keys begin with; `/job-ID/…` follows. May be empty.
    pub prefix: String,
    /// What is reported.
    pub scope: ReportScope,
}

impl JobReport {
    /// The key of the report of this job's list of files, read by [`super::ReportManifest`].
    pub fn manifest_key(&self, job: &str) -> String {
        match self.prefix() {
            "" => format!("job-{job}/manifest.json"),
            prefix => format!("{prefix}/job-{job}/manifest.json"),
        }
    }

    /// S3 puts a slash behind it by itself.
    fn prefix(&self) -> &str {
        self.prefix.trim_end_matches('/')
    }
}

/// Which objects a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReportScope {
    /// All.
    All,
    /// Those that failed.
    #[default]
    FailedOnly,
}

impl ReportScope {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "AllTasks",
            Self::FailedOnly => "FailedTasksOnly",
        }
    }
}

impl JobRequest {
    /// The body of CreateJob.
    ///
    /// # Errors
    /// [`BatchError::Invalid`]: the job can't be asked for so.
    pub fn to_xml(&self) -> Result<String, BatchError> {
        let tier = self.check()?;
        let mut xml = Xml::default();
        xml.open(&format!("CreateJobRequest xmlns=\"{NAMESPACE}\""));
        xml.text("ConfirmationRequired", "false");
        xml.open("Operation");
        xml.open("S3InitiateRestoreObject");
        xml.text("ExpirationInDays", &self.days.to_string());
        xml.text("GlacierJobTier", tier);
        xml.close("S3InitiateRestoreObject");
        xml.close("Operation");
        xml.open("Report");
        match &self.report {
            Some(report) => {
                xml.text("Bucket", &self.bucket_arn(&report.bucket));
                xml.text("Format", REPORT_FORMAT);
                xml.text("Enabled", "true");
                if !report.prefix().is_empty() {
                    xml.text("Prefix", report.prefix());
                }
                xml.text("ReportScope", report.scope.as_str());
            }
            None => xml.text("Enabled", "false"),
        }
        xml.close("Report");
        xml.text("ClientRequestToken", &self.token);
        xml.open("Manifest");
        xml.open("Spec");
        xml.text("Format", MANIFEST_FORMAT);
        xml.open("Fields");
        xml.text("member", "Bucket");
        xml.text("member", "Key");
        xml.close("Fields");
        xml.close("Spec");
        xml.open("Location");
        xml.text("ObjectArn", &self.manifest_arn());
        xml.text("ETag", self.etag());
        xml.close("Location");
        xml.close("Manifest");
        if let Some(description) = &self.description {
            xml.text("Description", description);
        }
        xml.text("Priority", &self.priority.to_string());
        xml.text("RoleArn", &self.role_arn);
        xml.close("CreateJobRequest");
        Ok(xml.0)
    }

    /// The command of AWS' client that creates the same job, for somebody who has the right to.
    ///
    /// # Errors
    /// As [`Self::to_xml`].
    pub fn command(&self, region: &str) -> Result<String, BatchError> {
        let tier = self.check()?;
        let restore = json!({"ExpirationInDays": self.days, "GlacierJobTier": tier});
        let operation = json!({"S3InitiateRestoreObject": restore});
        let report = match &self.report {
            Some(report) => {
                let mut told = json!({
                    "Bucket": self.bucket_arn(&report.bucket),
                    "Format": REPORT_FORMAT,
                    "Enabled": true,
                });
                if !report.prefix().is_empty() {
                    told["Prefix"] = json!(report.prefix());
                }
                told["ReportScope"] = json!(report.scope.as_str());
                told
            }
            None => json!({"Enabled": false}),
        };
        let manifest = json!({
            "Spec": {"Format": MANIFEST_FORMAT, "Fields": ["Bucket", "Key"]},
            "Location": {"ObjectArn": self.manifest_arn(), "ETag": self.etag()},
        });
        let mut words = vec![
            ("--account-id", self.account.clone()),
            ("--operation", operation.to_string()),
            ("--report", report.to_string()),
            ("--client-request-token", self.token.clone()),
            ("--manifest", manifest.to_string()),
            ("--priority", self.priority.to_string()),
            ("--role-arn", self.role_arn.clone()),
            ("--region", region.to_owned()),
        ];
        if let Some(description) = &self.description {
            words.push(("--description", description.clone()));
        }
        let mut command = "aws s3control create-job --no-confirmation-required".to_owned();
        for (flag, value) in words {
            command.push_str(&format!(" \\\n    {flag} {}", quoted(&value)));
        }
        Ok(command)
    }

    /// The tier's name in the API, if all is as a job can be.
    fn check(&self) -> Result<&'static str, BatchError> {
        let tier = match self.tier {
            Tier::Bulk => "BULK",
            Tier::Standard => "STANDARD",
            Tier::Expedited => return Err(invalid("tier", "no batch job is expedited")),
        };
        if self.days == 0 {
            return Err(invalid("days", "a thaw lasts at least 1 day"));
        }
        let is_number = self.account.bytes().all(|byte| byte.is_ascii_digit());
        if self.account.len() != 12 || !is_number {
            return Err(invalid("account", format!("{:?} has not 12 digits", self.account)));
        }
        let mut arn = self.role_arn.splitn(6, ':');
        let parts = [(); 6].map(|()| arn.next().unwrap_or_default());
        let is_role = matches!(parts, ["arn", partition, "iam", "", account, role]
            if !partition.is_empty() && !account.is_empty() && role.starts_with("role/"));
        if !is_role {
            let reason = format!("{:?} is not arn:aws:iam::ACCOUNT:role/NAME", self.role_arn);
            return Err(invalid("role", reason));
        }
        for (what, bucket) in [
            ("manifest", Some(&self.manifest.bucket)),
            ("report", self.report.as_ref().map(|report| &report.bucket)),
        ] {
            if bucket.is_some_and(|bucket| bucket.is_empty() || bucket.contains([':', '/'])) {
                return Err(invalid(what, "that is no name of a bucket"));
            }
        }
        if self.manifest.key.is_empty() || self.etag().is_empty() {
            return Err(invalid("manifest", "its key and ETag are needed"));
        }
        self.check_texts()?;
        if i32::try_from(self.priority).is_err() {
            return Err(invalid("priority", "it is at most 2147483647"));
        }
        Ok(tier)
    }

    /// XML has no way to write control characters, and S3 takes texts up to a length.
    fn check_texts(&self) -> Result<(), BatchError> {
        let description = self.description.as_deref();
        let prefix = self.report.as_ref().map(JobReport::prefix);
        for (what, text, least, most) in [
            ("token", Some(self.token.as_str()), 1, 64),
            ("description", description, 1, 256),
            ("report", prefix, 0, 512),
            ("manifest", Some(self.manifest.key.as_str()), 1, 1024),
            ("role", Some(self.role_arn.as_str()), 1, 2048),
            ("manifest", Some(self.etag()), 1, 1024),
        ] {
            let Some(text) = text else { continue };
            if text.chars().any(char::is_control) {
                return Err(invalid(what, format!("{text:?} holds a control character")));
            }
            if !(least..=most).contains(&text.chars().count()) {
                return Err(invalid(what, format!("it has {least} to {most} characters")));
            }
        }
        Ok(())
    }

    fn etag(&self) -> &str {
        self.manifest.etag.trim_matches('"')
    }

    fn manifest_arn(&self) -> String {
        format!("{}/{}", self.bucket_arn(&self.manifest.bucket), self.manifest.key)
    }

    fn bucket_arn(&self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}", self.role_arn.split(':').nth(1).unwrap_or("aws"))
    }
}

/// A document without spaces, written in order.
#[derive(Default)]
struct Xml(String);

impl Xml {
    fn open(&mut self, tag: &str) {
        self.0.push_str(&format!("<{tag}>"));
    }

    fn close(&mut self, name: &str) {
        self.0.push_str(&format!("</{name}>"));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                other => self.0.push(other),
            }
        }
        self.close(name);
    }
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobRequest {
        JobRequest {
            account: "111122223333".into(),
            role_arn: "arn:aws:iam::111122223333:role/thaw".into(),
            tier: Tier::Bulk,
            days: 7,
            manifest: ManifestLocation {
                bucket: "b".into(),
                key: "m.csv".into(),
                etag: "\"60e460c9d1046e73f7dde5043ac3ae85\"".into(),
            },
            report: Some(JobReport {
                bucket: "b".into(),
                prefix: "r/".into(),
                scope: ReportScope::FailedOnly,
            }),
            priority: 10,
            token: "t-1".into(),
            description: None,
        }
    }

    /// The request syntax of the API reference, with these values.
    #[test]
    fn the_request_is_as_documented_byte_for_byte() {
        let expected = "<CreateJobRequest xmlns=\"http://awss3control.amazonaws.com/doc/2018-08-20/\">\
            <ConfirmationRequired>false</ConfirmationRequired>\
            <Operation><S3InitiateRestoreObject><ExpirationInDays>7</ExpirationInDays>\
            <GlacierJobTier>BULK</GlacierJobTier></S3InitiateRestoreObject></Operation>\
            <Report><Bucket>arn:aws:s3:::b</Bucket><Format>Report_CSV_20180820</Format>\
            <Enabled>true</Enabled><Prefix>r</Prefix><ReportScope>FailedTasksOnly</ReportScope>\
            </Report>\
            <ClientRequestToken>t-1</ClientRequestToken>\
            <Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format>\
            <Fields><member>Bucket</member><member>Key</member></Fields></Spec>\
            <Location><ObjectArn>arn:aws:s3:::b/m.csv</ObjectArn>\
            <ETag>60e460c9d1046e73f7dde5043ac3ae85</ETag></Location></Manifest>\
            <Priority>10</Priority>\
            <RoleArn>arn:aws:iam::111122223333:role/thaw</RoleArn></CreateJobRequest>";
        assert_eq!(job().to_xml().unwrap(), expected);
        let other = JobRequest {
            tier: Tier::Standard,
            report: None,
            role_arn: "arn:aws-cn:iam::111122223333:role/a/b".into(),
            description: Some("<3 & more".into()),
            ..job()
        };
        let xml = other.to_xml().unwrap();
        for part in [
            "<GlacierJobTier>STANDARD</GlacierJobTier>",
            "<Report><Enabled>false</Enabled></Report>",
            "<ObjectArn>arn:aws-cn:s3:::b/m.csv</ObjectArn>",
            "</Manifest><Description>&lt;3 &amp; more</Description><Priority>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }

    #[test]
    fn the_command_says_the_same_in_words_of_a_shell() {
        let mut job = job();
        job.description = Some("Bob's thaw".into());
        let expected = r#"aws s3control create-job --no-confirmation-required \
    --account-id 111122223333 \
    --operation '{"S3InitiateRestoreObject":{"ExpirationInDays":7,"GlacierJobTier":"BULK"}}' \
    --report '{"Bucket":"arn:aws:s3:::b","Format":"Report_CSV_20180820","Enabled":true,"Prefix":"r","ReportScope":"FailedTasksOnly"}' \
    --client-request-token t-1 \
    --manifest '{"Spec":{"Format":"S3BatchOperations_CSV_20180820","Fields":["Bucket","Key"]},"Location":{"ObjectArn":"arn:aws:s3:::b/m.csv","ETag":"60e460c9d1046e73f7dde5043ac3ae85"}}' \
    --priority 10 \
    --role-arn arn:aws:iam::111122223333:role/thaw \
    --region eu-west-1 \
    --description 'Bob'\''s thaw'"#;
        assert_eq!(job.command("eu-west-1").unwrap(), expected);
    }

    #[test]
    fn what_no_job_can_be_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut JobRequest)| {
            let mut job = job();
            change(&mut job);
            let BatchError::Invalid { what, .. } = job.to_xml().unwrap_err() else {
                panic!("another error");
            };
            assert!(job.command("r").is_err(), "{what}");
            what
        };
        assert_eq!(refused(&|job| job.tier = Tier::Expedited), "tier");
        assert_eq!(refused(&|job| job.days = 0), "days");
        assert_eq!(refused(&|job| job.account = "1".into()), "account");
        assert_eq!(refused(&|job| job.account = "11112222333x".into()), "account");
        for role in ["", "role/x", "arn:aws:iam::1:user/x", "arn:aws:s3:::b", "arn::iam::1:role/x"]
        {
            assert_eq!(refused(&|job| job.role_arn = role.into()), "role", "{role}");
        }
        assert_eq!(refused(&|job| job.manifest.etag = "\"\"".into()), "manifest");
        assert_eq!(refused(&|job| job.manifest.key = "a\nb".into()), "manifest");
        assert_eq!(refused(&|job| job.manifest.bucket = "a/b".into()), "manifest");
        assert_eq!(refused(&|job| job.token = String::new()), "token");
        assert_eq!(refused(&|job| job.token = "x".repeat(65)), "token");
        assert_eq!(refused(&|job| job.description = Some("\0".into())), "description");
        assert_eq!(refused(&|job| job.priority = 1 << 31), "priority");
    }

    #[test]
    fn a_report_lies_below_its_prefix() {
        let mut report = job().report.unwrap();
        assert_eq!(report.manifest_key("x-1"), "r/job-x-1/manifest.json");
        report.prefix = String::new();
        assert_eq!(report.manifest_key("x-1"), "job-x-1/manifest.json");
    }
}
