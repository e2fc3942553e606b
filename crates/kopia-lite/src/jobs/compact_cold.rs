//! Does it pay to thaw archived packs and compact them?
//!
//! What it costs once: the thaw with the copy that is kept meanwhile, reading what is live, writing it
//! again, and the days that the old pack is billed on for. What it saves each month: the storage of
//! what is dead, and what each blob of the class is billed beyond its bytes. The months after which
//! both are equal are the break-even.

use std::time::Duration;

use blob_core::{Amount, StorageClass, Tier, Timestamp};
use cold_storage::{
    Money, PriceTable, Transfer,
    thaw::{BlobState, Need, ThawOptions, ThawPlan},
};
use kopia_maintenance::ColdPack;

/// What compacting one archived pack costs and saves.
#[derive(Debug, Clone)]
pub struct Economy {
    /// The pack.
    pub pack: ColdPack,
    /// What it costs, once.
    pub cost: Money,
    /// What it saves, each month.
    pub saving: Money,
}

impl Economy {
    /// After how many months it has paid; `None`: never.
    pub fn break_even(&self) -> Option<f64> {
        let (cost, saving) = (self.cost.picos() as f64, self.saving.picos() as f64);
        (saving > 0.0).then(|| cost / saving)
    }

    /// Does it pay within so many months?
    pub fn pays_within(&self, months: f64) -> bool {
        self.break_even().is_some_and(|even| even <= months)
    }
}

/// The sums for one pack.
///
/// # Errors
/// The class has no such tier.
pub fn economy(
    pack: ColdPack,
    options: &ThawOptions,
    table: &PriceTable,
    transfer: Transfer,
    pack_bytes: u64,
) -> Result<Economy, cold_storage::thaw::PlanError> {
    let class = pack.meta.class.clone().unwrap_or(StorageClass::STANDARD);
    let facts = table.class_or_standard(&class);
    let thaw = ThawPlan::new([need(&pack)], options, table)?;
    let mut cost = thaw.cost(table, transfer).total();
    // The live bytes fill a part of a new pack, which begins its minimum days anew; that it is kept
    // that long is taken for granted.
    let part = pack.used.bytes.div_ceil((pack_bytes / 1_000).max(1)).min(1_000);
    cost += Money::from_picos(facts.puts(1).picos() * i128::from(part) / 1_000);
    let minimum = Duration::from_secs(u64::from(facts.min_days) * 86_400);
    let left = u128::from(minimum.saturating_sub(pack.age).as_secs().div_ceil(86_400));
    cost += facts.early(left * u128::from(pack.meta.size));
    let now = facts.month(pack.meta.size, 1, table);
    let then = facts.month(pack.used.bytes, 0, table);
    let saving = Money::from_picos(now.picos() - then.picos());
    Ok(Economy { pack, cost, saving })
}

/// What a thaw of this pack is for: reading what the index needs of it.
pub fn need(pack: &ColdPack) -> Need {
    let reads = Amount { count: 1, bytes: pack.used.bytes };
    Need { reads, ..Need::whole(&pack.meta) }
}

/// How a thaw for compaction is asked for.
pub fn thaw_options(tier: Tier, days: u16, now: Timestamp) -> ThawOptions {
    ThawOptions { tier, days, now, extend: false, upgrade: false }
}

/// Is there a copy that can be read?
pub fn is_readable(pack: &ColdPack) -> bool {
    matches!(need(pack).state, BlobState::Thawed | BlobState::Online)
}
