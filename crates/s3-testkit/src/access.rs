//! Who may do what: keys, regions, owners, and permissions that a test takes away.
//!
//! s3s verifies the signature itself; here is what S3 checks beside it. A denied listing has the
//! known side effect: a missing key then answers 403, so that nobody can probe for names
//! ("GetObject", section Permissions, S3 API reference).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::options::Credentials;
use crate::request::{Kind, Target};
use crate::server::Shared;
use crate::text::percent_decode;

/// A permission that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `s3:ListBucket`: lists, and being told that a key is missing.
    List,
    /// `s3:GetObject`: GET, HEAD, and the source of a copy.
    Get,
    /// `s3:PutObject`: PUT, multipart uploads, and the target of a copy.
    Put,
    /// `s3:DeleteObject`.
    Delete,
    /// `s3:RestoreObject`.
    Restore,
    /// `s3:PutObjectRetention` and its reading counterpart.
    Retain,
}

/// The permissions that were taken away.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    list: Mutex<Vec<(Action, String)>>,
}

impl Denials {
    fn lock(&self) -> MutexGuard<'_, Vec<(Action, String)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deny(&self, action: Action, prefix: &str) {
        self.lock().push((action, prefix.to_owned()));
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn denies(&self, action: Action, key: &str) -> bool {
        self.lock().iter().any(|(denied, prefix)| *denied == action && key.starts_with(prefix))
    }
}

/// The keys that may sign; they can be replaced while the server runs.
#[derive(Debug)]
pub(crate) struct KeyRing(pub RwLock<Vec<Credentials>>);

impl KeyRing {
    fn find(&self, access_key: &str) -> Option<Credentials> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|keys| keys.access_key == access_key).cloned()
    }
}

/// Authentication and authorisation of one server.
pub(crate) struct Gate(pub Arc<Shared>);

#[async_trait::async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.keys.find(access_key) {
            Some(keys) => Ok(SecretKey::from(keys.secret_key)),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        match cx.credentials().map(|keys| keys.access_key.clone()) {
            Some(access_key) => self.check_signer(&access_key, cx)?,
            None if self.0.options.credentials.is_empty() => {}
            None => return Err(access_denied()),
        }
        self.check_account(cx.headers())?;
        let target = cx.extensions_mut().get::<Target>().cloned();
        match target {
            Some(target) => self.check_permission(&target),
            None => Ok(()),
        }
    }
}

impl Gate {
    fn check_signer(&self, access_key: &str, cx: &S3AccessContext<'_>) -> S3Result<()> {
        self.check_token(access_key, cx)?;
        check_signed_headers(cx.headers())?;
        // S3 tells where a bucket is to whoever asks with the wrong region: that is its purpose.
        if cx.s3_op().name() == "GetBucketLocation" { Ok(()) } else { self.check_region(cx) }
    }

    fn check_token(&self, access_key: &str, cx: &S3AccessContext<'_>) -> S3Result<()> {
        let keys = self.0.keys.find(access_key);
        if keys.as_ref().and_then(|keys| keys.expires).is_some_and(|end| end <= SystemTime::now()) {
            let message = "The provided token has expired.";
            let mut error = S3Error::with_message(S3ErrorCode::ExpiredToken, message);
            error.set_status_code(http::StatusCode::BAD_REQUEST);
            return Err(error);
        }
        let expected = keys.and_then(|keys| keys.session_token);
        let sent = header(cx.headers(), "x-amz-security-token").map(str::to_owned);
        let sent = sent.or_else(|| query_value(cx.uri(), "X-Amz-Security-Token"));
        match (expected, sent) {
            (expected, sent) if expected == sent => Ok(()),
            (Some(_), None) => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
            _ => Err(s3_error!(InvalidToken, "The provided token is malformed or invalid.")),
        }
    }

    fn check_region(&self, cx: &S3AccessContext<'_>) -> S3Result<()> {
        let region = &self.0.options.region;
        let Some(signed) = signed_region(cx) else { return Ok(()) };
        if !self.0.options.check_region || signed == *region {
            return Ok(());
        }
        let message = format!(
            "The authorization header is malformed; the region '{signed}' is wrong; \
             expecting '{region}'"
        );
        let mut error = S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, message);
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        let mut headers = error_field("Region", region);
        if let Ok(value) = region.parse() {
            headers.insert("x-amz-bucket-region", value);
        }
        error.set_headers(headers);
        Err(error)
    }

    fn check_account(&self, headers: &HeaderMap) -> S3Result<()> {
        let options = &self.0.options;
        for name in ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"] {
            if header(headers, name).is_some_and(|owner| owner != options.owner) {
                return Err(access_denied());
            }
        }
        let pays = header(headers, "x-amz-request-payer") == Some("requester");
        if options.requester_pays && !pays { Err(access_denied()) } else { Ok(()) }
    }

    fn check_permission(&self, target: &Target) -> S3Result<()> {
        let action = match target.kind {
            Kind::Get | Kind::Head => Action::Get,
            Kind::Put | Kind::Copy | Kind::Multipart => Action::Put,
            Kind::Delete => Action::Delete,
            Kind::List => Action::List,
            Kind::Restore => Action::Restore,
            Kind::Retain => Action::Retain,
            Kind::DeleteMany | Kind::Bucket | Kind::Batch | Kind::Other => return Ok(()),
        };
        if self.0.denials.denies(action, &target.key) { Err(access_denied()) } else { Ok(()) }
    }
}

/// S3 refuses requests that carry `x-amz-` headers which the signature does not cover.
fn check_signed_headers(headers: &HeaderMap) -> S3Result<()> {
    let Some(authorization) = header(headers, "authorization") else { return Ok(()) };
    let Some((_, rest)) = authorization.split_once("SignedHeaders=") else { return Ok(()) };
    let signed: Vec<&str> = rest.split(',').next().unwrap_or("").trim().split(';').collect();
    let names = headers.keys().map(http::HeaderName::as_str);
    let mut covered = names.filter(|name| name.starts_with("x-amz-") || *name == "host");
    match covered.find(|name| !signed.contains(name)) {
        Some(_) => Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed"
        )),
        None => Ok(()),
    }
}

/// The region in the credential scope of the header or the presigned query.
fn signed_region(cx: &S3AccessContext<'_>) -> Option<String> {
    let scope = match header(cx.headers(), "authorization") {
        Some(value) => value.split_once("Credential=")?.1.split(',').next()?.to_owned(),
        None => query_value(cx.uri(), "X-Amz-Credential")?,
    };
    // An access key may contain slashes; the scope is counted from its end.
    scope.trim().rsplit('/').nth(2).map(str::to_owned)
}

fn query_value(uri: &http::Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| percent_decode(value, true))
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(crate) fn access_denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

/// Name of the internal header by which an error carries an element of its document.
///
/// s3s writes only code and message; the wire moves these headers into the document.
pub(crate) const ERROR_FIELD: &str = "x-testkit-error-field";

/// Headers that make the wire write `<name>value</name>` into the error document.
pub(crate) fn error_field(name: &str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    add_error_field(&mut headers, name, value);
    headers
}

pub(crate) fn add_error_field(headers: &mut HeaderMap, name: &str, value: &str) {
    if let Ok(value) = format!("{name}={value}").parse() {
        headers.append(ERROR_FIELD, value);
    }
}
