//! What a copy has to be told, since it would not inherit it.

use blob_core::{Checksum, Encryption, LockMode, PutAttributes, StorageClass, Timestamp};

use super::Source;
pub(super) use crate::put::tagging;
use crate::{put::kms_context, retain, time};

/// Headers by name.
type Headers = Vec<(&'static str, String)>;

/// What a description of the content is made of, besides user metadata.
const CONTENT_HEADERS: [&str; 7] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
    "x-amz-website-redirect-location",
];
const METADATA: &str = "x-amz-meta-";

/// All that describes the content, with what `to` says in the place of what was there.
pub(super) fn description(source: &Source, to: &PutAttributes) -> Vec<(String, String)> {
    let had = |name: &&str| source.header(name).map(|value| ((*name).to_owned(), value));
    let mut all: Vec<_> = CONTENT_HEADERS.iter().filter_map(had).collect();
    if let Some(cache_control) = &to.cache_control {
        all.retain(|(name, _)| name != "cache-control");
        all.push(("cache-control".into(), cache_control.clone()));
    }
    if to.metadata.is_empty() {
        let names = source.answer.headers.keys().map(http::HeaderName::as_str);
        let ours = names.filter(|name| name.starts_with(METADATA));
        all.extend(ours.filter_map(|name| Some((name.to_owned(), source.header(name)?))));
    } else {
        let ours = to.metadata.iter();
        all.extend(ours.map(|(name, value)| (format!("{METADATA}{name}"), value.clone())));
    }
    all
}

/// Class, encryption, lock, hold and ACL.
pub(super) fn placement(
    source: &Source,
    to: &PutAttributes,
    class: &StorageClass,
    now: Timestamp,
) -> Headers {
    let mut all = vec![("x-amz-storage-class", class.to_string())];
    match &to.encryption {
        Some(encryption) => wanted_encryption(encryption, &mut all),
        None => {
            let had = |name| source.header(name).map(|value| (name, value));
            let kept = [ENCRYPTION, KEY, BUCKET_KEY].into_iter().filter_map(had);
            let is_s3 = source.header(ENCRYPTION).as_deref() == Some("AES256");
            // A key belongs to KMS alone.
            all.extend(kept.filter(|(name, _)| *name == ENCRYPTION || !is_s3));
        }
    }
    if let Some((mode, until)) = lock(source, to, now) {
        all.push((LOCK_MODE, mode.as_str().into()));
        all.push((LOCK_UNTIL, time::rfc3339_secs(until)));
    }
    let held = source.header(HOLD).is_some_and(|hold| hold.eq_ignore_ascii_case("ON"));
    match (held, to.legal_hold) {
        (true, _) | (_, Some(true)) => all.push((HOLD, "ON".into())),
        (false, Some(false)) => all.push((HOLD, "OFF".into())),
        (false, None) => {}
    }
    all.extend(to.acl.clone().map(|acl| ("x-amz-acl", acl)));
    all
}

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const LOCK_MODE: &str = "x-amz-object-lock-mode";
const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";

fn wanted_encryption(encryption: &Encryption, all: &mut Headers) {
    match encryption {
        Encryption::S3 => all.push((ENCRYPTION, "AES256".into())),
        Encryption::Kms { dual_layer, key, bucket_key, context } => {
            let name = if *dual_layer { "aws:kms:dsse" } else { "aws:kms" };
            all.push((ENCRYPTION, name.into()));
            all.extend(key.clone().map(|key| (KEY, key)));
            all.extend(bucket_key.map(|on| (BUCKET_KEY, on.to_string())));
            all.extend(kms_context(context).map(|context| (CONTEXT, context)));
        }
    }
}

/// The lock that keeps what the blob's own and the wanted one promise. One that has ended is none:
/// S3 takes no date of the past.
fn lock(source: &Source, to: &PutAttributes, now: Timestamp) -> Option<(LockMode, Timestamp)> {
    let own = retain::lock_in(&source.answer).filter(|(_, until)| *until > now);
    let wanted = to.lock.map(|lock| (lock.mode, now.saturating_add(lock.period)));
    match (own, wanted) {
        (Some(own), Some(wanted)) => Some((own.0.max(wanted.0), own.1.max(wanted.1))),
        (own, wanted) => own.or(wanted),
    }
}

/// The kind of checksum that the object has, as a multipart upload wants to be told.
pub(super) fn checksum(source: &Source, to: &PutAttributes) -> Option<&'static str> {
    let all =
        [Checksum::Crc32, Checksum::Crc32c, Checksum::Crc64Nvme, Checksum::Sha1, Checksum::Sha256];
    let had = all.into_iter().find(|kind| source.header(crate::checksum::header(*kind)).is_some());
    to.checksum.or(had).map(algorithm)
}

