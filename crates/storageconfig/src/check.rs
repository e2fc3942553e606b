//! What there is to say about a configuration: dangers, mistakes, costs.
//!
//! Nothing here changes which class a blob gets; that is Kopia's outcome, and stays. What decides
//! is the *effective* map: an entry hidden by earlier ones can do no harm, so only its hiding is
//! mentioned. The one exception is a catch-all entry of an archive class, which counts even where
//! every kind known today is taken before it: a kind that Kopia invents tomorrow would be archived.

use serde::Serialize;

use crate::{BlobKind, Entry, Finding, Level, StorageConfig, classes, kind::reachable};

/// All there is to say about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Kopia opens a repository with this file, and every write has its options.
    pub valid: bool,
    /// In the order of the file.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Checks a file's text, be it refused or not.
    pub fn of(text: &[u8]) -> Self {
        let findings = match StorageConfig::parse(text) {
            Ok(config) => config.findings(),
            Err(error) => vec![Finding::from(&error)],
        };
        Self { valid: findings.iter().all(|f| f.level != Level::Error), findings }
    }

    /// Must the file not be uploaded, unless the user insists?
    pub fn refuses_upload(&self) -> bool {
        self.findings.iter().any(|finding| finding.refuses_upload)
    }

    /// Is there an error or a warning?
    pub fn has_warnings(&self) -> bool {
        self.findings.iter().any(|finding| finding.level <= Level::Warning)
    }
}

impl StorageConfig {
    /// All there is to say about this configuration, in the order of its file.
    pub fn findings(&self) -> Vec<Finding> {
        let mut all = self.findings.clone();
        if self.entries.is_empty() {
            all.push(Finding::warning(
                "W-NO-EFFECT",
                "there is no entry, so the file does nothing",
            ));
        }
        for index in 0..self.entries.len() {
            let check = Check { config: self, index, entry: &self.entries[index] };
            check.class_name(&mut all);
            match self.shadow_of(index) {
                Some(by) => check.shadowed(by, &mut all),
                None => check.effect(&mut all),
            }
        }
        all.sort_by_key(|finding| finding.position);
        all
    }

    /// The kinds of blobs that entry `index` decides about, at least in part.
    pub fn kinds_of(&self, index: usize) -> Vec<BlobKind> {
        let Some(entry) = self.entries.get(index) else { return Vec::new() };
        let earlier: Vec<&str> = self.entries[..index].iter().map(Entry::prefix).collect();
        let reached = |kind: &BlobKind| reachable(*kind, &entry.prefix, &earlier);
        BlobKind::ALL.into_iter().filter(reached).collect()
    }
}

struct Check<'a> {
    config: &'a StorageConfig,
    index: usize,
    entry: &'a Entry,
}

