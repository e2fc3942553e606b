//! The flags of `policy set` for actions: what `snapshot create` runs before and after.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kopia_format::{
    policy::{ActionCommand, Policy},
    time::duration_text,
};

use super::changes::Changes;
use crate::cli::repository::flags::duration;

/// The longest script that Kopia keeps in a policy, in bytes.
const SCRIPT_BYTES_MAX: usize = 32_000;

/// What a failure of an action means.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The folder or snapshot fails with it.
    Essential,
    /// It is said and no more.
    Optional,
    /// Nobody waits for it.
    Async,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Essential => "essential",
            Self::Optional => "optional",
            Self::Async => "async",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ActionFlags {
    /// Command to run before this folder; none or nothing removes it.
    #[arg(long, value_name = "COMMAND", default_value = "-", hide_default_value = true)]
    before_folder_action: String,
    /// Command to run after this folder; none or nothing removes it.
    #[arg(long, value_name = "COMMAND", default_value = "-", hide_default_value = true)]
    after_folder_action: String,
    /// Command to run before a snapshot; none, inherit or nothing removes it.
    #[arg(long, value_name = "COMMAND", default_value = "-", hide_default_value = true)]
    before_snapshot_root_action: String,
    /// Command to run after a snapshot; none, inherit or nothing removes it.
    #[arg(long, value_name = "COMMAND", default_value = "-", hide_default_value = true)]
    after_snapshot_root_action: String,
    /// The longest time that the commands may take.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    action_command_timeout: std::time::Duration,
    /// What a failure of the commands means.
    #[arg(long, value_name = "MODE", default_value = "essential")]
    action_command_mode: Mode,
    /// Keep the text of the script in the policy instead of its path.
    #[arg(long)]
    persist_action_script: bool,
}

impl ActionFlags {
    pub(super) fn apply(
        &self,
        policy: &mut Policy,
        changes: &mut Changes<'_>,
    ) -> anyhow::Result<()> {
        let actions = &mut policy.actions;
        for (name, action, given) in [
            ("before-folder", &mut actions.before_folder, &self.before_folder_action),
            ("after-folder", &mut actions.after_folder, &self.after_folder_action),
            (
                "before-snapshot-root",
                &mut actions.before_snapshot_root,
                &self.before_snapshot_root_action,
            ),
            (
                "after-snapshot-root",
                &mut actions.after_snapshot_root,
                &self.after_snapshot_root_action,
            ),
        ] {
            match given.as_str() {
                "-" => {}
                // Kopia's help promises the words, and takes them for commands.
                "" | "none" | "inherit" => {
                    *action = None;
                    changes.said(format!("removing {name} action"));
                }
                given => {
                    let set = self.action(name, given, changes);
                    *action = Some(set.with_context(|| format!("invalid {name}-action"))?);
                }
            }
        }
        Ok(())
    }

    fn action(
        &self,
        name: &str,
        given: &str,
        changes: &mut Changes<'_>,
    ) -> anyhow::Result<ActionCommand> {
        let mode = self.action_command_mode.name();
        let timeout = self.action_command_timeout;
        let shown = duration_text(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
        let action = ActionCommand {
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            mode: mode.to_owned(),
            ..ActionCommand::default()
        };
        if self.persist_action_script {
            let script = std::fs::read(given);
            let script = script.with_context(|| format!("unable to read script file {given}"))?;
            let length = script.len();
            if length > SCRIPT_BYTES_MAX {
                bail!(
                    "action script file ({given}) too long: {length}, max allowed \
                     {SCRIPT_BYTES_MAX}"
                );
            }
            let Ok(script) = String::from_utf8(script) else {
                bail!("action script file ({given}) is not UTF-8, which a policy must be");
            };
            changes.said(format!(
                "setting {name} ({mode}) action script from file {given} ({length} bytes) with \
                 timeout {shown}"
            ));
            return Ok(ActionCommand { script, ..action });
        }
        let mut words =
            words(given).with_context(|| format!("error parsing {name} command"))?.into_iter();
        let path = words.next().unwrap_or_default();
        let args: Vec<_> = words.collect();
        let with = match args.is_empty() {
            true => String::new(),
            false => {
                let quoted: Vec<_> = args.iter().map(|arg| format!("\"{arg}\"")).collect();
                format!(" with arguments {}", quoted.join(" "))
            }
        };
        changes.said(format!(
            "setting {name} ({mode}) action command to \"{path}\"{with} and timeout {shown}"
        ));
        Ok(ActionCommand { path, args, ..action })
    }
}

/// The words of a command: a blank ends each, and one that begins with a double quote goes on to the
/// next, where two stand for one. As Kopia reads it: a line of CSV with blanks for commas.
fn words(line: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = line.lines().find(|line| !line.is_empty()).context("EOF")?;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (word, after) = match rest.split_once(' ') {
                Some((word, after)) => (word, Some(after)),
                None => (rest, None),
            };
            if word.contains('"') {
                bail!("bare \" in the word {word:?}, which does not begin with one");
            }
            found.push(word.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(found),
            }
            continue;
        };
        let mut word = String::new();
        loop {
            let (part, after) = quoted
                .split_once('"')
                .with_context(|| format!("the quote of {rest:?} never ends"))?;
            word.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    word.push('"');
                    quoted = after;
                }
                None => {
                    quoted = after;
                    break;
                }
            }
        }
        found.push(word);
        if quoted.is_empty() {
            return Ok(found);
        }
        rest = quoted
            .strip_prefix(' ')
            .with_context(|| format!("a blank must follow the quote, not {quoted:?}"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_at_blanks_but_in_quotes() {
        let cut = |line: &str| words(line).unwrap();
        assert_eq!(cut("/bin/x"), ["/bin/x"]);
        assert_eq!(cut("x a  b "), ["x", "a", "", "b", ""]);
        assert_eq!(cut(r#""/a b/x" "say ""no""" c"#), ["/a b/x", "say \"no\"", "c"]);
        assert_eq!(cut("\nx y\nz"), ["x", "y"]);
        for bad in ["x a\"b", "x \"a", "\"x\"y", "\n"] {
            words(bad).unwrap_err();
        }
    }
}
