//! Temporary keys: kept while they are good, renewed before they end.
//!
//! The one idea: a source that fetches keys says until when they hold, and this wrapper asks it
//! again after four fifths of that time, at the latest five minutes before the end. One caller
//! fetches, the others wait for it. A failure is never remembered as an answer: while the old keys
//! still hold they are used and the next request tries again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use blob_core::{Clock, Timestamp};
use tokio::sync::Mutex;

use super::{Credentials, ProvideCredentials, Secret};
use crate::time;

/// AWS' own clients renew five minutes before the end.
const AHEAD_MAX: Duration = Duration::from_secs(300);
/// After a renewal that failed, how long the old keys are used before the next try.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Keys, and when the storage will begin to refuse them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub credentials: Credentials,
    /// `None` = they do not end.
    pub until: Option<Timestamp>,
}

impl Lease {
    /// What a service or a program gave. An empty token or end is none.
    ///
    /// # Errors
    /// The end is no time.
    pub fn of(
        access_key_id: String,
        secret_access_key: Secret,
        session_token: Option<Secret>,
        expiration: Option<String>,
    ) -> Result<Self, String> {
        let end = |text: String| {
            time::parse_rfc3339(&text).ok_or_else(|| format!("Expiration {text:?} is no time"))
        };
        let session_token = session_token.filter(|token| !token.is_empty());
        let until = expiration.filter(|text| !text.is_empty()).map(end).transpose()?;
        let credentials = Credentials { access_key_id, secret_access_key, session_token };
        Ok(Self { credentials, until })
    }
}

/// Where keys are fetched.
#[async_trait]
pub(super) trait Fetch: Send + Sync + std::fmt::Debug {
    /// As [`ProvideCredentials::source`].
    fn source(&self) -> String;

    /// Keys that hold from now on; `None` = this source has none.
    async fn fetch(&self) -> Result<Option<Lease>, String>;
}

/// A source whose keys are kept and renewed.
#[derive(Debug)]
pub(super) struct Renewed<F> {
    fetch: F,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    renew_at: Option<Timestamp>,
}

impl<F: Fetch> Renewed<F> {
    pub fn new(fetch: F, clock: Arc<dyn Clock>) -> Self {
        Self { fetch, clock, held: Mutex::new(None) }
    }

    /// Fetches into `held`; the keys that were there go on if they still can.
    async fn refill(&self, held: &mut Option<Held>) -> Result<Option<Credentials>, String> {
        match self.fetch.fetch().await {
            Ok(Some(lease)) => {
                let now = self.clock.now();
                if let Some(until) = lease.until
                    && until <= now
                {
                    return Err(format!("{} gave keys that have expired", self.fetch.source()));
                }
                let renew_at = lease.until.map(|until| renewal(now, until));
                let credentials = lease.credentials.clone();
                *held = Some(Held { lease, renew_at });
                Ok(Some(credentials))
            }
            Ok(None) => {
                *held = None;
                Ok(None)
            }
            Err(reason) => self.go_on(held, reason),
        }
    }

    fn go_on(
        &self,
        held: &mut Option<Held>,
        reason: String,
    ) -> Result<Option<Credentials>, String> {
        let now = self.clock.now();
        let Some(Held { lease, renew_at }) = held else { return Err(reason) };
        let Some(until) = lease.until.filter(|until| *until > now) else { return Err(reason) };
        tracing::warn!(source = self.fetch.source(), reason, "keys could not be renewed in time");
        *renew_at = Some(renewal(now, until).min(now.saturating_add(PAUSE_MAX)));
        Ok(Some(lease.credentials.clone()))
    }
}

/// When to renew keys that hold from `now` until `until`.
fn renewal(now: Timestamp, until: Timestamp) -> Timestamp {
    let left = until.since(now);
    now.saturating_add(left - (left / 5).min(AHEAD_MAX))
}

#[async_trait]
impl<F: Fetch> ProvideCredentials for Renewed<F> {
    fn source(&self) -> String {
        self.fetch.source()
    }

