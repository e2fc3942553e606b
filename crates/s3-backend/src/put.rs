//! Writing a blob: one request, with the attributes asked for and a checksum that the storage
//! checks.
//!
//! Every upload says what must arrive: by `x-amz-checksum-crc32c`, by the checksum that its
//! attributes ask for, or by `Content-MD5` where an object lock demands it (AWS' API reference of
//! PutObject) or the endpoint knows no CRC. The last is found out once for each storage.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use blob_core::{
    BlobError, BlobId, Checksum, Encryption, Payload, PutAttributes, PutOptions, PutReceipt,
    Result, Timestamp,
};
use rusoto_s3::{PutObjectRequest, S3};

use crate::{
    checksum,
    errors::Op,
    storage::Inner,
    time,
    wire::{Answer, Exchange, Expect},
};

/// What Kopia calls its blobs.
const CONTENT_TYPE: &str = "application/x-kopia";

/// What the endpoint has taught.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    crc_refused: AtomicBool,
}

impl Inner {
    pub(crate) async fn put(
        &self,
        id: &BlobId,
        data: Payload,
        options: &PutOptions,
    ) -> Result<PutReceipt> {
        if let Some(reason) = &options.attributes.refusal {
            let option = format!("writing {id}");
            return Err(BlobError::InvalidOption { option, reason: reason.clone() });
        }
        if options.modified.is_some() {
            let (option, reason) =
                (PutOptions::MODIFIED.to_owned(), "S3 sets it itself".to_owned());
            return Err(BlobError::InvalidOption { option, reason });
        }
        let crc_refused = self.put_learned.crc_refused.load(Ordering::Relaxed);
        let proof = Proof::choose(&options.attributes, crc_refused);
        let Err((answer, error)) = self.put_once(id, &data, options, proof).await else {
            return Ok(PutReceipt::default());
        };
        // Only the checksum that nobody asked for may be the reason, and only some refusals.
        if proof != Proof::OUR_OWN || !answer.is_some_and(|answer| may_refuse_checksum(&answer)) {
            return Err(error);
        }
        match self.put_once(id, &data, options, Proof::MD5).await {
            Ok(()) => {
                tracing::info!(storage = self.info.name, "takes no CRC; uploads carry an MD5 now");
                self.put_learned.crc_refused.store(true, Ordering::Relaxed);
                Ok(PutReceipt::default())
            }
            Err((_, error)) => Err(error),
        }
    }

    async fn put_once(
        &self,
        id: &BlobId,
        data: &Payload,
        options: &PutOptions,
        proof: Proof,
    ) -> std::result::Result<(), (Option<Arc<Answer>>, BlobError)> {
        let unreadable = |error| (None, BlobError::unreadable(id, error));
        let mut exchange = Exchange::new(Expect::Nothing).body(data.clone());
        if let Some(kind) = proof.checksum {
            let value = checksum::value(kind, data).map_err(unreadable)?;
            exchange = exchange.header(checksum::header(kind), value);
        }
        let content_md5 = proof.md5.then(|| checksum::md5(data)).transpose();
        if options.if_absent {
            exchange = exchange.header("if-none-match", "*".into());
        }
        let exchange = Arc::new(exchange);
        let request = PutObjectRequest {
            bucket: self.bucket(),
            key: self.key(id),
            content_type: Some(options.content_type.unwrap_or(CONTENT_TYPE).into()),
            content_md5: content_md5.map_err(unreadable)?,
            ..attributes(&options.attributes, self.clock.now())
        };
        match self.wire.client(&exchange).put_object(request).await {
            Ok(output) if output.e_tag.is_some() => Ok(()),
            Ok(_) => {
                // Every S3 names what it stored; whoever does not has stored nothing.
                let source = "a good status without an ETag: that answer is not S3's".into();
                Err((None, BlobError::Transient { op: "put", source }))
            }
            Err(error) => {
                let about = self.about(Op::Put, Some(id));
                Err((exchange.answer(), about.error(&exchange, &error)))
            }
        }
    }
}

/// How an upload says what must arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proof {
    checksum: Option<Checksum>,
    md5: bool,
}

impl Proof {
    /// What is sent when nobody asked for anything.
    const OUR_OWN: Self = Self { checksum: Some(Checksum::Crc32c), md5: false };
    const MD5: Self = Self { checksum: None, md5: true };

    fn choose(attributes: &PutAttributes, crc_refused: bool) -> Self {
        let locked = attributes.lock.is_some() || attributes.legal_hold.is_some();
        match attributes.checksum {
            Some(kind) => Self { checksum: Some(kind), md5: locked },
            None if locked || crc_refused => Self::MD5,
            None => Self::OUR_OWN,
        }
    }
}

