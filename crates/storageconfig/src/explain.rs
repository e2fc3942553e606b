//! Which entry decides about a blob, and why.

use std::collections::BTreeMap;

use blob_core::{Checksum, Encryption, PutAttributes, StorageClass};
use serde::Serialize;

use crate::{BlobKind, Entry, Level, StorageConfig, kind::reachable};

/// What happens to a blob, or to all blobs whose ID begins so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The ID, or how the IDs begin.
    pub blob: String,
    /// The kind of blob; `None` = Kopia writes no such blob.
    pub kind: Option<BlobKind>,
    /// The entry that matched, counted from 0; `None` = none did.
    pub entry: Option<usize>,
    /// Its prefix.
    pub prefix: Option<String>,
    /// The class that is sent; `None` = none, which means the bucket's default, on S3 `STANDARD`.
    pub storage_class: Option<String>,
    /// What else is sent, by our names of the extra keys.
    pub options: BTreeMap<&'static str, String>,
    /// Why this entry.
    pub reason: String,
    /// What else there is to say about the entry.
    pub warnings: Vec<String>,
}

impl StorageConfig {
    /// What happens to the blob `id`.
    pub fn explain(&self, id: &str) -> Explanation {
        self.explanation(id, self.matching(id).map(|(index, _)| index))
    }

    /// What happens to the blobs whose IDs begin with `prefix`: one explanation for each entry that
    /// some of them reach, and one for those that none matches.
    pub fn explain_prefix(&self, prefix: &str) -> Vec<Explanation> {
        let kinds: Vec<_> = BlobKind::ALL.into_iter().filter(|k| k.can_begin(prefix)).collect();
        let prefixes: Vec<&str> = self.entries.iter().map(Entry::prefix).collect();
        let reached = |begin: &str, earlier: &[&str]| {
            kinds.iter().any(|kind| reachable(*kind, begin, earlier))
        };
        let mut all = Vec::new();
        for (index, own) in prefixes.iter().copied().enumerate() {
            let begin = match (own.starts_with(prefix), prefix.starts_with(own)) {
                (true, _) => own,
                (_, true) => prefix,
                _ => continue,
            };
            if reached(begin, &prefixes[..index]) {
                all.push(self.explanation(begin, Some(index)));
            }
        }
        if reached(prefix, &prefixes) {
            all.push(self.explanation(prefix, None));
        }
        if all.is_empty() {
            // No blob of Kopia begins so. Another may, and the entries hold for it, too.
            all.push(self.explain(prefix));
        }
        all
    }

    /// What happens to each kind of blob that Kopia writes.
    pub fn explain_kinds(&self) -> Vec<Explanation> {
        BlobKind::ALL.iter().flat_map(|kind| self.explain_prefix(kind.prefix())).collect()
    }

    fn explanation(&self, blob: &str, index: Option<usize>) -> Explanation {
        let entry = index.map(|index| &self.entries[index]);
        let reason = match entry {
            None => "no entry's prefix begins the blob ID".to_owned(),
            Some(entry) if entry.prefix.is_empty() && entry.class.is_empty() => {
                "first entry that matches; it matches every blob and has no class".to_owned()
            }
            Some(entry) if entry.prefix.is_empty() => {
                "first entry that matches; it has no prefix and matches every blob".to_owned()
            }
            Some(entry) if entry.class.is_empty() => {
                "first entry whose prefix begins the blob ID; it has no class, and later entries \
                 are not asked"
                    .to_owned()
            }
            Some(_) => "first entry whose prefix begins the blob ID".to_owned(),
        };
        Explanation {
            blob: blob.to_owned(),
            kind: BlobKind::of(blob).or_else(|| kind_of_prefix(blob)),
            entry: index,
            prefix: entry.map(|entry| entry.prefix.clone()),
            storage_class: entry.map(|e| e.class.clone()).filter(|class| !class.is_empty()),
            options: entry.map_or_else(BTreeMap::new, Entry::options),
            reason,
            warnings: index.map_or_else(Vec::new, |index| self.remarks(index)),
        }
    }

    fn remarks(&self, index: usize) -> Vec<String> {
        let findings = self.findings().into_iter();
        let ours = findings.filter(|f| f.entry == Some(index) && f.level <= Level::Note);
        let mut remarks: Vec<_> = ours.map(|f| format!("{}: {}", f.code, f.message)).collect();
        let class = &self.entries[index].class;
        if StorageClass::new(class).is_in_one_zone() {
            remarks.push(format!("{class} keeps its blobs in one zone: they are lost with it"));
        }
        remarks
    }
}

impl Entry {
    /// What the entry's extra keys ask for, by their names; tags as `tagging`, percent-encoded.
    pub fn options(&self) -> BTreeMap<&'static str, String> {
        let mut all = options(&self.extras.attributes);
        let least = self.extras.minimum_bytes;
        all.extend(least.map(|bytes| ("minimumBytes", bytes.to_string())));
        all
    }
}

/// The one kind whose names can begin with `text`, shorter than the kind's own prefix.
fn kind_of_prefix(text: &str) -> Option<BlobKind> {
    let mut kinds = BlobKind::ALL.into_iter().filter(|kind| kind.can_begin(text));
    kinds.next().filter(|_| kinds.next().is_none())
}

