//! The plan of a change of class: what moves, what does not and why, and what it costs.
//!
//! All fees are computed of quantities and the price table. The time at which a lifecycle rule moved
//! an object is told by no answer of S3, so the fee for leaving a class early is a range: from "it
//! was written there" to "it came there today" (AWS' "Transitioning objects": minimum storage
//! duration).

use std::collections::BTreeMap;

use blob_core::{BlobId, BlobMeta, PutPolicy, StorageClass, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ClassFacts, Money, PriceTable};

/// The version of [`ReclassPlan`] as data.
pub const VERSION: u32 = 1;
/// Blobs that are named for each reason to refuse.
const EXAMPLES_MAX: usize = 3;
const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// HEADs for each copy: one before it begins, one that belongs to it.
const HEADS_A_COPY: u64 = 2;

/// Where blobs of a kind may be moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movable {
    /// Nowhere: somebody goes by the time of their last writing, which a copy changes.
    No,
    /// To classes that can be read at once.
    ToReadable,
    /// To any class.
    Anywhere,
}

/// What is to be moved, and when.
#[derive(Debug, Clone, Copy)]
pub struct ReclassOptions {
    /// The time that ages are counted to.
    pub now: Timestamp,
    /// Leave blobs alone that are younger.
    pub older_than_seconds: u64,
    /// Leave blobs alone that have fewer bytes.
    pub min_bytes: u64,
    /// Does the storage keep what a copy replaces? `None` = not known, which is planned as "yes".
    pub keeps_versions: Option<bool>,
    /// May something have moved blobs that are not where they were written?
    pub moved_by_rules: bool,
}

/// What a plan was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// When, in seconds since 1970.
    pub made_at_seconds: i64,
    /// Younger blobs stay.
    pub older_than_seconds: u64,
    /// Smaller blobs stay.
    pub min_bytes: u64,
    /// Are replaced versions kept?
    pub keeps_versions: Option<bool>,
    /// Whose prices.
    pub price_table: PriceBasis,
}

/// Which price table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceBasis {
    /// `us-east-1`.
    pub region: String,
    /// `USD`.
    pub currency: String,
    /// The day the prices were valid.
    pub date: String,
    /// `built in`, or a file's path.
    pub source: String,
    /// Classes of the plan that the table doesn't have: priced as STANDARD.
    pub unknown_classes: Vec<String>,
}

/// One blob that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The blob.
    pub blob: String,
    /// Its length.
    pub bytes: u64,
    /// Its class.
    #[serde(rename = "from")]
    pub from_class: String,
    /// The class that it gets.
    #[serde(rename = "to")]
    pub to_class: String,
}

/// Why blobs stay where they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// They are there already.
    AlreadyThere,
    /// No class is named for them.
    Unnamed,
    /// Blobs of their kind must keep the time at which they were written.
    Kind,
    /// Blobs of their kind must stay readable at once.
    MustStayReadable,
    /// They are archived: to be thawed first.
    Archived,
    /// Younger than was asked for.
    TooYoung,
    /// Smaller than was asked for.
    TooSmall,
    /// The policy refuses to have them written; with its words.
    Policy(String),
}

/// Blobs that stay for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Their class.
    #[serde(rename = "from")]
    pub from_class: String,
    /// The class that is named for them, if there is one.
    #[serde(rename = "to")]
    pub to_class: Option<String>,
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Some of them by name.
    pub examples: Vec<String>,
}

/// Moves from one class to another, in sum: what they take, and what that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Their class.
    #[serde(rename = "from")]
    pub from_class: String,
    /// The class that they get.
    #[serde(rename = "to")]
    pub to_class: String,
    /// Copies: one a blob.
    pub count: u64,
    /// Bytes that are copied, and so retrieved from the class they lie in.
    pub bytes: u64,
    /// Bytes times days that they leave their class too early, if they were written there.
    pub early_byte_days_least: u64,
    /// The same if they came there today.
    pub early_byte_days_most: u64,
    /// Bytes of old versions that stay, where versions are kept.
    pub old_version_bytes: u64,
    /// What it costs.
    pub cost: Cost,
}

