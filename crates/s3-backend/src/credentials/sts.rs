//! Keys for a role: AWS' Security Token Service, and others that speak its protocol (MinIO).
//!
//! `AssumeRole` is signed with keys that one has; `AssumeRoleWithWebIdentity` carries a token of
//! somebody whom the role trusts, and no signature. Both are form posts with an answer in XML.
//! Source: AWS Security Token Service API Reference.

use std::time::Duration;

use form_urlencoded::Serializer;
use http::{HeaderName, HeaderValue, Method};
use rusoto_core::{
    Region,
    credential::AwsCredentials,
    signature::{SignedRequest, SignedRequestPayload},
};

use super::{
    Credentials,
    lease::Lease,
    web::{Question, Reply, Web},
};
use crate::wire::{Node, Nodes};

const VERSION: &str = "2011-06-15";
const FORM: &str = "application/x-www-form-urlencoded";
const WITHIN: Duration = Duration::from_secs(30);
/// What the service itself takes where nothing is said.
const DURATION_SECS: u64 = 3_600;

/// Where the service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// With its scheme.
    pub url: String,
    /// What requests are signed for.
    pub region: String,
}

impl Endpoint {
    /// The service of a region, or the global one, which is in us-east-1.
    pub fn of_region(region: Option<&str>) -> Self {
        match region {
            None => Self { url: "https://sts.amazonaws.com".into(), region: "us-east-1".into() },
            Some(region) => {
                let china = if region.starts_with("cn-") { ".cn" } else { "" };
                let url = format!("https://sts.{region}.amazonaws.com{china}");
                Self { url, region: region.to_owned() }
            }
        }
    }
}

/// A role to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub arn: String,
    /// Shows up in the account's logs; empty = the program's name.
    pub session_name: String,
    /// `None` = an hour.
    pub duration: Option<Duration>,
    pub external_id: Option<String>,
}

impl Role {
    fn form(&self, action: &str, token: Option<&str>) -> String {
        let name = if self.session_name.is_empty() { "s3-backend" } else { &self.session_name };
        let secs = self.duration.map_or(DURATION_SECS, |duration| duration.as_secs()).to_string();
        let pairs = [
            ("Action", Some(action)),
            ("Version", Some(VERSION)),
            ("RoleArn", Some(self.arn.as_str())),
            ("RoleSessionName", Some(name)),
            ("DurationSeconds", Some(secs.as_str())),
            ("ExternalId", self.external_id.as_deref()),
            ("WebIdentityToken", token),
        ];
        let set = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Serializer::new(String::new()).extend_pairs(set).finish()
    }
}

/// Takes a role with keys.
pub(super) async fn assume(
    web: &Web,
    endpoint: &Endpoint,
    role: &Role,
    keys: &Credentials,
) -> Result<Lease, String> {
    let question = signed(endpoint, role.form("AssumeRole", None), keys)?;
    let reply = web.ask(question).await;
    reply.and_then(|reply| read(&reply)).map_err(|reason| format!("role {}: {reason}", role.arn))
}

/// Takes a role with a token.
pub(super) async fn assume_with_token(
    web: &Web,
    endpoint: &Endpoint,
    role: &Role,
    token: &str,
) -> Result<Lease, String> {
    let question = Question {
        method: Method::POST,
        body: role.form("AssumeRoleWithWebIdentity", Some(token)).into(),
        ..Question::get(format!("{}/", endpoint.url), WITHIN)
    };
    let question = with_length(question)?.header("content-type", FORM)?;
    let reply = web.ask(question).await;
    reply.and_then(|reply| read(&reply)).map_err(|reason| format!("role {}: {reason}", role.arn))
}

