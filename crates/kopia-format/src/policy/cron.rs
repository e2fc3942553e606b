//! Lines of crontab in the dialect that Kopia takes.
//!
//! Five fields (minute, hour, day of the month, month, day of the week), a sixth for the year, or
//! seven with seconds in front; what follows the seventh is passed over, and so is everything from
//! a `#` on. `@daily` and its like stand for a whole line. Kopia makes no other change to a policy
//! with a line that it can't read, so none may be stored. It does read lines that name no time at
//! all or another one than they seem to: those are refused to whoever writes them, and kept where
//! they are.

/// Words that stand for fields.
const ALIASES: [(&str, &str); 6] = [
    ("@yearly", "0 0 0 1 1 * *"),
    ("@annually", "0 0 0 1 1 * *"),
    ("@monthly", "0 0 0 1 * * *"),
    ("@weekly", "0 0 0 * * 0 *"),
    ("@daily", "0 0 0 * * * *"),
    ("@hourly", "0 0 * * * * *"),
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
    Year,
}

use Field::{DayOfMonth, DayOfWeek, Hour, Minute, Month, Second, Year};

const FIELDS: [Field; 7] = [Second, Minute, Hour, DayOfMonth, Month, DayOfWeek, Year];

impl Field {
    fn name(self) -> &'static str {
        match self {
            Second => "second",
            Minute => "minute",
            Hour => "hour",
            DayOfMonth => "day of the month",
            Month => "month",
            DayOfWeek => "day of the week",
            Year => "year",
        }
    }

    /// The smallest and the biggest value. A week may begin and end with Sunday.
    fn bounds(self) -> (u32, u32) {
        match self {
            Second | Minute => (0, 59),
            Hour => (0, 23),
            DayOfMonth => (1, 31),
            Month => (1, 12),
            DayOfWeek => (0, 7),
            Year => (1970, 2099),
        }
    }

    fn value(self, text: &str) -> Option<u32> {
        let name = |names: &[&str], first| {
            let at = names.iter().position(|name| text == *name || text == &name[..3])?;
            u32::try_from(at).ok().map(|at| at + first)
        };
        let named = match self {
            Month => name(&MONTHS, 1),
            DayOfWeek => name(&DAYS, 0),
            _ => None,
        };
        let width = if self == Year { 4..=4 } else { 1..=2 };
        let (min, max) = self.bounds();
        named.or_else(|| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_number && width.contains(&text.len()))?;
            (min..=max).contains(&number).then_some(number)
        })
    }

    /// One of the parts that commas separate.
    fn is_part(self, text: &str, sensible: bool) -> bool {
        let text = text.to_ascii_lowercase();
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (&*text, None),
        };
        if step.is_some_and(|step| !self.is_step(step)) {
            return false;
        }
        // Kopia takes any day of the week with a zero in front for Sunday.
        let is_odd_day = |day: &str| self == DayOfWeek && day.len() == 2 && day.starts_with('0');
        if sensible && range.split('-').any(is_odd_day) {
            return false;
        }
        if range == "*" || (range == "?" && step.is_none()) || self.value(range).is_some() {
            return true;
        }
        if let Some((first, last)) = range.split_once('-') {
            // A range that runs backwards names no time; that of a week may end with its Sunday.
            return match (self.value(first), self.value(last)) {
                (Some(first), Some(0)) if self == DayOfWeek => !sensible || first <= 6,
                (Some(first), Some(last)) => !sensible || first <= last,
                _ => false,
            };
        }
        match (self, step) {
            (DayOfMonth, None) => {
                let day = range.strip_suffix('w').is_some_and(|day| self.value(day).is_some());
                range == "l" || range == "lw" || day
            }
            (DayOfWeek, None) => {
                range.strip_suffix('l').is_some_and(|day| self.value(day).is_some())
            }
            _ => false,
        }
    }

    fn is_step(self, text: &str) -> bool {
        // Kopia looks steps up in a table of minutes and years.
        let max = if self == DayOfWeek { 6 } else { self.bounds().1 };
        let in_table = |step: &u32| match text.len() {
            1 | 2 => *step < 60,
            length => length == 4 && *step >= 1970,
        };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let step = text.parse().ok().filter(|_| is_number).filter(in_table);
        step.is_some_and(|step| (1..=max).contains(&step))
    }

    fn check(self, text: &str, sensible: bool) -> Result<(), String> {
        let name = self.name();
        let mut parts = text.split(',').filter(|part| !part.is_empty()).peekable();
        if parts.peek().is_none() {
            return Err(format!("the {name} is missing"));
        }
        match parts.find(|part| !self.is_part(part, sensible)) {
            Some(part) => Err(format!("{part:?} is no {name}")),
            None => Ok(()),
        }
    }
}

