//! Where a bucket is: host, path, region, and whether its name belongs to the one or the other.
//!
//! The rule is that of Kopia's S3 library (docs/format/01-blob-storage.md §4.1): the name is part
//! of the host for the endpoints of AWS, Google and Aliyun, of the path everywhere else. Under TLS
//! a name with a dot goes into the path, too, because a wildcard certificate covers one label only.

use http::uri::Authority;

use crate::options::Addressing;

/// The region of a bucket, or a guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketRegion {
    pub name: String,
    /// False for a guess: the endpoint is then used as it was given.
    pub known: bool,
}

/// A bucket at an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    bucket: String,
    host: String,
    tls: bool,
    virtual_host: bool,
    /// The parts of AWS' host names around the region.
    aws: Option<AwsHost>,
    /// Where S3 Control is, if it was told: scheme and host.
    control: Option<(&'static str, String)>,
}

/// Where one request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub scheme: &'static str,
    pub host: String,
    /// Before the key: empty, or `/bucket`.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AwsHost {
    /// `s3.`, `s3.dualstack.`, `s3-fips.` …
    before: String,
    region: Option<String>,
    /// `.amazonaws.com`, `.amazonaws.com.cn`.
    after: &'static str,
}

impl Place {
    /// Checks and puts together.
    ///
    /// # Errors
    /// Which option is wrong, and why.
    pub fn new(
        bucket: &str,
        endpoint: &str,
        tls: bool,
        addressing: Addressing,
    ) -> Result<Self, (&'static str, String)> {
        let wrong_bucket = |reason: &str| Err(("bucket", reason.to_owned()));
        if bucket.len() < 3 {
            return wrong_bucket("a bucket's name has at least 3 characters");
        }
        if bucket.contains(['/', '?', '#', ' ']) || bucket.chars().any(char::is_control) {
            return wrong_bucket("it holds a character that no bucket's name has");
        }
        let host = endpoint.strip_suffix('/').unwrap_or(endpoint).to_ascii_lowercase();
        if host.contains("://") || host.contains(['/', '@']) || host.parse::<Authority>().is_err() {
            let reason = format!("{endpoint:?} is not of the form host or host:port");
            return Err(("endpoint", reason));
        }
        let aws = AwsHost::parse(&host);
        let virtual_host = match addressing {
            Addressing::Path => false,
            Addressing::VirtualHost => true,
            Addressing::Auto => {
                let known = aws.is_some()
                    || host == "storage.googleapis.com"
                    || host.ends_with(".aliyuncs.com");
                known && is_dns_safe(bucket) && !(tls && bucket.contains('.'))
            }
        };
        Ok(Self { bucket: bucket.to_owned(), host, tls, virtual_host, aws, control: None })
    }

    /// With S3 Control at this URL, `https://host:port`, and not where AWS has it.
    ///
    /// # Errors
    /// Which option is wrong, and why.
    pub fn with_control(mut self, url: &str) -> Result<Self, (&'static str, String)> {
        let rest = |scheme: &'static str| {
            let rest = url.strip_prefix(scheme)?.strip_prefix("://")?;
            Some((scheme, rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase()))
        };
        let told = rest("https").or_else(|| rest("http"));
        let is_host = |host: &str| !host.contains(['/', '@']) && host.parse::<Authority>().is_ok();
        self.control = told.filter(|(_, host)| is_host(host));
        match self.control {
            Some(_) => Ok(self),
            None => Err(("the endpoint of S3 Control", format!("{url:?} is not https://host"))),
        }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Is it an endpoint of AWS itself?
    pub fn is_aws(&self) -> bool {
        self.aws.is_some()
    }

    /// The region that the endpoint's name tells.
    pub fn region(&self) -> Option<String> {
        self.aws.as_ref()?.region.clone()
    }

