//! Whose name a request is signed with.
//!
//! A source of credentials is a [`ProvideCredentials`]. A storage asks its sources in order and
//! takes the first answer: the keys of the connection; a profile that was asked for by name, and
//! then no other; the environment, what the caller added ([`crate::S3Builder::credentials`]), a web
//! identity, the profile of the environment, the container, the instance. With a role in the connection, the source
//! found is used to take it. A source that has *wrong* keys is the end: a request under another
//! name than the user meant is worse than none. When no source has any, the request fails and names
//! all that were asked; a request is sent unsigned only for a storage that was opened as anonymous.

mod container;
mod ini;
mod instance;
mod keys;
mod lease;
mod process;
mod profile;
mod role;
mod secret;
mod sso;
mod sts;
mod web;
mod web_identity;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use blob_core::Clock;

use crate::{
    net::{Proxies, Trust},
    options::S3Options,
};
use container::Container;
use instance::Instance;
use keys::{Connection, EnvironmentKeys};
use lease::Renewed;
use profile::Profiles;
pub use secret::Secret;
use web::Web;
use web_identity::WebIdentity;

/// An access key. `Debug` shows its ID and hides the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's ID.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: Secret,
    /// The token that belongs to a temporary key.
    pub session_token: Option<Secret>,
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

/// Looks up an environment variable.
pub(crate) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A variable that is set to something.
fn var(environment: &Environment, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

/// The URL at which AWS gives roles.
pub(crate) fn role_service(region: Option<&str>) -> String {
    sts::Endpoint::of_region(region).url
}

/// What the sources of a storage need to know.
pub(crate) struct Surroundings {
    pub environment: Environment,
    pub clock: Arc<dyn Clock>,
    pub trust: Trust,
    pub proxies: Proxies,
    /// A profile of the shared files that was asked for by name.
    pub profile: Option<String>,
    /// Sources of the caller's own.
    pub more: Vec<Arc<dyn ProvideCredentials>>,
}

/// All sources of one storage, in the order in which they are asked.
#[derive(Debug)]
pub(crate) enum Sources {
    /// Requests are not signed.
    Anonymous,
    /// Ask these.
    Chain {
        sources: Vec<Arc<dyn ProvideCredentials>>,
        /// The one that answered, to be asked first the next time.
        chosen: AtomicUsize,
    },
}

impl Sources {
    /// The sources for a connection.
    ///
    /// # Errors
    /// Which option is wrong, and why.
    pub fn of(
        options: &S3Options,
        surroundings: Surroundings,
    ) -> Result<Self, (&'static str, String)> {
        let Surroundings { environment, clock, trust, proxies, profile, more } = surroundings;
        let keys = Credentials {
            access_key_id: options.access_key_id.clone(),
            secret_access_key: options.secret_access_key.clone(),
            session_token: Some(options.session_token.clone()).filter(|token| !token.is_empty()),
        };
        // Own certificates may be those of a private service for roles, too; without TLS to the
        // bucket the public services are still asked under TLS.
        let web = Web::new(if trust == Trust::Plain { Trust::System } else { trust }, proxies);
        let profiles = |name| Profiles {
            environment: environment.clone(),
            web: web.clone(),
            clock: clock.clone(),
            name,
        };
        let mut sources: Vec<Arc<dyn ProvideCredentials>> = vec![Arc::new(Connection(keys))];
        if profile.is_some() {
            sources.push(Arc::new(Renewed::new(profiles(profile), clock.clone())));
        } else {
            let web_identity = WebIdentity { environment: environment.clone(), web: web.clone() };
            let container = Container { environment: environment.clone(), web: web.clone() };
            let instance = Instance { environment: environment.clone(), web: web.clone() };
            sources.push(Arc::new(EnvironmentKeys(environment.clone())));
            sources.extend(more);
            sources.push(Arc::new(Renewed::new(web_identity, clock.clone())));
            sources.push(Arc::new(Renewed::new(profiles(None), clock.clone())));
            sources.push(Arc::new(Renewed::new(container, clock.clone())));
            sources.push(Arc::new(Renewed::new(instance, clock.clone())));
        }
        if let Some((role, endpoint)) = role::of(options)? {
            let assumed = role::Assumed { role, endpoint, keys: sources, web };
            sources = vec![Arc::new(Renewed::new(assumed, clock))];
        }
        Ok(Self::Chain { sources, chosen: AtomicUsize::new(0) })
    }

    /// What to sign with; `Ok(None)` = don't sign.
    pub async fn credentials(&self) -> Result<Option<Credentials>, String> {
        let Self::Chain { sources, chosen } = self else { return Ok(None) };
        if let Some(found) = sources[chosen.load(Ordering::Relaxed)].credentials().await? {
            return Ok(Some(found));
        }
        let (which, found) = first_with_place(sources).await?;
        chosen.store(which, Ordering::Relaxed);
        tracing::debug!(source = sources[which].source(), "this source has credentials");
        Ok(Some(found))
    }

    /// What to sign with instead of `stale`; `None` = there is nothing else.
    pub async fn renew(&self, stale: &Credentials) -> Result<Option<Credentials>, String> {
        let Self::Chain { sources, chosen } = self else { return Ok(None) };
        let source = &sources[chosen.load(Ordering::Relaxed)];
        match source.credentials().await? {
            Some(found) if found == *stale => source.renew(stale).await,
            found => Ok(found),
        }
    }
}

/// The first credentials that a source has.
async fn first_of(sources: &[Arc<dyn ProvideCredentials>]) -> Result<Credentials, String> {
    Ok(first_with_place(sources).await?.1)
}

async fn first_with_place(
    sources: &[Arc<dyn ProvideCredentials>],
) -> Result<(usize, Credentials), String> {
    for (which, source) in sources.iter().enumerate() {
        if let Some(found) = source.credentials().await? {
            return Ok((which, found));
        }
    }
    let looked: Vec<_> = sources.iter().map(|source| source.source()).collect();
    Err(format!("none were found; looked in {}", looked.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&str, &str)]) -> Environment {
        Arc::new(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    async fn found(options: &S3Options, pairs: &'static [(&str, &str)]) -> Result<String, String> {
        let surroundings = Surroundings {
            environment: environment(pairs),
            clock: Arc::new(blob_core::SystemClock),
            trust: Trust::Plain,
            proxies: Proxies::none(),
            profile: None,
            more: Vec::new(),
        };
        let sources = Sources::of(options, surroundings).unwrap();
        let found = sources.credentials().await?.unwrap();
        let token = found.session_token.unwrap_or_default();
        let secret = found.secret_access_key.expose();
        Ok(format!("{}/{secret}/{}", found.access_key_id, token.expose()))
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
        let none = found(&S3Options::default(), &[("AWS_EC2_METADATA_DISABLED", "true")]).await;
        let none = none.unwrap_err();
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