/// Could this refusal be about a checksum header that the endpoint does not know?
fn may_refuse_checksum(answer: &Answer) -> bool {
    let unknown = matches!(
        answer.code(),
        "NotImplemented"
            | "InvalidArgument"
            | "InvalidRequest"
            | "UnsupportedHeader"
            | "InvalidHeader"
            | "UnsupportedArgument"
            | "UnexpectedContent"
            | ""
    );
    matches!(answer.status, 400 | 501) && unknown
}

/// The part of the request that says how the blob is stored. What is absent is not sent.
pub(crate) fn attributes(attributes: &PutAttributes, now: Timestamp) -> PutObjectRequest {
    let mut request = PutObjectRequest {
        storage_class: attributes.class.as_ref().map(ToString::to_string),
        cache_control: attributes.cache_control.clone(),
        acl: attributes.acl.clone(),
        metadata: metadata(&attributes.metadata),
        tagging: tagging(&attributes.tags),
        object_lock_legal_hold_status: attributes
            .legal_hold
            .map(|on| if on { "ON" } else { "OFF" }.to_owned()),
        ..PutObjectRequest::default()
    };
    if let Some(lock) = &attributes.lock {
        request.object_lock_mode = Some(lock.mode.as_str().into());
        let until = now.saturating_add(lock.period);
        request.object_lock_retain_until_date = Some(time::rfc3339_secs(until));
    }
    match &attributes.encryption {
        None => {}
        Some(Encryption::S3) => request.server_side_encryption = Some("AES256".into()),
        Some(Encryption::Kms { dual_layer, key, bucket_key, context }) => {
            let name = if *dual_layer { "aws:kms:dsse" } else { "aws:kms" };
            request.server_side_encryption = Some(name.into());
            request.ssekms_key_id = key.clone();
            request.bucket_key_enabled = *bucket_key;
            request.ssekms_encryption_context = kms_context(context);
        }
    }
    request
}

fn metadata(metadata: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    let pairs = metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
    (!metadata.is_empty()).then(|| pairs.collect())
}

/// `k=v&k2=v2`, percent-encoded.
pub(crate) fn tagging(tags: &[(String, String)]) -> Option<String> {
    let pairs = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
    (!tags.is_empty()).then(|| pairs.collect::<Vec<_>>().join("&"))
}

/// Base64 of a JSON object of strings.
pub(crate) fn kms_context(context: &BTreeMap<String, String>) -> Option<String> {
    let json = serde_json::to_string(context).ok()?;
    (!context.is_empty()).then(|| STANDARD.encode(json))
}

/// RFC 3986: all but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blob_core::{Lock, LockMode};

    use super::*;

    #[test]
    fn nothing_asked_is_nothing_sent() {
        let request = attributes(&PutAttributes::default(), Timestamp::from_secs(0));
        assert_eq!(format!("{request:?}"), format!("{:?}", PutObjectRequest::default()));
    }

    #[test]
    fn a_lock_counts_from_now_and_wants_an_md5() {
        let lock = Lock { mode: LockMode::Compliance, period: Duration::from_secs(86_400) };
        let locked = PutAttributes { lock: Some(lock), ..PutAttributes::default() };
        let now = Timestamp::from_nanos(784_111_777_999_999_999);
        let request = attributes(&locked, now);
        let until = request.object_lock_retain_until_date.as_deref();
        assert_eq!(until, Some("1994-11-07T08:49:37Z"));
        assert_eq!(request.object_lock_mode.as_deref(), Some("COMPLIANCE"));
        assert_eq!(Proof::choose(&locked, false), Proof::MD5);
    }

    #[test]
    fn a_checksum_that_was_asked_for_is_sent_whatever_was_learned() {
        let asked = PutAttributes { checksum: Some(Checksum::Sha256), ..Default::default() };
        let sha256 = Proof { checksum: Some(Checksum::Sha256), md5: false };
        assert_eq!(Proof::choose(&asked, true), sha256);
        assert_eq!(Proof::choose(&PutAttributes::default(), true), Proof::MD5);
        assert_eq!(Proof::choose(&PutAttributes::default(), false), Proof::OUR_OWN);
    }

    #[test]
    fn tags_and_context_have_s3s_form() {
        let tags = [("a b".to_owned(), "1&2".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(tagging(&tags).as_deref(), Some("a%20b=1%262&c="));
        let context = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert_eq!(kms_context(&context).as_deref(), Some("eyJrIjoidiJ9"));
        assert_eq!((tagging(&[]), kms_context(&BTreeMap::new())), (None, None));
    }
}
