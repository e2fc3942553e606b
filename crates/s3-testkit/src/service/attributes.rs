//! What a PUT says beside its bytes: class, encryption, tags, metadata, lock, checksum.
//!
//! Headers are kept by name as they were sent. S3's limits on them are checked here, in its words
//! (PutObject, S3 API reference; "Categorizing your storage using tags", S3 User Guide).

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::custom_error;
use crate::access::header;
use crate::classes::CLASSES;
use crate::objects::{ObjectLock, StoredObject};
use crate::options::TestServerOptions;
use crate::text::{iso_date, percent_decode, system_time};

/// Headers of a content that are kept and echoed.
const CONTENT_HEADERS: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
];

/// `x-amz-` headers that belong to the request, not to the object.
const NOT_KEPT: [&str; 8] = [
    "x-amz-checksum-algorithm",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
];

/// The checksum headers that are verified, by the name that follows `x-amz-checksum-`.
pub(super) const CHECKSUMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// The attributes of an object to be, as a request states them.
pub(super) struct Attributes {
    pub storage_class: String,
    pub headers: BTreeMap<String, String>,
    pub lock: ObjectLock,
}

impl Attributes {
    /// Reads and checks the headers of a PUT, a copy, or the start of a multipart upload.
    pub(super) fn of(headers: &HeaderMap, options: &TestServerOptions) -> S3Result<Self> {
        let storage_class = header(headers, "x-amz-storage-class").unwrap_or("STANDARD");
        if options.strict_classes && !CLASSES.contains(&storage_class) {
            return Err(s3_error!(
                InvalidStorageClass,
                "The storage class you specified is not valid"
            ));
        }
        check_tags(header(headers, "x-amz-tagging").unwrap_or(""))?;
        check_metadata(headers)?;
        check_acl(header(headers, "x-amz-acl"), options)?;
        check_encryption(headers)?;
        Ok(Self {
            storage_class: storage_class.to_owned(),
            lock: lock_of(headers, options)?,
            headers: kept(headers),
        })
    }

    pub(super) fn into_object(
        self,
        bytes: bytes::Bytes,
        etag: String,
        last_modified: SystemTime,
    ) -> StoredObject {
        StoredObject {
            bytes,
            etag,
            storage_class: self.storage_class,
            last_modified,
            headers: self.headers,
            restore: None,
            archive_access: None,
            lock: self.lock,
            version_id: None,
        }
    }
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        let is_ours = CONTENT_HEADERS.contains(&name) || name.starts_with("x-amz-");
        let is_request = NOT_KEPT.contains(&name) || name.starts_with("x-amz-copy-source");
        if !is_ours || is_request {
            continue;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        // The chunked form of signing is an encoding of the request alone.
        let text = match text.strip_prefix("aws-chunked") {
            Some(rest) if name == "content-encoding" => rest.trim_start_matches([',', ' ']),
            _ => &text,
        };
        if !text.is_empty() {
            kept.insert(name.to_owned(), text.to_owned());
        }
    }
    kept
}

/// The pairs of an `x-amz-tagging` header.
pub(super) fn tags_of(tagging: &str) -> Vec<(String, String)> {
    let pairs = tagging.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (percent_decode(key, true), percent_decode(value, true)))
        .collect()
}

fn check_tags(tagging: &str) -> S3Result<()> {
    let tags = tags_of(tagging);
    if tags.len() > 10 {
        return Err(custom_error(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "Object tags cannot be greater than 10".into(),
        ));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if tags[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

fn check_metadata(headers: &HeaderMap) -> S3Result<()> {
    let ours = headers.iter().filter_map(|(name, value)| {
        Some(name.as_str().strip_prefix("x-amz-meta-")?.len() + value.len())
    });
    if ours.sum::<usize>() > 2048 {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    Ok(())
}

fn check_acl(acl: Option<&str>, options: &TestServerOptions) -> S3Result<()> {
    const CANNED: [&str; 7] = [
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    ];
    match acl {
        None | Some("bucket-owner-full-control") => Ok(()),
        Some(_) if options.bucket_owner_enforced => {
            Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"))
        }
        Some(acl) if CANNED.contains(&acl) => Ok(()),
        Some(_) => Err(s3_error!(InvalidArgument, "x-amz-acl is not a canned ACL")),
    }
}

fn check_encryption(headers: &HeaderMap) -> S3Result<()> {
    match header(headers, "x-amz-server-side-encryption") {
        None | Some("AES256" | "aws:kms" | "aws:kms:dsse") => Ok(()),
        Some(_) => Err(custom_error(
            StatusCode::BAD_REQUEST,
            "InvalidEncryptionAlgorithmError",
            "The encryption request you specified is not valid.".into(),
        )),
    }
}

/// Retention and legal hold. Such a PUT must be protected by a checksum of its body; a copy has none,
/// and the parts of an upload have their own.
fn lock_of(headers: &HeaderMap, options: &TestServerOptions) -> S3Result<ObjectLock> {
    let mode = header(headers, "x-amz-object-lock-mode");
    let until = header(headers, "x-amz-object-lock-retain-until-date");
    let hold = header(headers, "x-amz-object-lock-legal-hold");
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(ObjectLock::default());
    }
    if !options.object_lock {
        return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
    }
    let is_bodiless = headers.contains_key("x-amz-copy-source")
        || headers.contains_key("x-amz-checksum-algorithm");
    if !is_bodiless && !is_protected(headers) {
        return Err(s3_error!(
            InvalidRequest,
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests \
             with Object Lock parameters"
        ));
    }
    let retention = match (mode, until) {
        (Some(mode), Some(until)) => Some((lock_mode(mode)?, lock_date(until)?)),
        (None, None) => None,
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be \
                 supplied"
            ));
        }
    };
    Ok(ObjectLock { retention, legal_hold: hold == Some("ON") })
}

