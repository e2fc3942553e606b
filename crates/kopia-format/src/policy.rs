//! Policies: what to keep, what to leave out, how to compress.
//!
//! A policy is the payload of a manifest. Every group is always written, every value in it only if
//! it is set; unset means "ask the next more general policy". An explicit 0 or false is a value
//! where the type is an `Option`; elsewhere 0, "" and an empty list are "not set", as in Kopia.
//! Merging lives with the uploader. Facts: `docs/format/07-upload-restore.md` §4.

mod cron;
mod exchange;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{FormatError, Result};
use crate::json::{is_zero, null_is_default};
use crate::snapshot::Source;

/// Declares a group of settings: unset ones are not written, unknown keys are kept at the end.
macro_rules! group {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
                pub $field: $type,
            )*
            /// Keys that this version does not know.
            #[serde(flatten)]
            pub extra: Map<String, Value>,
        }
    };
}

group! {
    /// How many snapshots to keep.
    Retention {
        /// Of the newest.
        keep_latest: Option<i64>,
        /// One per hour.
        keep_hourly: Option<i64>,
        /// One per day.
        keep_daily: Option<i64>,
        /// One per ISO week.
        keep_weekly: Option<i64>,
        /// One per month.
        keep_monthly: Option<i64>,
        /// One per year.
        keep_annual: Option<i64>,
        /// Don't save a snapshot whose root equals that of the previous one.
        ignore_identical_snapshots: Option<bool>,
    }
}

group! {
    /// Which files to leave out.
    Files {
        /// Ignore rules.
        ignore: Vec<String>,
        /// Don't take the rules of more general policies.
        no_parent_ignore: bool,
        /// Names of files that hold more rules.
        ignore_dot_files: Vec<String>,
        /// Don't take those names from more general policies.
        no_parent_dot_files: bool,
        /// Store folders that hold a `CACHEDIR.TAG` as empty.
        ignore_cache_dirs: Option<bool>,
        /// Leave out larger files; 0 = no limit.
        max_file_size: i64,
        /// Don't cross into other file systems.
        one_file_system: Option<bool>,
    }
}

group! {
    /// Which failures don't count.
    ErrorHandling {
        /// Files that can't be read.
        ignore_file_errors: Option<bool>,
        /// Folders that can't be read.
        ignore_directory_errors: Option<bool>,
        /// Entries that are no file, folder or link.
        ignore_unknown_types: Option<bool>,
    }
}

/// A time on the clock of whoever takes the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOfDay {
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub min: i64,
}

group! {
    /// When a scheduler takes snapshots. Kept, and for the most part not acted on.
    Scheduling {
        /// Every so many seconds; 0 = not.
        interval_seconds: i64,
        /// At these times.
        time_of_day: Vec<TimeOfDay>,
        /// Don't take the times of more general policies.
        no_parent_time_of_day: bool,
        /// Only when asked: the source is left out of `snapshot create --all`.
        manual: bool,
        /// Lines of crontab.
        cron: Vec<String>,
        /// Make up for a missed time.
        run_missed: Option<bool>,
    }
}

group! {
    /// How to compress file data.
    Compression {
        /// Name of the compressor; empty = not set.
        compressor_name: String,
        /// Extensions to compress whatever else is said.
        only_compress: Vec<String>,
        /// Don't take those of more general policies.
        no_parent_only_compress: bool,
        /// Extensions not to compress.
        never_compress: Vec<String>,
        /// Don't take those of more general policies.
        no_parent_never_compress: bool,
        /// Leave smaller files alone; 0 = no limit.
        min_size: i64,
        /// Leave larger files alone; 0 = no limit.
        max_size: i64,
    }
}

group! {
    /// How to compress directories and indirect objects.
    MetadataCompression {
        /// Name of the compressor; empty = not set.
        compressor_name: String,
    }
}

group! {
    /// Where files are cut.
    Splitter {
        /// Name of the splitter; empty = the repository's.
        algorithm: String,
    }
}

group! {
    /// A command to run.
    ActionCommand {
        /// The program.
        path: String,
        /// Its arguments.
        args: Vec<String>,
        /// The text of a script, instead of a program.
        script: String,
        /// Seconds.
        timeout: i64,
        /// `essential`, `optional` or `async`.
        mode: String,
    }
}

