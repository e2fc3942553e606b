//! "Not here": what the storage says when a request went to, or was signed for, the wrong region.
//!
//! AWS answers 301 `PermanentRedirect` or 307 `TemporaryRedirect` (new buckets), or 400
//! `AuthorizationHeaderMalformed` when only the signature was for another region, and names the
//! right one in `x-amz-bucket-region` (also to a HEAD) or in the error's `<Region>`. A redirect to
//! a host is followed only within the endpoint's own domain: the request is signed for whoever gets
//! it.

use http::Uri;

use super::{Answer, Place};

/// Where to go instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The bucket's region is this one, from now on.
    Region(String),
    /// This request goes to another host.
    Host(String),
}

/// Where to go instead, if the answer tells and it is not where we were.
pub(super) fn of(answer: &Answer, place: &Place, region: &str) -> Option<Redirect> {
    let elsewhere = matches!(answer.status, 301 | 302 | 307 | 308);
    if !elsewhere && answer.status != 400 {
        return None;
    }
    let named = answer.header("x-amz-bucket-region").or_else(|| answer.field("Region"));
    if let Some(named) = named.filter(|named| !named.is_empty() && *named != region) {
        return Some(Redirect::Region(named.to_owned()));
    }
    if !elsewhere {
        return None;
    }
    let location = answer.header("location").and_then(|location| location.parse::<Uri>().ok());
    let host = location
        .and_then(|location| location.authority().map(ToString::to_string))
        .or_else(|| answer.field("Endpoint").map(str::to_owned))?;
    place.is_own_domain(&host).then_some(Redirect::Host(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Addressing;

    fn aws() -> Place {
        Place::new("bucket", "s3.amazonaws.com", true, Addressing::Auto).unwrap()
    }

    #[test]
    fn a_region_in_header_or_field_is_taken_once() {
        let mut answer = Answer::for_test(301, &[("Code", "PermanentRedirect")]);
        answer.headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        let region = |name: &str| Some(Redirect::Region(name.into()));
        assert_eq!(of(&answer, &aws(), "us-east-1"), region("eu-west-1"));
        assert_eq!(of(&answer, &aws(), "eu-west-1"), None);
        let fields = [("Code", "AuthorizationHeaderMalformed"), ("Region", "ap-south-1")];
        assert_eq!(of(&Answer::for_test(400, &fields), &aws(), "us-east-1"), region("ap-south-1"));
        assert_eq!(of(&Answer::for_test(403, &fields), &aws(), "us-east-1"), None);
    }

    #[test]
    fn a_host_is_followed_only_within_the_endpoints_domain() {
        let to = |location: &str| {
            let mut answer = Answer::for_test(307, &[("Code", "TemporaryRedirect")]);
            answer.headers.insert("location", location.parse().unwrap());
            of(&answer, &aws(), "us-east-1")
        };
        let host = "bucket.s3-us-west-2.amazonaws.com";
        assert_eq!(to(&format!("https://{host}/key")), Some(Redirect::Host(host.into())));
        assert_eq!(to("https://bucket.s3.amazonaws.com.evil.example/key"), None);
        assert_eq!(to("https://evil-amazonaws.com/key"), None);
        let fields = [("Endpoint", host)];
        let answer = Answer::for_test(301, &fields);
        assert_eq!(of(&answer, &aws(), "us-east-1"), Some(Redirect::Host(host.into())));
    }
}
