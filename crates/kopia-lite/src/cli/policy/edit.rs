//! `policy edit`: a policy as JSON in somebody's editor.

use std::{
    ffi::OsString,
    io::{BufRead, IsTerminal},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::{json, policy::Policy, snapshot::Source};
use kopia_snapshot::policies;

use super::Targets;
use crate::{
    cli::{App, app::Access},
    exit::Exit,
    ui::text,
};

/// Change policies in the editor that VISUAL or EDITOR names.
#[derive(Debug, Args)]
pub struct Edit {
    #[command(flatten)]
    targets: Targets,
    /// Edit and show, but save nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What stands above groups of the policy: its key in the text, and the keys that it may have.
const HINTS: [(&str, &str); 3] = [
    (
        "  \"retention\": {",
        "  # How many snapshots to keep, each a number:\n  \
         #   \"keepLatest\", \"keepHourly\", \"keepDaily\", \"keepWeekly\", \"keepMonthly\", \
         \"keepAnnual\"\n",
    ),
    (
        "  \"files\": {",
        "\n  # What to leave out:\n  \
         #   \"ignore\": [\"*.ext\", \"*.ext2\"]\n  \
         #   \"ignoreDotFiles\": [\".gitignore\", \".kopiaignore\"]\n  \
         #   \"maxFileSize\": number of bytes\n  \
         #   \"noParentDotFiles\", \"noParentIgnore\", \"oneFileSystem\": true or false\n",
    ),
    (
        "  \"scheduling\": {",
        "\n  # When to take snapshots:\n  \
         #   \"intervalSeconds\": number\n  \
         #   \"timeOfDay\": [{\"hour\":H,\"min\":M},{\"hour\":H,\"min\":M}]\n  \
         #   \"manual\": true, which goes with no other of these\n",
    ),
];

impl Edit {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let editor = Editor::find()?;
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let targets = self.targets.resolve(&client.repo).await?;
        let mut changed = Vec::new();
        for target in targets {
            let original = policies::defined(&client.repo, &target).await?.unwrap_or_default();
            app.info(format!("Editing policy for {target} using external editor..."));
            let updated = edited(app, &editor, &target, &original).await?;
            if updated == original {
                app.info(format!("Policy for {target} unchanged"));
                continue;
            }
            app.info(format!("Updated policy for {target}\n{}", pretty(&updated)));
            if self.dry_run {
                app.info(format!("Would save policy for {target}."));
                continue;
            }
            let answer = ask(app, "Save updated policy? (y/N) ").await?.unwrap_or_default();
            if answer.to_ascii_lowercase().starts_with('y') {
                changed.push((target, updated));
            }
        }
        if changed.is_empty() {
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for (target, policy) in &changed {
            let saved = policies::save(&writer, target, policy).await;
            saved.with_context(|| format!("can't save policy for {target}"))?;
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }
}

/// The policy in several lines, with a newline behind it.
fn pretty(policy: &Policy) -> String {
    let mut text = String::from_utf8_lossy(&json::to_vec_indent(policy)).into_owned();
    text.push('\n');
    text
}

/// What the editor shows at first.
fn form(target: &Source, policy: &Policy) -> String {
    let mut text = format!(
        "\n# The policy of '{target}'\n\n\
         # Change it, save this file and leave the editor. It must stay JSON.\n\n\
         # Lines that begin with # are left out.\n\n{}",
        pretty(policy)
    );
    for (key, hint) in HINTS {
        if let Some(at) = text.find(key) {
            text.insert_str(at, hint);
        }
    }
    text
}

/// Reads what the editor left. Keys that `original` has may stay, though nobody here knows them.
fn parse(text: &str, target: &Source, original: &Policy) -> anyhow::Result<Policy> {
    let kept: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let policy = Policy::parse(kept.join("\n").as_bytes())?;
    let known = original.unknown_keys();
    if let Some(key) = policy.unknown_keys().iter().find(|key| !known.contains(key)) {
        bail!("unknown field {key:?}");
    }
    policies::check(target, &policy)?;
    Ok(policy)
}

/// Shows the policy in the editor until what it leaves is a policy.
async fn edited(
    app: &App,
    editor: &Editor,
    target: &Source,
    original: &Policy,
) -> anyhow::Result<Policy> {
    let folder = tempfile::Builder::new().prefix("kopia").tempdir();
    let folder = folder.context("can't make a folder for the file to edit")?;
    let file = folder.path().join("policy.conf");
    std::fs::write(&file, form(target, original)).context("can't write the file to edit")?;
    loop {
        editor.show(app, &file).await?;
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("can't read {} back", file.display()))?;
        match parse(&text, target, original) {
            Ok(policy) => return Ok(policy),
            Err(error) => text::error(format!("{error:#}")),
        }
        // Where nobody answers, the editor would open for ever.
        match ask(app, "Reopen editor to fix? (Y/n) ").await? {
            Some(answer) if !answer.to_ascii_lowercase().starts_with('n') => {}
            _ => bail!("the policy of {target} was not changed: editing was given up"),
        }
    }
}

/// Asks on stdout, as Kopia does; gives the line that was typed, `None` at the end of the input.
async fn ask(app: &App, question: &str) -> anyhow::Result<Option<String>> {
    text::raw(question.as_bytes());
    // Off the async threads: somebody has to type it.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|length| (length > 0).then_some(line))
    });
    let answer = app.unless_stopped(async { Ok(answer.await??) }).await?;
    Ok(answer.map(|line| line.trim().to_owned()))
}

