//! The effective policy of a source, and where each value comes from.
//!
//! From special to general: the source's path, every path above it, user@host, the host, the whole
//! repository, what is built in. The first policy that sets a value decides; lists of ignore rules
//! are taken whole, lists of extensions and times are joined. Facts:
//! `docs/format/07-upload-restore.md` §4.

use std::collections::BTreeMap;

use kopia_format::ManifestId;
use kopia_format::policy::Policy;
use kopia_format::snapshot::Source;

/// A policy as it is found in the repository.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPolicy {
    /// The manifest that holds it.
    pub id: ManifestId,
    /// What it is for.
    pub target: Source,
    /// What it says.
    pub policy: Policy,
}

impl StoredPolicy {
    /// A policy that is in no manifest (yet).
    #[must_use]
    pub fn new(target: Source, policy: Policy) -> Self {
        Self { id: ManifestId::default(), target, policy }
    }
}

/// Where a value of the effective policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyValueSource {
    /// The policy of this target. Of a joined list it is the most general one that adds to it.
    Target(Source),
    /// No policy says anything.
    BuiltIn,
}

/// The policies of a source put together.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectivePolicy {
    /// The values that hold.
    pub policy: Policy,
    /// The targets whose policies were asked, from special to general.
    pub asked: Vec<Source>,
    origins: BTreeMap<&'static str, PolicyValueSource>,
}

impl EffectivePolicy {
    /// Where a value comes from, by its path in JSON: `retention.keepLatest`. `None` if it is not
    /// set anywhere.
    #[must_use]
    pub fn value_source(&self, key: &str) -> Option<&PolicyValueSource> {
        self.origins.get(key)
    }

    /// All values that are set somewhere, by their paths in JSON.
    pub fn value_sources(&self) -> impl Iterator<Item = (&'static str, &PolicyValueSource)> {
        self.origins.iter().map(|(key, source)| (*key, source))
    }
}

