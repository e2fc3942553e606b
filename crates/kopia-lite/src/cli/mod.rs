//! The command line: one file a noun, each parse → call → print.

mod app;
mod apply;
mod argv;
mod blob;
mod cache;
mod completion;
mod consent;
mod content;
#[cfg(test)]
mod fixtures;
mod globals;
mod index;
mod lifecycle;
mod list;
mod logs;
mod maintenance;
mod manifest;
mod policy;
pub(crate) mod prices;
pub(crate) mod repository;
mod restore;
mod show;
mod snapshot;
mod storage_class;
mod storage_config;
pub(crate) mod thaw;
mod times;

use std::ffi::OsString;

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use app::App;
pub use globals::{Globals, LogLevel};

use crate::{
    exit::{Exit, Failure},
    ui::{self, text},
};

/// The version line, in Kopia's form: wrappers read its first word.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " build: kopia-lite from: ", env!("CARGO_PKG_REPOSITORY"));

const AFTER_HELP: &str = "\
Exit codes:
  0 done    1 failed    2 wrong usage    3 finished, but something is missing
  4 archived blobs are needed, nothing was written    5 a thaw is still running
  6 stopped by a limit: cost, time, no consent    10 not connected, or no repository there
  11 locked    12 wrong password    13 access denied    20 damage found    130, 143 interrupted";

/// Backs up to and restores from Kopia repositories, on S3 and on filesystems.
#[derive(Debug, Parser)]
#[command(name = "kopia-lite", version = VERSION, after_help = AFTER_HELP)]
#[command(subcommand_required = true)]
#[command(infer_long_args = false, disable_help_subcommand = false)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value for the whole process")]
enum Command {
    /// Create, connect and look at repositories.
    #[command(subcommand, visible_alias = "repo")]
    Repository(repository::Command),
    /// Take, list, verify and delete snapshots.
    #[command(subcommand, visible_alias = "snap")]
    Snapshot(snapshot::Command),
    /// Restore files and folders from a snapshot.
    Restore(restore::Restore),
    /// List a folder of a snapshot.
    #[command(visible_alias = "ls", disable_help_flag = true)]
    List(list::List),
    /// Write the bytes of a file of a snapshot to stdout.
    #[command(visible_alias = "cat")]
    Show(show::Show),
    /// Say what is backed up, how, and for how long it is kept.
    #[command(subcommand, visible_alias = "policies")]
    Policy(policy::Command),
    /// Which storage class blobs are written with: the `.storageconfig` file.
    #[command(subcommand)]
    StorageConfig(storage_config::Command),
    /// Make archived packs readable for some days: plan, start, wait.
    #[command(subcommand)]
    Thaw(thaw::Command),
    /// Look at storage classes: what each holds, costs and takes to thaw.
    #[command(subcommand)]
    StorageClass(storage_class::Command),
    /// Write a script to stdout that lets a shell complete command lines.
    Completion(completion::Completion),
    /// Advanced: blobs of the storage.
    #[command(subcommand)]
    Blob(blob::Command),
    /// Advanced: contents of the repository.
    #[command(subcommand, visible_alias = "contents")]
    Content(content::Command),
    /// Advanced: index blobs.
    #[command(subcommand)]
    Index(index::Command),
    /// Advanced: manifests.
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Advanced: maintenance of the repository: whose task it is, when it is due.
    #[command(subcommand, visible_alias = "gc")]
    Maintenance(maintenance::Command),
    /// Advanced: logs that clients left in the repository.
    #[command(subcommand, visible_alias = "log")]
    Logs(logs::Command),
    /// Advanced: the local cache.
    #[command(subcommand)]
    Cache(cache::Command),
}

