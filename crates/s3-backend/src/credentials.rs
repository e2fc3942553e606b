//! Whose name a request is signed with.
//!
//! A source of credentials is a [`ProvideCredentials`]. A storage asks its sources in order and
//! takes the first answer: the keys of the connection, the environment, then whatever source the
//! caller added ([`crate::S3Builder::credentials`]), which is the seam for profiles, containers and
//! instances. When no source has any, the request fails and names all that were asked; a request is
//! sent unsigned only for a storage that was opened as anonymous.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::options::S3Options;

/// An access key. `Debug` shows its ID and hides the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's ID.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: String,
    /// The token that belongs to a temporary key.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"(hidden)")
            .field("session_token", &self.session_token.as_ref().map(|_| "(hidden)"))
            .finish()
    }
}

/// A source of credentials.
///
/// An implementor promises: an answer is good at the time it is given (a source that fetches
/// temporary keys renews them before they end), and a failure is not remembered.
#[async_trait]
pub trait ProvideCredentials: Send + Sync + fmt::Debug {
    /// Where the source looks, as the object of "looked in": `the environment (AWS_ACCESS_KEY_ID)`.
    fn source(&self) -> String;

    /// The credentials; `None` = this source has none, ask the next.
    ///
    /// # Errors
    /// What is wrong with the credentials that are there; the next source is then not asked.
    async fn credentials(&self) -> Result<Option<Credentials>, String>;

    /// Called once when the storage said that `stale` has expired: credentials to try instead.
    ///
    /// # Errors
    /// What is wrong with the credentials that are there.
    async fn renew(&self, stale: &Credentials) -> Result<Option<Credentials>, String> {
        Ok(self.credentials().await?.filter(|fresh| fresh != stale))
    }
}

/// The keys of the connection itself.
#[derive(Debug)]
struct Connection(Credentials);

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

/// Looks up an environment variable.
pub(crate) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, read at every request.
struct EnvironmentKeys(Environment);

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
        let first = |names: [&str; 2]| {
            names.into_iter().filter_map(|name| (self.0)(name)).find(|value| !value.is_empty())
        };
        let id = first(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
        let secret = first(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
        match (id, secret) {
            (Some(access_key_id), Some(secret_access_key)) => Ok(Some(Credentials {
                access_key_id,
                secret_access_key,
                session_token: (self.0)("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not".into()),
            (None, Some(_)) => Err("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not".into()),
        }
    }
}

/// All sources of one storage, in the order in which they are asked.
#[derive(Debug)]
pub(crate) enum Sources {
    /// Requests are not signed.
    Anonymous,
    /// Ask these.
    Chain(Vec<Arc<dyn ProvideCredentials>>),
}

impl Sources {
    /// The connection's keys, the environment's, then `more`.
    pub fn of(
        options: &S3Options,
        environment: Environment,
        more: Vec<Arc<dyn ProvideCredentials>>,
    ) -> Self {
        let keys = Credentials {
            access_key_id: options.access_key_id.clone(),
            secret_access_key: options.secret_access_key.clone(),
            session_token: Some(options.session_token.clone()).filter(|token| !token.is_empty()),
        };
        let mut chain: Vec<Arc<dyn ProvideCredentials>> =
            vec![Arc::new(Connection(keys)), Arc::new(EnvironmentKeys(environment))];
        chain.extend(more);
        Self::Chain(chain)
    }

    /// What to sign with; `Ok(None)` = don't sign.
    pub async fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Self::Chain(chain) = self else { return Ok(None) };
        for source in chain {
            if let Some(found) = source.credentials().await? {
                return Ok(Some(found));
            }
        }
        let looked: Vec<_> = chain.iter().map(|source| source.source()).collect();
        Err(format!("none were found; looked in {}", looked.join(", ")))
    }

    /// What to sign with instead of `stale`; `None` = there is nothing else.
    pub async fn renew(&self, stale: &Credentials) -> Result<Option<Credentials>, String> {
        let Self::Chain(chain) = self else { return Ok(None) };
        for source in chain {
            if let Some(found) = source.credentials().await? {
                let fresh = if found == *stale { source.renew(stale).await? } else { Some(found) };
                return Ok(fresh);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&str, &str)]) -> Environment {
        Arc::new(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    async fn found(options: &S3Options, pairs: &'static [(&str, &str)]) -> Result<String, String> {
        let sources = Sources::of(options, environment(pairs), Vec::new());
        let found = sources.credentials().await?.unwrap();
        let token = found.session_token.unwrap_or_default();
        Ok(format!("{}/{}/{token}", found.access_key_id, found.secret_access_key))
    }

    #[tokio::test]
    async fn the_connection_wins_over_the_environment() {
        let pairs = &[
            ("AWS_ACCESS_KEY_ID", "ek"),
            ("AWS_SECRET_ACCESS_KEY", "es"),
            ("AWS_SESSION_TOKEN", "et"),
        ];
        let mine = S3Options {
            access_key_id: "k".into(),
            secret_access_key: "s".into(),
            session_token: "t".into(),
            ..S3Options::default()
        };
        assert_eq!(found(&mine, pairs).await.unwrap(), "k/s/t");
        assert_eq!(found(&S3Options::default(), pairs).await.unwrap(), "ek/es/et");
    }

    #[tokio::test]
    async fn half_a_key_and_no_key_are_said_as_what_they_are() {
        let half = S3Options { access_key_id: "k".into(), ..S3Options::default() };
        assert!(found(&half, &[]).await.unwrap_err().contains("without its secret"));
        let none = found(&S3Options::default(), &[]).await.unwrap_err();
        assert!(none.contains("accessKeyID") && none.contains("AWS_ACCESS_KEY_ID"), "{none}");
        let half = found(&S3Options::default(), &[("AWS_SECRET_KEY", "x")]).await.unwrap_err();
        assert!(half.contains("AWS_ACCESS_KEY_ID is not"), "{half}");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let text = format!(
            "{:?}",
            Connection(Credentials {
                access_key_id: "k".into(),
                secret_access_key: "hunter2".into(),
                session_token: Some("tok3n".into()),
            })
        );
        assert!(!text.contains("hunter2") && !text.contains("tok3n"), "{text}");
    }
}