/// The targets whose policies apply to `source`, from special to general.
#[must_use]
pub fn hierarchy(source: &Source) -> Vec<Source> {
    let at = |path: &str| Source { path: path.to_owned(), ..source.clone() };
    let mut targets = Vec::new();
    let mut path = source.path.clone();
    while !path.is_empty() {
        targets.push(at(&path));
        let above = parent_path(&path);
        if above == path {
            break;
        }
        path = above;
    }
    // Without a user the policy of "nobody at the host" is that of the host, and so on: none twice.
    for target in [at(""), Source::new(&source.host, "", ""), Source::global()] {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// Puts together the policies that apply to `source`. `stored` may hold all policies there are, the
/// oldest first: where one target has several, the oldest that sets a value decides.
#[must_use]
pub fn effective(source: &Source, stored: &[StoredPolicy]) -> EffectivePolicy {
    let mut policies: Vec<(Source, &Policy)> = Vec::new();
    for target in hierarchy(source) {
        let matching = stored.iter().filter(|policy| policy.target == target);
        policies.extend(matching.map(|policy| (target.clone(), &policy.policy)));
    }
    let none = Policy::default();
    if policies.first().is_none_or(|(target, _)| target != source) {
        policies.insert(0, (source.clone(), &none));
    }
    merge(&policies)
}

/// Puts policies together, from special to general.
#[must_use]
pub fn merge(policies: &[(Source, &Policy)]) -> EffectivePolicy {
    let mut merger = Merger {
        into: Policy::default(),
        origins: BTreeMap::new(),
        from: PolicyValueSource::BuiltIn,
    };
    let mut asked = Vec::new();
    for (target, policy) in policies {
        merger.from = PolicyValueSource::Target(target.clone());
        merger.take(policy);
        asked.push(target.clone());
        if policy.no_parent {
            return EffectivePolicy { policy: merger.into, asked, origins: merger.origins };
        }
    }
    merger.from = PolicyValueSource::BuiltIn;
    merger.take(&Policy::default_global());
    // Actions of a folder are for that folder alone.
    if let Some((target, policy)) = policies.first() {
        merger.from = PolicyValueSource::Target(target.clone());
        merger.take_folder_actions(policy);
    }
    EffectivePolicy { policy: merger.into, asked, origins: merger.origins }
}

struct Merger {
    into: Policy,
    origins: BTreeMap<&'static str, PolicyValueSource>,
    from: PolicyValueSource,
}

/// Takes each value of a group that is set there and not yet here, noting where it comes from.
macro_rules! first_set {
    (
        $self:ident, $src:ident, $prefix:literal, $policy:ident => $group:expr,
        $($field:ident = $key:literal),+
    ) => {{
        let into = { let $policy = &mut $self.into; &mut $group };
        let add = { let $policy = $src; &$group };
        $(
            if is_unset(&into.$field) && !is_unset(&add.$field) {
                into.$field = add.$field.clone();
                $self.origins.insert(concat!($prefix, ".", $key), $self.from.clone());
            }
        )+
    }};
}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Merger {
    fn take(&mut self, src: &Policy) {
        first_set!(self, src, "retention", p => p.retention,
            keep_latest = "keepLatest", keep_hourly = "keepHourly", keep_daily = "keepDaily",
            keep_weekly = "keepWeekly", keep_monthly = "keepMonthly", keep_annual = "keepAnnual",
            ignore_identical_snapshots = "ignoreIdenticalSnapshots");
        first_set!(self, src, "files", p => p.files,
            ignore = "ignore", no_parent_ignore = "noParentIgnore",
            ignore_dot_files = "ignoreDotFiles", no_parent_dot_files = "noParentDotFiles",
            ignore_cache_dirs = "ignoreCacheDirs", max_file_size = "maxFileSize",
            one_file_system = "oneFileSystem");
        first_set!(self, src, "errorHandling", p => p.error_handling,
            ignore_file_errors = "ignoreFileErrors",
            ignore_directory_errors = "ignoreDirectoryErrors",
            ignore_unknown_types = "ignoreUnknownTypes");
        first_set!(self, src, "scheduling", p => p.scheduling,
            interval_seconds = "intervalSeconds", cron = "cron", manual = "manual",
            run_missed = "runMissed");
        first_set!(self, src, "upload", p => p.upload,
            max_parallel_snapshots = "maxParallelSnapshots",
            max_parallel_file_reads = "maxParallelFileReads",
            parallel_upload_above_size = "parallelUploadAboveSize");
        first_set!(self, src, "compression", p => p.compression,
            compressor_name = "compressorName", min_size = "minSize", max_size = "maxSize");
        first_set!(self, src, "metadataCompression", p => p.metadata_compression,
            compressor_name = "compressorName");
        first_set!(self, src, "splitter", p => p.splitter, algorithm = "algorithm");
        first_set!(self, src, "actions", p => p.actions,
            before_snapshot_root = "beforeSnapshotRoot",
            after_snapshot_root = "afterSnapshotRoot");
        first_set!(self, src, "osSnapshots.volumeShadowCopy",
            p => p.os_snapshots.volume_shadow_copy, enable = "enable");
        first_set!(self, src, "logging.directories", p => p.logging.directories,
            snapshotted = "snapshotted", ignored = "ignored");
        first_set!(self, src, "logging.entries", p => p.logging.entries,
            snapshotted = "snapshotted", ignored = "ignored", cache_hit = "cacheHit",
            cache_miss = "cacheMiss");
        self.take_lists(src);
    }

    /// Lists that are joined, until a policy says that no more shall be added.
    fn take_lists(&mut self, src: &Policy) {
        let from = &self.from;
        let origins = &mut self.origins;
        let mut note = |key, list_is_empty: bool| {
            if !list_is_empty {
                origins.insert(key, from.clone());
            }
        };
        let (into, add) = (&mut self.into.compression, &src.compression);
        if !into.no_parent_only_compress {
            note("compression.onlyCompress", add.only_compress.is_empty());
            join(&mut into.only_compress, &add.only_compress);
            into.no_parent_only_compress = add.no_parent_only_compress;
        }
        if !into.no_parent_never_compress {
            note("compression.neverCompress", add.never_compress.is_empty());
            join(&mut into.never_compress, &add.never_compress);
            into.no_parent_never_compress = add.no_parent_never_compress;
        }
        let (into, add) = (&mut self.into.scheduling, &src.scheduling);
        // Kopia names the last policy that has times, even if they were not taken.
        note("scheduling.timeOfDay", add.time_of_day.is_empty());
        if !into.no_parent_time_of_day {
            join(&mut into.time_of_day, &add.time_of_day);
            into.no_parent_time_of_day = add.no_parent_time_of_day;
        }
    }

    fn take_folder_actions(&mut self, src: &Policy) {
        first_set!(self, src, "actions", p => p.actions,
            before_folder = "beforeFolder", after_folder = "afterFolder");
    }
}

/// Sorted union.
fn join<T: Ord + Clone>(into: &mut Vec<T>, add: &[T]) {
    into.extend_from_slice(add);
    into.sort();
    into.dedup();
}

/// The folder above, of paths of any system; a path without one is its own.
fn parent_path(path: &str) -> String {
    let (volume, path) = path.split_at(if has_volume(path) { 2 } else { 0 });
    let slash = |path: &str| path.rfind(['/', '\\']);
    let trimmed = match slash(path) {
        Some(last) if last > 0 && last + 1 == path.len() => &path[..last],
        _ => path,
    };
    match slash(trimmed) {
        None => format!("{volume}{path}"),
        Some(0) => format!("{volume}{}", &trimmed[..1]),
        Some(last) => format!("{volume}{}", &trimmed[..last]),
    }
}

/// Starts like `C:\`.
pub(super) fn has_volume(path: &str) -> bool {
    matches!(path.as_bytes(), [first, b':', b'/' | b'\\', ..] if first.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_format::policy::{TimeOfDay, Upload};

    fn policy(json: &str) -> Policy {
        Policy::parse(json.as_bytes()).unwrap()
    }

    fn stored(target: &Source, json: &str) -> StoredPolicy {
        StoredPolicy::new(target.clone(), policy(json))
    }

    #[test]
    fn policies_are_asked_from_special_to_general() {
        let texts = |source: &Source| -> Vec<String> {
            hierarchy(source).iter().map(ToString::to_string).collect()
        };
        let source = Source::new("h", "u", "/a/b");
        assert_eq!(texts(&source), ["u@h:/a/b", "u@h:/a", "u@h:/", "u@h", "@h", "(global)"]);
        let windows = Source::new("h", "u", "C:\\a");
        assert_eq!(texts(&windows), ["u@h:C:\\a", "u@h:C:\\", "u@h", "@h", "(global)"]);
        assert_eq!(texts(&Source::new("h", "", "")), ["@h", "(global)"]);
        assert_eq!(texts(&Source::global()), ["(global)"]);
    }

    #[test]
    fn the_first_value_that_is_set_decides_and_is_known_by_its_source() {
        let source = Source::new("h", "u", "/a/b");
        let above = Source::new("h", "u", "/a");
        let user = Source::new("h", "u", "");
        let policies = [
            stored(&Source::global(), r#"{"retention":{"keepDaily":1,"keepHourly":9}}"#),
            stored(&user, r#"{"retention":{"keepDaily":0},"files":{"ignore":["x","y"]}}"#),
            stored(&above, r#"{"files":{"ignore":["z"],"ignoreCacheDirs":false}}"#),
            stored(&Source::new("h", "other", "/a"), r#"{"retention":{"keepDaily":5}}"#),
        ];
        let effective = effective(&source, &policies);
        let origin = |key| effective.value_source(key).cloned();
        let target = |target: &Source| Some(PolicyValueSource::Target(target.clone()));
        let policy = &effective.policy;
        assert_eq!(policy.retention.keep_daily, Some(0));
        assert_eq!(origin("retention.keepDaily"), target(&user));
        assert_eq!(policy.retention.keep_hourly, Some(9));
        assert_eq!(origin("retention.keepHourly"), target(&Source::global()));
        assert_eq!(policy.retention.keep_latest, Some(10));
        assert_eq!(origin("retention.keepLatest"), Some(PolicyValueSource::BuiltIn));
        assert_eq!(policy.files.ignore, ["z"]);
        assert_eq!(origin("files.ignore"), target(&above));
        assert_eq!(policy.files.ignore_cache_dirs, Some(false));
        assert_eq!(policy.compression.compressor_name, "none");
        assert_eq!(origin("splitter.algorithm"), None);
        // The source itself has no policy and is asked all the same.
        assert_eq!(effective.asked, [source, above, user, Source::global()]);
    }

    #[test]
    fn lists_of_extensions_and_times_are_joined_until_told_otherwise() {
        let source = Source::new("h", "u", "/a/b");
        let policies = [
            stored(
                &Source::global(),
                r#"{"compression":{"onlyCompress":[".g"],"neverCompress":[".n"]},
                    "scheduling":{"timeOfDay":[{"hour":9,"min":0}]}}"#,
            ),
            stored(
                &Source::new("h", "u", ""),
                r#"{"compression":{"onlyCompress":[".b",".a"],"noParentOnlyCompress":true},
                    "scheduling":{"timeOfDay":[{"hour":9,"min":0},{"hour":8,"min":5}]}}"#,
            ),
            stored(&source, r#"{"compression":{"onlyCompress":[".c"],"neverCompress":[".m"]}}"#),
        ];
        let effective = effective(&source, &policies);
        let compression = &effective.policy.compression;
        assert_eq!(compression.only_compress, [".a", ".b", ".c"]);
        assert_eq!(compression.never_compress, [".m", ".n"]);
        let times = [TimeOfDay { hour: 8, min: 5 }, TimeOfDay { hour: 9, min: 0 }];
        assert_eq!(effective.policy.scheduling.time_of_day, times);
        let global = PolicyValueSource::Target(Source::global());
        assert_eq!(effective.value_source("compression.neverCompress"), Some(&global));
    }

    #[test]
    fn no_parent_ends_the_search_even_for_what_is_built_in() {
        let source = Source::new("h", "u", "/a");
        let policies = [
            stored(&Source::global(), r#"{"retention":{"keepDaily":1}}"#),
            stored(&source, r#"{"noParent":true,"retention":{"keepLatest":2}}"#),
        ];
        let effective = effective(&source, &policies);
        assert_eq!(effective.policy.retention.keep_daily, None);
        assert_eq!(effective.policy.retention.keep_latest, Some(2));
        assert_eq!(effective.policy.upload, Upload::default());
        assert_eq!(effective.asked, [source]);
        // Not part of the merged policy: it was obeyed.
        assert!(!effective.policy.no_parent);
    }

    #[test]
    fn actions_of_a_folder_come_from_the_source_alone() {
        let source = Source::new("h", "u", "/a");
        let action =
            r#"{"actions":{"beforeFolder":{"path":"P"},"afterSnapshotRoot":{"path":"Q"}}}"#;
        let inherited = effective(&source, &[stored(&Source::global(), action)]).policy.actions;
        assert_eq!(inherited.before_folder, None);
        assert_eq!(inherited.after_snapshot_root.unwrap().path, "Q");
        let own = effective(&source, &[stored(&source, action)]).policy.actions;
        assert_eq!(own.before_folder.unwrap().path, "P");
    }

    #[test]
    fn without_any_policy_the_built_in_one_holds() {
        let effective = effective(&Source::new("h", "u", "/a"), &[]);
        assert_eq!(effective.policy, Policy::default_global());
        assert!(effective.value_sources().all(|(_, from)| *from == PolicyValueSource::BuiltIn));
    }

    #[test]
    fn folders_above_are_found_on_every_system() {
        for (path, parent) in [
            ("/a/b", "/a"),
            ("/a/b/", "/a"),
            ("/a", "/"),
            ("/", "/"),
            ("C:\\a\\b", "C:\\a"),
            ("C:\\a", "C:\\"),
            ("C:\\", "C:\\"),
            ("a", "a"),
        ] {
            assert_eq!(parent_path(path), parent, "{path}");
        }
    }
}