/// What a change of class costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The copies, at the price of the class they go to, and the HEADs around them.
    pub requests: Money,
    /// Reading the bytes from the class they lie in.
    pub retrieval: Money,
    /// Leaving the class early, at least.
    pub early_least: Money,
    /// Leaving the class early, at most.
    pub early_most: Money,
    /// All of it once, at most.
    pub total_most: Money,
    /// A month where they are, by this table.
    pub month_before: Money,
    /// A month where they go.
    pub month_after: Money,
    /// A month of the old versions, until they are deleted.
    pub month_old_versions: Money,
}

impl Cost {
    /// All of it once, at least.
    pub fn total_least(&self) -> Money {
        self.requests + self.retrieval + self.early_least
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.retrieval += other.retrieval;
        self.early_least += other.early_least;
        self.early_most += other.early_most;
        self.total_most += other.total_most;
        self.month_before += other.month_before;
        self.month_after += other.month_after;
        self.month_old_versions += other.month_old_versions;
    }
}

/// What moves where, what stays and why, and what it costs. Made by [`Planner`], done by
/// [`run`](super::run).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReclassPlan {
    /// [`VERSION`].
    pub version: u32,
    /// What it was made of.
    pub basis: Basis,
    /// In sum, by class.
    pub groups: Vec<Group>,
    /// What stays.
    pub refused: Vec<Refused>,
    /// What it costs in sum.
    pub cost: Cost,
    /// The blobs, in the order in which they were looked at.
    pub moves: Vec<Move>,
}

impl ReclassPlan {
    /// Bytes that move.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes).sum()
    }
}

/// What is summed up of the moves between two classes.
#[derive(Debug, Default)]
struct Sums {
    count: u64,
    bytes: u64,
    billed_before: u64,
    billed_after: u64,
    early_least: u64,
    early_most: u64,
}

/// Makes a plan of blobs that are shown to it one by one.
pub struct Planner<'a> {
    policy: &'a dyn PutPolicy,
    movable: &'a (dyn Fn(&BlobId) -> Movable + Sync),
    table: &'a PriceTable,
    options: ReclassOptions,
    moves: Vec<Move>,
    sums: BTreeMap<(String, String), Sums>,
    refused: BTreeMap<(Reason, String, Option<String>), Refused>,
}

impl std::fmt::Debug for Planner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("moves", &self.moves.len()).finish_non_exhaustive()
    }
}

impl<'a> Planner<'a> {
    /// A plan without blobs. `policy` names the class of each blob, `movable` says how far blobs of
    /// its kind may be moved.
    pub fn new(
        policy: &'a dyn PutPolicy,
        movable: &'a (dyn Fn(&BlobId) -> Movable + Sync),
        table: &'a PriceTable,
        options: ReclassOptions,
    ) -> Self {
        let (moves, sums, refused) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { policy, movable, table, options, moves, sums, refused }
    }

    /// Looks at a blob as a listing told it. A class that was not told is `STANDARD`.
    pub fn look(&mut self, meta: &BlobMeta) {
        let from = meta.class.clone().unwrap_or(StorageClass::STANDARD);
        let wanted = self.policy.attributes(&meta.id, meta.size);
        match (self.obstacle(meta, &from, &wanted), wanted.class) {
            (None, Some(to)) => self.moves(meta, &from, &to),
            (None, None) => self.stays(meta, &from, None, Reason::Unnamed),
            (Some(reason), to) => self.stays(meta, &from, to, reason),
        }
    }

    fn obstacle(
        &self,
        meta: &BlobMeta,
        from: &StorageClass,
        wanted: &blob_core::PutAttributes,
    ) -> Option<Reason> {
        let to = wanted.class.as_ref()?;
        if to == from {
            return Some(Reason::AlreadyThere);
        }
        match (self.movable)(&meta.id) {
            Movable::No => return Some(Reason::Kind),
            Movable::ToReadable if self.is_archive(to) => return Some(Reason::MustStayReadable),
            Movable::ToReadable | Movable::Anywhere => {}
        }
        if let Some(words) = &wanted.refusal {
            return Some(Reason::Policy(words.clone()));
        }
        if meta.is_cold() {
            return Some(Reason::Archived);
        }
        if self.age_seconds(meta) < self.options.older_than_seconds {
            return Some(Reason::TooYoung);
        }
        (meta.size < self.options.min_bytes).then_some(Reason::TooSmall)
    }

