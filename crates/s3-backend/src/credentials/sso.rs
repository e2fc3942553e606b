//! Keys of IAM Identity Center, by the token that `aws sso login` left.
//!
//! The token lies in `~/.aws/sso/cache`, in a file named by the SHA-1 of the session's name, or of
//! the start address where a profile has no session. It is exchanged for the keys of one role in
//! one account. Whether it has expired is decided by its date; a new one takes a person and a
//! browser. Source: "IAM Identity Center credential provider", AWS SDKs and Tools Reference Guide.

use std::{path::Path, time::Duration};

use blob_core::Timestamp;
use form_urlencoded::Serializer;
use serde::Deserialize;

use super::{
    Credentials, Environment, Secret,
    lease::Lease,
    var,
    web::{Question, Web},
};
use crate::time;

const WITHIN: Duration = Duration::from_secs(30);

/// What a profile says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sso {
    /// The name of a `[sso-session …]`, or else the start address: what the cache file is named by.
    pub cached_as: String,
    pub region: String,
    pub account: String,
    pub role: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    access_token: String,
    expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Secret,
    /// Milliseconds since 1970.
    expiration: i64,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Sso {
    /// Exchanges the token for keys.
    pub async fn fetch(
        &self,
        web: &Web,
        environment: &Environment,
        aws_folder: &Path,
        now: Timestamp,
    ) -> Result<Lease, String> {
        let token = self.token(aws_folder, now).await?;
        let usual = || format!("https://portal.sso.{}.amazonaws.com", self.region);
        let portal = var(environment, "AWS_ENDPOINT_URL_SSO").unwrap_or_else(usual);
        let pairs = [("role_name", &self.role), ("account_id", &self.account)];
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        let address = format!("{}/federation/credentials?", portal.trim_end_matches('/'));
        let question = Question::get(address + &query, WITHIN)
            .header("x-amz-sso_bearer_token", &token.access_token)?;
        let reply = web.ask(question).await?;
        if !reply.is_success() {
            let said = serde_json::from_slice::<Refusal>(&reply.body).ok();
            let said = said.map_or(String::new(), |refusal| format!(": {}", refusal.message));
            let (role, account) = (&self.role, &self.account);
            return Err(format!(
                "IAM Identity Center gives no keys for role {role} in account {account} (HTTP \
                 status {}){said}",
                reply.status
            ));
        }
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| "IAM Identity Center's answer is not the JSON that is asked for")?;
        let given = answer.role_credentials;
        let credentials = Credentials {
            access_key_id: given.access_key_id,
            secret_access_key: given.secret_access_key,
            session_token: Some(given.session_token),
        };
        let until = given.expiration.checked_mul(1_000_000).map(Timestamp::from_nanos);
        Ok(Lease { credentials, until })
    }

    async fn token(&self, aws_folder: &Path, now: Timestamp) -> Result<Token, String> {
        let name = sha1_hex(self.cached_as.as_bytes());
        let file = aws_folder.join("sso/cache").join(format!("{name}.json"));
        let login = "run: aws sso login";
        let bytes = tokio::fs::read(&file).await.map_err(|error| {
            format!("no IAM Identity Center token ({}: {error}); {login}", file.display())
        })?;
        let token = serde_json::from_slice::<Token>(&bytes).ok();
        let token = token.ok_or_else(|| {
            format!("{} is not an IAM Identity Center token; {login}", file.display())
        })?;
        match time::parse_rfc3339(&token.expires_at) {
            Some(until) if until > now => Ok(token),
            Some(_) => {
                let until = &token.expires_at;
                Err(format!("the IAM Identity Center token expired at {until}; {login}"))
            }
            None => Err(format!("{}: expiresAt is no time; {login}", file.display())),
        }
    }
}

fn sha1_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_files_are_named_by_sha_1() {
        assert_eq!(sha1_hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
