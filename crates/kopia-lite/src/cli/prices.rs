//! The flags of all commands that say what something costs.

use std::{borrow::Cow, path::PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use cold_storage::{Cost, Money, PriceTable, Transfer};
use serde_json::{Value, json};

use super::App;
use crate::exit::{Exit, Failure};

/// Where the bytes go that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Destination {
    /// To the internet.
    Internet,
    /// To a machine in the bucket's region.
    SameRegion,
    /// Leave their way out of the price.
    None,
}

/// Whose prices.
#[derive(Debug, Clone, Args)]
pub struct TableFlag {
    /// A file with the prices of another region or provider, in the form of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub price_table: Option<PathBuf>,
}

impl TableFlag {
    /// The table.
    ///
    /// # Errors
    /// The file can't be read, or is no price table.
    pub fn table(&self) -> anyhow::Result<Cow<'static, PriceTable>> {
        let Some(path) = &self.price_table else {
            return Ok(Cow::Borrowed(PriceTable::built_in()));
        };
        let text = fs_err::read(path)?;
        let name = path.display().to_string();
        let table = PriceTable::parse(&text, &name).with_context(|| name.clone())?;
        Ok(Cow::Owned(table))
    }
}

/// Whose prices, and with which way out.
#[derive(Debug, Clone, Args)]
pub struct PriceFlags {
    #[command(flatten)]
    table: TableFlag,
    /// Where the bytes go that are read: it decides most of the price.
    #[arg(long, value_enum, value_name = "WHERE", default_value = "internet")]
    transfer: Destination,
}

impl PriceFlags {
    /// The table.
    ///
    /// # Errors
    /// As [`TableFlag::table`].
    pub fn table(&self) -> anyhow::Result<Cow<'static, PriceTable>> {
        self.table.table()
    }

    /// Where the bytes go.
    pub fn transfer(&self) -> Transfer {
        match self.transfer {
            Destination::Internet => Transfer::Internet,
            Destination::SameRegion => Transfer::SameRegion,
            Destination::None => Transfer::None,
        }
    }

    /// What prices are shown with: `us-east-1, prices of 2026-09-28, with download to the internet`.
    pub fn basis(&self, table: &PriceTable) -> String {
        let way = match self.transfer {
            Destination::Internet => "with download to the internet",
            Destination::SameRegion => "read within the region",
            Destination::None => "without download",
        };
        format!("{}, prices of {}, {way}", table.region, table.prices_as_of)
    }
}

/// How far a command may go.
#[derive(Debug, Clone, Args)]
pub struct CostFlags {
    /// Refuse what costs more. What costs less needs no further consent.
    #[arg(long, value_name = "USD")]
    max_cost: Option<Money>,
    /// Do it without asking.
    #[arg(short, long)]
    yes: bool,
}

impl CostFlags {
    /// Is `total` agreed to? `what` is said before the question.
    ///
    /// # Errors
    /// [`Exit::Limit`]: it is more than `--max-cost`, or nobody agrees.
    pub async fn agree(&self, app: &App, total: Money, what: &str) -> anyhow::Result<()> {
        if let Some(max) = self.max_cost {
            if total <= max {
                return Ok(());
            }
            let message = format!("{what} costs {}, more than --max-cost={max}", dollars(total));
            let details = json!({"total": total, "maxCost": max});
            return Err(Failure::new(Exit::Limit, message).with_details(details).into());
        }
        app.consent(self.yes, &format!("{what} costs {}. Go on?", dollars(total))).await
    }
}

/// An amount for people: cents, or more digits where it is less.
pub fn dollars(money: Money) -> String {
    let (cent, least) = (Money::from_picos(10_000_000_000), Money::from_picos(100_000_000));
    match money {
        Money::ZERO => "$0".to_owned(),
        more if more >= cent => format!("${more:.2}"),
        less if less >= least => format!("${less:.4}"),
        _ => "<$0.0001".to_owned(),
    }
}

/// A cost as JSON.
pub fn cost_json(cost: &Cost, table: &PriceTable) -> Value {
    json!({
        "requests": cost.requests,
        "retrieval": cost.retrieval,
        "copyStorage": cost.copy_storage,
        "gets": cost.gets,
        "transferOut": cost.transfer_out,
        "total": cost.total(),
        "currency": table.currency,
    })
}

/// The table's stamp as JSON.
pub fn table_json(table: &PriceTable) -> Value {
    json!({"region": table.region, "date": table.prices_as_of, "source": table.source})
}

/// A span for people: `5 min`, `12 h`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0 => "now".to_owned(),
        1..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h", (seconds + 1_800) / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_finely_as_they_are_small() {
        let shown = |text: &str| dollars(text.parse().unwrap());
        let all = ["0", "0.000099", "0.0001", "0.00999", "0.01", "1234.567"].map(shown);
        assert_eq!(all, ["$0", "<$0.0001", "$0.0001", "$0.0100", "$0.01", "$1234.57"]);
    }

    #[test]
    fn a_file_takes_the_place_of_the_built_in_table() {
        let built_in = TableFlag { price_table: None };
        assert_eq!(built_in.table().unwrap().source, "built in");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.json");
        let flag = TableFlag { price_table: Some(file.clone()) };
        assert!(flag.table().is_err());
        fs_err::write(&file, "{}").unwrap();
        let error = format!("{:#}", flag.table().unwrap_err());
        assert!(error.contains("prices.json: the price table can't be read"), "{error}");
    }
}