    /// By name, or because the table of another provider says so.
    fn is_archive(&self, class: &StorageClass) -> bool {
        class.is_archive() || self.table.class(class).is_some_and(|facts| !facts.readable_at_once)
    }

    fn age_seconds(&self, meta: &BlobMeta) -> u64 {
        self.options.now.since(meta.modified).as_secs()
    }

    fn stays(
        &mut self,
        meta: &BlobMeta,
        from: &StorageClass,
        to: Option<StorageClass>,
        reason: Reason,
    ) {
        let (from_class, to_class) = (from.to_string(), to.map(|class| class.to_string()));
        let key = (reason.clone(), from_class.clone(), to_class.clone());
        let refused = self.refused.entry(key).or_insert_with(|| {
            let examples = Vec::new();
            Refused { reason, from_class, to_class, count: 0, bytes: 0, examples }
        });
        refused.count += 1;
        refused.bytes = refused.bytes.saturating_add(meta.size);
        if refused.examples.len() < EXAMPLES_MAX {
            refused.examples.push(meta.id.to_string());
        }
    }

    fn moves(&mut self, meta: &BlobMeta, from: &StorageClass, to: &StorageClass) {
        let (source, target) = (self.facts(from), self.facts(to));
        let billed = source.billed_bytes(meta.size);
        let kept_days = self.age_seconds(meta) / SECONDS_A_DAY;
        let missing = u64::from(source.min_days).saturating_sub(kept_days);
        let came_by_rule = self.options.moved_by_rules && source.lifecycle_in(1).is_some();
        let most = if came_by_rule { u64::from(source.min_days) } else { missing };
        // Where the old version is kept, it goes on being billed instead.
        let least = if self.options.keeps_versions == Some(false) { missing } else { 0 };
        let billed_after = target.billed_bytes(meta.size);
        let sums = self.sums.entry((from.to_string(), to.to_string())).or_default();
        sums.count += 1;
        sums.bytes = sums.bytes.saturating_add(meta.size);
        sums.billed_before = sums.billed_before.saturating_add(billed);
        sums.billed_after = sums.billed_after.saturating_add(billed_after);
        sums.early_least = sums.early_least.saturating_add(billed.saturating_mul(least));
        sums.early_most = sums.early_most.saturating_add(billed.saturating_mul(most));
        self.moves.push(Move {
            blob: meta.id.to_string(),
            bytes: meta.size,
            from_class: from.to_string(),
            to_class: to.to_string(),
        });
    }

