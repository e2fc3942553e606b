//! The flags that say which prices count: those of the built-in table, or of a file.

use std::{borrow::Cow, path::PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use cold_storage::PriceTable;

/// Which table of prices counts.
#[derive(Debug, Clone, Args)]
pub struct TableFlag {
    /// Take prices and times from this file instead of the built-in table.
    #[arg(long, value_name = "FILE")]
    pub price_table: Option<PathBuf>,
}

impl TableFlag {
    /// The table.
    ///
    /// # Errors
    /// The file can't be read, or is no table of prices.
    pub fn table(&self) -> anyhow::Result<Cow<'static, PriceTable>> {
        let Some(file) = &self.price_table else {
            return Ok(Cow::Borrowed(PriceTable::built_in()));
        };
        let (text, name) = (fs_err::read(file)?, file.display().to_string());
        let table = PriceTable::parse(&text, &name).with_context(|| name)?;
        Ok(Cow::Owned(table))
    }
}

/// The same, and where the bytes go that are read.
#[derive(Debug, Clone, Args)]
pub struct PriceFlags {
    #[command(flatten)]
    pub table: TableFlag,
    /// Where the bytes go, which decides the price of reading them.
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = Transfer::Internet)]
    pub transfer: Transfer,
}

#[expect(dead_code, reason = "what thaws and restores will take")]
impl PriceFlags {
    /// The table.
    ///
    /// # Errors
    /// As [`TableFlag::table`].
    pub fn table(&self) -> anyhow::Result<Cow<'static, PriceTable>> {
        self.table.table()
    }
}

/// Where the bytes go that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transfer {
    /// To the internet.
    Internet,
    /// To a machine in the bucket's region.
    SameRegion,
    /// Nowhere that costs, or not counted.
    None,
}

impl From<Transfer> for cold_storage::Transfer {
    fn from(transfer: Transfer) -> Self {
        match transfer {
            Transfer::Internet => Self::Internet,
            Transfer::SameRegion => Self::SameRegion,
            Transfer::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
