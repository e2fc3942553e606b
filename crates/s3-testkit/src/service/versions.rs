//! ListObjectVersions: all versions of all keys, the newest of a key first.
//!
//! Versions and delete markers stand in one order, as in S3 ("Listing objects in a
//! versioning-enabled bucket", S3 User Guide); typed clients would write them as two lists.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::SystemTime;

use s3s::{Body, S3Response, S3Result};

use super::Service;
use super::untyped::document;
use crate::access::{Action, access_denied};
use crate::objects::Bucket;
use crate::request::Query;
use crate::text::{iso_date, list_encode, xml_escape};
use crate::versions::Told;

/// What a listing asks for.
struct Wanted {
    prefix: String,
    delimiter: String,
    limit: usize,
    is_url: bool,
    after: (String, String),
}

impl Wanted {
    fn encode(&self, text: &str) -> String {
        if self.is_url { list_encode(text) } else { xml_escape(text) }
    }
}

impl Service {
    /// Answers `?versions`.
    pub(super) fn list_versions(
        &self,
        name: &str,
        query: &Query<'_>,
    ) -> S3Result<S3Response<Body>> {
        let get = |name| query.get(name).unwrap_or_default();
        let page_size = self.0.options.page_size;
        let wanted = Wanted {
            prefix: get("prefix"),
            delimiter: get("delimiter"),
            limit: get("max-keys").parse().unwrap_or(page_size).min(page_size),
            is_url: get("encoding-type") == "url",
            after: (get("key-marker"), get("version-id-marker")),
        };
        if self.0.denials.denies(Action::List, &wanted.prefix) {
            return Err(access_denied());
        }
        let listed = self.with_bucket(name, |bucket, now| {
            bucket.objects.values_mut().for_each(|object| object.settle(now));
            Ok(page_of(bucket, &wanted, now))
        })?;
        let mut text = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
        text.push_str(r#"<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#);
        let _ = write!(
            text,
            "<Name>{}</Name><Prefix>{}</Prefix><KeyMarker>{}</KeyMarker><VersionIdMarker>{}\
             </VersionIdMarker><MaxKeys>{}</MaxKeys>",
            xml_escape(name),
            wanted.encode(&wanted.prefix),
            wanted.encode(&wanted.after.0),
            xml_escape(&wanted.after.1),
            wanted.limit,
        );
        if wanted.is_url {
            text.push_str("<EncodingType>url</EncodingType>");
        }
        text.push_str(&listed);
        text.push_str("</ListVersionsResult>");
        Ok(document(text))
    }
}

/// The part of the document that depends on what there is.
fn page_of(bucket: &Bucket, wanted: &Wanted, now: SystemTime) -> String {
    let keys: BTreeSet<&String> = bucket.objects.keys().chain(bucket.earlier.keys()).collect();
    let (after, after_version) = &wanted.after;
    let (mut text, mut count, mut last) = (String::new(), 0, None);
    let mut prefixes = BTreeSet::new();
    let ours = keys.into_iter().filter(|key| key.starts_with(&wanted.prefix));
    for key in ours.filter(|key| key.as_str() >= after.as_str()) {
        let rest = &key[wanted.prefix.len()..];
        if !wanted.delimiter.is_empty()
            && let Some(end) = rest.find(&wanted.delimiter)
        {
            let end = wanted.prefix.len() + end + wanted.delimiter.len();
            prefixes.insert(key[..end].to_owned());
            continue;
        }
        let mut versions = bucket.versions(key);
        if key == after {
            let until = versions.iter().position(|it| it.id == after_version);
            versions.drain(..until.map_or(versions.len(), |at| at + 1));
        }
        for version in versions {
            if count == wanted.limit {
                let (key, id) = last.unwrap_or_default();
                let key = wanted.encode(key);
                let _ = write!(
                    text,
                    "<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>\
                     <NextVersionIdMarker>{id}</NextVersionIdMarker>"
                );
                return text;
            }
            write_version(&mut text, &wanted.encode(key), &version, now);
            count += 1;
            last = Some((key, version.id.to_owned()));
        }
    }
    for prefix in prefixes {
        let prefix = wanted.encode(&prefix);
        let _ = write!(text, "<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>");
    }
    text.push_str("<IsTruncated>false</IsTruncated>");
    text
}

fn write_version(text: &mut String, key: &str, version: &Told<'_>, now: SystemTime) {
    let name = if version.object.is_some() { "Version" } else { "DeleteMarker" };
    let Told { id, since, is_latest, object } = version;
    let _ = write!(
        text,
        "<{name}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{is_latest}</IsLatest>\
         <LastModified>{}</LastModified>",
        iso_date(*since)
    );
    if let Some(object) = object {
        let _ = write!(
            text,
            "<ETag>&quot;{}&quot;</ETag><Size>{}</Size><StorageClass>{}</StorageClass>",
            object.etag,
            object.bytes.len(),
            xml_escape(&object.storage_class)
        );
        if let Some(thaw) = object.restore {
            let running = thaw.is_running(now);
            let _ =
                write!(text, "<RestoreStatus><IsRestoreInProgress>{running}</IsRestoreInProgress>");
            if let Some(expiry) = thaw.expiry.filter(|_| !running) {
                let _ = write!(text, "<RestoreExpiryDate>{}</RestoreExpiryDate>", iso_date(expiry));
            }
            text.push_str("</RestoreStatus>");
        }
    }
    let _ = write!(text, "</{name}>");
}
