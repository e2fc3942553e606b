//! Changes to a policy, made and said in Kopia's words.

use anyhow::{Context, bail};

use crate::{
    cli::{App, argv},
    ui::size,
};

/// Makes changes and says them.
pub(super) struct Changes<'a> {
    /// Where they are said.
    pub app: &'a App,
    /// How many were made.
    pub count: usize,
}

/// Does a value mean that of the parent?
pub(super) fn is_inherit(text: &str) -> bool {
    matches!(text, "inherit" | "default")
}

/// A value that is given: an empty one is none, as for most of Kopia's flags.
pub(super) fn given(value: Option<&String>) -> Option<&String> {
    value.filter(|text| !text.is_empty())
}

impl Changes<'_> {
    /// Says a change and counts it.
    pub fn said(&mut self, text: String) {
        self.count += 1;
        self.app.info(format!(" - {text}"));
    }

    /// Says that a value is the parent's again.
    pub fn reset(&mut self, what: &str) {
        self.said(format!("resetting {what:?} to a default value inherited from parent."));
    }

    /// Changes a number, which is given in `unit`s.
    pub fn number(
        &mut self,
        what: &str,
        value: &mut Option<i64>,
        given: Option<&String>,
        unit: i64,
    ) -> anyhow::Result<()> {
        let Some(text) = self::given(given) else { return Ok(()) };
        if is_inherit(text) {
            *value = None;
            self.reset(what);
            return Ok(());
        }
        let number: i32 =
            text.parse().with_context(|| format!("can't parse the {what} {text:?}"))?;
        let number = i64::from(number) * unit;
        let shown = match unit {
            1 => number.to_string(),
            _ => u64::try_from(number).map_or_else(|_| number.to_string(), size::bytes),
        };
        self.said(format!("setting {what:?} to {shown}."));
        *value = Some(number);
        Ok(())
    }

    /// Changes a number of bytes, where 0 is none.
    pub fn bytes(
        &mut self,
        what: &str,
        value: &mut i64,
        given: Option<&String>,
    ) -> anyhow::Result<()> {
        let Some(text) = self::given(given) else { return Ok(()) };
        if is_inherit(text) {
            *value = 0;
            self.reset(what);
            return Ok(());
        }
        *value = size::parse(text).with_context(|| format!("can't parse the {what:?} {text:?}"))?;
        self.said(format!("setting {what:?} to {value}."));
        Ok(())
    }

    /// Changes what may be true, false or left open.
    pub fn boolean(
        &mut self,
        what: &str,
        value: &mut Option<bool>,
        given: Option<&String>,
    ) -> anyhow::Result<()> {
        let Some(text) = self::given(given) else { return Ok(()) };
        if is_inherit(text) {
            *value = None;
            self.reset(what);
            return Ok(());
        }
        let Ok(wanted) = argv::boolean(text) else {
            bail!("{what}: {text:?} is not true, false or inherit");
        };
        self.said(format!("setting {what:?} to {wanted}."));
        *value = Some(wanted);
        Ok(())
    }

    /// Changes the name of an algorithm.
    pub fn name(&mut self, what: &str, value: &mut String, given: &str) {
        if is_inherit(given) {
            value.clear();
            self.said(format!("resetting {what} to default value inherited from parent"));
        } else {
            given.clone_into(value);
            self.said(format!("setting {what} to {given}"));
        }
    }

    /// Adds to and removes from a list, which Kopia keeps sorted.
    pub fn list(
        &mut self,
        what: &str,
        value: &mut Vec<String>,
        add: &[String],
        remove: &[String],
        clear: bool,
    ) {
        if clear {
            self.said(format!("removing all from {what:?}"));
            value.clear();
            return;
        }
        if add.is_empty() && remove.is_empty() {
            return;
        }
        for item in add {
            self.said(format!("adding {item:?} to {what:?}"));
        }
        for item in remove {
            self.said(format!("removing {item:?} from {what:?}"));
        }
        value.extend(add.iter().cloned());
        value.retain(|item| !remove.contains(item));
        value.sort();
        value.dedup();
    }
}
