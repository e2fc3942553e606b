//! Who hands out temporary keys: the services that a client asks when it has none of its own.
//!
//! One address plays all of them, told apart by path: a container's endpoint (`/container`), an
//! instance's metadata service in version 2 (`/latest/…`), the Security Token Service (`POST /`)
//! and IAM Identity Center's portal (`/federation/credentials`). Each answer is a new key that the
//! S3 server knows from then on, and refuses as expired when its lifetime is over. Shapes: AWS'
//! documentation of each service; what a client must send is checked, signatures of the Security
//! Token Service as far as key and scope go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::access::header;
use crate::options::Credentials;
use crate::request::Query;
use crate::server::Shared;
use crate::text::iso_date;

/// A running place that hands out keys; it stops with its server. Clones are handles.
#[derive(Clone)]
pub struct Issuer {
    shared: Arc<Shared>,
    lifetime: Duration,
    endpoint: String,
    issued: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    number: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// An answer, or a status and what is said with it.
type Told = Result<String, (StatusCode, String)>;

impl Issuer {
    /// What the container's endpoint wants in `Authorization`.
    pub const CONTAINER_TOKEN: &'static str = "container-token";
    /// What the Security Token Service trusts.
    pub const WEB_IDENTITY_TOKEN: &'static str = "web-identity-token";
    /// What IAM Identity Center's portal wants in `x-amz-sso_bearer_token`.
    pub const SSO_TOKEN: &'static str = "sso-token";
    /// The role of the instance.
    pub const INSTANCE_ROLE: &'static str = "backup-role";
    const METADATA_TOKEN: &'static str = "metadata-token";

    pub(crate) fn new(
        shared: Arc<Shared>,
        lifetime: Duration,
        listener: &TcpListener,
    ) -> std::io::Result<Self> {
        Ok(Self {
            shared,
            lifetime,
            endpoint: format!("http://{}", listener.local_addr()?),
            issued: Arc::default(),
            number: Arc::default(),
            refusals: Arc::default(),
        })
    }

    /// Its address with the scheme.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many keys it has handed out as `container`, `instance`, `role`, `web-identity` or `sso`.
    #[must_use]
    pub fn issued(&self, how: &str) -> usize {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.get(how).copied().unwrap_or(0)
    }

    /// The next `times` requests are answered with status 500.
    pub fn refuse(&self, times: usize) {
        self.refusals.store(times, Ordering::SeqCst);
    }

    pub(crate) async fn serve(self, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            let issuer = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(issuer.clone(), request));
                // A broken connection is the client's affair.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    }

    /// A new key, known to the S3 server from now on.
    fn issue(&self, how: &'static str) -> Credentials {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let keys = Credentials {
            access_key: format!("ASIATESTKEY{number:05}"),
            secret_key: format!("secret-of-{number}"),
            session_token: Some(format!("token-of-{number}")),
            expires: Some(SystemTime::now() + self.lifetime),
        };
        self.shared.keys.0.write().unwrap_or_else(PoisonError::into_inner).push(keys.clone());
        *self.issued.lock().unwrap_or_else(PoisonError::into_inner).entry(how).or_default() += 1;
        keys
    }

