//! What a usage costs.

use blob_core::Usage;
use serde::{Deserialize, Serialize};

use crate::{Money, PriceTable, Transfer};

/// What a usage costs, by what it is billed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Requests for readable copies and for a later end of them.
    pub requests: Money,
    /// Retrieval from the archive, and the fees for reading of classes that have one.
    pub retrieval: Money,
    /// Keeping the copies.
    pub copy_storage: Money,
    /// Reads and questions.
    pub gets: Money,
    /// The bytes read, on their way out.
    pub transfer_out: Money,
}

impl Cost {
    /// All of it.
    pub fn total(&self) -> Money {
        self.requests + self.retrieval + self.copy_storage + self.gets + self.transfer_out
    }
}

impl PriceTable {
    /// What `usage` costs, where its bytes go to `transfer`. Lists and writes are left out:
    /// [`PriceTable::lists`], [`ClassFacts::puts`](crate::ClassFacts::puts).
    ///
    /// Each part is rounded once, so equal usages cost the same however they came about. A tier that
    /// the table doesn't have costs nothing: a plan with one is refused before.
    pub fn cost(&self, usage: &Usage, transfer: Transfer) -> Cost {
        let mut cost = Cost::default();
        for ((class, tier), amount) in &usage.thaws {
            if let Some(facts) = self.class_or_standard(class).tier(*tier) {
                cost.requests += facts.requests(amount.count);
                cost.retrieval += facts.retrieval(amount.bytes);
            }
        }
        for ((class, tier), amount) in &usage.extensions {
            if let Some(facts) = self.class_or_standard(class).tier(*tier) {
                cost.requests += facts.requests(amount.count);
            }
        }
        cost.copy_storage = self.copies(usage.copy_byte_days);
        for (class, amount) in &usage.gets {
            let facts = self.class_or_standard(class);
            cost.gets += facts.gets(amount.count);
            cost.retrieval += facts.retrieval(amount.bytes);
        }
        for (class, count) in &usage.heads {
            cost.gets += self.class_or_standard(class).gets(*count);
        }
        cost.transfer_out = self.transfer_out(usage.bytes_read(), transfer);
        cost
    }
}

#[cfg(test)]
mod tests {
    use blob_core::{Amount, StorageClass, ThawRequest, Tier};

    use super::*;

    #[test]
    fn every_part_of_a_bill_is_worked_out_by_hand() {
        const GIB: u64 = 1 << 30;
        let (deep, ia) = (StorageClass::DEEP_ARCHIVE, StorageClass::STANDARD_IA);
        let mut usage = Usage::default();
        let standard = ThawRequest { tier: Tier::Standard, days: 2 };
        for _ in 0..10 {
            usage.thaw(&deep, &standard, GIB);
        }
        usage.extension(&deep, &standard, GIB);
        usage.gets.insert(deep, Amount { count: 1000, bytes: 4 * GIB });
        usage.gets.insert(ia.clone(), Amount { count: 2000, bytes: GIB });
        usage.heads.insert(ia, 1000);
        let cost = PriceTable::built_in().cost(&usage, Transfer::Internet);
        // 11 requests of 0.10 for 1,000; 10 GB of 0.02 and 1 GB of 0.01; 11 GB for 3 days of 0.023 a month.
        assert_eq!(cost.requests.to_string(), "0.0011");
        assert_eq!(cost.retrieval.to_string(), "0.2100");
        assert_eq!(cost.copy_storage.to_string(), "0.0253");
        assert_eq!(cost.gets.to_string(), "0.0034");
        assert_eq!(cost.transfer_out.to_string(), "0.4500");
        assert_eq!(cost.total().to_string(), "0.6898");
        let near = PriceTable::built_in().cost(&usage, Transfer::SameRegion);
        assert_eq!(near.total().to_string(), "0.2398");
    }
}
