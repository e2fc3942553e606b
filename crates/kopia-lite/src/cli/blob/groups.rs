//! `blob stats --by`: blobs counted, and priced, by what they have in common.
//!
//! All comes from the listing; a price is that of the price table. A group of several classes costs
//! what its blobs of each class would cost alone, and the total what all of a class cost together:
//! beyond the first step of a price the total is less than the sum of the groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use blob_core::{BlobMeta, StorageClass, Timestamp, layers::kind};
use clap::ValueEnum;
use cold_storage::{Money, PriceTable};
use serde_json::{Map, Value, json};

use crate::{cli::prices::table_json, ui::text};

/// What blobs are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// How their IDs begin: `p`, `q`, `xn` …
    Kind,
    /// Their storage class.
    Class,
    /// How long ago they were written.
    Age,
}

impl By {
    /// As a field of JSON.
    fn field(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Class => "storageClass",
            Self::Age => "age",
        }
    }
}

/// Upper ends of the groups by age, in days.
const AGES: [(u64, &str); 6] = [
    (1, "under 1d"),
    (7, "under 7d"),
    (30, "under 30d"),
    (90, "under 90d"),
    (180, "under 180d"),
    (365, "under 1y"),
];
const OLDER: &str = "older";

/// What is the same in a group. Ages sort by their length, the youngest first.
type Key = Vec<(usize, String)>;

/// Blobs of one class.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    count: u64,
    bytes: u64,
    /// What they are billed as, where small ones are billed as larger ones.
    billed: u64,
}

/// Amounts by class. `None`: the storage has no classes.
type Classes = BTreeMap<Option<StorageClass>, Amount>;

/// Blobs by group.
#[derive(Debug)]
pub struct Groups<'a> {
    by: &'a [By],
    table: &'a PriceTable,
    now: Timestamp,
    rows: BTreeMap<Key, Classes>,
    all: Classes,
}

impl<'a> Groups<'a> {
    /// No blobs yet. Ages count up to `now`.
    pub fn new(by: &'a [By], table: &'a PriceTable, now: Timestamp) -> Self {
        Self { by, table, now, rows: BTreeMap::new(), all: Classes::new() }
    }

    /// Adds a blob.
    pub fn add(&mut self, meta: &BlobMeta) {
        let key = self.by.iter().map(|by| self.value(*by, meta)).collect();
        let facts = meta.class.as_ref().and_then(|class| self.table.class(class));
        let billed = facts.map_or(meta.size, |facts| facts.billed_bytes(meta.size));
        for classes in [self.rows.entry(key).or_default(), &mut self.all] {
            let amount = classes.entry(meta.class.clone()).or_default();
            amount.count += 1;
            amount.bytes = amount.bytes.saturating_add(meta.size);
            amount.billed = amount.billed.saturating_add(billed);
        }
    }

    fn value(&self, by: By, meta: &BlobMeta) -> (usize, String) {
        match by {
            By::Kind => (0, kind(meta.id.as_str()).to_owned()),
            By::Class => (0, meta.class.as_ref().map_or_else(String::new, ToString::to_string)),
            By::Age => {
                let age = self.now.since(meta.modified);
                let below = |days: u64| age < Duration::from_secs(days * 86_400);
                let at = AGES.iter().position(|(days, _)| below(*days)).unwrap_or(AGES.len());
                (at, AGES.get(at).map_or(OLDER, |(_, name)| name).to_owned())
            }
        }
    }

    /// The classes that the table has no price for.
    pub fn unpriced(&self) -> BTreeSet<String> {
        let classes = self.all.keys().flatten();
        let unknown = classes.filter(|class| self.table.class(class).is_none());
        unknown.map(ToString::to_string).collect()
    }

    /// All groups and their total as JSON.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(key, classes)| {
            let mut row = Map::new();
            for (by, (_, value)) in self.by.iter().zip(key) {
                let absent = *by == By::Class && value.is_empty();
                row.insert(by.field().into(), if absent { Value::Null } else { json!(value) });
            }
            row.extend(self.amounts(classes));
            Value::Object(row)
        });
        let rows: Vec<_> = rows.collect();
        let mut total = self.amounts(&self.all);
        total.insert("currency".into(), json!(self.table.currency));
        json!({"rows": rows, "total": total, "priceTable": table_json(self.table)})
    }

    fn amounts(&self, classes: &Classes) -> Map<String, Value> {
        let (count, bytes) = sums(classes);
        let cost = json!(self.month(classes));
        [("count", json!(count)), ("bytes", json!(bytes)), ("monthlyCost", cost)]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }

    /// What they cost for a month; `None` if no class of them has a price.
    fn month(&self, classes: &Classes) -> Option<Money> {
        let priced = classes.iter().filter_map(|(class, amount)| {
            let facts = self.table.class(class.as_ref()?)?;
            Some(facts.month(amount.billed, amount.count, self.table))
        });
        priced.reduce(|sum, one| sum + one)
    }

    /// Prints the groups and their total, with `show` for sizes.
    pub fn print(&self, show: impl Fn(u64) -> String) {
        let money = |classes| self.month(classes).map_or("-".to_owned(), |it| format!("{it:.4}"));
        let line = |name: String, count: String, bytes: String, cost: String| {
            text::line(format!("{name} {count:>9} {bytes:>12} {cost:>12}"));
        };
        let cells = |values: Vec<&str>| -> String {
            values.iter().map(|value| format!("{value:<20} ")).collect()
        };
        let names = self.by.iter().map(|by| match by {
            By::Kind => "kind",
            By::Class => "class",
            By::Age => "age",
        });
        let currency = format!("{}/month", self.table.currency);
        line(cells(names.collect()), "count".into(), "bytes".into(), currency);
        for (key, classes) in &self.rows {
            let values = key.iter().map(|(_, value)| if value.is_empty() { "-" } else { value });
            let (count, bytes) = sums(classes);
            line(cells(values.collect()), count.to_string(), show(bytes), money(classes));
        }
        let total = ["total"].into_iter().chain(self.by.iter().skip(1).map(|_| ""));
        let (count, bytes) = sums(&self.all);
        line(cells(total.collect()), count.to_string(), show(bytes), money(&self.all));
        let PriceTable { region, prices_as_of, source, .. } = self.table;
        text::line(format!("\n{region}, prices of {prices_as_of} ({source})"));
    }
}

