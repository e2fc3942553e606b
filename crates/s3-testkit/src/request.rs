//! What a request is about: its kind, bucket and key, told from the HTTP request line alone.
//!
//! Faults, denials and counters are chosen by this, before the S3 service has looked at the
//! request. Both address styles are understood: `/bucket/key`, and `bucket.domain` with `/key`.

use http::{HeaderMap, Method, Uri};

use crate::text::percent_decode;

/// The kind of a request, as tests count and disturb them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// PutObject.
    Put,
    /// CopyObject.
    Copy,
    /// DeleteObject.
    Delete,
    /// DeleteObjects; it has no key.
    DeleteMany,
    /// ListObjectsV2 and its older forms; the key is the prefix asked for.
    List,
    /// RestoreObject.
    Restore,
    /// Reading or writing retention and legal hold of an object.
    Retain,
    /// Any request of a multipart upload.
    Multipart,
    /// Requests about the bucket itself, and the list of buckets.
    Bucket,
    /// CreateJob and DescribeJob of Batch Operations; the key is `jobs` or `jobs/ID`.
    Batch,
    /// Everything else.
    Other,
}

impl Kind {
    /// Lower-case name, as the admin pages take it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::DeleteMany => "delete-many",
            Self::List => "list",
            Self::Restore => "restore",
            Self::Retain => "retain",
            Self::Multipart => "multipart",
            Self::Bucket => "bucket",
            Self::Batch => "batch",
            Self::Other => "other",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [Kind; 13] = [
            Kind::Get,
            Kind::Head,
            Kind::Put,
            Kind::Copy,
            Kind::Delete,
            Kind::DeleteMany,
            Kind::List,
            Kind::Restore,
            Kind::Retain,
            Kind::Multipart,
            Kind::Bucket,
            Kind::Batch,
            Kind::Other,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Where a bucket's name would be, requests of S3 Control have the version of their API.
const CONTROL: &str = "v20180820";

/// Kind, bucket and key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is asked.
    pub kind: Kind,
    /// The bucket, empty in the list of buckets.
    pub bucket: String,
    /// The key; of a list the prefix, of a bucket request empty.
    pub key: String,
}

impl Target {
    /// Reads the target of a request to a server of these domains.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, domains: &[String]) -> Self {
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let path = uri.path().trim_start_matches('/');
        let (bucket, key) = match host.and_then(|host| bucket_of_host(host, domains)) {
            // The path of a virtual host is the key, and a key may begin with slashes.
            Some(bucket) => (bucket.to_owned(), uri.path().get(1..).unwrap_or("")),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (percent_decode(bucket, false), key)
            }
        };
        let query = Query::new(uri.query().unwrap_or(""));
        let key = percent_decode(key, false);
        let is_job = bucket == CONTROL && (key == "jobs" || key.starts_with("jobs/"));
        let kind = if is_job {
            Kind::Batch
        } else if key.is_empty() {
            kind_of_bucket_request(method, &query, &bucket)
        } else {
            kind_of_object_request(method, &query, headers)
        };
        let key = if kind == Kind::List { query.get("prefix").unwrap_or_default() } else { key };
        Self { kind, bucket, key }
    }

    /// Whether it is about a bucket and not about one of its objects.
    pub(crate) fn is_of_bucket(&self) -> bool {
        self.key.is_empty() || self.kind == Kind::List
    }

    /// The letter by which counters group keys: the first of the last part of the path, so that
    /// the packs of a repository below a prefix still count as `p`. Requests without key have `-`.
    #[must_use]
    pub fn letter(&self) -> char {
        self.key.rsplit('/').next().and_then(|name| name.chars().next()).unwrap_or('-')
    }
}

/// The bucket that a host name starts with, if it lies below one of the domains.
pub(crate) fn bucket_of_host<'a>(host: &'a str, domains: &[String]) -> Option<&'a str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    // Of domains within each other the longest counts: `s3.localhost` is no bucket of `localhost`.
    let below = |domain: &&String| {
        name.strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let domain = domains.iter().filter(below).max_by_key(|domain| domain.len())?;
    name.strip_suffix(domain.as_str())?.strip_suffix('.').filter(|bucket| !bucket.is_empty())
}

