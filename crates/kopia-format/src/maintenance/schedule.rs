//! The blob `kopia.maintenance`: when maintenance is due, and a history per task.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    FormatError, Result,
    cipher::{NONCE_LEN, aes256, open, seal},
    fields::Fields,
    json,
    keys::PurposeKey,
    time::GoTime,
};

/// The ID of the blob.
pub const MAINTENANCE_BLOB_ID: &str = "kopia.maintenance";

/// How many runs of a task are remembered.
pub const RUNS_PER_TASK_MAX: usize = 50;

const AAD: &[u8] = b"maintenance";
const WHAT: &str = "maintenance schedule";

/// When maintenance is due, and what was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MaintenanceSchedule {
    /// When full maintenance is due; [`GoTime::ZERO`] is now.
    #[serde(rename = "nextFullMaintenance")]
    pub next_full: GoTime,
    /// When quick maintenance is due; [`GoTime::ZERO`] is now.
    #[serde(rename = "nextQuickMaintenance")]
    pub next_quick: GoTime,
    /// The last runs of each task, newest first.
    #[serde(serialize_with = "null_if_empty")]
    pub runs: BTreeMap<String, Vec<MaintenanceRun>>,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One run of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaintenanceRun {
    /// When it began.
    pub start: GoTime,
    /// When it ended.
    pub end: GoTime,
    /// Whether it did what it should.
    #[serde(skip_serializing_if = "json::is_zero")]
    pub success: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What it did, in numbers.
    #[serde(rename = "extra", skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<RunStatistics>,
}

/// Numbers of one run. Which keys there are depends on the kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunStatistics {
    /// Which numbers these are, such as `cleanupLogsStats`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The numbers; `None` when the key is missing, which is not the same as `null` in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

fn null_if_empty<S: Serializer>(
    runs: &BTreeMap<String, Vec<MaintenanceRun>>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    if runs.is_empty() { out.serialize_none() } else { out.collect_map(runs) }
}

impl MaintenanceSchedule {
    /// Opens the blob with the key from
    /// [`RepositoryFormat::maintenance_key`](crate::RepositoryFormat::maintenance_key).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when it does not decrypt; [`FormatError::Malformed`] when it is not
    /// the JSON it should be.
    pub fn decrypt(blob: &[u8], key: &PurposeKey<32>) -> Result<Self> {
        let plain = open(&aes256(key.as_bytes()), AAD, blob)
            .ok_or(FormatError::Damaged { what: MAINTENANCE_BLOB_ID })?;
        Self::parse(&plain)
    }

    /// The blob to store. The nonce must be random.
    pub fn encrypt(&self, key: &PurposeKey<32>, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        seal(&aes256(key.as_bytes()), nonce, AAD, &json::to_vec(self))
    }

    /// Reads the decrypted blob.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] when it is not the JSON it should be.
    pub fn parse(plain: &[u8]) -> Result<Self> {
        let mut fields = Fields::parse(WHAT, plain)?;
        let mut runs = BTreeMap::new();
        for (task, history) in fields.or_zero::<Map<String, Value>>("runs")? {
            runs.insert(task, list(history)?.into_iter().map(run).collect::<Result<_>>()?);
        }
        Ok(Self {
            next_full: fields.take("nextFullMaintenance")?.unwrap_or(GoTime::ZERO),
            next_quick: fields.take("nextQuickMaintenance")?.unwrap_or(GoTime::ZERO),
            runs,
            extra: fields.rest(),
        })
    }

    /// Adds a run to the history of `task` and forgets the oldest.
    pub fn report(&mut self, task: &str, run: MaintenanceRun) {
        let history = self.runs.entry(task.to_owned()).or_default();
        history.insert(0, run);
        history.truncate(RUNS_PER_TASK_MAX);
    }
}

fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err(FormatError::malformed(WHAT, "a history is no list")),
    }
}

fn run(value: Value) -> Result<MaintenanceRun> {
    let mut fields = Fields::new(WHAT, value)?;
    let statistics = fields.take_raw("extra").unwrap_or(Value::Null);
    Ok(MaintenanceRun {
        start: fields.take("start")?.unwrap_or(GoTime::ZERO),
        end: fields.take("end")?.unwrap_or(GoTime::ZERO),
        success: fields.or_zero("success")?,
        error: fields.or_zero("error")?,
        statistics: list(statistics)?.into_iter().map(statistics_of).collect::<Result<_>>()?,
    })
}

