//! Which compressor a file gets.
//!
//! A name is all that is decided here; `None` stands for no compression. Facts:
//! `docs/format/07-upload-restore.md` §4, document 05 §2.

use kopia_format::policy::Policy;

/// The compressor for the data of a file.
///
/// As in Kopia "only compress" limits nothing: it lists extensions that are compressed even if they
/// are listed in "never compress" too.
#[must_use]
pub fn file_compressor<'a>(policy: &'a Policy, name: &[u8], size: u64) -> Option<&'a str> {
    let compression = &policy.compression;
    let limit = |limit: i64| u64::try_from(limit).ok().filter(|&limit| limit > 0);
    if limit(compression.min_size).is_some_and(|min| size < min)
        || limit(compression.max_size).is_some_and(|max| size > max)
    {
        return None;
    }
    let extension = extension(name);
    if !is_listed(&compression.only_compress, extension)
        && is_listed(&compression.never_compress, extension)
    {
        return None;
    }
    named(&compression.compressor_name)
}

/// The compressor for directories and lists of chunks.
#[must_use]
pub fn metadata_compressor(policy: &Policy) -> Option<&str> {
    named(&policy.metadata_compression.compressor_name)
}

/// The splitter for files, if it is not the repository's.
#[must_use]
pub fn splitter(policy: &Policy) -> Option<&str> {
    Some(policy.splitter.algorithm.as_str()).filter(|name| !name.is_empty())
}

fn named(name: &str) -> Option<&str> {
    (!name.is_empty() && name != "none").then_some(name)
}

/// From the last dot on, the dot included; empty without a dot.
fn extension(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b'.').map_or(&[], |dot| &name[dot..])
}

/// Looks an extension up by halving, as Kopia does: in the policy of a folder the list is as the
/// user wrote it, and in a list out of order not everything is found.
fn is_listed(list: &[String], extension: &[u8]) -> bool {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = low.midpoint(high);
        if list[middle].as_bytes() < extension {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    list.get(low).is_some_and(|found| found.as_bytes() == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Policy {
        Policy::parse(format!(r#"{{"compression":{json}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn size_and_extension_decide() {
        let policy = policy(
            r#"{"compressorName":"zstd","minSize":10,"maxSize":100,"neverCompress":[".jpg",".zip"],
                "onlyCompress":[".zip"]}"#,
        );
        let compressor = |name: &str, size| file_compressor(&policy, name.as_bytes(), size);
        assert_eq!(compressor("a.txt", 9), None);
        assert_eq!(compressor("a.txt", 10), Some("zstd"));
        assert_eq!(compressor("a.txt", 100), Some("zstd"));
        assert_eq!(compressor("a.txt", 101), None);
        assert_eq!(compressor("a.x.jpg", 50), None);
        assert_eq!(compressor(".jpg", 50), None);
        assert_eq!(compressor("a.JPG", 50), Some("zstd"));
        assert_eq!(compressor("jpg", 50), Some("zstd"));
        // Listed in both.
        assert_eq!(compressor("a.zip", 50), Some("zstd"));
    }

    #[test]
    fn none_and_nothing_are_no_compressor() {
        assert_eq!(file_compressor(&policy(r#"{"compressorName":"none"}"#), b"a", 1), None);
        assert_eq!(file_compressor(&policy("{}"), b"a", 1), None);
        assert_eq!(metadata_compressor(&Policy::default()), None);
        assert_eq!(metadata_compressor(&Policy::default_global()), Some("zstd-fastest"));
        assert_eq!(splitter(&Policy::default_global()), None);
    }

    #[test]
    fn a_list_out_of_order_is_searched_as_kopia_searches_it() {
        let policy = policy(r#"{"compressorName":"zstd","neverCompress":[".c",".a",".b"]}"#);
        assert_eq!(file_compressor(&policy, b"x.b", 1), None);
        assert_eq!(file_compressor(&policy, b"x.c", 1), Some("zstd"));
        assert_eq!(file_compressor(&policy, b"x.d", 1), Some("zstd"));
    }
}