fn signed(endpoint: &Endpoint, form: String, keys: &Credentials) -> Result<Question, String> {
    let Endpoint { url, region } = endpoint;
    let region = Region::Custom { name: region.clone(), endpoint: url.clone() };
    let mut request = SignedRequest::new("POST", "sts", &region, "/");
    request.set_content_type(FORM.to_owned());
    let body = bytes::Bytes::from(form);
    request.payload = Some(SignedRequestPayload::Buffer(body.clone()));
    request.sign(&AwsCredentials::new(
        keys.access_key_id.as_str(),
        keys.secret_access_key.expose(),
        keys.session_token.as_ref().map(|token| token.expose().to_owned()),
        None,
    ));
    let url = format!("{url}/");
    let mut question = Question { method: Method::POST, body, ..Question::get(url, WITHIN) };
    for (name, values) in request.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        for value in values {
            let value = HeaderValue::from_bytes(value)
                .map_err(|_| format!("{name} holds a character that no header may"))?;
            question.headers.append(&name, value);
        }
    }
    with_length(question)
}

fn with_length(question: Question) -> Result<Question, String> {
    let length = question.body.len().to_string();
    question.header("content-length", &length)
}

/// The four values of the answer, whatever surrounds them.
fn read(reply: &Reply) -> Result<Lease, String> {
    let mut text = String::new();
    let mut path = Vec::new();
    let mut found = std::collections::BTreeMap::new();
    for node in Nodes::new(&reply.body) {
        match node.map_err(|error| format!("its answer is not whole: {error}")) {
            Ok(Node::Open(name)) => {
                path.push(name);
                text.clear();
            }
            Ok(Node::Text(part)) => text.push_str(&part),
            Ok(Node::Close) => {
                if let Some(name) = path.pop() {
                    found.entry(name).or_insert_with(|| std::mem::take(&mut text));
                }
            }
            Err(_) if !reply.is_success() => break, // what came before it may tell the reason
            Err(error) => return Err(error),
        }
    }
    if !reply.is_success() {
        let code = found.remove("Code").unwrap_or_default();
        let message = found.remove("Message").unwrap_or_default();
        return Err(match (code.as_str(), message.as_str()) {
            ("", _) => format!("HTTP status {}", reply.status),
            (code, message) => format!("{message} [{code}, HTTP status {}]", reply.status),
        });
    }
    let mut take = |name: &str| {
        let value = found.remove(name).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty()).ok_or_else(|| format!("its answer has no {name}"))
    };
    let (id, secret) = (take("AccessKeyId")?, take("SecretAccessKey")?);
    let token = take("SessionToken")?;
    Lease::of(id, secret.into(), Some(token.into()), Some(take("Expiration")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;
    use kopia_fixtures::hostile::Target;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.to_owned().into() }
    }

    const GOOD: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId>\
        <SecretAccessKey>s&amp;s</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2026-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult>\
        <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>";

    #[test]
    fn the_answer_may_be_any_bytes() {
        let read = |bytes: &[u8]| {
            let of = |status| Reply { status, body: bytes.to_vec().into() };
            assert!(read(&of(403)).is_err());
            read(&of(200)).is_ok()
        };
        Target::new("STS", read, [GOOD.into()], crate::MEMORY).attack();
    }

    #[test]
    fn the_answer_is_read_and_one_that_breaks_off_is_none() {
        let lease = read(&reply(200, GOOD)).unwrap();
        assert_eq!(lease.credentials.secret_access_key.expose(), "s&s");
        assert_eq!(lease.until, time::parse_iso("2026-01-02T03:04:05Z"));
        for end in (0..GOOD.len()).step_by(7) {
            assert!(read(&reply(200, &GOOD[..end])).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let no = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not \
                  you.</Message></Error></ErrorResponse>";
        let error = read(&reply(403, no)).unwrap_err();
        assert_eq!(error, "Not you. [AccessDenied, HTTP status 403]");
        assert_eq!(read(&reply(502, "<html>")).unwrap_err(), "HTTP status 502");
    }

    #[test]
    fn regions_have_their_own_service() {
        assert_eq!(Endpoint::of_region(None).url, "https://sts.amazonaws.com");
        let china = Endpoint::of_region(Some("cn-north-1"));
        assert_eq!(china.url, "https://sts.cn-north-1.amazonaws.com.cn");
        assert_eq!(china.region, "cn-north-1");
    }
}
