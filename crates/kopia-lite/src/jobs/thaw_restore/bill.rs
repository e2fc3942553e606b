//! What a restore with a thaw was to cost, and what it did.

use blob_core::{Amount, Usage};
use cold_storage::{Cost, PriceTable};
use serde_json::{Value, json};

use crate::{
    cli::prices::{cost_json, dollars},
    ui::size,
};

/// What a thaw and the reads after it were to cost, and what they did.
#[derive(Debug)]
pub struct Bill {
    /// What was agreed to.
    pub planned: (Usage, Cost),
    /// What the storage was asked for.
    pub counted: (Usage, Cost),
    /// Whose prices.
    pub prices: Value,
}

impl Bill {
    /// As JSON: quantities and money, planned and counted.
    pub fn json(&self, table: &PriceTable) -> Value {
        let side = |(usage, cost): &(Usage, Cost)| {
            let thaws = usage.all_thaws();
            let gets = usage.gets.values().map(|amount| amount.count).sum::<u64>();
            json!({
                "thaws": thaws.count,
                "thawedBytes": thaws.bytes,
                "extensions": usage.extensions.values().map(|amount| amount.count).sum::<u64>(),
                "copyByteDays": u64::try_from(usage.copy_byte_days).unwrap_or(u64::MAX),
                "gets": gets,
                "bytesRead": usage.bytes_read(),
                "cost": cost_json(cost, table),
            })
        };
        json!({
            "planned": side(&self.planned),
            "counted": side(&self.counted),
            "priceTable": self.prices,
        })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let line = |name: &str, (usage, cost): &(Usage, Cost)| {
            let gets = usage.gets.values().map(|amount| amount.count).sum::<u64>();
            format!(
                "  {name:<8} {:>6} packs thawed ({:>9}) {:>7} reads ({:>9}) {:>10}",
                usage.all_thaws().count,
                size::bytes(usage.all_thaws().bytes),
                gets,
                size::bytes(usage.bytes_read()),
                dollars(cost.total())
            )
        };
        vec!["The bill:".to_owned(), line("planned", &self.planned), line("counted", &self.counted)]
    }
}

/// What was counted since.
pub fn minus(mut now: Usage, before: &Usage) -> Usage {
    let less = |amount: &mut Amount, earlier: Option<&Amount>| {
        let earlier = earlier.copied().unwrap_or_default();
        amount.count -= earlier.count;
        amount.bytes -= earlier.bytes;
        amount.count > 0
    };
    now.thaws.retain(|key, amount| less(amount, before.thaws.get(key)));
    now.extensions.retain(|key, amount| less(amount, before.extensions.get(key)));
    now.gets.retain(|key, amount| less(amount, before.gets.get(key)));
    now.heads.retain(|key, count| {
        *count -= before.heads.get(key).copied().unwrap_or(0);
        *count > 0
    });
    now.copy_byte_days -= before.copy_byte_days;
    now
}
