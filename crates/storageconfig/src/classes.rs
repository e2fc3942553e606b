//! What is known about the names of storage classes.
//!
//! A class is an opaque text and goes to the storage as it is (requirement S8); all that is known
//! here serves messages. Names: the model of S3's PutObject, of autumn 2026.

use blob_core::StorageClass;

/// Classes of access points; they name storage outside ordinary buckets.
const BACKUP: [&str; 2] = ["AWS_BACKUP_WARM", "AWS_BACKUP_LOW_COST_WARM"];

/// Every name S3 knows.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    StorageClass::KNOWN.iter().map(StorageClass::as_str).chain(BACKUP)
}

/// Is it a name S3 knows, to the letter?
pub(crate) fn is_known(class: &str) -> bool {
    known().any(|name| name == class)
}

/// Is a blob of this class out of reach until it is thawed? Blanks around the name are taken off,
/// as HTTP does.
pub(crate) fn is_archive(class: &str) -> bool {
    StorageClass::new(class.trim()).is_archive()
}

/// Does an ordinary bucket refuse this class?
pub(crate) fn needs_other_bucket(class: &str) -> bool {
    BACKUP.contains(&class) || StorageClass::new(class).needs_other_storage()
}

/// Does the class bill a minimum of days and bytes for every object, and a fee for reading?
pub(crate) fn is_infrequent(class: &str) -> bool {
    StorageClass::new(class.trim()).is_infrequent_access()
}

/// The known name that `class` was probably meant to be.
pub(crate) fn nearest(class: &str) -> Option<&'static str> {
    let upper = class.trim().to_uppercase();
    known()
        .map(|name| (distance(&upper, name), name))
        .min()
        .filter(|(edits, name)| *edits <= name.len() / 3)
        .map(|(_, name)| name)
}

/// Can it be the value of an HTTP header? What Go's `http` refuses, we refuse.
pub(crate) fn is_header_value(text: &str) -> bool {
    !text.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
}

/// How many characters must be added, taken away or changed to make `b` of `a`.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_given_only_where_it_is_near() {
        assert_eq!(nearest("GLACEIR"), Some("GLACIER"));
        assert_eq!(nearest("Standard-IA"), Some("STANDARD_IA"));
        assert_eq!(nearest("deep archive"), Some("DEEP_ARCHIVE"));
        assert_eq!(nearest("FUTURE_CLASS"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