pub(super) fn lock_mode(mode: &str) -> S3Result<String> {
    match mode {
        "GOVERNANCE" | "COMPLIANCE" => Ok(mode.to_owned()),
        _ => Err(s3_error!(InvalidArgument, "Unknown wormMode directive.")),
    }
}

fn lock_date(text: &str) -> S3Result<SystemTime> {
    let date = Timestamp::parse(TimestampFormat::DateTime, text).ok();
    date.and_then(|date| system_time(&date))
        .ok_or_else(|| s3_error!(InvalidArgument, "The retain until date must be ISO 8601"))
}

/// Whether a request says what its body must hash to, in its headers or in a trailer.
pub(super) fn is_protected(headers: &HeaderMap) -> bool {
    let trailer = header(headers, "x-amz-trailer").unwrap_or("");
    headers.contains_key("content-md5")
        || trailer.starts_with("x-amz-checksum-")
        || headers.keys().any(|name| is_checksum(name.as_str()))
}

/// Whether a header describes the content to its readers, as CopyObject's metadata directive
/// understands it.
pub(super) fn is_metadata(name: &str) -> bool {
    CONTENT_HEADERS.contains(&name) || name.starts_with("x-amz-meta-")
}

pub(super) fn is_checksum(name: &str) -> bool {
    name.strip_prefix("x-amz-checksum-").is_some_and(|rest| CHECKSUMS.contains(&rest))
}

/// The headers by which GET and HEAD give back what was put.
pub(super) fn echo(object: &StoredObject, with_checksum: bool, now: SystemTime) -> HeaderMap {
    let mut echoed = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let (name, value) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = (name, value) {
            echoed.insert(name, value);
        }
    };
    for (name, value) in &object.headers {
        let is_encryption = name.starts_with("x-amz-server-side-encryption")
            && name != "x-amz-server-side-encryption-context";
        let is_echoed = is_metadata(name)
            || name == "x-amz-website-redirect-location"
            || is_encryption
            || (with_checksum && is_checksum(name));
        if is_echoed {
            add(name, value);
        }
    }
    if !object.headers.contains_key("content-type") {
        add("content-type", "binary/octet-stream");
    }
    let tags = object.header("x-amz-tagging").unwrap_or("");
    let tag_count = tags.split('&').filter(|tag| !tag.is_empty()).count();
    if tag_count > 0 {
        add("x-amz-tagging-count", &tag_count.to_string());
    }
    if let Some((mode, until)) = &object.lock.retention {
        add("x-amz-object-lock-mode", mode);
        add("x-amz-object-lock-retain-until-date", &iso_date(*until));
    }
    if object.header("x-amz-object-lock-legal-hold").is_some() || object.lock.legal_hold {
        let state = if object.lock.legal_hold { "ON" } else { "OFF" };
        add("x-amz-object-lock-legal-hold", state);
    }
    if let Some(id) = &object.version_id {
        add("x-amz-version-id", id);
    }
    if let Some(thaw) = &object.restore {
        add("x-amz-restore", &thaw.header(now));
    }
    if let Some(tier) = object.archive_access {
        add("x-amz-archive-status", tier.as_str());
    }
    // A class is told by its absence when it is STANDARD.
    if object.storage_class != "STANDARD" {
        add("x-amz-storage-class", &object.storage_class);
    }
    echoed
}