impl Command {
    /// Runs the command; at a signal ends it at once if it only reads. One that writes brings to an
    /// end what it has begun, and looks for signals itself where that may take long.
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self.only_reads() {
            true => app.unless_stopped(self.run_to_end(app)).await,
            false => self.run_to_end(app).await,
        }
    }

    /// Does it write snapshots or policies? Then maintenance is done afterwards, when it is
    /// due; as in Kopia not after the low-level commands.
    fn is_followed_by_maintenance(&self) -> bool {
        match self {
            Self::Snapshot(command) => command.writes(),
            Self::Policy(command) => !command.only_reads(),
            _ => false,
        }
    }

    /// How the command ends when all went well but for manifests that can't be read.
    fn lost_manifests_mean(&self) -> Exit {
        match self {
            // What these were asked for is whole.
            Self::Restore(_) | Self::List(_) | Self::Show(_) => Exit::Done,
            Self::Snapshot(command) => command.lost_manifests_mean(),
            _ => Exit::Incomplete,
        }
    }

    fn only_reads(&self) -> bool {
        match self {
            Self::Repository(command) => command.only_reads(),
            Self::Snapshot(command) => command.only_reads(),
            Self::Policy(command) => command.only_reads(),
            Self::StorageConfig(command) => command.only_reads(),
            Self::Cache(command) => command.only_reads(),
            Self::Maintenance(command) => command.only_reads(),
            Self::Logs(command) => command.only_reads(),
            Self::Thaw(command) => command.only_reads(),
            Self::Restore(_) => false,
            Self::Blob(command) => command.only_reads(),
            Self::Manifest(command) => command.only_reads(),
            Self::Index(command) => command.only_reads(),
            Self::List(_) | Self::Show(_) | Self::Content(_) => true,
            Self::Completion(_) => true,
            Self::StorageClass(command) => command.only_reads(),
        }
    }

    async fn run_to_end(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Repository(command) => command.run(app).await,
            Self::Snapshot(command) => command.run(app).await,
            Self::Restore(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Policy(command) => command.run(app).await,
            Self::StorageConfig(command) => command.run(app).await,
            Self::Thaw(command) => command.run(app).await,
            Self::StorageClass(command) => command.run(app).await,
            Self::Blob(command) => command.run(app).await,
            Self::Content(command) => command.run(app).await,
            Self::Index(command) => command.run(app).await,
            Self::Manifest(command) => command.run(app).await,
            Self::Cache(command) => command.run(app).await,
            Self::Maintenance(command) => command.run(app).await,
            Self::Logs(command) => command.run(app).await,
            Self::Completion(completion) => Ok(completion.run()),
        }
    }
}

/// The command tree, as parsed and as documented.
pub fn definition() -> clap::Command {
    argv::with_optional_values(globals::with_silent_flags(Cli::command()))
}

/// Runs the program with `args`, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args = argv::normalise(&definition(), args);
    let wants_json = args.iter().any(|arg| arg == "--json");
    let parsed = definition()
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(_) if args.len() <= 1 => {
            // No command at all asks for help, as in Kopia.
            text::line(argv::shown(&definition().render_help().to_string()).trim_end());
            return Exit::Done;
        }
        Err(mut error) => {
            // What clap would show lists flags that nobody gave, since they came from variables.
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage(&args)));
            return not_parsed(&error, wants_json);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives threads and timers");
    ui::text::colours(cli.globals.force_color, cli.globals.disable_color);
    ui::log::begin(cli.globals.log_level.into());
    let app = App::new(cli.globals);
    let result = runtime.block_on(async {
        app.watch_signals();
        let writes = cli.command.is_followed_by_maintenance();
        let tells_itself = matches!(cli.command, Command::Maintenance(_));
        let lost_means = cli.command.lost_manifests_mean();
        let done = cli.command.run(&app).await;
        let exit = match (app.name_lost_manifests(), done) {
            (true, Ok(Exit::Done)) => lost_means,
            // What is not found may be among what is lost.
            (true, Err(error)) if ui::error::exit_of(&error) == Exit::Failed => {
                return Err(error.context(Failure::new(Exit::Damaged, "manifests are lost")));
            }
            (_, done) => done?,
        };
        match exit {
            Exit::Done if !tells_itself => maintenance::afterwards(&app, writes).await,
            _ => Ok(exit),
        }
    });
    // Threads that still read a terminal or a slow disk must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(exit) => app.interrupted().unwrap_or(exit),
        Err(error) => {
            let exit = app.interrupted().unwrap_or_else(|| ui::error::exit_of(&error));
            text::note(ui::error::describe(&error, exit, wants_json));
            exit
        }
    }
}

/// The usage line of the command that `args` name.
fn usage(args: &[OsString]) -> StyledStr {
    let mut root = definition();
    root.build();
    let mut command = &mut root;
    for word in args.iter().skip(1) {
        if command.find_subcommand(word).is_some() {
            command = command.find_subcommand_mut(word).expect("it was found a line above");
        }
    }
    command.render_usage()
}

/// Prints help or the version, which are no errors, or says what is wrong with the arguments.
fn not_parsed(error: &clap::Error, wants_json: bool) -> Exit {
    let shown = argv::shown(&error.render().to_string());
    match error.kind() {
        ErrorKind::DisplayVersion if wants_json => {
            let (version, formats) = (env!("CARGO_PKG_VERSION"), [1, 2, 3]);
            let formats = serde_json::json!({"reads": formats, "writes": formats});
            text::line(serde_json::json!({"version": version, "formats": formats}));
            Exit::Done
        }
        ErrorKind::DisplayVersion => {
            text::line(VERSION);
            Exit::Done
        }
        ErrorKind::DisplayHelp => {
            text::raw(shown.as_bytes());
            Exit::Done
        }
        _ if wants_json => {
            let message = shown.lines().next().unwrap_or_default();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            let failure = Failure::new(Exit::Usage, message);
            text::note(ui::error::describe(&failure.into(), Exit::Usage, true));
            Exit::Usage
        }
        _ => {
            text::note(shown.trim_end());
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_consistent() {
        super::definition().debug_assert();
    }
}
