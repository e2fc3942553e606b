//! Keys that are simply there: of the connection, of the environment.

use std::fmt;

use async_trait::async_trait;

use super::{Credentials, Environment, ProvideCredentials, Secret, var};

/// The keys of the connection itself.
#[derive(Debug)]
pub(super) struct Connection(pub Credentials);

#[async_trait]
impl ProvideCredentials for Connection {
    fn source(&self) -> String {
        "the connection (accessKeyID)".into()
    }

    async fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Credentials { access_key_id, secret_access_key, .. } = &self.0;
        match (access_key_id.is_empty(), secret_access_key.is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Ok(Some(self.0.clone())),
            (true, false) => Err("the connection has a secret access key without its ID".into()),
            (false, true) => Err("the connection has an access key ID without its secret".into()),
        }
    }
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, read at every request.
pub(super) struct EnvironmentKeys(pub Environment);

impl fmt::Debug for EnvironmentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvironmentKeys")
    }
}

#[async_trait]
impl ProvideCredentials for EnvironmentKeys {
    fn source(&self) -> String {
        "the environment (AWS_ACCESS_KEY_ID)".into()
    }

    async fn credentials(&self) -> Result<Option<Credentials>, String> {
        // The second name of each is what Kopia's S3 library takes, too.
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| var(&self.0, name));
        let id = first(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
        let secret = first(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
        match (id, secret) {
            (Some(access_key_id), Some(secret_access_key)) => Ok(Some(Credentials {
                access_key_id,
                secret_access_key: secret_access_key.into(),
                session_token: var(&self.0, "AWS_SESSION_TOKEN").map(Secret::from),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not".into()),
            (None, Some(_)) => Err("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not".into()),
        }
    }
}
