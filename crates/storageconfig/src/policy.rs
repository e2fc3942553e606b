//! The configuration as the policy that decides what blobs are written with.

use blob_core::{BlobId, PutAttributes, PutPolicy, StorageClass};

use crate::{Entry, StorageConfig, classes::is_header_value};

impl PutPolicy for StorageConfig {
    fn attributes(&self, id: &BlobId, _: u64) -> PutAttributes {
        self.matching(id.as_str())
            .map_or_else(PutAttributes::default, |(index, entry)| entry.attributes(index))
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
    /// What blobs that this entry, number `index`, matches are written with.
    fn attributes(&self, index: usize) -> PutAttributes {
        let mut attributes = self.extras.attributes.clone();
        attributes.class = Some(&self.class).filter(|c| !c.is_empty()).map(StorageClass::new);
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