group! {
    /// What to run around snapshots.
    Actions {
        /// Before the folder that the policy is of, not below.
        before_folder: Option<ActionCommand>,
        /// After that folder.
        after_folder: Option<ActionCommand>,
        /// Before any snapshot.
        before_snapshot_root: Option<ActionCommand>,
        /// After any snapshot.
        after_snapshot_root: Option<ActionCommand>,
    }
}

group! {
    /// Snapshots of Windows volumes.
    VolumeShadowCopy {
        /// 0 never, 1 always, 2 when available.
        enable: Option<u8>,
    }
}

/// Snapshots that the operating system takes of a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OsSnapshots {
    /// On Windows.
    #[serde(deserialize_with = "null_is_default")]
    pub volume_shadow_copy: VolumeShadowCopy,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

group! {
    /// How much to say about folders, 0 to 10.
    DirLogging {
        /// Those stored.
        snapshotted: Option<i64>,
        /// Those left out.
        ignored: Option<i64>,
    }
}

group! {
    /// How much to say about files and links, 0 to 10.
    EntryLogging {
        /// Those stored.
        snapshotted: Option<i64>,
        /// Those left out.
        ignored: Option<i64>,
        /// Those taken from the previous snapshot.
        cache_hit: Option<i64>,
        /// Those not found there.
        cache_miss: Option<i64>,
    }
}

/// How much to say while uploading.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// About folders.
    #[serde(deserialize_with = "null_is_default")]
    pub directories: DirLogging,
    /// About what is in them.
    #[serde(deserialize_with = "null_is_default")]
    pub entries: EntryLogging,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

