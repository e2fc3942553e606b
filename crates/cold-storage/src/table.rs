//! The facts of storage classes: what is readable, minimum days and sizes, tiers, times, prices.
//!
//! All of it is data: the built-in table is `data/prices-us-east-1.json`, with date and sources, and
//! a user's file of the same form takes its place for another region or provider. Nothing else in
//! the workspace knows a price or a time; which classes need a thaw at all is told by
//! [`StorageClass::is_archive`], and a test holds the two against each other.

use std::{collections::BTreeMap, sync::LazyLock};

use blob_core::{StorageClass, Tier};
use serde::Deserialize;

use crate::money::Money;

/// A file of prices that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It is no JSON, or lacks something.
    #[error("the price table can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It says something that can't be.
    #[error("the price table: {place}: {reason}")]
    Invalid {
        /// Where, as a path of keys.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// The facts of all classes of one region of one provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PriceTable {
    schema: u32,
    /// Whose prices, `aws-s3`.
    #[serde(default)]
    pub provider: String,
    /// Which region, `us-east-1`.
    pub region: String,
    /// ISO 4217, `USD`.
    pub currency: String,
    /// The day the prices were valid, `2026-09-28`.
    pub prices_as_of: String,
    classes: BTreeMap<String, ClassFacts>,
    requests: Requests,
    restored_copy: RestoredCopy,
    egress: Egress,
    #[serde(default)]
    batch_operations: BatchOperations,
    /// Where the table comes from: `built in`, or a file's path.
    #[serde(skip)]
    pub source: String,
}

/// What a class costs, holds and takes to wake.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClassFacts {
    /// Can it be read without a thaw?
    pub readable_at_once: bool,
    storage_gb_month: Vec<Step>,
    put_per_1000: f64,
    get_per_1000: f64,
    #[serde(default)]
    lifecycle_in_per_1000: Option<f64>,
    #[serde(default)]
    retrieval_gb: Option<f64>,
    /// An object deleted or moved earlier is billed for so many days.
    #[serde(default)]
    pub min_days: u32,
    /// An object is billed as if it had so many bytes at least.
    #[serde(default)]
    pub min_billable_bytes: u64,
    /// Bytes billed on top of each object, at the price of its class.
    #[serde(default)]
    pub overhead_bytes_class: u64,
    /// Bytes billed on top of each object, at the price of `STANDARD`.
    #[serde(default)]
    pub overhead_bytes_standard: u64,
    #[serde(default)]
    restore: Tiers,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tiers {
    expedited: Option<TierFacts>,
    standard: Option<TierFacts>,
    bulk: Option<TierFacts>,
}

/// What one tier of a thaw takes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TierFacts {
    request_per_1000: f64,
    per_gb: f64,
    hours_min: f64,
    hours_max: f64,
}

