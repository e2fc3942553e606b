//! `storage-class`: list, show. Facts and prices of classes; all of them from the price table.

use anyhow::bail;
use blob_core::{StorageClass, Tier};
use clap::{Args, Subcommand};
use cold_storage::{ClassFacts, Money, PriceTable, TierFacts, tier_name};
use serde_json::{Value, json};

use super::{App, apply::Apply, lifecycle, prices::TableFlag};
use crate::{
    exit::Exit,
    ui::{json::JsonFlags, text, time},
};

/// Bytes that a price per GB is for.
const GB: u64 = 1 << 30;

/// The verbs of `storage-class`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the classes: what is readable at once, minimums, prices.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show all facts of one class.
    Show(Show),
    /// As storage-config apply --dry-run.
    #[command(hide = true)]
    Plan(Apply),
    /// As storage-config apply.
    #[command(hide = true)]
    Apply(Apply),
    /// As storage-config lifecycle.
    #[command(subcommand, hide = true)]
    Lifecycle(lifecycle::Command),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        match self {
            Self::List(_) | Self::Show(_) | Self::Plan(_) => true,
            Self::Apply(_) => false,
            Self::Lifecycle(command) => command.only_reads(),
        }
    }

    /// Runs the verb. `list` and `show` ask no storage.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Plan(apply) => apply.shown_only().run(app).await,
            Self::Apply(apply) => apply.run(app).await,
            Self::Lifecycle(command) => command.run(app).await,
        }
    }
}

/// Whose facts are shown, and how.
#[derive(Debug, Args)]
struct Facts {
    /// The region that the prices must be of.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    #[command(flatten)]
    table: TableFlag,
    #[command(flatten)]
    json: JsonFlags,
}

impl Facts {
    /// The table, if it is of the region that was asked for: prices of another would mislead.
    fn table(&self) -> anyhow::Result<std::borrow::Cow<'static, PriceTable>> {
        let table = self.table.table()?;
        match &self.region {
            Some(region) if *region != table.region => bail!(
                "the price table ({}) is of {}, not of {region}; give one of {region} with \
                 --price-table=FILE",
                table.source,
                table.region
            ),
            _ => Ok(table),
        }
    }
}

/// List the classes.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    facts: Facts,
    /// Print the built-in table itself: a beginning for one of your own.
    #[arg(long, conflicts_with_all = ["json", "price_table", "region"])]
    print_table: bool,
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        if self.print_table {
            text::raw(PriceTable::built_in_text().as_bytes());
            return Ok(Exit::Done);
        }
        let table = self.facts.table()?;
        if self.facts.json.json {
            let all = table.classes().map(|(class, facts)| listed(&class, facts, &table));
            self.facts.json.print_list(all);
            return Ok(Exit::Done);
        }
        text::line(format!(
            "{:<20} {:<12} {:>8} {:>9} {:>9} {:>10} {:>9} {:>9}",
            "class",
            "readable",
            "min days",
            "min size",
            "overhead",
            "GB-month",
            "1000 PUT",
            "read GB"
        ));
        for (class, facts) in table.classes() {
            text::line(format!(
                "{class:<20} {:<12} {:>8} {:>9} {:>9} {:>10} {:>9} {:>9}",
                readable(facts).replace('-', " "),
                or_dash(u64::from(facts.min_days)),
                or_dash(facts.min_billable_bytes),
                or_dash(overhead(facts)),
                facts.storage_gb_month().to_string(),
                facts.puts(1000).to_string(),
                read_gb(facts).to_string(),
            ));
        }
        print_source(&table);
        Ok(Exit::Done)
    }
}

/// Show all facts of one class.
#[derive(Debug, Args)]
pub struct Show {
    /// The class, such as DEEP_ARCHIVE.
    class: String,
    #[command(flatten)]
    facts: Facts,
}

