//! The extra keys of an entry: the put parameters of S3 that Kopia ignores here (requirement S16).
//!
//! They are read from the raw members, matched to the letter, the last one wins. A bad one never
//! keeps a file from opening: it becomes a problem of its entry, and the writes that the entry
//! matches are refused. Names of headers and limits: S3's PutObject,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>.

use std::{collections::BTreeMap, time::Duration};

use blob_core::{Checksum, Encryption, Lock, LockMode, PutAttributes};
use serde_json::Value;

use crate::{Entry, Finding, Level, Position, classes::is_header_value};

/// Every extra key.
pub(crate) const NAMES: [&str; 16] = [
    "serverSideEncryption",
    "sseKmsKeyId",
    "sseKmsEncryptionContext",
    "bucketKeyEnabled",
    "tags",
    "metadata",
    "cacheControl",
    "objectLockMode",
    "objectLockRetainDays",
    "objectLockLegalHold",
    "checksumAlgorithm",
    "acl",
    "minimumBytes",
    // Known so that they can be refused: a customer's key would lie in a readable file.
    "sseCustomerKey",
    "sseCustomerAlgorithm",
    "sseCustomerKeyMD5",
];

/// Canned ACLs that give nobody else more than the bucket's owner has.
const ACL_SAFE: [&str; 3] = ["private", "bucket-owner-read", "bucket-owner-full-control"];
/// Canned ACLs that let others read or write.
const ACL_OPEN: [&str; 5] = [
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "log-delivery-write",
];

const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
const METADATA_BYTES_MAX: usize = 2048;
/// A hundred years, S3's own limit.
const LOCK_DAYS_MAX: u64 = 36_500;

/// The extra key that `key` is, to the letter.
pub(crate) fn name(key: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|name| *name == key)
}

/// The extra key that `key` would be if case did not count.
pub(crate) fn name_but_for_case(key: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(key))
}

/// What the extra keys of an entry ask for, and what is wrong with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub attributes: PutAttributes,
    pub problems: Vec<ExtraProblem>,
    /// Shorter blobs are written without the entry's class: what maintenance will join with others
    /// soon should not be frozen. Nothing is sent for it.
    pub minimum_bytes: Option<u64>,
    /// There is at least one, right or wrong.
    pub any: bool,
}

/// Why an extra key can't be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraProblem {
    pub key: &'static str,
    pub reason: String,
    pub position: Option<Position>,
    /// It can be, but only a user who insists should have it.
    pub can_be_forced: bool,
}

impl Extras {
    /// Reads the extra keys of an entry.
    pub fn read(entry: &Entry) -> Self {
        let mut reading = Reading { values: BTreeMap::new(), out: Self::default() };
        for member in entry.others() {
            let Some(name) = name(&member.key) else { continue };
            reading.out.any = true;
            match serde_json::from_slice(&member.raw_value) {
                Ok(Value::Null) => {} // As everywhere in this file: null sets nothing.
                Ok(value) => {
                    reading.values.insert(name, (value, member.position));
                }
                Err(error) => reading.problem(name, format!("can't be read: {error}")),
            }
        }
        reading.encryption();
        reading.customer_key();
        reading.tags();
        reading.metadata();
        reading.lock();
        reading.rest();
        reading.out
    }

    /// What there is to say about the extra keys of entry `index`.
    pub fn findings(&self, index: usize, entry: &Entry) -> Vec<Finding> {
        let problems = self.problems.iter().map(|problem| {
            let message = format!("{} {}", problem.key, problem.reason);
            let finding = Finding::new(Level::Error, "E-EXT", message);
            let finding = Finding { key: Some(problem.key.to_owned()), ..finding };
            finding.in_entry(Some(index), problem.position.unwrap_or(entry.position))
        });
        let hold = (self.attributes.legal_hold == Some(true)).then(|| {
            let message = "maintenance can never delete blobs under a legal hold";
            Finding::warning("W-LEGAL-HOLD", message).in_entry(Some(index), entry.position)
        });
        problems.chain(hold).collect()
    }
}

struct Reading {
    values: BTreeMap<&'static str, (Value, Position)>,
    out: Extras,
}

impl Reading {
    fn problem(&mut self, key: &'static str, reason: impl Into<String>) {
        let position = self.values.get(key).map(|(_, position)| *position);
        let reason = reason.into();
        self.out.problems.push(ExtraProblem { key, reason, position, can_be_forced: false });
    }

    fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A value through `read`; a problem where that gives none.
    fn get<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = read(&self.values.get(key)?.0);
        if value.is_none() {
            self.problem(key, format!("must be {wanted}"));
        }
        value
    }

    fn bool(&mut self, key: &'static str) -> Option<bool> {
        self.get(key, "true or false", Value::as_bool)
    }

    /// A string that can stand in a header.
    fn string(&mut self, key: &'static str) -> Option<String> {
        self.get(key, "a string without control characters, not empty", |value| {
            let text = value.as_str()?;
            (!text.is_empty() && is_header_value(text)).then(|| text.to_owned())
        })
    }

    fn strings(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        self.get(key, "an object whose values are strings", |value| {
            let pairs = value.as_object()?.iter();
            pairs.map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
        })
    }

    /// One of `names`.
    fn choice<T: Copy>(&mut self, key: &'static str, names: &[(&str, T)]) -> Option<T> {
        let wanted: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        self.get(key, &format!("one of {}", wanted.join(", ")), |value| {
            let text = value.as_str()?;
            names.iter().find(|(name, _)| *name == text).map(|(_, it)| *it)
        })
    }

    fn encryption(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Sse {
            S3,
            Kms,
            KmsTwice,
        }
        let names = [("AES256", Sse::S3), ("aws:kms", Sse::Kms), ("aws:kms:dsse", Sse::KmsTwice)];
        let given = self.has("serverSideEncryption");
        let kind = self.choice("serverSideEncryption", &names);
        let key = self.string("sseKmsKeyId");
        let context = self.strings("sseKmsEncryptionContext");
        let bucket_key = self.bool("bucketKeyEnabled");
        // Where the kind itself is bad, one message is enough.
        if kind == Some(Sse::S3) || !given {
            let needs = "needs serverSideEncryption aws:kms";
            for key in ["sseKmsKeyId", "sseKmsEncryptionContext", "bucketKeyEnabled"] {
                if self.has(key) {
                    self.problem(key, needs);
                }
            }
        }
        if kind == Some(Sse::KmsTwice) && bucket_key == Some(true) {
            self.problem("bucketKeyEnabled", "can't be had with aws:kms:dsse");
        }
        self.out.attributes.encryption = kind.map(|kind| match kind {
            Sse::S3 => Encryption::S3,
            Sse::Kms | Sse::KmsTwice => Encryption::Kms {
                dual_layer: kind == Sse::KmsTwice,
                key,
                bucket_key,
                context: context.unwrap_or_default(),
            },
        });
    }

    fn customer_key(&mut self) {
        for key in ["sseCustomerKey", "sseCustomerAlgorithm", "sseCustomerKeyMD5"] {
            if self.has(key) {
                let reason = "is not supported: Kopia could not read such blobs. A key written \
                              here lies in a readable file; take it out of use";
                return self.problem(key, reason);
            }
        }
    }

    fn tags(&mut self) {
        let Some(tags) = self.strings("tags") else { return };
        let long = |(key, value): (&String, &String)| {
            !(1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
                || value.chars().count() > TAG_VALUE_CHARS_MAX
        };
        if tags.len() > TAGS_MAX {
            self.problem("tags", "holds more than 10");
        } else if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
            self.problem("tags", "holds a key that begins with aws:, which S3 keeps for itself");
        } else if tags.iter().any(long) {
            self.problem("tags", "holds a key of not 1 to 128 or a value of over 256 characters");
        }
        self.out.attributes.tags = tags.into_iter().collect();
    }

    fn metadata(&mut self) {
        let Some(pairs) = self.strings("metadata") else { return };
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if pairs.keys().any(|name| name.is_empty() || !name.bytes().all(is_token)) {
            self.problem("metadata", "holds a name that can't be part of a header's name");
        }
        if pairs.values().any(|v| !v.is_ascii() || !is_header_value(v)) {
            self.problem("metadata", "holds a value that is not printable ASCII");
        }
        if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            > METADATA_BYTES_MAX
        {
            self.problem("metadata", "holds more than 2048 bytes of names and values");
        }
        let count = pairs.len();
        // S3 keeps the names in lower case.
        let lower: BTreeMap<_, _> =
            pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        if lower.len() < count {
            self.problem("metadata", "holds names that differ by case alone");
        }
        self.out.attributes.metadata = lower;
    }

    fn lock(&mut self) {
        let (mode_key, days_key) = ("objectLockMode", "objectLockRetainDays");
        let modes = [LockMode::Governance, LockMode::Compliance].map(|mode| (mode.as_str(), mode));
        let mode = self.choice(mode_key, &modes);
        let days = self.get(days_key, "a whole number of days from 1 to 36500", |value| {
            value.as_u64().filter(|days| (1..=LOCK_DAYS_MAX).contains(days))
        });
        match (self.has(mode_key), self.has(days_key)) {
            (true, false) => self.problem(mode_key, "needs objectLockRetainDays"),
            (false, true) => self.problem(days_key, "needs objectLockMode"),
            _ => {}
        }
        self.out.attributes.lock = mode
            .zip(days)
            .map(|(mode, days)| Lock { mode, period: Duration::from_secs(days * 24 * 60 * 60) });
    }

    fn rest(&mut self) {
        let algorithms = [
            ("CRC32", Checksum::Crc32),
            ("CRC32C", Checksum::Crc32c),
            ("CRC64NVME", Checksum::Crc64Nvme),
            ("SHA1", Checksum::Sha1),
            ("SHA256", Checksum::Sha256),
        ];
        self.out.attributes.checksum = self.choice("checksumAlgorithm", &algorithms);
        self.out.attributes.cache_control = self.string("cacheControl");
        self.out.attributes.legal_hold = self.bool("objectLockLegalHold");
        let names: Vec<_> = ACL_SAFE.into_iter().chain(ACL_OPEN).map(|name| (name, name)).collect();
        let acl = self.choice("acl", &names);
        if let Some(open) = acl.filter(|acl| ACL_OPEN.contains(acl)) {
            self.problem("acl", format!("{open} is refused for a backup repository unless forced"));
            if let Some(problem) = self.out.problems.last_mut() {
                problem.can_be_forced = true;
            }
        }
        self.out.attributes.acl = acl.map(str::to_owned);
        let wanted = "a whole number of bytes, 1 or more";
        let least = self.get("minimumBytes", wanted, |value| value.as_u64().filter(|n| *n > 0));
        self.out.minimum_bytes = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StorageConfig;

    fn extras(members: &str) -> Extras {
        let text = format!(r#"{{"blobOptions":[{{"prefix":"p",{members}}}]}}"#);
        StorageConfig::parse(text.as_bytes()).unwrap().entries.remove(0).extras
    }

    #[test]
    fn every_extra_key_becomes_an_attribute() {
        let all = extras(
            r#""serverSideEncryption":"aws:kms","sseKmsKeyId":"k","bucketKeyEnabled":true,
            "sseKmsEncryptionContext":{"repo":"home"},"tags":{"team":"backup","kind":"pack"},
            "metadata":{"Owner":"me"},"cacheControl":"no-store","objectLockMode":"COMPLIANCE",
            "objectLockRetainDays":30,"objectLockLegalHold":false,"checksumAlgorithm":"CRC64NVME",
            "acl":"bucket-owner-full-control","minimumBytes":12582912"#,
        );
        assert_eq!(all.minimum_bytes, Some(12 << 20));
        assert_eq!(all.problems, []);
        let attributes = PutAttributes {
            encryption: Some(Encryption::Kms {
                dual_layer: false,
                key: Some("k".into()),
                bucket_key: Some(true),
                context: [("repo".into(), "home".into())].into(),
            }),
            tags: vec![("kind".into(), "pack".into()), ("team".into(), "backup".into())],
            metadata: [("owner".into(), "me".into())].into(),
            cache_control: Some("no-store".into()),
            checksum: Some(Checksum::Crc64Nvme),
            lock: Some(Lock {
                mode: LockMode::Compliance,
                period: Duration::from_secs(30 * 86_400),
            }),
            legal_hold: Some(false),
            acl: Some("bucket-owner-full-control".into()),
            ..PutAttributes::default()
        };
        assert_eq!(all.attributes, attributes);
    }

    #[test]
    fn what_s3_would_refuse_is_a_problem_of_its_key() {
        let bad = [
            (
                r#""serverSideEncryption":"aws:kms:dsse","bucketKeyEnabled":true"#,
                "bucketKeyEnabled",
            ),
            (r#""serverSideEncryption":"AES256","sseKmsKeyId":"k""#, "sseKmsKeyId"),
            (r#""sseKmsEncryptionContext":{"a":1}"#, "sseKmsEncryptionContext"),
            (r#""tags":{"":"v"}"#, "tags"),
            (r#""tags":["a"]"#, "tags"),
            (r#""metadata":{"a":"é"}"#, "metadata"),
            (r#""metadata":{"a":"1","A":"2"}"#, "metadata"),
            (r#""cacheControl":"a\nb""#, "cacheControl"),
            (r#""objectLockRetainDays":3"#, "objectLockRetainDays"),
            (
                r#""objectLockMode":"COMPLIANCE","objectLockRetainDays":1e999"#,
                "objectLockRetainDays",
            ),
            (r#""objectLockMode":"NONE","objectLockRetainDays":1"#, "objectLockMode"),
            (r#""acl":"everybody""#, "acl"),
            (r#""sseCustomerAlgorithm":"AES256""#, "sseCustomerAlgorithm"),
        ];
        for (members, key) in bad {
            let problems = extras(members).problems;
            assert!(problems.iter().any(|problem| problem.key == key), "{members}: {problems:?}");
        }
        let long = format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(2048));
        assert_eq!(extras(&long).problems.len(), 1);
    }

    #[test]
    fn null_sets_nothing_and_the_last_one_wins() {
        let got = extras(r#""acl":"private","acl":null,"tags":{"a":"1"},"tags":{"b":"2"}"#);
        assert_eq!(got.problems, []);
        assert_eq!(got.attributes.acl.as_deref(), Some("private"));
        assert_eq!(got.attributes.tags, [("b".to_owned(), "2".to_owned())]);
    }
}
