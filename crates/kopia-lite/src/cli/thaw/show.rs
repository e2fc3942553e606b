//! Plans of thaws for people and for programs.

use cold_storage::{
    PriceTable,
    thaw::{BlobState, Need, ThawOptions, ThawPlan, TierEstimate},
    tier_name,
};
use serde_json::{Map, Value, json};

use super::wanted::Needed;
use crate::{
    cli::prices::{PriceFlags, cost_json, dollars, span, table_json},
    ui::{size, text},
};

/// The word for a state.
pub fn state_name(state: BlobState) -> &'static str {
    match state {
        BlobState::Online => "online",
        BlobState::Thawed => "thawed",
        BlobState::Thawing => "thawing",
        BlobState::Archived => "archived",
        BlobState::Unknown => "unknown",
        BlobState::Missing => "missing",
    }
}

const STATES: [BlobState; 6] = [
    BlobState::Online,
    BlobState::Thawed,
    BlobState::Thawing,
    BlobState::Archived,
    BlobState::Unknown,
    BlobState::Missing,
];

/// What a thaw takes by each tier.
pub struct Shown<'a> {
    /// The plan of the tier that was asked for, or of the first that all classes have.
    pub plan: &'a ThawPlan,
    /// All tiers.
    pub tiers: Vec<TierEstimate>,
    /// Sums of what is needed.
    pub needed: Needed,
    /// The prices.
    pub table: &'a PriceTable,
    /// What they are for.
    pub basis: String,
}

impl<'a> Shown<'a> {
    /// Works out all tiers.
    pub fn of(
        plan: &'a ThawPlan,
        needs: &[Need],
        needed: Needed,
        options: &ThawOptions,
        prices: &PriceFlags,
        table: &'a PriceTable,
    ) -> Self {
        let tiers = ThawPlan::estimates(needs, options, table, prices.transfer());
        Self { plan, tiers, needed, table, basis: prices.basis(table) }
    }

    /// As JSON.
    pub fn json(&self, roots: Vec<Value>) -> Value {
        let totals = self.plan.states();
        let states: Map<String, Value> = STATES
            .into_iter()
            .map(|state| {
                let amount = totals.get(&state).copied().unwrap_or_default();
                let value = json!({"count": amount.count, "bytes": amount.bytes});
                (state_name(state).to_owned(), value)
            })
            .collect();
        let by_class = self.plan.cold_by_class().into_iter().map(|(class, amount)| {
            json!({"storageClass": class.as_str(), "count": amount.count, "bytes": amount.bytes})
        });
        let tiers = self.tiers.iter().map(|tier| {
            json!({
                "tier": tier_name(tier.tier),
                "expectedSeconds": tier.expected_seconds,
                "cost": cost_json(&tier.cost, self.table),
            })
        });
        json!({
            "roots": roots,
            "needed": self.needed.json(),
            "amplification": self.needed.amplification(),
            "states": states,
            "byClass": by_class.collect::<Vec<_>>(),
            "tiers": tiers.collect::<Vec<_>>(),
            "days": self.plan.days,
            "priceTable": table_json(self.table),
        })
    }

    /// For people: what is needed, where it is, what it takes.
    pub fn lines(&self) -> Vec<String> {
        let Needed { contents, packs, .. } = self.needed;
        let of_packs = format!("{} packs ({}", packs.count, size::bytes(packs.bytes));
        let mut lines = vec![match contents.count {
            // Blobs that were named, whatever they are for.
            0 => format!("Needs {of_packs})."),
            count => format!(
                "Needs {} in {count} contents of {of_packs}, {} times as much).",
                size::bytes(contents.bytes),
                self.needed.amplification()
            ),
        }];
        for (state, amount) in self.plan.states() {
            lines.push(format!(
                "  {:<9} {:>7} packs {:>10}",
                state_name(state),
                amount.count,
                size::bytes(amount.bytes)
            ));
        }
        if self.plan.requests().next().is_none() {
            return lines;
        }
        let classes: Vec<_> =
            self.plan.cold_by_class().into_keys().map(|class| class.as_str().to_owned()).collect();
        let from = match classes.is_empty() {
            true => "Copies that are there already".to_owned(),
            false => format!("From {}", classes.join(", ")),
        };
        lines.push(format!("{from}, for {} days ({}):", self.plan.days, self.basis));
        lines.push(format!(
            "  {:<10} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "tier", "ready within", "requests", "retrieval", "copies", "reads", "download", "total"
        ));
        for tier in &self.tiers {
            let cost = &tier.cost;
            lines.push(format!(
                "  {:<10} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
                tier_name(tier.tier),
                span(tier.expected_seconds),
                dollars(cost.requests),
                dollars(cost.retrieval),
                dollars(cost.copy_storage),
                dollars(cost.gets),
                dollars(cost.transfer_out),
                dollars(cost.total())
            ));
        }
        lines
    }

    /// Prints the lines as a result.
    pub fn print(&self) {
        self.lines().into_iter().for_each(text::line);
    }

    /// One line: each tier with its time and price.
    pub fn tiers_in_a_line(&self) -> String {
        let tiers = self.tiers.iter().map(|tier| {
            format!(
                "thaw, {}: about {}, {}",
                tier_name(tier.tier),
                span(tier.expected_seconds),
                dollars(tier.cost.total())
            )
        });
        format!("{}   ({})", tiers.collect::<Vec<_>>().join("     "), self.basis)
    }
}

/// Times of one day: when something is expected or goes away.
pub fn at(app: &crate::cli::App, seconds: i64) -> String {
    app.zone
        .format(kopia_format::time::GoTime::from_unix_nanos(seconds.saturating_mul(1_000_000_000)))
}
