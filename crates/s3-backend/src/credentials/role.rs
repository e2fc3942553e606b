//! The role of a connection: what Kopia's connection file has under `roleARN`.
//!
//! Kopia takes it with the connection's own keys only; here any source may have the keys.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    ProvideCredentials,
    lease::{Fetch, Lease},
    sts::{self, Endpoint, Role},
    web::Web,
};
use crate::options::S3Options;

/// A role, and who has the keys to take it.
#[derive(Debug)]
pub(super) struct Assumed {
    pub role: Role,
    pub endpoint: Endpoint,
    pub keys: Vec<Arc<dyn ProvideCredentials>>,
    pub web: Web,
}

/// A shorter time than this is raised to it, as Kopia does.
const DURATION_MIN: Duration = Duration::from_secs(3_600);

/// The role that the options name; `None` = they name none.
///
/// # Errors
/// The option, and what is wrong with it.
pub(super) fn of(options: &S3Options) -> Result<Option<(Role, Endpoint)>, (&'static str, String)> {
    if options.role_arn.is_empty() {
        return Ok(None);
    }
    let duration = go_duration(&options.duration)
        .ok_or_else(|| ("duration", format!("{:?} is no duration", options.duration)))?;
    let region = Some(options.role_region.as_str()).filter(|region| !region.is_empty());
    let mut endpoint = Endpoint::of_region(region);
    if !options.role_endpoint.is_empty() {
        let url = options.role_endpoint.trim_end_matches('/');
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(("roleEndpoint", format!("{url:?} does not begin with https://")));
        }
        endpoint.url = url.to_owned();
    }
    let role = Role {
        arn: options.role_arn.clone(),
        session_name: options.session_name.clone(),
        duration: Some(duration.max(DURATION_MIN)),
        external_id: None,
    };
    Ok(Some((role, endpoint)))
}

/// Go's form, `1h0m0s`, `90m`, `1.5h`, with units from nanoseconds to hours. `kopia-format` reads
/// it, too; but this crate knows no backup format.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        seconds += number
            * match unit {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[async_trait]
impl Fetch for Assumed {
    fn source(&self) -> String {
        format!("the connection's role {}", self.role.arn)
    }

    async fn fetch(&self) -> Result<Option<Lease>, String> {
        let keys = super::first_of(&self.keys).await?;
        Ok(Some(sts::assume(&self.web, &self.endpoint, &self.role, &keys).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_durations_are_read() {
        for (text, secs) in [("1h0m0s", 3_600), ("90m", 5_400), ("1.5h", 5_400), ("0s", 0)] {
            assert_eq!(go_duration(text), Some(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "1", "h", "1x", "-1h", "1h2"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_hour_is_the_least_and_the_endpoint_has_a_scheme() {
        let base = S3Options { role_arn: "arn:aws:iam::1:role/r".into(), ..S3Options::default() };
        let (role, endpoint) = of(&base).unwrap().unwrap();
        assert_eq!(role.duration, Some(DURATION_MIN));
        assert_eq!(endpoint.url, "https://sts.amazonaws.com");
        let wrong = S3Options { role_endpoint: "sts".into(), ..base.clone() };
        assert_eq!(of(&wrong).unwrap_err().0, "roleEndpoint");
        assert_eq!(of(&S3Options { duration: "x".into(), ..base }).unwrap_err().0, "duration");
        assert_eq!(of(&S3Options::default()).unwrap(), None);
    }
}
