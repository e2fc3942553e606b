//! `--json` of commands whose result is what they say: the command, whether it only tried, and its
//! lines. Commands with a result of their own have a `--json` of their own; those that write bytes to
//! stdout have none.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};
use serde_json::{Value, json};

/// The flag's name in the definition; commands with results of their own call theirs `json`.
const ID: &str = "said_json";

/// Commands that write to stdout what is no JSON: bytes, scripts.
const WRITES_BYTES: [&str; 2] = ["show", "completion"];

/// Adds the flag to every command that does something and has none.
pub fn with_json(command: Command) -> Command {
    let has = command.get_arguments().any(|arg| arg.get_long() == Some("json"));
    // A command that hands its flag on has it for those below.
    command.mut_subcommands(|sub| if has { sub } else { add(sub) })
}

fn add(command: Command) -> Command {
    let has = command.get_arguments().any(|arg| arg.get_long() == Some("json"));
    let is_leaf = command.get_subcommands().next().is_none();
    match is_leaf {
        true if has || WRITES_BYTES.contains(&command.get_name()) => command,
        true => command.arg(
            Arg::new(ID)
                .long("json")
                .action(ArgAction::SetTrue)
                .value_parser(ValueParser::bool())
                .help("Print what was done as JSON on stdout"),
        ),
        false => with_json(command),
    }
}

/// The words of the command that was called, aliases resolved.
pub fn words(matches: &ArgMatches) -> Vec<&str> {
    below(matches).0
}

/// The words of the command that was called, if it was called with this flag; and whether it was told
/// to change nothing.
pub fn asked(matches: &ArgMatches) -> Option<Asked> {
    let (words, own) = below(matches);
    let is_set = |id: &str| matches!(own.try_get_one::<bool>(id), Ok(Some(true)));
    is_set(ID).then(|| Asked { command: words.join(" "), dry_run: is_set("dry_run") })
}

/// The words of the command that was called, and its own arguments.
fn below(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut words, mut at) = (Vec::new(), matches);
    while let Some((name, below)) = at.subcommand() {
        words.push(name);
        at = below;
    }
    (words, at)
}

/// A call whose result is to be printed as JSON.
#[derive(Debug)]
pub struct Asked {
    command: String,
    dry_run: bool,
}

impl Asked {
    /// The result: `said` are the lines, in their order.
    pub fn result(&self, said: &[String]) -> Value {
        let said: Vec<_> = said.iter().map(|line| line.trim()).collect();
        json!({"command": self.command, "dryRun": self.dry_run, "said": said})
    }
}