    async fn credentials(&self) -> Result<Option<Credentials>, String> {
        let mut held = self.held.lock().await;
        if let Some(Held { lease, renew_at }) = &*held
            && renew_at.is_none_or(|at| self.clock.now() < at)
        {
            return Ok(Some(lease.credentials.clone()));
        }
        self.refill(&mut held).await
    }

    async fn renew(&self, stale: &Credentials) -> Result<Option<Credentials>, String> {
        let mut held = self.held.lock().await;
        if let Some(Held { lease, .. }) = &*held
            && lease.credentials != *stale
        {
            return Ok(Some(lease.credentials.clone())); // somebody else was here before
        }
        *held = None; // the storage refuses them, whatever their date says
        Ok(self.refill(&mut held).await?.filter(|fresh| fresh != stale))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use blob_core::ManualClock;

    use super::*;

    /// Gives keys of ten seconds, numbered; fails where told to.
    #[derive(Debug)]
    struct Counting {
        clock: Arc<ManualClock>,
        fetched: AtomicUsize,
        fails: std::sync::Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl Fetch for Arc<Counting> {
        fn source(&self) -> String {
            "a test".into()
        }

        async fn fetch(&self) -> Result<Option<Lease>, String> {
            tokio::task::yield_now().await; // so that others can come between
            let n = self.fetched.fetch_add(1, Ordering::SeqCst);
            if self.fails.lock().unwrap().contains(&n) {
                return Err(format!("fetch {n} failed"));
            }
            let credentials = Credentials {
                access_key_id: format!("k{n}"),
                secret_access_key: "s".into(),
                session_token: None,
            };
            Ok(Some(Lease {
                credentials,
                until: Some(self.clock.now().saturating_add(Duration::from_secs(10))),
            }))
        }
    }

    fn source(fails: &[usize]) -> (Arc<ManualClock>, Arc<Counting>, Renewed<Arc<Counting>>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_000)));
        let fetch = Arc::new(Counting {
            clock: clock.clone(),
            fetched: AtomicUsize::new(0),
            fails: std::sync::Mutex::new(fails.to_vec()),
        });
        (clock.clone(), fetch.clone(), Renewed::new(fetch, clock))
    }

    async fn key(source: &Renewed<Arc<Counting>>) -> String {
        source.credentials().await.unwrap().unwrap().access_key_id
    }

    #[tokio::test]
    async fn keys_are_renewed_after_four_fifths_of_their_time_and_not_before() {
        let (clock, fetch, source) = source(&[]);
        assert_eq!(key(&source).await, "k0");
        clock.advance(Duration::from_millis(7_999));
        assert_eq!(key(&source).await, "k0");
        clock.advance(Duration::from_millis(1));
        assert_eq!(key(&source).await, "k1");
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn many_callers_make_one_request() {
        let (_clock, fetch, source) = source(&[]);
        let keys = futures::future::join_all((0..20).map(|_| key(&source))).await;
        assert!(keys.iter().all(|key| key == "k0"));
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered_and_old_keys_bridge_it() {
        let (clock, _fetch, source) = source(&[0, 2]);
        assert_eq!(source.credentials().await.unwrap_err(), "fetch 0 failed");
        assert_eq!(key(&source).await, "k1");
        clock.advance(Duration::from_secs(8));
        assert_eq!(key(&source).await, "k1", "the renewal failed, the keys hold for two seconds");
        clock.advance(Duration::from_secs(2));
        assert_eq!(key(&source).await, "k3");
    }

    #[tokio::test]
    async fn refused_keys_are_replaced_once_for_all_callers() {
        let (_clock, fetch, source) = source(&[]);
        let stale = source.credentials().await.unwrap().unwrap();
        let (one, two) = futures::join!(source.renew(&stale), source.renew(&stale));
        assert_eq!(one.unwrap().unwrap().access_key_id, "k1");
        assert_eq!(two.unwrap().unwrap().access_key_id, "k1");
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn an_hour_is_renewed_five_minutes_before_its_end() {
        let now = Timestamp::from_secs(0);
        assert_eq!(renewal(now, Timestamp::from_secs(3_600)), Timestamp::from_secs(3_300));
        assert_eq!(renewal(now, Timestamp::from_secs(3)), Timestamp::from_nanos(2_400_000_000));
    }
}