/// What is sent, by the names of the extra keys.
fn options(attributes: &PutAttributes) -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::new();
    match &attributes.encryption {
        None => {}
        Some(Encryption::S3) => {
            out.insert("serverSideEncryption", "AES256".to_owned());
        }
        Some(Encryption::Kms { dual_layer, key, bucket_key, context }) => {
            let name = if *dual_layer { "aws:kms:dsse" } else { "aws:kms" };
            out.insert("serverSideEncryption", name.to_owned());
            out.extend(key.clone().map(|key| ("sseKmsKeyId", key)));
            out.extend(bucket_key.map(|on| ("bucketKeyEnabled", on.to_string())));
            if !context.is_empty() {
                let json = serde_json::to_string(context).unwrap_or_default();
                out.insert("sseKmsEncryptionContext", json);
            }
        }
    }
    if !attributes.tags.is_empty() {
        out.insert("tagging", tagging(&attributes.tags));
    }
    if !attributes.metadata.is_empty() {
        let json = serde_json::to_string(&attributes.metadata).unwrap_or_default();
        out.insert("metadata", json);
    }
    out.extend(attributes.cache_control.clone().map(|text| ("cacheControl", text)));
    out.extend(attributes.checksum.map(|sum| ("checksumAlgorithm", checksum(sum).to_owned())));
    if let Some(lock) = attributes.lock {
        out.insert("objectLockMode", lock.mode.as_str().to_owned());
        out.insert("objectLockRetainDays", (lock.period.as_secs() / 86_400).to_string());
    }
    out.extend(attributes.legal_hold.map(|on| ("objectLockLegalHold", on.to_string())));
    out.extend(attributes.acl.clone().map(|acl| ("acl", acl)));
    out
}

fn checksum(algorithm: Checksum) -> &'static str {
    match algorithm {
        Checksum::Crc32 => "CRC32",
        Checksum::Crc32c => "CRC32C",
        Checksum::Crc64Nvme => "CRC64NVME",
        Checksum::Sha1 => "SHA1",
        Checksum::Sha256 => "SHA256",
    }
}

/// Tags as `x-amz-tagging` has them: `k=v&k2=v2`, percent-encoded.
fn tagging(tags: &[(String, String)]) -> String {
    let encode = |text: &str| -> String {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
        text.bytes()
            .map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let pairs: Vec<_> = tags.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> StorageConfig {
        StorageConfig::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_blob_is_explained_as_the_json_of_the_command_has_it() {
        let config = config(
            r#"{"blobOptions":[{"prefix":"p","storageClass":"DEEP_ARCHIVE",
                "tags":{"tier":"cold"}}]}"#,
        );
        let json = serde_json::to_value(config.explain("pa56")).unwrap();
        let expected = serde_json::json!({
            "blob": "pa56", "kind": "p", "entry": 0, "prefix": "p", "storageClass": "DEEP_ARCHIVE",
            "options": {"tagging": "tier=cold"},
            "reason": "first entry whose prefix begins the blob ID",
            "warnings": json["warnings"],
        });
        assert_eq!(json, expected);
        assert!(json["warnings"][0].as_str().unwrap().starts_with("W-ARCHIVE-SHORT"));
        let none = config.explain("q1");
        assert_eq!((none.entry, none.storage_class, none.prefix), (None, None, None));
    }

    #[test]
    fn a_name_that_kopia_never_gives_is_matched_like_any_other() {
        let text = r#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER"},
            {"storageClass":"STANDARD"}]}"#;
        let entry = |text: &str, id: &str| {
            let mut all = config(text).explain_prefix(id);
            (all.pop().unwrap().entry, all.len())
        };
        assert_eq!(entry(text, "p123-s4"), (Some(0), 0));
        assert_eq!(entry(text, "foo/bar"), (Some(1), 0));
        assert_eq!(entry(r#"{"blobOptions":[]}"#, "zz"), (None, 0));
    }

    #[test]
    fn a_kind_split_by_longer_prefixes_has_a_line_for_each_part() {
        let config = config(
            r#"{"blobOptions":[{"prefix":"pa","storageClass":"STANDARD"},
                {"prefix":"p","storageClass":"GLACIER"},{"prefix":"pb","storageClass":"X"}]}"#,
        );
        let parts: Vec<_> =
            config.explain_prefix("p").into_iter().map(|e| (e.blob, e.entry)).collect();
        assert_eq!(parts, [("pa".into(), Some(0)), ("p".into(), Some(1))]);
        assert_eq!(config.explain_prefix("pa1")[0].entry, Some(0));
        let kinds: Vec<_> = config.explain_kinds().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds.len(), BlobKind::ALL.len() + 1);
        assert!(kinds.iter().all(Option::is_some));
    }

    #[test]
    fn tags_are_percent_encoded() {
        let tags = [("a b".to_owned(), "1/2".to_owned()), ("c".to_owned(), "é".to_owned())];
        assert_eq!(tagging(&tags), "a%20b=1%2F2&c=%C3%A9");
    }
}
