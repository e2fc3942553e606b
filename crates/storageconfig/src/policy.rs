//! The configuration as the policy that decides what blobs are written with.

use blob_core::{BlobId, PutAttributes, PutPolicy, StorageClass};

use crate::{Entry, StorageConfig, classes::is_header_value};

impl PutPolicy for StorageConfig {
    fn attributes(&self, id: &BlobId, length: u64) -> PutAttributes {
        let found = self.matching(id.as_str());
        found.map_or_else(PutAttributes::default, |(index, entry)| entry.attributes(index, length))
    }
}

impl StorageConfig {
    /// The same rules with every extra key ignored, as Kopia does.
    #[must_use]
    pub fn ignoring_extra_keys(mut self) -> Self {
        for entry in &mut self.entries {
            entry.extras = crate::extra::Extras { any: entry.extras.any, ..Default::default() };
        }
        self
    }

    /// The same rules, taking canned ACLs that let others in, for the user who insists.
    #[must_use]
    pub fn allowing_open_acls(mut self) -> Self {
        for entry in &mut self.entries {
            entry.extras.problems.retain(|problem| !problem.can_be_forced);
        }
        self
    }
}

impl Entry {
    /// What a blob of `length` bytes that this entry, number `index`, matches is written with.
    fn attributes(&self, index: usize, length: u64) -> PutAttributes {
        let mut attributes = self.extras.attributes.clone();
        let is_long = self.extras.minimum_bytes.is_none_or(|least| length >= least);
        let class = Some(&self.class).filter(|class| is_long && !class.is_empty());
        attributes.class = class.map(StorageClass::new);
        attributes.refusal = if !is_header_value(&self.class) {
            Some(format!(
                "{}, entry {index}: the class {:?} can't be sent",
                crate::FILE_NAME,
                self.class
            ))
        } else {
            let first = self.extras.problems.first();
            first.map(|it| format!("{}, entry {index}: {} {}", crate::FILE_NAME, it.key, it.reason))
        };
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(config: &StorageConfig, id: &str) -> PutAttributes {
        config.attributes(&BlobId::new(id).unwrap(), 1)
    }

    #[test]
    fn an_entry_with_a_bad_key_refuses_its_writes_and_no_others() {
        let config = StorageConfig::parse(
            br#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER_IR","acl":"public-read"},
                {"prefix":"q","storageClass":"A\nB"},{"storageClass":"STANDARD"}]}"#,
        )
        .unwrap();
        assert!(ask(&config, "p1").refusal.unwrap().contains("entry 0: acl public-read"));
        assert!(ask(&config, "q1").refusal.unwrap().contains("entry 1: the class"));
        assert_eq!(ask(&config, "n1").refusal, None);
        let forced = config.clone().allowing_open_acls();
        assert_eq!(ask(&forced, "p1").refusal, None);
        assert_eq!(ask(&forced, "p1").acl.as_deref(), Some("public-read"));
        let kopia = ask(&config.ignoring_extra_keys(), "p1");
        assert_eq!((kopia.refusal, kopia.acl), (None, None));
        assert_eq!(kopia.class, Some(StorageClass::GLACIER_IR));
    }

    #[test]
    fn a_short_blob_is_written_without_the_class_and_with_all_else() {
        let config = StorageConfig::parse(
            br#"{"blobOptions":[{"prefix":"p","storageClass":"DEEP_ARCHIVE","minimumBytes":100,
                "cacheControl":"no-store"},{"storageClass":"STANDARD_IA"}]}"#,
        )
        .unwrap();
        let of = |length| config.attributes(&BlobId::new("p1").unwrap(), length);
        assert_eq!(of(100).class, Some(StorageClass::DEEP_ARCHIVE));
        assert_eq!((of(99).class, of(99).cache_control), (None, Some("no-store".into())));
        let kopia = config.clone().ignoring_extra_keys();
        assert_eq!(
            ask(&kopia, "p1").class,
            Some(StorageClass::DEEP_ARCHIVE),
            "Kopia has no such key"
        );
        let bad =
            br#"{"blobOptions":[{"prefix":"p","storageClass":"GLACIER","minimumBytes":"9"}]}"#;
        let refusal = ask(&StorageConfig::parse(bad).unwrap(), "p1").refusal.unwrap();
        assert!(refusal.contains("minimumBytes must be a whole number of bytes"), "{refusal}");
    }

    #[test]
    fn the_first_matching_entry_gives_everything() {
        let config = StorageConfig::parse(
            br#"{"blobOptions":[{"prefix":"p","storageClass":"","tags":{"a":"1"}},
                {"storageClass":"STANDARD","tags":{"b":"2"}}]}"#,
        )
        .unwrap();
        let p = ask(&config, "p1");
        assert_eq!((p.class, p.tags), (None, vec![("a".to_owned(), "1".to_owned())]));
        assert_eq!(ask(&StorageConfig::new(), "p1"), PutAttributes::default());
    }
}
