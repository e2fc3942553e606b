//! What a thaw will ask for, how long that takes and what it costs.
//!
//! Facts: RestoreObject, <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html>: a
//! second request for a blob that has a copy *replaces* the copy's end, so it never asks for an
//! earlier one; while a copy is being made its days can't be changed.

use std::collections::BTreeMap;

use blob_core::{Amount, BlobMeta, ReadState, StorageClass, ThawRequest, Tier, Timestamp, Usage};
use serde::{Deserialize, Serialize};

use crate::{Cost, PriceTable, Transfer, names};

const DAY_SECS: i64 = 24 * 60 * 60;
/// The form of a plan; another one is another version.
const VERSION: u32 = 1;

/// Whether a blob can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlobState {
    /// Yes, without a thaw.
    Online,
    /// Yes, by a copy.
    Thawed,
    /// Not yet: a copy is being made.
    Thawing,
    /// No.
    Archived,
    /// The storage doesn't tell.
    Unknown,
    /// There is no such blob.
    Missing,
}

/// A blob that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub blob: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its class, where known.
    pub class: Option<StorageClass>,
    /// Whether it can be read.
    pub state: BlobState,
    /// When its copy goes away, where the storage tells.
    pub until: Option<Timestamp>,
    /// The days that the copy was asked for which is being made, where somebody knows.
    pub asked_days: Option<u16>,
    /// The reads that will be made of it: requests and bytes.
    pub reads: Amount,
}

impl Need {
    /// A blob that is not there, of which no more is known than what was planned.
    pub fn missing(blob: &str, size: u64, class: Option<StorageClass>) -> Self {
        Self {
            blob: blob.to_owned(),
            size,
            class,
            state: BlobState::Missing,
            until: None,
            asked_days: None,
            reads: Amount::default(),
        }
    }

    /// A blob as a listing tells of it, of which all bytes will be read at once.
    pub fn whole(meta: &BlobMeta) -> Self {
        let (state, until) = match (meta.is_cold(), meta.state) {
            (_, Some(ReadState::Thawed { until })) => (BlobState::Thawed, until),
            (_, Some(ReadState::Thawing)) => (BlobState::Thawing, None),
            (true, _) => (BlobState::Archived, None),
            (false, _) => (BlobState::Online, None),
        };
        Self {
            blob: meta.id.as_str().to_owned(),
            size: meta.size,
            class: meta.class.clone(),
            state,
            until,
            asked_days: None,
            reads: Amount { count: 1, bytes: meta.size },
        }
    }
}

/// How a thaw is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThawOptions {
    /// How fast.
    pub tier: Tier,
    /// For how many days the copies are kept; at least 1.
    pub days: u16,
    /// The time now.
    pub now: Timestamp,
    /// Copies that are there already are kept for `days` from now on, too.
    pub extend: bool,
    /// Copies that are being made are asked for once more, faster; with the days of the first request
    /// ([`Need::asked_days`]), since the storage doesn't change them meanwhile.
    pub upgrade: bool,
}

/// What is asked of the storage for one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do", content = "days")]
pub enum Step {
    /// Nothing: it can be read for long enough.
    Nothing,
    /// Nothing: a copy is being made.
    Wait,
    /// A copy for so many days.
    Start(u16),
    /// A later end of the copy: so many days from now.
    Extend(u16),
    /// The copy that is being made, faster, for so many days.
    Upgrade(u16),
    /// Nothing can be done: there is no such blob.
    Lost,
}

/// A blob of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThawItem {
    /// Its name.
    pub blob: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its class, where known.
    #[serde(with = "names::class")]
    pub storage_class: Option<StorageClass>,
    /// Whether it could be read when the plan was made.
    pub state: BlobState,
    /// When its copy goes away, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_seconds: Option<i64>,
    /// What is asked for.
    pub step: Step,
    /// Reads that will be made of it.
    pub gets: u64,
    /// Bytes that those will fetch.
    pub get_bytes: u64,
}

/// What a thaw will ask for: plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThawPlan {
    /// The form of the plan, 1.
    pub version: u32,
    /// When it was made, in seconds since 1970: states are those of then.
    pub made_seconds: i64,
    /// How fast.
    #[serde(with = "names::tier")]
    pub tier: Tier,
    /// For how many days copies are kept.
    pub days: u16,
    /// Every blob that is needed, in the order in which they were given.
    pub items: Vec<ThawItem>,
    /// Within how many seconds all of it can typically be read.
    pub expected_seconds: u64,
}

/// What one tier would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierEstimate {
    /// The tier.
    pub tier: Tier,
    /// Within how many seconds all can typically be read.
    pub expected_seconds: u64,
    /// What it costs.
    pub cost: Cost,
}

