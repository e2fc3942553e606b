//! Help: the commands in groups, and examples with each.
//!
//! `-h` is short: what the command does and its own flags. `--help` adds the flags of all commands,
//! examples and exit codes.

use clap::Command;

/// The commands by what they are for, in the order of a user's days.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Back up and restore", &["snapshot", "restore", "list", "show", "diff", "find"]),
    ("Repositories and policies", &["repository", "policy"]),
    ("Storage classes and archived packs", &["storage-config", "storage-class", "thaw"]),
    ("Advanced", &["maintenance", "blob", "content", "index", "manifest", "logs", "cache"]),
    ("Shell", &["completion", "man", "help"]),
];

const EXIT_CODES: &str = "\
Exit codes:
  0 done    1 failed    2 wrong usage    3 finished, but something is missing
  4 archived blobs are needed, nothing was written    5 a thaw is still running
  6 stopped by a limit: cost, time, no consent    10 not connected, or no repository there
  11 locked    12 wrong password    13 access denied    20 damage found    130, 143 interrupted";

/// Command lines for the help of the command that each begins with, without the program's name.
const EXAMPLES: &[&str] = &[
    "repository create s3 --bucket=my-backups --prefix=laptop/",
    "repository create filesystem --path=/mnt/disk/repository",
    "repository connect s3 --bucket=my-backups --prefix=laptop/",
    "repository connect s3 --bucket=my-backups --prefix=laptop/ --point-in-time=2026-01-02T03:04:05Z",
    "repository connect filesystem --path=/mnt/disk/repository",
    "repository connect from-config --token-stdin",
    "repository create from-config --token-file=token",
    "repository disconnect",
    "repository set-client --description=Laptop --read-only",
    "repository change-password",
    "repository status --reconnect-token",
    "repository set-parameters --max-pack-size-mb=40",
    "repository throttle set --upload-bytes-per-second=10000000",
    "repository throttle get",
    "repository throttle set --upload-bytes-per-second=unlimited",
    "repository sync-to filesystem --path=/mnt/disk/copy --delete",
    "repository sync-to s3 --bucket=second --must-exist",
    "repository sync-to from-config --file=second.config",
    "repository list",
    "repository check",
    "repository permissions --for=snapshot,thaw",
    "repository validate-provider",
    "repository repair s3 --bucket=my-backups --dangerous-commands=enabled --dry-run",
    "repository repair filesystem --path=/mnt/disk/repository --dangerous-commands=enabled",
    "snapshot create ~/Documents --tags=job:nightly",
    "snapshot create --all --json",
    "snapshot list --all",
    "snapshot list ~/Documents --storage-stats",
    "snapshot restore ~/Documents@latest /tmp/back",
    "snapshot delete 4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1 --delete",
    "snapshot expire --all --delete",
    "snapshot verify --verify-files-percent=10",
    "snapshot pin 4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1 --add=keep",
    "snapshot estimate ~/Documents",
    "snapshot copy-history me@old-laptop me@new-laptop --dry-run",
    "snapshot move-history /home/me/Documents /home/me/Papers",
    "snapshot fix invalid-files",
    "snapshot fix remove-files --filename=secret.txt --commit",
    "diff ~/Documents@latest~1 ~/Documents@latest",
    "diff ~/Documents@latest",
    "find *.odt --all",
    "find --path ~/Documents/letter.odt",
    "restore ~/Documents@latest /tmp/back",
    "restore ~/Documents@latest~1 before.tar.gz",
    "restore ~/Documents/letter.odt --snapshot-time=yesterday",
    "restore ~/Documents@latest /tmp/back --thaw=bulk --max-cost=5",
    "list -lr ~/Documents@latest",
    "show ~/Documents@latest/letter.odt",
    "policy show ~/Documents",
    "policy list",
    "policy edit --global",
    "policy export --to-file=policies.json",
    "policy import --from-file=policies.json --dry-run",
    "policy delete ~/Documents",
    "policy set --global --keep-daily=14 --compression=zstd",
    "policy set ~/Documents --add-ignore=*.tmp --keep-latest=inherit",
    "storage-config set --add p=GLACIER_IR",
    "storage-config show",
    "storage-config check new.storageconfig --strict",
    "storage-config explain",
    "storage-config apply --dry-run",
    "storage-config lifecycle install --to DEEP_ARCHIVE",
    "storage-config lifecycle show",
    "storage-config lifecycle diff --to DEEP_ARCHIVE",
    "storage-class show DEEP_ARCHIVE",
    "storage-class list",
    "storage-class plan",
    "storage-class apply --dry-run",
    "storage-class lifecycle show",
    "storage-class lifecycle diff --to DEEP_ARCHIVE",
    "storage-class lifecycle install --to DEEP_ARCHIVE",
    "thaw plan ~/Documents@latest",
    "thaw start ~/Documents@latest --tier=bulk --days=7 --max-cost=5",
    "thaw wait --timeout=48h",
    "thaw status",
    "thaw list",
    "blob list --prefix=p --json",
    "blob list --archived",
    "blob show kopia.repository",
    "blob delete p4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1 --dangerous-commands=enabled --dry-run",
    "blob stats --by=kind,class",
    "content list --prefix=k -l",
    "content show -jz m4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1",
    "content stats",
    "content verify --full",
    "index list",
    "index inspect --all",
    "index epoch list",
    "index recover",
    "manifest list --filter=type:snapshot",
    "manifest show 4657c1b0",
    "manifest delete 4657c1b0a1b3ea1c3a9e9ba9e8d3a2f1 --dangerous-commands=enabled",
    "cache info",
    "cache set --content-cache-size-mb=1000",
    "maintenance plan --full",
    "maintenance info",
    "maintenance run --full",
    "maintenance set --owner=me",
    "logs show --latest=1",
    "logs list",
    "logs cleanup --max-age=720h --dry-run",
    "cache clear",
    "completion bash",
    "man ~/.local/share/man/man1",
];