impl Show {
    fn run(self) -> anyhow::Result<Exit> {
        let table = self.facts.table()?;
        let class = StorageClass::new(self.class);
        let Some(facts) = table.class(&class) else {
            let names: Vec<_> = table.classes().map(|(name, _)| name.to_string()).collect();
            let source = &table.source;
            bail!("the price table ({source}) has no class {class}; it has {}", names.join(", "));
        };
        if self.facts.json.json {
            self.facts.json.print(&shown(&class, facts, &table));
            return Ok(Exit::Done);
        }
        let line = |name: &str, said: String| text::line(format!("{name:<24} {said}"));
        line("Class:", class.to_string());
        line(
            "Readable:",
            match (readable(facts), class.may_sink()) {
                (AT_ONCE, true) => "at once, unless the bucket moves it to an archive tier".into(),
                (said, _) => said.replace('-', " "),
            },
        );
        for (tier, takes) in facts.tiers() {
            line(&format!("Thaw, {}:", tier_name(tier)), describe(takes));
        }
        line("Minimum days:", or_dash(u64::from(facts.min_days)));
        line("Minimum size:", bytes(facts.min_billable_bytes));
        line(
            "Overhead per object:",
            match facts.overhead_bytes_standard {
                0 => bytes(facts.overhead_bytes_class),
                standard => format!(
                    "{}, and {} at the price of {}",
                    bytes(facts.overhead_bytes_class),
                    bytes(standard),
                    StorageClass::STANDARD
                ),
            },
        );
        line("Storage, GB-month:", facts.storage_gb_month().to_string());
        line("1000 PUTs or copies:", facts.puts(1000).to_string());
        line("1000 GETs:", facts.gets(1000).to_string());
        let by_rule = facts.lifecycle_in(1000).map_or("-".to_owned(), |price| price.to_string());
        line("1000 moves by a rule:", by_rule);
        if facts.readable_at_once {
            line("Reading, GB:", facts.retrieval_gb().to_string());
        }
        print_source(&table);
        Ok(Exit::Done)
    }
}

const AT_ONCE: &str = "at-once";

fn readable(facts: &ClassFacts) -> &'static str {
    if facts.readable_at_once { AT_ONCE } else { "after-thaw" }
}

fn overhead(facts: &ClassFacts) -> u64 {
    facts.overhead_bytes_class.saturating_add(facts.overhead_bytes_standard)
}

/// The fee for reading a GB: the class's own, or that of a thaw in the middle tier.
fn read_gb(facts: &ClassFacts) -> Money {
    match facts.tier(Tier::Standard) {
        Some(tier) if !facts.readable_at_once => tier.retrieval(GB),
        _ => facts.retrieval_gb(),
    }
}

/// `3 h to 5 h; 0.0100 a GB, 0.0500 for 1000 requests`.
fn describe(tier: &TierFacts) -> String {
    let (least, most) = (time::about(tier.seconds_min()), time::about(tier.seconds_max()));
    let (gb, requests) = (tier.retrieval(GB), tier.requests(1000));
    format!("{least} to {most}; {gb} a GB, {requests} for 1000 requests")
}

fn or_dash(number: u64) -> String {
    if number == 0 { "-".into() } else { number.to_string() }
}

fn bytes(number: u64) -> String {
    if number == 0 { "-".into() } else { format!("{number} bytes") }
}

fn print_source(table: &PriceTable) {
    let PriceTable { region, currency, prices_as_of, source, .. } = table;
    text::line(format!("\n{currency}, {region}, prices of {prices_as_of} ({source})"));
}

/// A class as `list --json` has it.
fn listed(class: &StorageClass, facts: &ClassFacts, table: &PriceTable) -> Value {
    let tiers = facts
        .tiers()
        .map(|(tier, it)| json!({"tier": tier_name(tier), "seconds": it.seconds_max()}));
    json!({
        "storageClass": class.as_str(),
        "readable": readable(facts),
        "minimumDays": facts.min_days,
        "minimumBytes": facts.min_billable_bytes,
        "overheadBytes": overhead(facts),
        "tiers": tiers.collect::<Vec<_>>(),
        "prices": {
            "storageGBMonth": facts.storage_gb_month(),
            "put1000": facts.puts(1000),
            "retrievalGB": read_gb(facts),
        },
        "region": table.region,
        "date": table.prices_as_of,
    })
}

/// The same with all that is known, for `show --json`.
fn shown(class: &StorageClass, facts: &ClassFacts, table: &PriceTable) -> Value {
    let mut all = listed(class, facts, table);
    let tiers = facts.tiers().map(|(tier, it)| {
        json!({
            "tier": tier_name(tier),
            "seconds": it.seconds_max(),
            "minimumSeconds": it.seconds_min(),
            "request1000": it.requests(1000),
            "retrievalGB": it.retrieval(GB),
        })
    });
    all["tiers"] = tiers.collect();
    all["prices"]["get1000"] = json!(facts.gets(1000));
    all["prices"]["lifecycleIn1000"] = json!(facts.lifecycle_in(1000));
    all["overheadBytesStandard"] = json!(facts.overhead_bytes_standard);
    all["currency"] = json!(table.currency);
    all["source"] = json!(table.source);
    all
}
