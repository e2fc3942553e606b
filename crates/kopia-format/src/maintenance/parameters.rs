//! The manifest with the labels `type: maintenance`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    FormatError, Result,
    fields::{Fields, Nanos},
    time::nanos,
};

const WHAT: &str = "maintenance parameters";

/// Who maintains a repository, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Value")]
pub struct MaintenanceParameters {
    /// `user@host` of the one who may do maintenance; empty if nobody was named.
    pub owner: String,
    /// Frequent and cheap maintenance.
    pub quick: Cycle,
    /// Rare and thorough maintenance.
    pub full: Cycle,
    /// How much of the repository's logs is kept.
    pub log_retention: LogRetention,
    /// Whether object locks are extended.
    pub extend_object_locks: bool,
    /// How many listings run at once; zero leaves it to the client.
    pub list_parallelism: i64,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One kind of maintenance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cycle {
    /// Whether it is done at all.
    pub enabled: bool,
    /// How long after the last run the next is due.
    #[serde(with = "nanos")]
    pub interval: Duration,
}

/// How much of the repository's logs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRetention {
    /// The most bytes.
    pub max_total_size: i64,
    /// The most logs.
    pub max_count: i64,
    /// The greatest age.
    #[serde(with = "nanos")]
    pub max_age: Duration,
}

impl Default for MaintenanceParameters {
    /// What a repository without a manifest has: nobody is the owner.
    fn default() -> Self {
        let cycle =
            |hours: u64| Cycle { enabled: true, interval: Duration::from_secs(3600 * hours) };
        Self {
            owner: String::new(),
            quick: cycle(1),
            full: cycle(24),
            log_retention: LogRetention::default(),
            extend_object_locks: false,
            list_parallelism: 0,
            extra: Map::new(),
        }
    }
}

impl Default for LogRetention {
    fn default() -> Self {
        let max_age = Duration::from_secs(30 * 24 * 3600);
        Self { max_total_size: 1 << 30, max_count: 10_000, max_age }
    }
}

impl LogRetention {
    /// These, or the defaults if all three are zero.
    #[must_use]
    pub fn or_default(self) -> Self {
        let unset = Self { max_total_size: 0, max_count: 0, max_age: Duration::ZERO };
        if self == unset { Self::default() } else { self }
    }
}

impl MaintenanceParameters {
    /// The parameters of a new repository.
    pub fn new(owner: impl Into<String>) -> Self {
        Self { owner: owner.into(), ..Self::default() }
    }
}

impl TryFrom<Value> for MaintenanceParameters {
    type Error = FormatError;
    fn try_from(value: Value) -> Result<Self> {
        let mut fields = Fields::new(WHAT, value)?;
        Ok(Self {
            owner: fields.or_zero("owner")?,
            quick: cycle(&mut fields, "quick")?,
            full: cycle(&mut fields, "full")?,
            log_retention: log_retention(&mut fields)?,
            extend_object_locks: fields.or_zero("extendObjectLocks")?,
            list_parallelism: fields.or_zero("listParallelism")?,
            extra: fields.rest(),
        })
    }
}

fn cycle(of: &mut Fields, key: &str) -> Result<Cycle> {
    let mut fields = Fields::new(WHAT, of.take_raw(key).unwrap_or(Value::Null))?;
    Ok(Cycle {
        enabled: fields.or_zero("enabled")?,
        interval: fields.or_zero::<Nanos>("interval")?.0,
    })
}

fn log_retention(of: &mut Fields) -> Result<LogRetention> {
    let mut fields = Fields::new(WHAT, of.take_raw("logRetention").unwrap_or(Value::Null))?;
    Ok(LogRetention {
        max_total_size: fields.or_zero("maxTotalSize")?,
        max_count: fields.or_zero("maxCount")?,
        max_age: fields.or_zero::<Nanos>("maxAge")?.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// Seen in a repository written by Kopia 0.23.1.
    const SEEN: &str = concat!(
        r#"{"owner":"fixuser@fixhost","quick":{"enabled":true,"interval":3600000000000},"#,
        r#""full":{"enabled":true,"interval":86400000000000},"logRetention":{"maxTotalSize":"#,
        r#"1073741824,"maxCount":10000,"maxAge":2592000000000000},"extendObjectLocks":false,"#,
        r#""listParallelism":0}"#
    );

    #[test]
    fn a_new_repository_has_kopias_parameters() {
        let new = MaintenanceParameters::new("fixuser@fixhost");
        assert_eq!(String::from_utf8(json::to_vec(&new)).unwrap(), SEEN);
        assert_eq!(serde_json::from_str::<MaintenanceParameters>(SEEN).unwrap(), new);
    }

    #[test]
    fn what_a_manifest_leaves_out_is_zero_and_zero_log_retention_is_the_default() {
        let read: MaintenanceParameters = serde_json::from_str(r#"{"owner":"a@b"}"#).unwrap();
        assert_eq!(read.quick, Cycle::default());
        assert_eq!(read.log_retention.max_count, 0);
        assert_eq!(read.log_retention.or_default(), LogRetention::default());
        let some = LogRetention { max_count: 1, ..read.log_retention };
        assert_eq!(some.or_default(), some);
    }

    #[test]
    fn keys_of_newer_versions_survive() {
        let text = SEEN.replace("\"listParallelism\":0", "\"listParallelism\":2,\"later\":[1]");
        let read: MaintenanceParameters = serde_json::from_str(&text).unwrap();
        assert_eq!(String::from_utf8(json::to_vec(&read)).unwrap(), text);
    }
}