group! {
    /// How much to do at once.
    Upload {
        /// Snapshots; not for the policy of a path.
        max_parallel_snapshots: Option<i64>,
        /// Files of a snapshot.
        max_parallel_file_reads: Option<i64>,
        /// Files larger than this are uploaded in parts of this many bytes.
        parallel_upload_above_size: Option<i64>,
    }
}

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Policy {
    /// How many snapshots to keep.
    #[serde(deserialize_with = "null_is_default")]
    pub retention: Retention,
    /// Which files to leave out.
    #[serde(deserialize_with = "null_is_default")]
    pub files: Files,
    /// Which failures don't count.
    #[serde(deserialize_with = "null_is_default")]
    pub error_handling: ErrorHandling,
    /// When a scheduler takes snapshots.
    #[serde(deserialize_with = "null_is_default")]
    pub scheduling: Scheduling,
    /// How to compress file data.
    #[serde(deserialize_with = "null_is_default")]
    pub compression: Compression,
    /// How to compress directories and indirect objects.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata_compression: MetadataCompression,
    /// Where files are cut.
    #[serde(deserialize_with = "null_is_default")]
    pub splitter: Splitter,
    /// What to run around snapshots.
    #[serde(deserialize_with = "null_is_default")]
    pub actions: Actions,
    /// Snapshots of volumes.
    #[serde(deserialize_with = "null_is_default")]
    pub os_snapshots: OsSnapshots,
    /// How much to say.
    #[serde(deserialize_with = "null_is_default")]
    pub logging: Logging,
    /// How much to do at once.
    #[serde(deserialize_with = "null_is_default")]
    pub upload: Upload,
    /// Take nothing from more general policies.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub no_parent: bool,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Policy {
    /// What a new repository stores as its global policy. It is also what holds where no policy
    /// says anything.
    #[must_use]
    pub fn default_global() -> Self {
        Self {
            retention: Retention {
                keep_latest: Some(10),
                keep_hourly: Some(48),
                keep_daily: Some(7),
                keep_weekly: Some(4),
                keep_monthly: Some(24),
                keep_annual: Some(3),
                ignore_identical_snapshots: Some(false),
                ..Retention::default()
            },
            files: Files { ignore_dot_files: vec![".kopiaignore".to_owned()], ..Files::default() },
            error_handling: ErrorHandling {
                ignore_file_errors: Some(false),
                ignore_directory_errors: Some(false),
                ignore_unknown_types: Some(true),
                ..ErrorHandling::default()
            },
            scheduling: Scheduling { run_missed: Some(true), ..Scheduling::default() },
            compression: Compression {
                compressor_name: "none".to_owned(),
                ..Compression::default()
            },
            metadata_compression: MetadataCompression {
                compressor_name: "zstd-fastest".to_owned(),
                ..MetadataCompression::default()
            },
            os_snapshots: OsSnapshots {
                volume_shadow_copy: VolumeShadowCopy {
                    enable: Some(0),
                    ..VolumeShadowCopy::default()
                },
                ..OsSnapshots::default()
            },
            logging: Logging {
                directories: DirLogging {
                    snapshotted: Some(5),
                    ignored: Some(5),
                    ..DirLogging::default()
                },
                entries: EntryLogging {
                    snapshotted: Some(0),
                    ignored: Some(5),
                    cache_hit: Some(0),
                    cache_miss: Some(0),
                    ..EntryLogging::default()
                },
                ..Logging::default()
            },
            upload: Upload {
                max_parallel_snapshots: Some(1),
                parallel_upload_above_size: Some(2 << 30),
                ..Upload::default()
            },
            ..Self::default()
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// [`FormatError::Malformed`] if it is no policy.
    pub fn parse(data: &[u8]) -> Result<Self> {
        serde_json::from_slice(data)
            .map_err(|error| FormatError::malformed("policy", error.to_string()))
    }

    /// Sets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses a line of crontab that nobody should write: Kopia can't read it, or takes it for
    /// another time than it seems to name, or for none.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] with the reason.
    pub fn check_cron(line: &str) -> Result<()> {
        cron::check(line, true).map_err(|reason| FormatError::Invalid {
            what: "cron expression",
            reason: format!("{line:?}: {reason}"),
        })
    }

    /// May be stored for this target.
    ///
    /// # Errors
    ///
    /// [`FormatError::Invalid`] as Kopia refuses it: a path that ends in a slash, a limit of
    /// parallel snapshots on a path, `manual` beside another schedule, a line of crontab that
    /// can't be read.
    pub fn check(&self, target: &Source) -> Result<()> {
        let invalid =
            |reason: &str| Err(FormatError::Invalid { what: "policy", reason: reason.to_owned() });
        let only_manual = Scheduling { manual: true, ..Scheduling::default() };
        if self.scheduling.manual && self.scheduling != only_manual {
            return invalid("manual can't be combined with other scheduling");
        }
        for line in &self.scheduling.cron {
            if let Err(reason) = cron::check(line, false) {
                return invalid(&format!("cron expression {line:?}: {reason}"));
            }
        }
        if !target.path.is_empty() && self.upload.max_parallel_snapshots.is_some() {
            return invalid("max parallel snapshots can't be set on a path");
        }
        let is_root = match target.path.as_bytes() {
            [b'/'] | [_, b':', b'/' | b'\\'] => true,
            path => !matches!(path.last(), Some(b'/' | b'\\')),
        };
        if !is_root {
            return invalid("the path can't end in a slash or a backslash");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// docs/format/07 §4.
    const DEFAULT: &str = concat!(
        r#"{"retention":{"keepLatest":10,"keepHourly":48,"keepDaily":7,"keepWeekly":4,"#,
        r#""keepMonthly":24,"keepAnnual":3,"ignoreIdenticalSnapshots":false},"#,
        r#""files":{"ignoreDotFiles":[".kopiaignore"]},"#,
        r#""errorHandling":{"ignoreFileErrors":false,"ignoreDirectoryErrors":false,"#,
        r#""ignoreUnknownTypes":true},"scheduling":{"runMissed":true},"#,
        r#""compression":{"compressorName":"none"},"#,
        r#""metadataCompression":{"compressorName":"zstd-fastest"},"splitter":{},"actions":{},"#,
        r#""osSnapshots":{"volumeShadowCopy":{"enable":0}},"#,
        r#""logging":{"directories":{"snapshotted":5,"ignored":5},"entries":{"snapshotted":0,"#,
        r#""ignored":5,"cacheHit":0,"cacheMiss":0}},"upload":{"maxParallelSnapshots":1,"#,
        r#""parallelUploadAboveSize":2147483648}}"#,
    );
    const MINIMAL: &str = concat!(
        r#"{"retention":{"keepLatest":3},"files":{},"errorHandling":{},"scheduling":{},"#,
        r#""compression":{},"metadataCompression":{},"splitter":{},"actions":{},"#,
        r#""osSnapshots":{"volumeShadowCopy":{}},"logging":{"directories":{},"entries":{}},"#,
        r#""upload":{}}"#,
    );
    /// Every key that there is, and one more in every group.
    const FULL: &str = concat!(
        r#"{"retention":{"keepLatest":0,"ignoreIdenticalSnapshots":true,"x":1},"#,
        r#""files":{"ignore":["*.o"],"noParentIgnore":true,"ignoreDotFiles":["a","b"],"#,
        r#""noParentDotFiles":true,"ignoreCacheDirs":false,"maxFileSize":5,"#,
        r#""oneFileSystem":false,"x":[1,{"z":1,"a":2}]},"#,
        r#""errorHandling":{"ignoreFileErrors":true,"x":null},"#,
        r#""scheduling":{"intervalSeconds":60,"timeOfDay":[{"hour":0,"min":5}],"#,
        r#""noParentTimeOfDay":true,"manual":true,"cron":["* * * * *"],"runMissed":false,"#,
        r#""x":"\u003c"},"compression":{"compressorName":"zstd","onlyCompress":[".a"],"#,
        r#""noParentOnlyCompress":true,"neverCompress":[".b"],"noParentNeverCompress":true,"#,
        r#""minSize":1,"maxSize":2,"x":1},"metadataCompression":{"compressorName":"none","#,
        r#""x":1},"splitter":{"algorithm":"FIXED-1M","x":1},"#,
        r#""actions":{"beforeFolder":{"path":"/bin/true","args":["a"],"timeout":300,"#,
        r#""mode":"essential","x":1},"afterFolder":{"script":"echo"},"beforeSnapshotRoot":{},"#,
        r#""afterSnapshotRoot":{"path":"p"},"x":1},"#,
        r#""osSnapshots":{"volumeShadowCopy":{"enable":2,"x":1},"x":1},"#,
        r#""logging":{"directories":{"snapshotted":0,"ignored":1,"x":1},"#,
        r#""entries":{"snapshotted":1,"ignored":2,"cacheHit":3,"cacheMiss":4,"x":1},"x":1},"#,
        r#""upload":{"maxParallelSnapshots":1,"maxParallelFileReads":2,"#,
        r#""parallelUploadAboveSize":-1,"x":1},"noParent":true,"x":{"y":1}}"#,
    );

    fn written(policy: &Policy) -> String {
        String::from_utf8(json::to_vec(policy)).unwrap()
    }

    #[test]
    fn the_default_is_what_kopia_stores_in_a_new_repository() {
        assert_eq!(written(&Policy::default_global()), DEFAULT);
        assert_eq!(Policy::parse(DEFAULT.as_bytes()).unwrap(), Policy::default_global());
    }

    #[test]
    fn policies_are_written_again_to_the_byte_with_unknown_keys() {
        for text in [MINIMAL, FULL, DEFAULT] {
            assert_eq!(written(&Policy::parse(text.as_bytes()).unwrap()), text);
        }
        let policy = Policy::parse(br#"{"files":null,"retention":{"keepLatest":null}}"#).unwrap();
        assert!(policy.is_empty());
        assert_eq!(written(&policy), MINIMAL.replace(r#""keepLatest":3"#, ""));
    }

    #[test]
    fn what_kopia_refuses_to_store_is_refused() {
        let path = |path: &str| Source::new("h", "u", path);
        let empty = Policy::default();
        assert!(empty.check(&path("/")).is_ok());
        assert!(empty.check(&path("/a")).is_ok());
        assert!(empty.check(&path("C:\\")).is_ok());
        assert!(empty.check(&path("/a/")).is_err());
        assert!(empty.check(&path("C:\\a\\")).is_err());
        assert!(Policy::default_global().check(&Source::global()).is_ok());
        assert!(Policy::default_global().check(&path("/a")).is_err());
        let manual = |runs: Option<bool>| Policy {
            scheduling: Scheduling { manual: true, run_missed: runs, ..Default::default() },
            ..Default::default()
        };
        assert!(manual(None).check(&path("/a")).is_ok());
        assert!(manual(Some(false)).check(&path("/a")).is_err());
    }
}