impl Check<'_> {
    fn push(&self, all: &mut Vec<Finding>, finding: Finding) {
        all.push(finding.in_entry(Some(self.index), self.entry.position));
    }

    /// What the name of the class says by itself.
    fn class_name(&self, all: &mut Vec<Finding>) {
        let class = &*self.entry.class;
        let upper = class.to_uppercase();
        let finding = if class.is_empty() {
            if self.entry.extras.any {
                return; // Written for its extra keys; the class is left to the bucket on purpose.
            }
            Finding::warning("W-CLASS-EMPTY", "no class: blobs it matches get the bucket's default")
                .fix("write storageClass, or delete the entry")
        } else if !classes::is_header_value(class) {
            let message =
                format!("the class {class:?} can't be sent; writes it matches are refused");
            Finding::new(Level::Error, "E-HEADER", message)
        } else if classes::needs_other_bucket(class) {
            let message = format!("an ordinary bucket refuses {class}");
            Finding::warning("W-BUCKET-KIND", message)
        } else if classes::is_known(class) {
            return;
        } else if classes::is_known(&upper) {
            let message = format!("S3 knows {upper}, not {class}");
            Finding::warning("W-CLASS-CASE", message).fix(format!("write {upper}"))
        } else {
            let blanks = class.trim() != class;
            let why =
                if blanks { "has blanks around it" } else { "is not a class S3 is known to have" };
            let finding = Finding::warning("W-UNKNOWN-CLASS", format!("{class:?} {why}"));
            match classes::nearest(class) {
                Some(name) => finding.fix(format!("write {name}, if that is meant")),
                None => finding,
            }
        };
        self.push(all, finding);
    }

    fn shadowed(&self, by: usize, all: &mut Vec<Finding>) {
        let earlier = self.config.entries[by].prefix();
        let reason = if earlier.is_empty() {
            "which matches every blob".to_owned()
        } else {
            format!("whose prefix {earlier:?} takes all it could match")
        };
        let message = format!("it can never match: entry {by} comes first, {reason}");
        let finding = Finding { by: Some(by), ..Finding::warning("W-SHADOWED", message) };
        self.push(all, finding.fix(format!("move it before entry {by}, or delete it")));
    }

    /// What an entry does to the blobs it reaches.
    fn effect(&self, all: &mut Vec<Finding>) {
        let entry = self.entry;
        if !BlobKind::ALL.iter().any(|kind| kind.can_begin(&entry.prefix)) {
            return self.push(all, no_blob_kind(&entry.prefix));
        }
        let kinds = self.config.kinds_of(self.index);
        if classes::is_archive(&entry.class) {
            self.archive(&kinds, all);
        }
        if classes::is_infrequent(&entry.class) {
            let short: Vec<_> = kinds.iter().filter(|k| k.is_short_lived()).copied().collect();
            if !short.is_empty() {
                let message = format!(
                    "{} bills 30 days and 128 KiB for each object; {} blobs are small and \
                     short-lived",
                    entry.class,
                    names(&short)
                );
                self.push(all, Finding::new(Level::Note, "N-IA-CHURN", message));
            }
        }
        if entry.class == "REDUCED_REDUNDANCY" {
            let message = if kinds.contains(&BlobKind::DataPack) {
                "REDUCED_REDUNDANCY is deprecated and loses one object in 10,000 a year: file data \
                 does not belong there"
            } else {
                "REDUCED_REDUNDANCY is deprecated and loses one object in 10,000 a year"
            };
            self.push(all, Finding::new(Level::Note, "N-RRS", message));
        }
    }

    fn archive(&self, kinds: &[BlobKind], all: &mut Vec<Finding>) {
        let class = self.entry.class.trim();
        let meta: Vec<_> = kinds.iter().filter(|k| **k != BlobKind::DataPack).copied().collect();
        if !meta.is_empty() || self.entry.prefix.is_empty() {
            let what = if meta.is_empty() {
                "every kind of blob that Kopia may come to write".to_owned()
            } else {
                format!("{} blobs", names(&meta))
            };
            let message = format!(
                "{class} reaches {what}: they are needed for everyday work and can't be read \
                 before a thaw"
            );
            let finding = Finding {
                kinds: meta,
                refuses_upload: true,
                ..Finding::warning("W-ARCHIVE-META", message)
            };
            self.push(all, finding.fix("give the entry the prefix \"p\""));
        } else if kinds.contains(&BlobKind::DataPack) && self.entry.extras.minimum_bytes.is_none() {
            let message = format!(
                "{class} from the first day: short packs can never be merged without a thaw, and \
                 what is deleted early is billed on"
            );
            let finding = Finding::warning("W-ARCHIVE-SHORT", message);
            self.push(all, finding.fix("a lifecycle rule with a size filter does it better"));
        }
    }
}

fn no_blob_kind(prefix: &str) -> Finding {
    let message = format!("no blob's ID begins with {prefix:?}");
    let finding = Finding::warning("W-NO-BLOB-KIND", message);
    let last = prefix.rsplit('/').next().unwrap_or_default();
    let meant = |text: &str| BlobKind::ALL.iter().any(|kind| kind.can_begin(text));
    if last != prefix {
        finding.fix(format!("write {last:?}: the repository's key prefix does not count"))
    } else if prefix.contains(['*', '?']) {
        finding.fix("there are no wildcards: write how the ID begins")
    } else if meant(prefix.trim()) {
        finding.fix(format!("write {:?}, without blanks", prefix.trim()))
    } else if meant(&prefix.to_lowercase()) {
        finding.fix(format!("write {:?}: case counts", prefix.to_lowercase()))
    } else {
        finding
    }
}

fn names(kinds: &[BlobKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_example_has_notes_and_no_warning() {
        let report = Report::of(
            br#"{"blobOptions":[{"prefix":"p","storageClass":"INTELLIGENT_TIERING"},
                {"prefix":"s","storageClass":"REDUCED_REDUNDANCY"},
                {"storageClass":"STANDARD_IA"}]}"#,
        );
        assert!(report.valid && !report.has_warnings() && !report.refuses_upload());
        assert_eq!(report.findings.len(), 2);
    }

    #[test]
    fn a_refused_file_reports_its_refusal_with_its_place() {
        let report = Report::of(b"{\"blobOptions\":\n {}}");
        assert!(!report.valid && report.refuses_upload());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][0]["code"], "E-TYPE");
        assert_eq!(json["findings"][0]["line"], 2);
        assert_eq!(json["findings"][0]["column"], 2);
        assert!(json["findings"][0].get("entry").is_none());
    }

    #[test]
    fn archiving_by_parts_of_a_kind_is_found() {
        let report = Report::of(
            br#"{"blobOptions":[{"prefix":"q0","storageClass":"STANDARD"},
                {"prefix":"q","storageClass":"GLACIER"}]}"#,
        );
        let found = &report.findings[0];
        assert_eq!((found.code, found.entry), ("W-ARCHIVE-META", Some(1)));
        assert_eq!(found.kinds, [BlobKind::MetadataPack]);
    }

    #[test]
    fn the_way_out_names_the_prefix_that_was_meant() {
        for (prefix, fix) in
            [("repo/p", "\"p\""), ("p*", "wildcards"), (" p", "blanks"), ("P", "case counts")]
        {
            let finding = no_blob_kind(prefix);
            assert!(finding.fix.as_deref().is_some_and(|f| f.contains(fix)), "{finding:?}");
        }
    }
}