    /// The endpoint with its scheme.
    pub fn endpoint_url(&self) -> String {
        format!("{}://{}", self.scheme(), self.host)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Where a request goes: to the bucket's region, or to where a redirect pointed.
    pub(super) fn target(&self, region: &BucketRegion, detour: Option<&str>) -> Target {
        let scheme = self.scheme();
        if let Some(host) = detour {
            let named = host.strip_prefix(&self.bucket).is_some_and(|rest| rest.starts_with('.'));
            let path = if named { String::new() } else { format!("/{}", self.bucket) };
            return Target { scheme, host: host.to_owned(), path };
        }
        let host = match &self.aws {
            Some(AwsHost { before, after, .. }) if region.known => {
                format!("{before}{}{after}", region.name)
            }
            _ => self.host.clone(),
        };
        if self.virtual_host {
            Target { scheme, host: format!("{}.{host}", self.bucket), path: String::new() }
        } else {
            Target { scheme, host, path: format!("/{}", self.bucket) }
        }
    }

    /// Where a request to S3 Control goes. Who is not AWS has it beside the buckets, if at all.
    pub(super) fn control(&self, region: &str, account: &str) -> Target {
        let (scheme, host) = match (&self.control, &self.aws) {
            (Some((scheme, host)), _) => (*scheme, host.clone()),
            (None, Some(AwsHost { before, after, .. })) => {
                let service = match before.strip_prefix("s3-fips") {
                    Some(rest) => format!("s3-control-fips{rest}"),
                    None => before.replacen("s3", "s3-control", 1),
                };
                (self.scheme(), format!("{account}.{service}{region}{after}"))
            }
            (None, None) => (self.scheme(), self.host.clone()),
        };
        Target { scheme, host, path: String::new() }
    }

    /// May a request that was meant for the endpoint be sent to this host?
    pub(super) fn is_own_domain(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let domain = self.aws.as_ref().map_or(self.host.as_str(), |aws| &aws.after[1..]);
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl AwsHost {
    /// Takes apart `s3.amazonaws.com`, `s3.REGION.…`, `s3.dualstack.REGION.…`, `s3-REGION.…`.
    /// Private links (`….vpce.amazonaws.com`) and accelerated buckets are used as they are given.
    fn parse(host: &str) -> Option<Self> {
        let (rest, after) = [".amazonaws.com.cn", ".amazonaws.com"]
            .into_iter()
            .find_map(|after| Some((host.strip_suffix(after)?, after)))?;
        let labels: Vec<_> = rest.split('.').collect();
        let with = |before: &str, region: Option<&str>| {
            Some(Self { before: before.into(), region: region.map(Into::into), after })
        };
        match labels[..] {
            ["s3"] => with("s3.", None),
            ["s3", "dualstack", region] => with("s3.dualstack.", Some(region)),
            ["s3-fips", region] => with("s3-fips.", Some(region)),
            ["s3-fips", "dualstack", region] => with("s3-fips.dualstack.", Some(region)),
            ["s3", region] => with("s3.", Some(region)),
            [old] => {
                let region = old.strip_prefix("s3-").filter(|region| is_region(region))?;
                with("s3.", Some(region))
            }
            _ => None,
        }
    }
}

/// `eu-west-1` and the like, as opposed to `accelerate`.
fn is_region(text: &str) -> bool {
    text.contains('-') && text.ends_with(|last: char| last.is_ascii_digit())
}

fn is_dns_safe(bucket: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bucket.len() <= 63
        && bucket.split('.').all(|label| {
            label.bytes().all(|byte| plain(byte) || byte == b'-')
                && label.bytes().next().is_some_and(plain)
                && label.bytes().last().is_some_and(plain)
        })
        && bucket.parse::<std::net::Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bucket: &str, endpoint: &str, tls: bool, region: Option<&str>) -> String {
        let place = Place::new(bucket, endpoint, tls, Addressing::Auto).unwrap();
        let name = region.unwrap_or("us-east-1").to_owned();
        let Target { scheme, host, path } =
            place.target(&BucketRegion { name, known: region.is_some() }, None);
        format!("{scheme}://{host}{path}")
    }

    #[test]
    fn the_buckets_name_goes_where_kopias_library_puts_it() {
        let aws = "s3.amazonaws.com";
        assert_eq!(address("abc", aws, true, None), "https://abc.s3.amazonaws.com");
        let region = Some("eu-west-1");
        assert_eq!(address("abc", aws, true, region), "https://abc.s3.eu-west-1.amazonaws.com");
        assert_eq!(address("a.b.c", aws, true, None), "https://s3.amazonaws.com/a.b.c");
        assert_eq!(address("a.b.c", aws, false, None), "http://a.b.c.s3.amazonaws.com");
        assert_eq!(address("ABC", aws, true, None), "https://s3.amazonaws.com/ABC");
        assert_eq!(address("abc", "127.0.0.1:9000", false, None), "http://127.0.0.1:9000/abc");
        assert_eq!(address("abc", "minio.local/", true, region), "https://minio.local/abc");
        let google = "storage.googleapis.com";
        assert_eq!(address("abc", google, true, None), "https://abc.storage.googleapis.com");
    }

    #[test]
    fn a_region_is_read_from_and_written_into_awss_host_names() {
        let cases = [
            ("s3.amazonaws.com", None, "s3.X.amazonaws.com"),
            ("s3.eu-west-1.amazonaws.com", Some("eu-west-1"), "s3.X.amazonaws.com"),
            ("s3-us-west-2.amazonaws.com", Some("us-west-2"), "s3.X.amazonaws.com"),
            (
                "s3.dualstack.eu-west-1.amazonaws.com",
                Some("eu-west-1"),
                "s3.dualstack.X.amazonaws.com",
            ),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1"), "s3.X.amazonaws.com.cn"),
            ("s3-accelerate.amazonaws.com", None, "s3-accelerate.amazonaws.com"),
        ];
        for (endpoint, region, with_x) in cases {
            let place = Place::new("b.u.c", endpoint, true, Addressing::Path).unwrap();
            assert_eq!(place.region().as_deref(), region, "{endpoint}");
            let target = place.target(&BucketRegion { name: "X".into(), known: true }, None);
            assert_eq!(target.host, with_x, "{endpoint}");
        }
    }

    #[test]
    fn what_is_no_endpoint_or_bucket_is_refused() {
        let refused = |bucket: &str, endpoint: &str| {
            Place::new(bucket, endpoint, true, Addressing::Auto).unwrap_err().0
        };
        assert_eq!(refused("ab", "e"), "bucket");
        assert_eq!(refused("a/b", "e"), "bucket");
        for endpoint in ["", "https://e", "e/path", "user@e", "a b"] {
            assert_eq!(refused("abc", endpoint), "endpoint", "{endpoint:?}");
        }
    }

    #[test]
    fn s3_control_has_a_host_of_its_own_at_aws_only() {
        let host = |endpoint: &str, tls| {
            let place = Place::new("abc", endpoint, tls, Addressing::Auto).unwrap();
            let Target { scheme, host, path } = place.control("eu-west-1", "111122223333");
            format!("{scheme}://{host}{path}")
        };
        let aws = "https://111122223333.s3-control.eu-west-1.amazonaws.com";
        assert_eq!(host("s3.amazonaws.com", true), aws);
        assert_eq!(host("s3.us-west-2.amazonaws.com", true), aws);
        let cn = "https://111122223333.s3-control.eu-west-1.amazonaws.com.cn";
        assert_eq!(host("s3.cn-north-1.amazonaws.com.cn", true), cn);
        let dual = "https://111122223333.s3-control.dualstack.eu-west-1.amazonaws.com";
        assert_eq!(host("s3.dualstack.eu-west-1.amazonaws.com", true), dual);
        let fips = "https://111122223333.s3-control-fips.eu-west-1.amazonaws.com";
        assert_eq!(host("s3-fips.us-east-1.amazonaws.com", true), fips);
        assert_eq!(host("127.0.0.1:9000", false), "http://127.0.0.1:9000");
        let place = Place::new("abc", "s3.amazonaws.com", true, Addressing::Auto).unwrap();
        let told = place.clone().with_control("http://localhost:1/").unwrap();
        let Target { scheme, host, .. } = told.control("eu-west-1", "111122223333");
        assert_eq!((scheme, host.as_str()), ("http", "localhost:1"));
        for wrong in ["localhost", "ftp://h", "https://", "https://h/p", "https://u@h"] {
            assert!(place.clone().with_control(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_detour_with_the_buckets_name_has_no_path() {
        let place = Place::new("abc", "s3.amazonaws.com", true, Addressing::Auto).unwrap();
        let region = BucketRegion { name: "us-east-1".into(), known: false };
        let target = |host| place.target(&region, Some(host)).path;
        assert_eq!(target("abc.s3-us-west-2.amazonaws.com"), "");
        assert_eq!(target("s3-us-west-2.amazonaws.com"), "/abc");
    }
}
