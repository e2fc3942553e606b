//! The grammar that Kopia's flags have and clap's have not.
//!
//! Every boolean flag `--x` has a twin `--no-x`. Here `--no-x` is turned into `--x=false` before
//! clap sees it, and every boolean of the command tree is made to take an optional value, so that
//! one definition serves both.

use std::{collections::HashSet, ffi::OsString};

use clap::{
    Arg, ArgAction, Command,
    builder::{Resettable, ValueParser},
};

/// Is the argument a flag whose value is a boolean, and that is false or true where it is not
/// given?
fn is_boolean(arg: &Arg) -> bool {
    let sets = matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Set);
    has_boolean(arg) && sets
}

fn has_boolean(arg: &Arg) -> bool {
    let boolean = ValueParser::bool().type_id();
    arg.get_long().is_some() && arg.get_value_parser().type_id() == boolean
}

/// A boolean as Go reads it, in flags and in the environment.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

/// A variable that is set to nothing is one that is not set.
fn without_empty_variable(arg: Arg) -> Arg {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
}

/// Makes every boolean flag of `command` and of all commands below it take `--x`, `--x=true` and
/// `--x=false`, and passes over variables that are set to nothing.
pub fn with_optional_values(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let arg = without_empty_variable(arg);
            if !is_boolean(&arg) {
                return arg;
            }
            let default = arg.get_default_values().first().cloned();
            let default = default.unwrap_or_else(|| "false".into());
            let is_off = default == "false";
            arg.action(ArgAction::Set)
                .value_parser(boolean)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value(default)
                .hide_default_value(is_off)
                .value_name("")
                .hide_possible_values(true)
        })
        .mut_subcommands(with_optional_values)
}

/// Help and usage as clap writes them, with `--[no-]x` for what it shows as `--x[=<>]`: as wide,
/// and true.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("[=<>]") {
        let (before, after) = (&rest[..at], &rest[at + "[=<>]".len()..]);
        match before.rfind("--") {
            Some(dashes) => {
                let (head, name) = before.split_at(dashes + 2);
                out.extend([head, "[no-]", name]);
            }
            None => out.push_str(before),
        }
        rest = after;
    }
    out + rest
}

fn collect_longs(command: &Command, all: &mut HashSet<String>, booleans: &mut HashSet<String>) {
    for arg in command.get_arguments() {
        for long in arg.get_long_and_visible_aliases().unwrap_or_default() {
            all.insert(long.to_owned());
            if has_boolean(arg) {
                booleans.insert(long.to_owned());
            }
        }
    }
    for below in command.get_subcommands() {
        collect_longs(below, all, booleans);
    }
}

/// Rewrites `--no-x` to `--x=false` where `x` is a boolean of `command` and `no-x` is not a flag of
/// its own.
pub fn normalise(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut all, mut booleans) = (HashSet::new(), HashSet::new());
    collect_longs(command, &mut all, &mut booleans);
    let mut plain = false;
    args.into_iter()
        .map(|arg| {
            plain |= arg == "--";
            let negated =
                arg.to_str().filter(|_| !plain).and_then(|text| text.strip_prefix("--no-"));
            // Kopia's longer forms of help: ours is one, and long.
            if !plain && (arg == "--help-long" || arg == "--help-full") {
                return "--help".into();
            }
            // Kopia's manual page is a flag.
            if !plain && arg == "--help-man" {
                return "man".into();
            }
            match negated {
                Some(name) if booleans.contains(name) && !all.contains(&format!("no-{name}")) => {
                    format!("--{name}=false").into()
                }
                _ => arg,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let flag = Arg::new("fast").long("fast").value_parser(ValueParser::bool());
        let flag = flag.action(ArgAction::SetTrue);
        let on = Arg::new("progress").long("progress").value_parser(ValueParser::bool());
        let on = on.action(ArgAction::Set).default_value("true").global(true);
        with_optional_values(Command::new("x").arg(on).subcommand(Command::new("go").arg(flag)))
    }

    fn parse(args: &[&str]) -> (bool, bool) {
        let args = normalise(&command(), args.iter().map(OsString::from));
        let matches = command().try_get_matches_from(args).unwrap();
        let (_, go) = matches.subcommand().unwrap();
        (*go.get_one::<bool>("fast").unwrap(), *go.get_one::<bool>("progress").unwrap())
    }

    #[test]
    fn every_boolean_has_a_negative_twin_at_every_place() {
        assert_eq!(parse(&["x", "go"]), (false, true));
        assert_eq!(parse(&["x", "--no-progress", "go", "--fast"]), (true, false));
        assert_eq!(parse(&["x", "go", "--no-fast", "--no-progress"]), (false, false));
        assert_eq!(parse(&["x", "go", "--fast=true", "--progress"]), (true, true));
        assert_eq!(parse(&["x", "go", "--fast=1", "--progress=F"]), (true, false));
    }

    #[test]
    fn help_shows_both_twins_in_the_same_width() {
        let text = command().find_subcommand_mut("go").unwrap().render_help().to_string();
        assert!(text.contains("--fast[=<>]"), "{text}");
        assert!(shown(&text).contains("--[no-]fast"), "{}", shown(&text));
        assert_eq!(shown(&text).len(), text.len());
        assert_eq!(shown("no flag [=<>] here"), "no flag  here");
    }

    #[test]
    fn a_flag_that_may_be_left_open_stays_open() {
        let inherit = Arg::new("inherit").long("inherit").value_parser(ValueParser::bool());
        let inherit = inherit.action(ArgAction::Append).num_args(0..=1).require_equals(true);
        let command = with_optional_values(Command::new("x").arg(inherit));
        let matches = command.try_get_matches_from(["x"]).unwrap();
        assert!(matches.get_many::<bool>("inherit").is_none());
    }

    #[test]
    fn what_stands_behind_two_dashes_is_left_alone() {
        let args = ["x", "--", "--no-fast"].map(OsString::from);
        assert_eq!(normalise(&command(), args.clone()), args);
    }
}