/// How many blobs of some kind there are, and their bytes.
pub type Totals<K> = BTreeMap<K, Amount>;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A class does not have the tier.
    #[error("{class} has no tier {}; it has {}", names::tier_name(*tier), listed(offered))]
    NoSuchTier {
        /// The class.
        class: StorageClass,
        /// The tier that was asked for.
        tier: Tier,
        /// The tiers that the class has.
        offered: Vec<Tier>,
    },
    /// A thaw of no days.
    #[error("a copy is kept for at least 1 day")]
    NoDays,
}

fn listed(tiers: &[Tier]) -> String {
    match tiers {
        [] => "none in the price table".to_owned(),
        all => all.iter().map(|tier| names::tier_name(*tier)).collect::<Vec<_>>().join(" and "),
    }
}

impl ThawPlan {
    /// Plans to make all of `needs` readable.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(
        needs: impl IntoIterator<Item = Need>,
        options: &ThawOptions,
        table: &PriceTable,
    ) -> Result<Self, PlanError> {
        if options.days == 0 {
            return Err(PlanError::NoDays);
        }
        let mut items: Vec<ThawItem> = needs
            .into_iter()
            .map(|need| ThawItem {
                step: first_step(&need, options),
                blob: need.blob,
                size: need.size,
                storage_class: need.class,
                state: need.state,
                until_seconds: need.until.map(Timestamp::secs),
                gets: need.reads.count,
                get_bytes: need.reads.bytes,
            })
            .collect();
        let expected_seconds = slowest(&items, options.tier, table)?;
        let now = options.now.secs();
        let wait = i64::try_from(expected_seconds).unwrap_or(i64::MAX);
        for item in &mut items {
            if item.state == BlobState::Thawed {
                item.step = of_copy(item.until_seconds, options, now.saturating_add(wait));
            }
        }
        let (tier, days) = (options.tier, options.days);
        Ok(Self { version: VERSION, made_seconds: now, tier, days, items, expected_seconds })
    }

    /// What each tier would take that the classes of all blobs have which can't be read, the cheapest
    /// first.
    pub fn estimates(
        needs: &[Need],
        options: &ThawOptions,
        table: &PriceTable,
        transfer: Transfer,
    ) -> Vec<TierEstimate> {
        let is_cold = |need: &&Need| matches!(need.state, BlobState::Archived | BlobState::Thawing);
        let lacks = |need: &Need, tier| {
            let class = need.class.clone().unwrap_or(StorageClass::STANDARD);
            table.class_or_standard(&class).tier(tier).is_none()
        };
        let of = |tier| {
            if needs.iter().filter(is_cold).any(|need| lacks(need, tier)) {
                return None;
            }
            let plan = Self::new(needs.iter().cloned(), &ThawOptions { tier, ..*options }, table);
            let plan = plan.ok()?;
            let cost = plan.cost(table, transfer);
            Some(TierEstimate { tier, expected_seconds: plan.expected_seconds, cost })
        };
        Tier::ALL.into_iter().filter_map(of).collect()
    }

    /// The same steps for those of its blobs that `keep` says, on `tier`.
    ///
    /// # Errors
    /// [`PlanError::NoSuchTier`].
    pub fn part(
        &self,
        keep: impl Fn(&str) -> bool,
        tier: Tier,
        table: &PriceTable,
    ) -> Result<Self, PlanError> {
        let items = self.items.iter().filter(|item| keep(&item.blob));
        let items: Vec<ThawItem> = items.cloned().collect();
        let expected_seconds = slowest(&items, tier, table)?;
        Ok(Self { tier, items, expected_seconds, ..*self })
    }

    /// When all of it can typically be read, in seconds since 1970.
    pub fn expected_end(&self) -> i64 {
        self.made_seconds.saturating_add_unsigned(self.expected_seconds)
    }

    /// The blobs that something is asked for, and what.
    pub fn requests(&self) -> impl Iterator<Item = (&ThawItem, ThawRequest)> {
        let request = |item| Some((item, self.request(item)?));
        self.items.iter().filter_map(request)
    }

    /// What is asked for a blob, if anything is.
    fn request(&self, item: &ThawItem) -> Option<ThawRequest> {
        match item.step {
            Step::Start(days) | Step::Extend(days) | Step::Upgrade(days) => {
                Some(ThawRequest { tier: self.tier, days })
            }
            Step::Nothing | Step::Wait | Step::Lost => None,
        }
    }

    /// The blobs that can't be read as yet.
    pub fn cold(&self) -> impl Iterator<Item = &ThawItem> {
        let is_cold =
            |item: &&ThawItem| matches!(item.state, BlobState::Archived | BlobState::Thawing);
        self.items.iter().filter(is_cold)
    }

    /// What the plan asks of the storage, with the reads afterwards.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for item in &self.items {
            let class = item.storage_class.clone().unwrap_or(StorageClass::STANDARD);
            match (self.request(item), item.step) {
                (Some(request), Step::Extend(_)) => usage.extension(&class, &request, item.size),
                (Some(request), _) => usage.thaw(&class, &request, item.size),
                (None, _) => {}
            }
            if item.gets > 0 {
                let reads = Amount { count: item.gets, bytes: item.get_bytes };
                usage.gets.entry(class).or_default().add(reads);
            }
        }
        usage
    }

    /// What the plan costs, with the reads afterwards.
    pub fn cost(&self, table: &PriceTable, transfer: Transfer) -> Cost {
        table.cost(&self.usage(), transfer)
    }

    /// Blobs by their state.
    pub fn states(&self) -> Totals<BlobState> {
        self.totals(|item| Some(item.state))
    }

    /// Blobs that can't be read as yet, by their class; what has none is left out.
    pub fn cold_by_class(&self) -> Totals<StorageClass> {
        let is_cold =
            |item: &ThawItem| matches!(item.state, BlobState::Archived | BlobState::Thawing);
        self.totals(|item| item.storage_class.clone().filter(|_| is_cold(item)))
    }

    fn totals<K: Ord>(&self, key: impl Fn(&ThawItem) -> Option<K>) -> Totals<K> {
        let mut totals = Totals::new();
        for item in &self.items {
            if let Some(key) = key(item) {
                let one = Amount { count: 1, bytes: item.size };
                totals.entry(key).or_insert_with(Amount::default).add(one);
            }
        }
        totals
    }
}

