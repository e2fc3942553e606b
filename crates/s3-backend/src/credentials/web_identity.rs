//! Keys for a token of an identity provider: what EKS and CI systems give a job.
//!
//! `AWS_WEB_IDENTITY_TOKEN_FILE` names a file, read anew each time because its token changes, and
//! `AWS_ROLE_ARN` the role that trusts it. Source: "Assume role with web identity", AWS SDKs and
//! Tools Reference Guide.

use async_trait::async_trait;

use super::{
    Environment,
    lease::{Fetch, Lease},
    sts::{self, Endpoint, Role},
    var,
    web::Web,
};

/// The token that the environment names.
pub(super) struct WebIdentity {
    pub environment: Environment,
    pub web: Web,
}

impl std::fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebIdentity")
    }
}

/// Takes a role with the token in a file.
pub(super) async fn assume(
    web: &Web,
    endpoint: &Endpoint,
    role: &Role,
    file: &str,
) -> Result<Lease, String> {
    let token = tokio::fs::read_to_string(file).await;
    let token = token.map_err(|error| format!("web identity token file {file}: {error}"))?;
    sts::assume_with_token(web, endpoint, role, token.trim()).await
}

/// Where the Security Token Service of the environment's region is.
pub(super) fn endpoint(environment: &Environment, region: Option<&str>) -> Endpoint {
    let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| var(environment, name));
    let mut endpoint = Endpoint::of_region(named.as_deref().or(region));
    if let Some(url) = var(environment, "AWS_ENDPOINT_URL_STS") {
        endpoint.url = url.trim_end_matches('/').to_owned();
    }
    endpoint
}

#[async_trait]
impl Fetch for WebIdentity {
    fn source(&self) -> String {
        "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)".into()
    }

    async fn fetch(&self) -> Result<Option<Lease>, String> {
        let Some(file) = var(&self.environment, "AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Ok(None);
        };
        let arn = var(&self.environment, "AWS_ROLE_ARN");
        let arn = arn.ok_or("AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not")?;
        let session_name = var(&self.environment, "AWS_ROLE_SESSION_NAME").unwrap_or_default();
        let role = Role { arn, session_name, duration: None, external_id: None };
        let endpoint = endpoint(&self.environment, None);
        Ok(Some(assume(&self.web, &endpoint, &role, &file).await?))
    }
}
