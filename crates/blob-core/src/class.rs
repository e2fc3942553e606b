//! Storage classes, by name.
//!
//! A class is an opaque text: S3 adds new ones, other providers have their own, and Kopia sends
//! whatever `.storageconfig` says (requirement S8). What has to be decided by the name of a class is
//! decided here, and nowhere else; numbers (minimums, times, prices) are in `cold-storage`. The known ones are those of S3's PutObject,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>, `x-amz-storage-class`.

use std::{borrow::Cow, fmt};

/// The name of a storage class, as sent in `x-amz-storage-class`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageClass(Cow<'static, str>);

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl StorageClass {
            $($(#[$doc])* pub const $name: StorageClass = StorageClass(Cow::Borrowed($text));)*
            /// Every class that S3's PutObject documents.
            pub const KNOWN: &'static [StorageClass] = &[$(StorageClass::$name),*];
        }
    };
}

classes! {
    /// The default class of S3.
    STANDARD = "STANDARD";
    /// Deprecated by AWS, still taken.
    REDUCED_REDUNDANCY = "REDUCED_REDUNDANCY";
    /// Infrequent access, several zones.
    STANDARD_IA = "STANDARD_IA";
    /// Infrequent access, one zone.
    ONEZONE_IA = "ONEZONE_IA";
    /// S3 moves the object between tiers by itself.
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING";
    /// Glacier Flexible Retrieval: unreadable until thawed.
    GLACIER = "GLACIER";
    /// Glacier Deep Archive: unreadable until thawed.
    DEEP_ARCHIVE = "DEEP_ARCHIVE";
    /// S3 on Outposts.
    OUTPOSTS = "OUTPOSTS";
    /// Glacier Instant Retrieval: readable at once.
    GLACIER_IR = "GLACIER_IR";
    /// Snowball Edge.
    SNOW = "SNOW";
    /// Directory buckets.
    EXPRESS_ONEZONE = "EXPRESS_ONEZONE";
    /// FSx for OpenZFS, through access points.
    FSX_OPENZFS = "FSX_OPENZFS";
    /// FSx for NetApp ONTAP, through access points.
    FSX_ONTAP = "FSX_ONTAP";
}

impl StorageClass {
    /// A class of any name; nothing is checked.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name as sent to the storage.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it one of [`StorageClass::KNOWN`]?
    pub fn is_known(&self) -> bool {
        Self::KNOWN.contains(self)
    }

    /// Must a blob of this class be thawed before it can be read?
    ///
    /// True for `GLACIER` and `DEEP_ARCHIVE`. `GLACIER_IR` is readable at once;
    /// `INTELLIGENT_TIERING` may be cold in its optional archive tiers, which only a HEAD tells.
    pub fn is_archive(&self) -> bool {
        *self == Self::GLACIER || *self == Self::DEEP_ARCHIVE
    }

    /// Does an ordinary bucket refuse this class? It names storage of another kind.
    pub fn needs_other_storage(&self) -> bool {
        const OTHER: [StorageClass; 5] = [
            StorageClass::OUTPOSTS,
            StorageClass::SNOW,
            StorageClass::EXPRESS_ONEZONE,
            StorageClass::FSX_OPENZFS,
            StorageClass::FSX_ONTAP,
        ];
        OTHER.contains(self)
    }

    /// Is it for blobs that are seldom read, at a fee for each reading?
    pub fn is_infrequent_access(&self) -> bool {
        *self == Self::STANDARD_IA || *self == Self::ONEZONE_IA
    }

    /// Are blobs of this class lost with one availability zone?
    pub fn is_in_one_zone(&self) -> bool {
        *self == Self::ONEZONE_IA || *self == Self::EXPRESS_ONEZONE
    }

    /// May a blob of this class be out of reach without its class telling?
    ///
    /// True for `INTELLIGENT_TIERING`, whose blobs sink into archive tiers where the bucket is
    /// configured for it: only a HEAD tells. Such a blob comes back for good, and a thaw of it has
    /// no days.
    pub fn may_sink(&self) -> bool {
        *self == Self::INTELLIGENT_TIERING
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_classes_need_a_thaw() {
        let cold: Vec<_> = StorageClass::KNOWN.iter().filter(|c| c.is_archive()).collect();
        assert_eq!(cold, [&StorageClass::GLACIER, &StorageClass::DEEP_ARCHIVE]);
        assert!(StorageClass::new("GLACIER").is_archive());
        assert!(!StorageClass::new("GLACIER_2031").is_known());
    }
}
