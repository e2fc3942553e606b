//! Keys of an EC2 instance: its metadata service, in version 2 only.
//!
//! A token first, then the name of the instance's role, then the role's keys. The service is a few
//! hops away at most; off EC2 nobody answers at its address, so waiting is short. Variables:
//! `AWS_EC2_METADATA_DISABLED`, `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `…_ENDPOINT_MODE`. Source:
//! "Use the Instance Metadata Service", Amazon EC2 User Guide.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;

use super::{
    Environment, container,
    lease::{Fetch, Lease},
    var,
    web::{Question, Web},
};

/// AWS' own clients wait one second, too.
const WITHIN: Duration = Duration::from_secs(1);
const TOKEN_LIFETIME_SECS: &str = "21600";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The metadata service of this instance.
pub(super) struct Instance {
    pub environment: Environment,
    pub web: Web,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Instance")
    }
}

impl Instance {
    fn endpoint(&self) -> Option<String> {
        let disabled = var(&self.environment, "AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let own = var(&self.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let mode = var(&self.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let v6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let usual = if v6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
        let endpoint = own.unwrap_or_else(|| usual.into());
        Some(endpoint.trim_end_matches('/').to_owned())
    }
}

#[async_trait]
impl Fetch for Instance {
    fn source(&self) -> String {
        match self.endpoint() {
            Some(endpoint) => format!("the instance ({endpoint})"),
            None => "no instance (AWS_EC2_METADATA_DISABLED)".into(),
        }
    }

    async fn fetch(&self) -> Result<Option<Lease>, String> {
        let Some(endpoint) = self.endpoint() else { return Ok(None) };
        let ask_token = Question {
            method: Method::PUT,
            ..Question::get(format!("{endpoint}/latest/api/token"), WITHIN)
        };
        let ask_token = ask_token
            .header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_LIFETIME_SECS)?
            .header("content-length", "0")?;
        // Nobody there, or somebody who is no metadata service: this is no instance.
        let token = match self.web.ask(ask_token).await {
            Ok(reply) if reply.is_success() => String::from_utf8_lossy(&reply.body).into_owned(),
            Ok(reply) => {
                tracing::debug!(endpoint, status = reply.status, "no metadata token");
                return Ok(None);
            }
            Err(reason) => {
                tracing::debug!(endpoint, reason, "no metadata service");
                return Ok(None);
            }
        };
        let ask = async |path: &str| {
            let question = Question::get(format!("{endpoint}{path}"), WITHIN);
            self.web.ask(question.header("x-aws-ec2-metadata-token", token.trim())?).await
        };
        let about = |reason: String| format!("the instance's keys: {reason}");
        let roles = ask(ROLES).await.map_err(about)?;
        if roles.status == 404 {
            return Ok(None); // an instance without a role
        }
        let names = String::from_utf8_lossy(&roles.body).into_owned();
        let name = names.lines().next().map(str::trim).filter(|name| !name.is_empty());
        let Some(name) = name.filter(|_| roles.is_success()) else {
            let status = roles.status;
            return Err(about(format!("{endpoint} names no role (HTTP status {status})")));
        };
        let reply = ask(&format!("{ROLES}{name}")).await.map_err(about)?;
        let lease = container::read(&reply);
        Ok(Some(lease.map_err(|reason| about(format!("role {name}: {reason}")))?))
    }
}