/// The query of a request, read on demand.
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text)
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value, true))
        })
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }
}

fn kind_of_bucket_request(method: &Method, query: &Query<'_>, bucket: &str) -> Kind {
    const ABOUT_BUCKET: [&str; 10] = [
        "location",
        "versioning",
        "lifecycle",
        "object-lock",
        "policy",
        "acl",
        "tagging",
        "encryption",
        "uploads",
        "intelligent-tiering",
    ];
    match *method {
        _ if bucket.is_empty() => Kind::Bucket,
        Method::GET if query.has_any(&ABOUT_BUCKET) => Kind::Bucket,
        Method::GET => Kind::List,
        Method::POST if query.has("delete") => Kind::DeleteMany,
        Method::HEAD | Method::PUT | Method::DELETE => Kind::Bucket,
        _ => Kind::Other,
    }
}

fn kind_of_object_request(method: &Method, query: &Query<'_>, headers: &HeaderMap) -> Kind {
    const ABOUT_LOCK: [&str; 2] = ["retention", "legal-hold"];
    const ABOUT_REST: [&str; 4] = ["tagging", "acl", "attributes", "torrent"];
    match *method {
        _ if query.has_any(&["uploadId", "uploads"]) => Kind::Multipart,
        _ if query.has_any(&ABOUT_LOCK) => Kind::Retain,
        _ if query.has_any(&ABOUT_REST) => Kind::Other,
        Method::GET => Kind::Get,
        Method::HEAD => Kind::Head,
        Method::PUT if headers.contains_key("x-amz-copy-source") => Kind::Copy,
        Method::PUT => Kind::Put,
        Method::DELETE => Kind::Delete,
        Method::POST if query.has("restore") => Kind::Restore,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, uri: &str, headers: &[(&str, &str)]) -> Target {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let method = method.parse().unwrap();
        Target::of(
            &method,
            &uri.parse().unwrap(),
            &map,
            &["localhost".into(), "s3.localhost".into()],
        )
    }

    #[test]
    fn both_address_styles_name_the_same_object() {
        let path = target("GET", "/bucket/repo/p1%20x", &[("host", "127.0.0.1:9000")]);
        let host = target("GET", "/repo/p1%20x", &[("host", "bucket.localhost:9000")]);
        assert_eq!(path, host);
        assert_eq!((path.kind, path.key.as_str(), path.letter()), (Kind::Get, "repo/p1 x", 'p'));
        let longer = target("GET", "/repo/p1%20x", &[("host", "bucket.s3.localhost")]);
        assert_eq!(path, longer);
        let plain = target("GET", "/bucket/k", &[("host", "s3.localhost:9000")]);
        assert_eq!((plain.bucket.as_str(), plain.key.as_str()), ("bucket", "k"));
    }

    #[test]
    fn kinds_are_told_by_method_query_and_header() {
        let kind = |method, uri| target(method, uri, &[]).kind;
        assert_eq!(kind("GET", "/b?list-type=2&prefix=repo%2Fx"), Kind::List);
        assert_eq!(target("GET", "/b/?list-type=2&prefix=repo%2Fx", &[]).key, "repo/x");
        assert_eq!(kind("GET", "/b?location"), Kind::Bucket);
        assert_eq!(kind("POST", "/b/k?restore"), Kind::Restore);
        assert_eq!(kind("POST", "/b?delete"), Kind::DeleteMany);
        assert_eq!(kind("PUT", "/b/k?retention"), Kind::Retain);
        assert_eq!(kind("PUT", "/b/k?partNumber=1&uploadId=u"), Kind::Multipart);
        assert_eq!(kind("PUT", "/b/k"), Kind::Put);
        assert_eq!(kind("POST", "/v20180820/jobs"), Kind::Batch);
        assert_eq!(kind("GET", "/v20180820/jobs/1"), Kind::Batch);
        assert_eq!(kind("GET", "/v20180820/k"), Kind::Get);
        let copy = target("PUT", "/b/k", &[("x-amz-copy-source", "b/j")]);
        assert_eq!(copy.kind, Kind::Copy);
        assert_eq!(Kind::parse("delete-many"), Some(Kind::DeleteMany));
    }
}