fn statistics_of(value: Value) -> Result<RunStatistics> {
    let mut fields = Fields::new(WHAT, value)?;
    Ok(RunStatistics { kind: fields.or_zero("kind")?, data: fields.take_raw("data") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_blob::{FormatOptions, RepositoryFormat};
    use crate::keys::FormatKey;
    use kopia_fixtures::{hex, vectors};

    #[test]
    fn kopias_blob_opens_and_is_sealed_alike() {
        let file = vectors("maintenance_schedule.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 1);
        for case in cases {
            let mut format = RepositoryFormat::new(&FormatOptions::default(), [0; 32], [0; 32]);
            format.master_key = hex(&case["masterKey"]).into();
            let unused = FormatKey::new([0; 32]);
            let key = format.maintenance_key(&hex(&case["uniqueID"]), &unused).unwrap();
            assert_eq!(key.as_bytes()[..], hex(&case["key"]));

            let blob = hex(&case["blob"]);
            let schedule = MaintenanceSchedule::decrypt(&blob, &key).unwrap();
            let plain = String::from_utf8(json::to_vec(&schedule)).unwrap();
            assert_eq!(plain, case["plaintext"].as_str().unwrap());
            let nonce = blob[..NONCE_LEN].try_into().unwrap();
            assert_eq!(schedule.encrypt(&key, nonce), blob);
        }
    }

    #[test]
    fn repositories_with_a_fixed_password_use_its_key() {
        let legacy = FormatOptions { version: 1, ..FormatOptions::default() };
        let format = RepositoryFormat::new(&legacy, [1; 32], [2; 32]);
        let format_key = FormatKey::new([3; 32]);
        let key = format.maintenance_key(b"id", &format_key).unwrap();
        assert_eq!(key, PurposeKey::derive(&[3; 32], b"id", "maintenance schedule").unwrap());
        let key = format.cache_key(b"id", &format_key).unwrap();
        assert_eq!(key, PurposeKey::derive(&[3; 32], b"id", "local-cache-integrity").unwrap());
    }

    #[test]
    fn an_empty_schedule_is_written_with_null_runs() {
        let text = String::from_utf8(json::to_vec(&MaintenanceSchedule::default())).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"nextFullMaintenance":"0001-01-01T00:00:00Z","#,
                r#""nextQuickMaintenance":"0001-01-01T00:00:00Z","runs":null}"#
            )
        );
        assert_eq!(MaintenanceSchedule::parse(text.as_bytes()), Ok(MaintenanceSchedule::default()));
    }

    #[test]
    fn the_newest_run_comes_first_and_the_51st_is_forgotten() {
        let mut schedule = MaintenanceSchedule::default();
        for second in 0..60 {
            let time = GoTime::from_secs(second);
            let statistics = vec![RunStatistics { kind: "k".to_owned(), data: None }];
            let error = String::new();
            let run = MaintenanceRun { start: time, end: time, success: true, error, statistics };
            schedule.report("cleanup-logs", run);
        }
        let history = &schedule.runs["cleanup-logs"];
        assert_eq!(history.len(), RUNS_PER_TASK_MAX);
        assert_eq!(history[0].start, GoTime::from_secs(59));
    }

    #[test]
    fn statistics_keep_null_apart_from_nothing() {
        let text = concat!(
            r#"{"nextFullMaintenance":"2026-01-01T00:00:00Z","nextQuickMaintenance":"#,
            r#""2026-01-01T00:00:00Z","runs":{"t":[{"start":"2026-01-01T00:00:00Z","end":"#,
            r#""2026-01-01T00:00:00Z","error":"no","extra":[{"kind":"a","data":null},"#,
            r#"{"kind":"b"},{"kind":"c","data":{"n":18446744073709551615}}]}]}}"#
        );
        let schedule = MaintenanceSchedule::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(json::to_vec(&schedule)).unwrap(), text);
    }

    #[test]
    fn damage_is_told_from_malformed_json() {
        let key = PurposeKey::derive(b"k", b"id", "maintenance schedule").unwrap();
        let mut blob = MaintenanceSchedule::default().encrypt(&key, [1; 12]);
        blob[30] ^= 1;
        for blob in [&blob[..], &blob[..5], &[]] {
            let error = MaintenanceSchedule::decrypt(blob, &key).unwrap_err();
            assert_eq!(error, FormatError::Damaged { what: MAINTENANCE_BLOB_ID });
        }
        for text in ["[]", r#"{"runs":{"a":{}}}"#, r#"{"runs":{"a":[{"start":"x"}]}}"#] {
            let error = MaintenanceSchedule::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { .. }), "{text}");
        }
    }
}
