//! Keys of a container: ECS tasks, EKS pod identities, Greengrass.
//!
//! `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` is a path at 169.254.170.2;
//! `AWS_CONTAINER_CREDENTIALS_FULL_URI` is an address, over plain HTTP only at this machine or the
//! two link-local hosts of ECS and EKS, so that nobody makes us hand the token to a stranger. The
//! token comes from a file, read anew each time, or from a variable. Source: "Container credential
//! provider", AWS SDKs and Tools Reference Guide.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;

use super::{
    Environment, Secret,
    lease::{Fetch, Lease},
    var,
    web::{Question, Reply, Web},
};

const ECS: &str = "http://169.254.170.2";
const WITHIN: Duration = Duration::from_secs(5);

/// The endpoint of this container.
pub(super) struct Container {
    pub environment: Environment,
    pub web: Web,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Container")
    }
}

/// The JSON of ECS and of EC2's metadata service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    secret_access_key: Secret,
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    expiration: Option<String>,
}

/// Reads what container and instance endpoints answer.
pub(super) fn read(reply: &Reply) -> Result<Lease, String> {
    let given = serde_json::from_slice::<Given>(&reply.body).ok();
    let said = given.as_ref().map(|given| {
        let parts = [given.code.as_deref(), given.message.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    if !reply.is_success() {
        let said = said.filter(|said| !said.is_empty()).map_or(String::new(), |s| format!(", {s}"));
        return Err(format!("it answered with HTTP status {}{said}", reply.status));
    }
    let given = given.ok_or("its answer is not the JSON that is asked for")?;
    if given.access_key_id.is_empty() || given.secret_access_key.is_empty() {
        return Err(format!("its answer holds no key ({})", said.unwrap_or_default()));
    }
    Lease::of(given.access_key_id, given.secret_access_key, given.token, given.expiration)
}

impl Container {
    fn address(&self) -> Result<Option<String>, String> {
        if let Some(path) = var(&self.environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return Ok(Some(format!("{ECS}{path}")));
        }
        let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let Some(address) = var(&self.environment, name) else { return Ok(None) };
        if may_be_asked(&address) {
            Ok(Some(address))
        } else {
            Err(format!("{name}: {address} is neither HTTPS nor at this machine"))
        }
    }

    async fn token(&self) -> Result<Option<String>, String> {
        let name = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        if let Some(file) = var(&self.environment, name) {
            let token = tokio::fs::read_to_string(&file).await;
            return match token {
                Ok(token) => Ok(Some(token.trim().to_owned())),
                Err(error) => Err(format!("{name}: {file}: {error}")),
            };
        }
        Ok(var(&self.environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN"))
    }
}

/// HTTPS anywhere; HTTP at this machine and at the link-local hosts of ECS and EKS.
fn may_be_asked(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let link_local = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
            host == "localhost"
                || host.parse::<IpAddr>().is_ok_and(|ip| {
                    ip.is_loopback() || link_local.iter().any(|known| known.parse() == Ok(ip))
                })
        }
        _ => false,
    }
}

#[async_trait]
impl Fetch for Container {
    fn source(&self) -> String {
        "the container (AWS_CONTAINER_CREDENTIALS_FULL_URI)".into()
    }

    async fn fetch(&self) -> Result<Option<Lease>, String> {
        let Some(address) = self.address()? else { return Ok(None) };
        let about = |reason: String| format!("the container's keys: {reason}");
        let mut question = Question::get(&address, WITHIN);
        if let Some(token) = self.token().await? {
            question = question.header("authorization", &token)?;
        }
        let reply = self.web.ask(question).await.map_err(about)?;
        let lease = read(&reply).map_err(|reason| about(format!("{address}: {reason}")))?;
        Ok(Some(lease))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::{Target, deep_json, on_small_stack};

    #[test]
    fn the_answer_may_be_any_bytes() {
        let good = br#"{"Code":"Success","AccessKeyId":"ASIA","SecretAccessKey":"s\n","Token":"t","Expiration":"2026-01-02T03:04:05Z","LastUpdated":"2026-01-01T03:04:05Z"}"#;
        let read = |bytes: &[u8]| {
            let of = |status| Reply { status, body: bytes.to_vec().into() };
            assert!(read(&of(403)).is_err());
            read(&of(200)).is_ok()
        };
        Target::new("container's keys", read, [good.to_vec()], crate::MEMORY).attack();
        assert_eq!(on_small_stack(read, deep_json()), 0);
    }

    #[test]
    fn only_own_hosts_are_asked_without_tls() {
        for good in [
            "https://keys.example/x",
            "http://127.0.0.1:80/x",
            "http://localhost/x",
            "http://169.254.170.2/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://[::1]:8080/",
        ] {
            assert!(may_be_asked(good), "{good}");
        }
        for bad in ["http://keys.example/x", "http://169.254.169.254/", "ftp://127.0.0.1/", "x"] {
            assert!(!may_be_asked(bad), "{bad}");
        }
    }
}