fn first_step(need: &Need, options: &ThawOptions) -> Step {
    match (need.state, options.upgrade) {
        (BlobState::Online | BlobState::Unknown | BlobState::Thawed, _) => Step::Nothing,
        (BlobState::Thawing, false) => Step::Wait,
        (BlobState::Thawing, true) => Step::Upgrade(need.asked_days.unwrap_or(options.days)),
        (BlobState::Archived, _) => Step::Start(options.days),
        (BlobState::Missing, _) => Step::Lost,
    }
}

/// How long until all blobs can be read, in seconds.
fn slowest(items: &[ThawItem], tier: Tier, table: &PriceTable) -> Result<u64, PlanError> {
    items.iter().try_fold(0, |most: u64, item| Ok(most.max(wait(item, tier, table)?)))
}

/// How long until a blob can be read, in seconds. Of a thaw that runs it is not known when it
/// began: it may take all of its time, of the slowest tier if that is not said either.
fn wait(item: &ThawItem, tier: Tier, table: &PriceTable) -> Result<u64, PlanError> {
    let class = item.storage_class.clone().unwrap_or(StorageClass::STANDARD);
    let facts = table.class_or_standard(&class);
    match item.step {
        Step::Start(_) | Step::Upgrade(_) => match facts.tier(tier) {
            Some(facts) => Ok(facts.seconds_max()),
            None => {
                let offered = facts.tiers().map(|(tier, _)| tier).collect();
                Err(PlanError::NoSuchTier { class, tier, offered })
            }
        },
        Step::Wait => Ok(facts.tiers().map(|(_, facts)| facts.seconds_max()).max().unwrap_or(0)),
        Step::Nothing | Step::Extend(_) | Step::Lost => Ok(0),
    }
}

/// What is asked for a copy that goes away at `until`, where all can be read at `ready`.
fn of_copy(until: Option<i64>, options: &ThawOptions, ready: i64) -> Step {
    // A storage that doesn't tell the end keeps copies, or doesn't move ends by requests.
    let Some(until) = until else { return Step::Nothing };
    let (now, days) = (options.now.secs(), i64::from(options.days));
    let wanted = match options.extend {
        true => now + days * DAY_SECS,
        // Reading takes time, too: a day of it, or as long as copies are to be kept.
        false => ready.saturating_add(DAY_SECS.min(days * DAY_SECS)),
    };
    if until >= wanted {
        return Step::Nothing;
    }
    // From now on, and past the time when the slowest of the others is there.
    let to_ready = ready.saturating_sub(now) + days * DAY_SECS;
    let enough = to_ready.max(until - now);
    let days = (enough + DAY_SECS - 1) / DAY_SECS;
    Step::Extend(u16::try_from(days).unwrap_or(u16::MAX))
}