    fn tell(
        &self,
        method: &Method,
        path: &str,
        query: &Query<'_>,
        head: &HeaderMap,
        body: &str,
    ) -> Told {
        let refused = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "as ordered".into()));
        }
        match (method, path) {
            (&Method::GET, "/container") => {
                want(head, "authorization", Self::CONTAINER_TOKEN)?;
                Ok(self.as_json(&self.issue("container")))
            }
            (&Method::PUT, "/latest/api/token") => {
                let lifetime = header(head, "x-aws-ec2-metadata-token-ttl-seconds");
                let secs = lifetime.and_then(|secs| secs.parse::<u32>().ok());
                match secs {
                    Some(1..=21_600) => Ok(Self::METADATA_TOKEN.into()),
                    _ => Err((StatusCode::BAD_REQUEST, "a token needs a lifetime".into())),
                }
            }
            (&Method::GET, "/latest/meta-data/iam/security-credentials/") => {
                want(head, "x-aws-ec2-metadata-token", Self::METADATA_TOKEN)?;
                Ok(Self::INSTANCE_ROLE.into())
            }
            (&Method::GET, "/latest/meta-data/iam/security-credentials/backup-role") => {
                want(head, "x-aws-ec2-metadata-token", Self::METADATA_TOKEN)?;
                Ok(self.as_json(&self.issue("instance")))
            }
            (&Method::GET, "/federation/credentials") => {
                want(head, "x-amz-sso_bearer_token", Self::SSO_TOKEN)?;
                if query.get("role_name").is_none() || query.get("account_id").is_none() {
                    return Err((StatusCode::BAD_REQUEST, "role_name and account_id".into()));
                }
                Ok(self.as_sso_json(&self.issue("sso")))
            }
            (&Method::POST, "/") => self.take_role(head, &Query::new(body)),
            _ => Err((StatusCode::NOT_FOUND, format!("there is no {method} {path}"))),
        }
    }

    fn take_role(&self, head: &HeaderMap, form: &Query<'_>) -> Told {
        let get = |name| form.get(name).unwrap_or_default();
        if get("Version") != "2011-06-15" || get("RoleArn").is_empty() {
            return Err((StatusCode::BAD_REQUEST, refusal("ValidationError", "not so")));
        }
        match get("Action").as_str() {
            "AssumeRole" => {
                self.check_signer(head)?;
                Ok(self.as_xml("AssumeRole", &self.issue("role")))
            }
            "AssumeRoleWithWebIdentity" if get("WebIdentityToken") == Self::WEB_IDENTITY_TOKEN => {
                Ok(self.as_xml("AssumeRoleWithWebIdentity", &self.issue("web-identity")))
            }
            "AssumeRoleWithWebIdentity" => {
                let refusal = refusal("InvalidIdentityToken", "The token is not valid.");
                Err((StatusCode::BAD_REQUEST, refusal))
            }
            action => Err((StatusCode::BAD_REQUEST, refusal("InvalidAction", action))),
        }
    }

    /// The signer's key is known and good, and the signature is one for this service.
    fn check_signer(&self, head: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let no = |code: &str, why: &str| Err((StatusCode::FORBIDDEN, refusal(code, why)));
        let authorization = header(head, "authorization").unwrap_or_default();
        let scope = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
        let scope: Vec<_> = scope.split([',', '/']).collect();
        let [key, _date, _region, "sts", "aws4_request", ..] = scope[..] else {
            return no("IncompleteSignature", "The signature is not one for this service.");
        };
        let keys = self.shared.keys.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = keys.iter().find(|known| known.access_key == key) else {
            return no("InvalidClientTokenId", "The security token is not valid.");
        };
        let token = header(head, "x-amz-security-token").map(str::to_owned);
        if token != known.session_token {
            return no("InvalidClientTokenId", "The security token is not valid.");
        }
        match known.expires.is_some_and(|end| end <= SystemTime::now()) {
            true => no("ExpiredToken", "The security token has expired."),
            false => Ok(()),
        }
    }

    fn as_json(&self, keys: &Credentials) -> String {
        json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            "Token": keys.session_token,
            "Expiration": keys.expires.map(iso_date),
        })
        .to_string()
    }

    fn as_sso_json(&self, keys: &Credentials) -> String {
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH);
        let millis = keys.expires.and_then(|time| since_1970(time).ok()).map(|d| d.as_millis());
        json!({ "roleCredentials": {
            "accessKeyId": keys.access_key,
            "secretAccessKey": keys.secret_key,
            "sessionToken": keys.session_token,
            "expiration": millis.and_then(|millis| u64::try_from(millis).ok()),
        }})
        .to_string()
    }

    fn as_xml(&self, action: &str, keys: &Credentials) -> String {
        let Credentials { access_key, secret_key, session_token, expires } = keys;
        let token = session_token.as_deref().unwrap_or_default();
        let until = expires.map(iso_date).unwrap_or_default();
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <{action}Result><AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser><Credentials>\
             <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>\
             </{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
             </{action}Response>"
        )
    }
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>\
         </Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

fn want(head: &HeaderMap, name: &str, value: &str) -> Result<(), (StatusCode, String)> {
    match header(head, name) == Some(value) {
        true => Ok(()),
        false => Err((StatusCode::UNAUTHORIZED, json!({ "message": "not you" }).to_string())),
    }
}

async fn answer(
    issuer: Issuer,
    request: Request<Incoming>,
) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let query = Query::new(head.uri.query().unwrap_or(""));
    let body = String::from_utf8_lossy(&body);
    let told = issuer.tell(&head.method, head.uri.path(), &query, &head.headers, &body);
    let (status, text) = told.map_or_else(|refused| refused, |text| (StatusCode::OK, text));
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}