/// The whole program's `command` with its help in groups, and examples everywhere.
pub fn arranged(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let groups = groups(&command);
    let command = command.mut_subcommands(|sub| with_examples(&name, "", sub));
    command
        .help_template(format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
        ))
        .after_help("Flags and examples of a command: kopia-lite COMMAND --help")
        .after_long_help(EXIT_CODES)
}

fn groups(command: &Command) -> String {
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (title, names) in GROUPS {
        text += &format!("{title}:\n");
        for name in names {
            let about = match command.find_subcommand(name) {
                Some(sub) => {
                    let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
                    let aliases: Vec<_> = sub.get_visible_aliases().collect();
                    match aliases[..] {
                        [] => about,
                        _ => format!("{about} [{}]", aliases.join(", ")),
                    }
                }
                None if *name == "help" => "Print the help of a command".to_owned(),
                None => continue,
            };
            text += &format!("  {name:width$}  {about}\n");
        }
        text.push('\n');
    }
    text
}

/// A command and those below it with the examples that begin with its words.
fn with_examples(program: &str, above: &str, command: Command) -> Command {
    let words = format!("{above}{} ", command.get_name());
    let own = EXAMPLES.iter().filter(|line| line.starts_with(&words) || **line == words.trim());
    let own: Vec<_> = own.map(|line| format!("  {program} {line}")).collect();
    let command = match own.is_empty() {
        true => command,
        false => {
            // What the command says there itself comes first.
            let said = command.get_after_long_help().or(command.get_after_help());
            let said = said.map(|said| format!("{said}\n\n")).unwrap_or_default();
            command.after_long_help(format!("{said}Examples:\n{}", own.join("\n")))
        }
    };
    command.mut_subcommands(|sub| with_examples(program, &words, sub))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::definition;

    #[test]
    fn every_command_is_in_one_group() {
        let definition = definition();
        for sub in definition.get_subcommands() {
            let times = GROUPS.iter().filter(|(_, names)| names.contains(&sub.get_name())).count();
            assert_eq!(times, 1, "{}", sub.get_name());
        }
        for name in GROUPS.iter().flat_map(|(_, names)| *names) {
            assert!(*name == "help" || definition.find_subcommand(name).is_some(), "no {name}");
        }
    }

    #[test]
    fn every_example_is_a_command_line() {
        for line in EXAMPLES {
            let args = ["kopia-lite"].into_iter().chain(line.split_whitespace());
            let parsed = definition().try_get_matches_from(args);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_command_has_an_example() {
        fn leaves(command: &Command, words: String, all: &mut Vec<String>) {
            for sub in command.get_subcommands() {
                leaves(sub, format!("{words}{} ", sub.get_name()), all);
            }
            if command.get_subcommands().next().is_none() {
                all.push(words);
            }
        }
        let mut all = Vec::new();
        leaves(&definition(), String::new(), &mut all);
        let has =
            |words: &String| EXAMPLES.iter().any(|line| format!("{line} ").starts_with(words));
        all.retain(|words| !has(words));
        assert!(all.is_empty(), "no example of {all:?}");
    }
}