fn sums(classes: &Classes) -> (u64, u64) {
    let add = |sum: (u64, u64), it: &Amount| (sum.0 + it.count, sum.1.saturating_add(it.bytes));
    classes.values().fold((0, 0), add)
}

#[cfg(test)]
mod tests {
    use blob_core::BlobId;

    use super::*;

    const DAY: i64 = 86_400;

    fn blob(id: &str, size: u64, days: i64, class: Option<&str>) -> BlobMeta {
        let modified = Timestamp::from_secs(1_000 * DAY - days * DAY);
        let class = class.map(StorageClass::new);
        BlobMeta {
            id: BlobId::new(id).unwrap(),
            size,
            modified,
            class,
            state: None,
            has_checksum: None,
        }
    }

    fn grouped(by: &[By], blobs: &[BlobMeta]) -> Value {
        let now = Timestamp::from_secs(1_000 * DAY);
        let mut groups = Groups::new(by, PriceTable::built_in(), now);
        blobs.iter().for_each(|blob| groups.add(blob));
        groups.json()
    }

    #[test]
    fn ages_are_in_the_order_of_their_length() {
        let days = [400, 365, 364, 180, 179, 90, 30, 7, 6, 1, 0, -1];
        let blobs: Vec<_> = days.map(|days| blob("p1", 1, days, None)).into();
        let json = grouped(&[By::Age], &blobs);
        let rows: Vec<_> = json["rows"].as_array().unwrap().iter().collect();
        let told: Vec<_> =
            rows.iter().map(|row| (row["age"].as_str().unwrap(), row["count"].clone())).collect();
        let expected = [
            ("under 1d", 2),
            ("under 7d", 2),
            ("under 30d", 1),
            ("under 90d", 1),
            ("under 180d", 2),
            ("under 1y", 2),
            ("older", 2),
        ];
        assert_eq!(told, expected.map(|(age, count)| (age, json!(count))));
        assert_eq!(json["total"]["count"], 12);
        assert_eq!(json["total"]["monthlyCost"], Value::Null, "nothing has a class");
    }

    #[test]
    fn a_month_costs_what_the_class_bills_with_minimum_and_overhead() {
        let gib = 1 << 30;
        let blobs = [
            blob("p1", gib, 0, Some("DEEP_ARCHIVE")),
            blob("p2", 2 * gib, 0, Some("STANDARD")),
            blob("q1", 1, 0, Some("STANDARD_IA")),
            blob("q2", 1, 0, Some("OF_TOMORROW")),
        ];
        let json = grouped(&[By::Kind], &blobs);
        // 0.00099 and two times 0.023, and 32 KiB and 8 KiB on top of the archived one.
        assert_eq!(json["rows"][0]["kind"], "p");
        assert_eq!(json["rows"][0]["monthlyCost"], "0.046990205688");
        // One byte is billed as 128 KiB at 0.0125; what has no price is not counted.
        assert_eq!(json["rows"][1]["monthlyCost"], "0.000001525879");
        let total: Money = json["total"]["monthlyCost"].as_str().unwrap().parse().unwrap();
        assert_eq!(format!("{total:.6}"), "0.046992");
        assert_eq!(json["total"]["currency"], "USD");
        let now = Timestamp::from_secs(0);
        let mut groups = Groups::new(&[By::Class], PriceTable::built_in(), now);
        groups.add(&blobs[3]);
        assert_eq!(groups.unpriced().into_iter().collect::<Vec<_>>(), ["OF_TOMORROW"]);
    }

    #[test]
    fn several_groupings_make_one_row_for_each_combination() {
        let blobs = [
            blob("xn0_1", 3, 0, Some("STANDARD")),
            blob("p1", 5, 0, Some("GLACIER")),
            blob("p2", 7, 100, Some("GLACIER")),
            blob("p3", 9, 0, Some("STANDARD")),
        ];
        let json = grouped(&[By::Kind, By::Class], &blobs);
        let rows = json["rows"].as_array().unwrap();
        let row = |at: usize| {
            let row = &rows[at];
            (row["kind"].as_str(), row["storageClass"].as_str(), row["bytes"].as_u64())
        };
        assert_eq!(row(0), (Some("p"), Some("GLACIER"), Some(12)));
        assert_eq!(row(1), (Some("p"), Some("STANDARD"), Some(9)));
        assert_eq!(row(2), (Some("xn"), Some("STANDARD"), Some(3)));
        assert_eq!(rows.len(), 3);
    }
}
