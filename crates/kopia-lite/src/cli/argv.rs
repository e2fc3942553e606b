//! The grammar that Kopia's flags have and clap's have not.
//!
//! Every boolean flag `--x` has a twin `--no-x`. Here `--no-x` is turned into `--x=false` before clap sees it, and
//! every boolean of the command tree is made to take an optional value, so that one definition serves both.

use std::{collections::HashSet, ffi::OsString};

use clap::{Arg, ArgAction, Command, builder::ValueParser};

/// Is the argument a flag whose value is a boolean?
fn is_boolean(arg: &Arg) -> bool {
    let boolean = ValueParser::bool().type_id();
    arg.get_long().is_some() && arg.get_value_parser().type_id() == boolean
}

/// Makes every boolean flag of `command` and of all commands below it take `--x`, `--x=true` and `--x=false`.
pub fn with_optional_values(command: Command) -> Command {
    command
        .mut_args(|arg| {
            if !is_boolean(&arg) {
                return arg;
            }
            let default = arg.get_default_values().first().cloned();
            let default = default.unwrap_or_else(|| "false".into());
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value(default)
                .hide_possible_values(true)
        })
        .mut_subcommands(with_optional_values)
}

fn collect_longs(command: &Command, all: &mut HashSet<String>, booleans: &mut HashSet<String>) {
    for arg in command.get_arguments() {
        for long in arg.get_long_and_visible_aliases().unwrap_or_default() {
            all.insert(long.to_owned());
            if is_boolean(arg) {
                booleans.insert(long.to_owned());
            }
        }
    }
    for below in command.get_subcommands() {
        collect_longs(below, all, booleans);
    }
}

/// Rewrites `--no-x` to `--x=false` where `x` is a boolean of `command` and `no-x` is not a flag of its own.
pub fn normalise(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut all, mut booleans) = (HashSet::new(), HashSet::new());
    collect_longs(command, &mut all, &mut booleans);
    let mut plain = false;
    args.into_iter()
        .map(|arg| {
            plain |= arg == "--";
            let negated =
                arg.to_str().filter(|_| !plain).and_then(|text| text.strip_prefix("--no-"));
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
        let flag = Arg::new("fast").long("fast").action(ArgAction::SetTrue);
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
    }

    #[test]
    fn what_stands_behind_two_dashes_is_left_alone() {
        let args = ["x", "--", "--no-fast"].map(OsString::from);
        assert_eq!(normalise(&command(), args.clone()), args);
    }
}