/// The name of a checksum in `x-amz-checksum-algorithm`.
pub(super) fn algorithm(kind: Checksum) -> &'static str {
    match kind {
        Checksum::Crc32 => "CRC32",
        Checksum::Crc32c => "CRC32C",
        Checksum::Crc64Nvme => "CRC64NVME",
        Checksum::Sha1 => "SHA1",
        Checksum::Sha256 => "SHA256",
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use blob_core::{Lock, ReadState};

    use super::*;
    use crate::wire::Answer;

    fn source(headers: &[(&'static str, &str)]) -> Source {
        let mut answer = Answer::for_test(200, &[]);
        for (name, value) in headers {
            answer.headers.insert(*name, value.parse().unwrap());
        }
        Source {
            size: 1,
            modified: None,
            class: StorageClass::STANDARD,
            state: ReadState::Ready,
            etag: "\"e\"".into(),
            answer: Arc::new(answer),
        }
    }

    fn placed(source: &Source, to: &PutAttributes, now: i64) -> Headers {
        let all = placement(source, to, &StorageClass::GLACIER_IR, Timestamp::from_secs(now));
        assert_eq!(all[0], ("x-amz-storage-class", "GLACIER_IR".to_owned()));
        all[1..].to_vec()
    }

    #[test]
    fn of_two_locks_the_later_date_and_the_stricter_mode_count() {
        let own = source(&[(LOCK_MODE, "COMPLIANCE"), (LOCK_UNTIL, "1970-01-02T00:00:00Z")]);
        let lock = |mode, secs| {
            let period = Duration::from_secs(secs);
            PutAttributes { lock: Some(Lock { mode, period }), ..Default::default() }
        };
        let of = |to: &PutAttributes, now| {
            let all = placed(&own, to, now);
            all.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let none = PutAttributes::default();
        assert_eq!(of(&none, 0), ["COMPLIANCE", "1970-01-02T00:00:00Z"]);
        assert_eq!(of(&none, 86_400), Vec::<String>::new(), "it has ended");
        let longer = lock(LockMode::Governance, 200_000);
        assert_eq!(of(&longer, 0), ["COMPLIANCE", "1970-01-03T07:33:20Z"]);
        assert_eq!(of(&lock(LockMode::Governance, 5), 0), ["COMPLIANCE", "1970-01-02T00:00:00Z"]);
        assert_eq!(of(&lock(LockMode::Governance, 5), 86_400)[0], "GOVERNANCE");
        let new = placed(&source(&[]), &lock(LockMode::Governance, 60), 0);
        assert_eq!(new[1], (LOCK_UNTIL, "1970-01-01T00:01:00Z".to_owned()));
    }

    #[test]
    fn a_hold_is_kept_and_never_lifted_by_a_copy() {
        let hold = |on| PutAttributes { legal_hold: Some(on), ..Default::default() };
        let held = source(&[(HOLD, "ON")]);
        for to in [PutAttributes::default(), hold(false), hold(true)] {
            assert_eq!(placed(&held, &to, 0), [(HOLD, "ON".to_owned())]);
        }
        assert_eq!(placed(&source(&[]), &hold(true), 0), [(HOLD, "ON".to_owned())]);
        assert_eq!(placed(&source(&[]), &PutAttributes::default(), 0), []);
    }

    #[test]
    fn encryption_is_said_again_unless_another_is_wanted() {
        let kms = source(&[(ENCRYPTION, "aws:kms"), (KEY, "arn:k"), (BUCKET_KEY, "true")]);
        let kept = placed(&kms, &PutAttributes::default(), 0);
        let values: Vec<_> = kept.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["aws:kms", "arn:k", "true"]);
        let to = PutAttributes { encryption: Some(Encryption::S3), ..Default::default() };
        assert_eq!(placed(&kms, &to, 0), [(ENCRYPTION, "AES256".to_owned())]);
    }

    #[test]
    fn a_description_that_is_changed_is_said_whole() {
        let had = source(&[
            ("content-type", "application/x-kopia"),
            ("cache-control", "no-store"),
            ("x-amz-meta-a", "1"),
        ]);
        let pairs = |to: &PutAttributes| {
            let mut all = description(&had, to);
            all.sort();
            all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let cache_control = Some("private".to_owned());
        let cached = PutAttributes { cache_control, ..Default::default() };
        let kept = ["cache-control=private", "content-type=application/x-kopia", "x-amz-meta-a=1"];
        assert_eq!(pairs(&cached), kept);
        let metadata = [("b".to_owned(), "2".to_owned())].into();
        let named = PutAttributes { metadata, ..Default::default() };
        let kept = ["cache-control=no-store", "content-type=application/x-kopia", "x-amz-meta-b=2"];
        assert_eq!(pairs(&named), kept);
    }
}