/// A program that shows a file and lets it be changed.
#[derive(Debug, PartialEq, Eq)]
struct Editor {
    program: OsString,
    args: Vec<String>,
}

impl Editor {
    /// The one that VISUAL or EDITOR names, else `vi` where there is a terminal.
    fn find() -> anyhow::Result<Self> {
        let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
        if let Some(line) = named.map(|line| line.trim().to_owned()).find(|line| !line.is_empty()) {
            return Ok(Self::parse(&line));
        }
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            bail!(
                "policies are edited at a terminal, and there is none: name an editor in VISUAL or \
                 EDITOR, or use policy set, or policy export and policy import"
            );
        }
        Ok(Self::parse("vi"))
    }

    /// Words with blanks between them; the first may stand in double quotes.
    fn parse(line: &str) -> Self {
        let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        let (program, rest) = quoted.or_else(|| line.split_once(' ')).unwrap_or((line, ""));
        let args = rest.split_whitespace().map(str::to_owned).collect();
        Self { program: program.into(), args }
    }

    /// Shows `file` and waits until the editor is left.
    async fn show(&self, app: &App, file: &Path) -> anyhow::Result<()> {
        let program = self.program.to_string_lossy();
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).arg(file).kill_on_drop(true);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        let ended = app.unless_stopped(async {
            command.status().await.with_context(|| format!("can't run the editor {program:?}"))
        });
        let ended = ended.await?;
        if !ended.success() {
            bail!("the editor {program:?} failed ({ended}); no policy was changed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_may_have_arguments_and_a_path_with_blanks() {
        let editor = |program: &str, args: &[&str]| Editor {
            program: program.into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        };
        assert_eq!(Editor::parse("vi"), editor("vi", &[]));
        assert_eq!(Editor::parse("code --wait  -n"), editor("code", &["--wait", "-n"]));
        assert_eq!(Editor::parse("\"/a b/ed\" -s"), editor("/a b/ed", &["-s"]));
        assert_eq!(Editor::parse("\"/a b/ed\""), editor("/a b/ed", &[]));
    }

    #[test]
    fn what_is_shown_is_read_back_as_it_was() {
        let global = Source::global();
        let mut policy = Policy::default_global();
        policy.extra.insert("newer".to_owned(), serde_json::json!({"a": 1}));
        let shown = form(&global, &policy);
        assert!(shown.contains("#   \"keepLatest\""), "{shown}");
        assert!(shown.contains("#   \"timeOfDay\""), "{shown}");
        assert_eq!(parse(&shown, &global, &policy).unwrap(), policy);
        let error = parse(&shown, &global, &Policy::default()).unwrap_err();
        assert_eq!(error.to_string(), "unknown field \"newer\"");
    }
}