    fn facts(&self, class: &StorageClass) -> &'a ClassFacts {
        self.table.class_or_standard(class)
    }

    /// The plan.
    pub fn finish(self) -> ReclassPlan {
        let groups: Vec<_> =
            self.sums.iter().map(|((from, to), sums)| self.group(from, to, sums)).collect();
        let mut cost = Cost::default();
        groups.iter().for_each(|group| cost.add(&group.cost));
        let named = self.sums.keys().flat_map(|(from, to)| [from, to]);
        let is_unknown = |name: &&String| self.table.class(&StorageClass::new(*name)).is_none();
        let mut unknown_classes: Vec<_> = named.filter(is_unknown).cloned().collect();
        unknown_classes.sort();
        unknown_classes.dedup();
        let (options, table) = (self.options, self.table);
        let basis = Basis {
            made_at_seconds: options.now.secs(),
            older_than_seconds: options.older_than_seconds,
            min_bytes: options.min_bytes,
            keeps_versions: options.keeps_versions,
            price_table: PriceBasis {
                region: table.region.clone(),
                currency: table.currency.clone(),
                date: table.prices_as_of.clone(),
                source: table.source.clone(),
                unknown_classes,
            },
        };
        let refused = self.refused.into_values().collect();
        ReclassPlan { version: VERSION, basis, groups, refused, cost, moves: self.moves }
    }

    fn group(&self, from: &str, to: &str, sums: &Sums) -> Group {
        let source = self.facts(&StorageClass::new(from));
        let target = self.facts(&StorageClass::new(to));
        let keeps = self.options.keeps_versions != Some(false);
        let month_before = source.month(sums.billed_before, sums.count, self.table);
        let mut cost = Cost {
            requests: target.puts(sums.count) + source.gets(sums.count * HEADS_A_COPY),
            retrieval: source.retrieval(sums.bytes),
            early_least: source.early(sums.early_least.into()),
            early_most: source.early(sums.early_most.into()),
            total_most: Money::ZERO,
            month_before,
            month_after: target.month(sums.billed_after, sums.count, self.table),
            month_old_versions: if keeps { month_before } else { Money::ZERO },
        };
        cost.total_most = cost.requests + cost.retrieval + cost.early_most;
        Group {
            from_class: from.to_owned(),
            to_class: to.to_owned(),
            count: sums.count,
            bytes: sums.bytes,
            early_byte_days_least: sums.early_least,
            early_byte_days_most: sums.early_most,
            old_version_bytes: if keeps { sums.bytes } else { 0 },
            cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blob_core::{FnPolicy, PutAttributes, ReadState};

    use super::*;

    const GIB: u64 = 1 << 30;
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn meta(id: &str, size: u64, class: &StorageClass, days: u64) -> BlobMeta {
        let modified = Timestamp::from_secs(NOW.secs() - (days * SECONDS_A_DAY) as i64);
        let state = Some(if class.is_archive() { ReadState::Cold } else { ReadState::Ready });
        BlobMeta {
            id: BlobId::new(id).unwrap(),
            size,
            modified,
            class: Some(class.clone()),
            state,
            has_checksum: None,
        }
    }

    const OPTIONS: ReclassOptions = ReclassOptions {
        now: NOW,
        older_than_seconds: 0,
        min_bytes: 0,
        keeps_versions: Some(false),
        moved_by_rules: false,
    };

    fn movable(id: &BlobId) -> Movable {
        match id.as_str().as_bytes()[0] {
            b'p' => Movable::Anywhere,
            b'q' => Movable::ToReadable,
            _ => Movable::No,
        }
    }

    fn plan_to(to: &StorageClass, metas: &[BlobMeta], options: ReclassOptions) -> ReclassPlan {
        let class = Some(to.clone());
        let policy = FnPolicy::new(move |id: &BlobId, _| PutAttributes {
            class: class.clone().filter(|_| !id.starts_with("unnamed")),
            refusal: id.starts_with("p-bad").then(|| "a bad key".to_owned()),
            ..PutAttributes::default()
        });
        let mut planner = Planner::new(&policy, &movable, PriceTable::built_in(), options);
        metas.iter().for_each(|meta| planner.look(meta));
        planner.finish()
    }

    #[test]
    fn each_blob_moves_or_stays_for_one_reason() {
        let standard = StorageClass::STANDARD;
        let mut thawed = meta("p-thawed", 1_000, &StorageClass::GLACIER, 100);
        thawed.state = Some(ReadState::Thawed { until: None });
        let metas = [
            meta("p1", 1_000, &standard, 40),
            meta("p2", 1_000, &StorageClass::DEEP_ARCHIVE, 40),
            meta("p-young", 1_000, &standard, 39),
            meta("p-small", 999, &standard, 40),
            meta("p-bad", 1_000, &standard, 40),
            meta("p-there", 1_000, &StorageClass::GLACIER_IR, 40),
            meta("q1", 1_000, &standard, 40),
            meta("x1", 1_000, &standard, 40),
            meta("unnamed", 1_000, &standard, 40),
            thawed,
        ];
        let day = SECONDS_A_DAY;
        let options = ReclassOptions { older_than_seconds: 40 * day, min_bytes: 1_000, ..OPTIONS };
        let plan = plan_to(&StorageClass::GLACIER_IR, &metas, options);
        let moved: Vec<_> = plan.moves.iter().map(|it| it.blob.as_str()).collect();
        assert_eq!(moved, ["p1", "q1", "p-thawed"]);
        let mut why: Vec<_> =
            plan.refused.iter().map(|it| (it.reason.clone(), it.examples[0].as_str())).collect();
        why.sort_by_key(|(_, blob)| *blob);
        let expected = [
            (Reason::Policy("a bad key".into()), "p-bad"),
            (Reason::TooSmall, "p-small"),
            (Reason::AlreadyThere, "p-there"),
            (Reason::TooYoung, "p-young"),
            (Reason::Archived, "p2"),
            (Reason::Unnamed, "unnamed"),
            (Reason::Kind, "x1"),
        ];
        assert_eq!(why, expected);
        let cold = plan_to(&StorageClass::GLACIER, &metas, options);
        let q = cold.refused.iter().find(|it| it.examples == ["q1"]).unwrap();
        assert_eq!(q.reason, Reason::MustStayReadable);
    }

    #[test]
    fn prices_are_those_of_the_table() {
        let metas: Vec<_> = (0..1_000)
            .map(|n| meta(&format!("p{n}"), GIB, &StorageClass::GLACIER_IR, 60))
            .collect();
        let plan = plan_to(&StorageClass::STANDARD_IA, &metas, OPTIONS);
        let [group] = &plan.groups[..] else { panic!("{:?}", plan.groups) };
        assert_eq!((group.count, group.bytes, group.old_version_bytes), (1_000, 1_000 * GIB, 0));
        // Written there 60 days ago, and billed for 90.
        assert_eq!(group.early_byte_days_least, 30 * 1_000 * GIB);
        let cost = &plan.cost;
        let shown = |money: Money| format!("{money:.2}");
        assert_eq!(shown(cost.requests), "0.03", "1000 copies at 0.01, 2000 heads at 0.01");
        assert_eq!(shown(cost.retrieval), "30.00");
        assert_eq!(
            (shown(cost.early_least), shown(cost.early_most)),
            ("4.00".into(), "4.00".into())
        );
        assert_eq!(shown(cost.total_most), "34.03");
        assert_eq!(cost.total_least(), cost.total_most);
        assert_eq!(
            (shown(cost.month_before), shown(cost.month_after)),
            ("4.00".into(), "12.50".into())
        );
        assert_eq!(cost.month_old_versions, Money::ZERO);
    }

    #[test]
    fn what_is_not_known_is_a_range() {
        let metas = [meta("p1", GIB, &StorageClass::GLACIER_IR, 60)];
        let moved = ReclassOptions { moved_by_rules: true, ..OPTIONS };
        let group = &plan_to(&StorageClass::STANDARD, &metas, moved).groups[0];
        assert_eq!((group.early_byte_days_least, group.early_byte_days_most), (30 * GIB, 90 * GIB));
        for keeps_versions in [None, Some(true)] {
            let options = ReclassOptions { keeps_versions, ..OPTIONS };
            let group = &plan_to(&StorageClass::STANDARD, &metas, options).groups[0];
            assert_eq!(group.old_version_bytes, GIB);
            assert_eq!(group.cost.month_old_versions, group.cost.month_before);
            let early = (group.early_byte_days_least, group.early_byte_days_most);
            assert_eq!(early, (0, 30 * GIB), "the old version goes on being billed");
        }
        let new = [meta("p1", 5, &StorageClass::STANDARD_IA, 0)];
        let group = &plan_to(&StorageClass::STANDARD, &new, OPTIONS).groups[0];
        assert_eq!(group.early_byte_days_most, 30 * 131_072, "billed as the least size");
    }

    #[test]
    fn a_plan_is_data_and_says_what_it_was_made_of() {
        let metas = [
            meta("p1", 7, &StorageClass::new("COLDLINE"), 1),
            meta("x1", 7, &StorageClass::STANDARD, 1),
        ];
        let later = OPTIONS.now.saturating_add(Duration::from_secs(3));
        let plan =
            plan_to(&StorageClass::GLACIER_IR, &metas, ReclassOptions { now: later, ..OPTIONS });
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<ReclassPlan>(&text).unwrap(), plan);
        assert_eq!(plan.basis.made_at_seconds, 1_800_000_003);
        assert_eq!(plan.basis.price_table.unknown_classes, ["COLDLINE"]);
        assert_eq!(plan.basis.price_table.date, "2026-09-28");
        assert!(text.contains(r#""from":"COLDLINE","to":"GLACIER_IR""#), "{text}");
    }
}