/// A price that holds up to so many GB.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Step {
    up_to_gb: Option<f64>,
    usd: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Requests {
    list_per_1000: f64,
    #[serde(default)]
    delete_per_1000: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct RestoredCopy {
    storage_gb_month: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Egress {
    to_internet_gb: Vec<Step>,
    same_region_ec2_gb: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct BatchOperations {
    #[serde(default)]
    per_job: f64,
    #[serde(default)]
    per_million_objects: f64,
}

/// Where the bytes go that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// To the internet. The free part of a month is counted only by
    /// [`PriceTable::transfer_out_after_free`], since other uses of the account may have taken it.
    #[default]
    Internet,
    /// To a machine in the bucket's region.
    SameRegion,
    /// Not counted.
    None,
}

const BUILT_IN_TEXT: &str = include_str!("../data/prices-us-east-1.json");

static BUILT_IN: LazyLock<PriceTable> = LazyLock::new(|| {
    let text = BUILT_IN_TEXT.as_bytes();
    PriceTable::parse(text, "built in").expect("the built-in table is right: a test reads it")
});

impl PriceTable {
    /// Amazon S3 in `us-east-1`.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// The same as the file that it is read from, with sources: a beginning for a table of one's own.
    pub fn built_in_text() -> &'static str {
        BUILT_IN_TEXT
    }

    /// Reads a table of the same form as the built-in one. `source` says where it comes from.
    ///
    /// # Errors
    /// [`TableError`]: it is no such table, or holds a price or time that can't be.
    pub fn parse(text: &[u8], source: &str) -> Result<Self, TableError> {
        let mut table: Self = serde_json::from_slice(text)?;
        source.clone_into(&mut table.source);
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), TableError> {
        let invalid = |place: String, reason: &str| {
            Err(TableError::Invalid { place, reason: reason.to_owned() })
        };
        if self.schema != 1 {
            return invalid("schema".into(), "must be 1");
        }
        let Some(standard) = self.classes.get(StorageClass::STANDARD.as_str()) else {
            return invalid("classes".into(), "STANDARD is missing: what has no class is STANDARD");
        };
        if standard.storage_gb_month.is_empty() {
            return invalid("classes.STANDARD.storage_gb_month".into(), "has no step");
        }
        for (name, class) in &self.classes {
            let tiers = Tier::ALL.into_iter().filter_map(|tier| class.tier(tier));
            let of_tiers =
                tiers.flat_map(|it| [it.request_per_1000, it.per_gb, it.hours_min, it.hours_max]);
            let steps = class.storage_gb_month.iter().map(|step| step.usd);
            let single = [class.put_per_1000, class.get_per_1000];
            let maybe = [class.lifecycle_in_per_1000, class.retrieval_gb].into_iter().flatten();
            let all = of_tiers.chain(steps).chain(single).chain(maybe);
            if !all.into_iter().all(is_price) {
                return invalid(
                    format!("classes.{name}"),
                    "a price or time is negative or no number",
                );
            }
            if !class.readable_at_once && class.tiers().next().is_none() {
                return invalid(format!("classes.{name}.restore"), "not readable, and no tier");
            }
        }
        let others = [
            self.requests.list_per_1000,
            self.requests.delete_per_1000,
            self.restored_copy.storage_gb_month,
            self.egress.same_region_ec2_gb,
            self.batch_operations.per_job,
            self.batch_operations.per_million_objects,
        ];
        let egress = self.egress.to_internet_gb.iter().map(|step| step.usd);
        if !others.into_iter().chain(egress).all(is_price) {
            return invalid("requests, egress".into(), "a price is negative or no number");
        }
        Ok(())
    }

    /// The facts of a class; `None` if the table doesn't have it.
    pub fn class(&self, class: &StorageClass) -> Option<&ClassFacts> {
        self.classes.get(class.as_str())
    }

    /// The facts of a class, and those of `STANDARD` for one that the table doesn't have.
    pub fn class_or_standard(&self, class: &StorageClass) -> &ClassFacts {
        self.class(class).unwrap_or_else(|| &self.classes[StorageClass::STANDARD.as_str()])
    }

    /// All classes of the table, by name.
    pub fn classes(&self) -> impl Iterator<Item = (StorageClass, &ClassFacts)> {
        self.classes.iter().map(|(name, facts)| (StorageClass::new(name), facts))
    }

    /// What so many lists cost, one for each 1,000 keys.
    pub fn lists(&self, count: u64) -> Money {
        per_1000(self.requests.list_per_1000, count)
    }

    /// What so many deletes cost.
    pub fn deletes(&self, count: u64) -> Money {
        per_1000(self.requests.delete_per_1000, count)
    }

    /// What keeping thawed copies costs: bytes times days, 30 days a month.
    pub fn copies(&self, byte_days: u128) -> Money {
        let price = Money::from_price(self.restored_copy.storage_gb_month);
        price.for_count(byte_days, crate::money::GIB * 30)
    }

    /// What reading so many bytes to `transfer` costs, as if the month's free part were used up.
    pub fn transfer_out(&self, bytes: u64, transfer: Transfer) -> Money {
        match transfer {
            Transfer::None => Money::ZERO,
            Transfer::SameRegion => {
                Money::from_price(self.egress.same_region_ec2_gb).per_gib(bytes.into())
            }
            Transfer::Internet => stepped(
                // Free steps are left out, the others keep their ends.
                self.egress.to_internet_gb.iter().filter(|step| step.usd > 0.0),
                bytes,
            ),
        }
    }

    /// The same for an account that used nothing of the month's free part.
    pub fn transfer_out_after_free(&self, bytes: u64) -> Money {
        stepped(self.egress.to_internet_gb.iter(), bytes)
    }

    /// What a job of S3 Batch Operations over so many objects costs, without the requests that it
    /// makes.
    pub fn batch_job(&self, objects: u64) -> Money {
        let per_million = Money::from_price(self.batch_operations.per_million_objects);
        Money::from_price(self.batch_operations.per_job)
            + per_million.for_count(objects.into(), 1_000_000)
    }
}

impl ClassFacts {
    /// What a tier takes; `None` if the class doesn't have it.
    pub fn tier(&self, tier: Tier) -> Option<&TierFacts> {
        match tier {
            Tier::Expedited => self.restore.expedited.as_ref(),
            Tier::Standard => self.restore.standard.as_ref(),
            Tier::Bulk => self.restore.bulk.as_ref(),
        }
    }

    /// The tiers that the class has, the cheapest first.
    pub fn tiers(&self) -> impl Iterator<Item = (Tier, &TierFacts)> {
        Tier::ALL.into_iter().filter_map(|tier| Some((tier, self.tier(tier)?)))
    }

    /// What keeping `count` objects of together `bytes` costs for 30 days, with the bytes that are
    /// billed on top and without the least size of an object ([`Self::billed_bytes`]).
    pub fn month(&self, bytes: u64, count: u64, table: &PriceTable) -> Money {
        let own = bytes.saturating_add(self.overhead_bytes_class.saturating_mul(count));
        let standard = &table.class_or_standard(&StorageClass::STANDARD).storage_gb_month;
        let above = self.overhead_bytes_standard.saturating_mul(count);
        stepped(self.storage_gb_month.iter(), own) + stepped(standard.iter(), above)
    }

    /// The bytes that an object of `size` is billed as.
    pub fn billed_bytes(&self, size: u64) -> u64 {
        size.max(self.min_billable_bytes)
    }

    /// The price of a GB for a month, at the first step.
    pub fn storage_gb_month(&self) -> Money {
        Money::from_price(self.storage_gb_month.first().map_or(0.0, |step| step.usd))
    }

    /// What so many PUTs, copies into the class or POSTs cost.
    pub fn puts(&self, count: u64) -> Money {
        per_1000(self.put_per_1000, count)
    }

    /// What so many GETs and HEADs cost.
    pub fn gets(&self, count: u64) -> Money {
        per_1000(self.get_per_1000, count)
    }

    /// What moving so many objects into the class by a lifecycle rule costs; `None` where no rule
    /// can.
    pub fn lifecycle_in(&self, count: u64) -> Option<Money> {
        self.lifecycle_in_per_1000.map(|price| per_1000(price, count))
    }

    /// The fee for reading a GB; none in classes that are thawed instead.
    pub fn retrieval_gb(&self) -> Money {
        Money::from_price(self.retrieval_gb.unwrap_or(0.0))
    }

    /// The fee for reading so many bytes.
    pub fn retrieval(&self, bytes: u64) -> Money {
        self.retrieval_gb().per_gib(bytes.into())
    }

    /// The fee for bytes times days that an object leaves the class too early.
    pub fn early(&self, byte_days: u128) -> Money {
        self.storage_gb_month().for_count(byte_days, crate::money::GIB * 30)
    }
}

impl TierFacts {
    /// What so many restore requests cost.
    pub fn requests(&self, count: u64) -> Money {
        per_1000(self.request_per_1000, count)
    }

    /// What retrieving so many bytes costs.
    pub fn retrieval(&self, bytes: u64) -> Money {
        Money::from_price(self.per_gb).per_gib(bytes.into())
    }

    /// The time, in seconds, within which a thaw is typically done.
    pub fn seconds_max(&self) -> u64 {
        seconds(self.hours_max)
    }

    /// The time, in seconds, that a thaw typically takes at least.
    pub fn seconds_min(&self) -> u64 {
        seconds(self.hours_min)
    }
}

/// Is it a number that a price or time can be?
fn is_price(number: f64) -> bool {
    number.is_finite() && (0.0..1e9).contains(&number)
}

// Both were checked to be no less than 0 and below 10^9.
fn seconds(hours: f64) -> u64 {
    (hours * 3600.0).round() as u64
}

fn per_1000(price: f64, count: u64) -> Money {
    Money::from_price(price).for_count(count.into(), 1000)
}

/// A price in steps: each holds up to its end, the last for all that is left.
fn stepped<'a>(steps: impl Iterator<Item = &'a Step>, bytes: u64) -> Money {
    let (mut sum, mut begin, mut last) = (Money::ZERO, 0_u64, Money::ZERO);
    for step in steps {
        last = Money::from_price(step.usd);
        let end = step.up_to_gb.map_or(u64::MAX, |gb| (gb * crate::money::GIB as f64) as u64);
        let end = end.max(begin);
        sum += last.per_gib(bytes.min(end).saturating_sub(begin).into());
        begin = end;
    }
    sum + last.per_gib(bytes.saturating_sub(begin).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_table_and_the_types_agree_on_what_needs_a_thaw() {
        let table = PriceTable::built_in();
        assert_eq!((&*table.region, &*table.prices_as_of), ("us-east-1", "2026-09-28"));
        for (class, facts) in table.classes() {
            assert_eq!(class.is_archive(), !facts.readable_at_once, "{class}");
            assert!(class.is_known(), "{class}");
        }
        let of_bucket = StorageClass::KNOWN.iter().filter(|class| class.is_archive());
        assert!(of_bucket.into_iter().all(|class| table.class(class).is_some()));
    }

    #[test]
    fn a_tib_costs_what_the_fact_sheet_says() {
        let table = PriceTable::built_in();
        let (packs, bytes) = (52_429, 1024 * GIB);
        let thaw = |class: &StorageClass, tier| {
            let tier = table.class(class).unwrap().tier(tier).unwrap();
            format!("{:.1}", tier.requests(packs) + tier.retrieval(bytes))
        };
        assert_eq!(thaw(&StorageClass::GLACIER, Tier::Bulk), "0.0");
        assert_eq!(thaw(&StorageClass::GLACIER, Tier::Standard), "12.9");
        assert_eq!(thaw(&StorageClass::GLACIER, Tier::Expedited), "555.0");
        assert_eq!(thaw(&StorageClass::DEEP_ARCHIVE, Tier::Bulk), "3.9");
        assert_eq!(thaw(&StorageClass::DEEP_ARCHIVE, Tier::Standard), "25.7");
        assert_eq!(format!("{:.1}", table.copies(u128::from(bytes) * 7)), "5.5");
        let out = |transfer| format!("{:.1}", table.transfer_out(bytes, transfer));
        assert_eq!(out(Transfer::Internet), "92.2");
        assert_eq!((out(Transfer::SameRegion), out(Transfer::None)), ("0.0".into(), "0.0".into()));
        assert_eq!(format!("{:.1}", table.transfer_out_after_free(bytes)), "83.2");
    }

    #[test]
    fn steps_hold_up_to_their_ends() {
        let table = PriceTable::built_in();
        let standard = table.class(&StorageClass::STANDARD).unwrap();
        let month = |gb: u64| format!("{:.2}", standard.month(gb * GIB, 0, table));
        assert_eq!(month(51_200), "1177.60");
        assert_eq!(month(51_201), "1177.62");
        assert_eq!(month(600_000), "13163.20");
        let deep = table.class(&StorageClass::DEEP_ARCHIVE).unwrap();
        // 40 KiB on top of each object, 8 of them at the price of STANDARD.
        assert_eq!(deep.month(0, 1 << 15, table).to_string(), "0.00674");
        assert_eq!(deep.billed_bytes(5), 5);
        assert_eq!(table.class(&StorageClass::STANDARD_IA).unwrap().billed_bytes(5), 131_072);
    }

    #[test]
    fn a_bad_table_is_refused_by_name() {
        let text = PriceTable::built_in_text();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            PriceTable::parse(text.replace(from, to).as_bytes(), "x").unwrap_err().to_string()
        };
        assert!(refused("\"schema\": 1", "\"schema\": 2").contains("schema: must be 1"));
        assert!(refused("\"STANDARD\": {", "\"STD\": {").contains("STANDARD is missing"));
        assert!(refused("\"per_gb\": 0.0025", "\"per_gb\": -1").contains("classes.DEEP_ARCHIVE"));
        assert!(refused("\"restore\": {", "\"restored\": {").contains("not readable, and no tier"));
        assert!(PriceTable::parse(b"{}", "x").unwrap_err().to_string().contains("can't be read"));
    }
}