/// Can Kopia read the line, and does it say what it seems to, if that is asked for? If not, says
/// why.
pub(super) fn check(line: &str, sensible: bool) -> Result<(), String> {
    let text = line.split('#').next().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(());
    }
    let text =
        ALIASES.iter().fold(text.to_owned(), |text, (word, fields)| text.replace(word, fields));
    let given: Vec<&str> = text.split_ascii_whitespace().collect();
    let fields = match given.len() {
        ..5 => return Err(format!("it has {} fields and needs 5", given.len())),
        5 => &FIELDS[1..6],
        6 => &FIELDS[1..],
        _ => &FIELDS[..],
    };
    fields.iter().zip(given).try_for_each(|(field, text)| field.check(text, sensible))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_kopia_takes() {
        for line in [
            "* * * * *",
            "0 9,21 * * mon-fri",
            "*/15 0-6/2 1,15 JAN,march-06 ?",
            "5/10 * L * 5L",
            "0 0 lw * 1-0",
            "0 0 15w,1 * 5-7",
            "0 12 * * * 2024-2030/2",
            "30 0 12 * * * 2099",
            "0 0 12 * * * * and more",
            "@daily",
            "@hourly # every hour",
            "# a remark",
            "07 08 09 10 7",
            ",0,, 1 1 1 1",
        ] {
            assert_eq!((check(line, false), check(line, true)), (Ok(()), Ok(())), "{line}");
        }
    }

    #[test]
    fn lines_that_kopia_or_its_scheduler_can_not_read() {
        for (line, reason) in [
            ("nonsense", "1 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "no minute"),
            ("* 24 * * *", "no hour"),
            ("* * 0 * *", "no day of the month"),
            ("* * 32 * *", "no day of the month"),
            ("* * * 13 *", "no month"),
            ("* * * janu *", "no month"),
            ("* * * * 8", "no day of the week"),
            ("* * * * * 1969", "no year"),
            ("60 * * * * * 2000", "no second"),
            ("*/0 * * * *", "no minute"),
            ("*/60 * * * *", "no minute"),
            ("*/007 * * * *", "no minute"),
            ("?/5 * * * *", "no minute"),
            ("-5 * * * *", "no minute"),
            ("+5 * * * *", "no minute"),
            (", * * * *", "minute is missing"),
            ("* * w * *", "no day of the month"),
            ("* * * * l", "no day of the week"),
            ("* * * * */7", "no day of the week"),
            ("@midnight", "1 fields"),
        ] {
            let said = check(line, false).unwrap_err();
            assert!(said.contains(reason), "{line}: {said}");
            assert_eq!(check(line, true), Err(said));
        }
    }

    #[test]
    fn lines_that_kopia_takes_for_something_else() {
        for line in [
            "30-10 * * * *",
            "0 22-6 * * *",
            "0 0 * * fri-mon",
            "0 0 * * 7-3",
            "0 0 * * 05",
            "0 0 * * 01-05",
            "0 0 * * 01/2",
        ] {
            assert_eq!(check(line, false), Ok(()), "{line}");
            check(line, true).unwrap_err();
        }
        assert_eq!(check("0 0 * * * */1970", false), Ok(()));
    }
}
