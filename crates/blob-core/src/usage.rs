//! What a storage was asked for, or will be, in the terms that it is billed by.
//!
//! Quantities only: who has a price table makes money of them. A plan states a [`Usage`] before it is
//! carried out, [`layers::Metrics`](crate::layers::Metrics) counts one while it is, and the two can be
//! held against each other. What is billed: <https://aws.amazon.com/s3/pricing/>.

use std::collections::BTreeMap;

use crate::{StorageClass, Tier};

/// Requests and the bytes that they were about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many requests.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds another amount.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// What is billed. A blob whose class is not known counts as one of `STANDARD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Requests for a readable copy that the storage took, and the bytes of their blobs.
    pub thaws: BTreeMap<(StorageClass, Tier), Amount>,
    /// Requests that moved the end of a copy, and the bytes of their blobs: billed as requests, not
    /// as retrievals.
    pub extensions: BTreeMap<(StorageClass, Tier), Amount>,
    /// Bytes times days that copies are kept for ([`crate::ThawRequest::billed_days`]).
    pub copy_byte_days: u128,
    /// Reads, refused ones too, and the bytes that came.
    pub gets: BTreeMap<StorageClass, Amount>,
    /// Questions about one blob.
    pub heads: BTreeMap<StorageClass, u64>,
    /// Lists, one for each 1,000 blobs begun.
    pub lists: u64,
    /// Writes, and their bytes. A lock that is extended is one of no bytes.
    pub puts: BTreeMap<StorageClass, Amount>,
}

impl Usage {
    /// Counts a request for a readable copy of a blob of `bytes`.
    pub fn thaw(&mut self, class: &StorageClass, request: &crate::ThawRequest, bytes: u64) {
        let key = (class.clone(), request.tier);
        self.thaws.entry(key).or_default().add(Amount { count: 1, bytes });
        self.keep(class, request, bytes);
    }

    /// Counts a request that moves the end of a copy of `bytes`.
    pub fn extension(&mut self, class: &StorageClass, request: &crate::ThawRequest, bytes: u64) {
        let key = (class.clone(), request.tier);
        self.extensions.entry(key).or_default().add(Amount { count: 1, bytes });
        self.keep(class, request, bytes);
    }

    /// A blob that comes back for good has no copy.
    fn keep(&mut self, class: &StorageClass, request: &crate::ThawRequest, bytes: u64) {
        if !class.may_sink() {
            self.copy_byte_days += u128::from(bytes) * u128::from(request.billed_days());
        }
    }

    /// Bytes of all reads.
    pub fn bytes_read(&self) -> u64 {
        self.gets.values().map(|amount| amount.bytes).sum()
    }

    /// Requests for readable copies, and their bytes, whatever class and tier.
    pub fn all_thaws(&self) -> Amount {
        let mut sum = Amount::default();
        self.thaws.values().for_each(|amount| sum.add(*amount));
        sum
    }

    /// Adds what another usage says.
    pub fn add(&mut self, other: &Self) {
        for (key, amount) in &other.thaws {
            self.thaws.entry(key.clone()).or_default().add(*amount);
        }
        for (key, amount) in &other.extensions {
            self.extensions.entry(key.clone()).or_default().add(*amount);
        }
        self.copy_byte_days += other.copy_byte_days;
        for (class, amount) in &other.gets {
            self.gets.entry(class.clone()).or_default().add(*amount);
        }
        for (class, count) in &other.heads {
            *self.heads.entry(class.clone()).or_default() += count;
        }
        self.lists += other.lists;
        for (class, amount) in &other.puts {
            self.puts.entry(class.clone()).or_default().add(*amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ThawRequest;

    #[test]
    fn usages_add_up_and_a_blob_that_comes_back_for_good_has_no_copy() {
        let bulk = ThawRequest { tier: Tier::Bulk, days: 7 };
        let (deep, tiering) = (StorageClass::DEEP_ARCHIVE, StorageClass::INTELLIGENT_TIERING);
        let mut usage = Usage::default();
        usage.thaw(&deep, &bulk, 100);
        usage.thaw(&tiering, &bulk, 10);
        usage.extension(&deep, &bulk, 100);
        assert_eq!(usage.copy_byte_days, 2 * 800);
        let mut both = usage.clone();
        both.lists = 3;
        both.add(&usage);
        assert_eq!(both.all_thaws(), Amount { count: 4, bytes: 220 });
        assert_eq!(both.extensions[&(deep, Tier::Bulk)], Amount { count: 2, bytes: 200 });
        assert_eq!((both.copy_byte_days, both.lists), (3200, 3));
    }
}
