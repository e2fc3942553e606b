//! The command line: one file a noun, each parse → call → print.

mod app;
mod apply;
mod argv;
mod blob;
mod cache;
mod completion;
mod consent;
mod content;
mod diff;
mod find;
#[cfg(test)]
mod fixtures;
mod globals;
mod help;
mod index;
mod lifecycle;
mod list;
mod log_flags;
mod logs;
mod maintenance;
mod man;
mod manifest;
mod policy;
pub(crate) mod prices;
pub(crate) mod repository;
mod restore;
mod said;
mod show;
mod snapshot;
mod storage_class;
mod storage_config;
pub(crate) mod thaw;
mod times;

use std::{ffi::OsString, path::Path, time::Instant};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tracing::Level;

pub use app::App;
pub use argv::normalise;
pub use globals::{Globals, LogLevel};

use crate::{
    exit::{Exit, Failure},
    ui::{self, text},
};

/// The version line, in Kopia's form: wrappers read its first word.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " build: kopia-lite from: ", env!("CARGO_PKG_REPOSITORY"));

/// Backs up to and restores from Kopia repositories, on S3 and on filesystems.
#[derive(Debug, Parser)]
#[command(name = "kopia-lite", version = VERSION)]
#[command(subcommand_required = true, propagate_version = true)]
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
    /// Say what differs between two folders of snapshots, or a snapshot and the live folder.
    #[command(visible_alias = "compare")]
    Diff(diff::Diff),
    /// Find files and folders in snapshots by their names.
    Find(find::Find),
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
    /// Write manual pages.
    Man(man::Man),
    /// Blobs of the storage.
    #[command(subcommand)]
    Blob(blob::Command),
    /// Contents of the repository.
    #[command(subcommand, visible_alias = "contents")]
    Content(content::Command),
    /// Index blobs.
    #[command(subcommand)]
    Index(index::Command),
    /// Manifests.
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Maintenance of the repository: whose task it is, when it is due.
    #[command(subcommand, visible_alias = "gc")]
    Maintenance(maintenance::Command),
    /// Logs that clients left in the repository.
    #[command(subcommand, visible_alias = "log")]
    Logs(logs::Command),
    /// The local cache.
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

    /// How the command ends when all went well but for manifests or index blobs that can't be read.
    fn what_is_lost_means(&self) -> Exit {
        match self {
            // What these were asked for is whole.
            Self::Restore(_) | Self::List(_) | Self::Show(_) => Exit::Done,
            Self::Blob(_) | Self::Index(_) => Exit::Done,
            Self::Repository(command) => command.what_is_lost_means(),
            Self::Snapshot(command) => command.what_is_lost_means(),
            Self::Content(command) => command.what_is_lost_means(),
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
            Self::Diff(_) | Self::Find(_) => true,
            Self::Completion(_) | Self::Man(_) => true,
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
            Self::Diff(command) => command.run(app).await,
            Self::Find(command) => command.run(app).await,
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
            Self::Man(man) => man.run(),
        }
    }
}

/// The command tree, as parsed and as documented.
pub fn definition() -> clap::Command {
    let command = said::with_json(globals::with_silent_flags(Cli::command()));
    help::arranged(argv::with_optional_values(command))
}

/// Runs the program with `args`, the first of which is its name. A link named `kopia` ends as Kopia
/// does, which knows 0 and 1.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<_> = args.into_iter().collect();
    let is_kopia =
        args.first().is_some_and(|name| Path::new(name).file_stem() == Some("kopia".as_ref()));
    match run_as_named(args) {
        Exit::Done => Exit::Done,
        _ if is_kopia => Exit::Failed,
        other => other,
    }
}

fn run_as_named(args: Vec<OsString>) -> Exit {
    let args = argv::normalise(&definition(), args);
    let wants_json = args.iter().any(|arg| arg == "--json");
    let parsed = definition().try_get_matches_from(&args).and_then(|matches| {
        let words = said::words(&matches).join(" ");
        Ok((Cli::from_arg_matches(&matches)?, said::asked(&matches), words))
    });
    let (cli, asked, words) = match parsed {
        Ok(parsed) => parsed,
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
    colours(&cli.globals);
    let log = begin_log(&cli, &words);
    let app = App::new(cli.globals).saying_json(asked.is_some());
    let result = runtime.block_on(async {
        app.watch_signals();
        let writes = cli.command.is_followed_by_maintenance();
        let tells_itself = matches!(cli.command, Command::Maintenance(_));
        let lost_means = cli.command.what_is_lost_means();
        let done = cli.command.run(&app).await;
        let lost = match (app.name_lost_manifests(), app.name_damaged_index()) {
            (_, Some(blob)) => {
                Some(format!("index blob {blob} is damaged, and what is not found may be in it"))
            }
            (true, None) => Some("manifests are lost".to_owned()),
            (false, None) => None,
        };
        let exit = match (lost, done) {
            (Some(_), Ok(Exit::Done)) => lost_means,
            // What is not found may be among what is lost.
            (Some(lost), Err(error)) if ui::error::exit_of(&error) == Exit::Failed => {
                return Err(error.context(Failure::new(Exit::Damaged, lost)));
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
    if let (Ok(_), Some(asked)) = (&result, asked) {
        text::line(asked.result(&app.said()));
    }
    let exit = match result {
        Ok(exit) => app.interrupted().unwrap_or(exit),
        Err(error) => {
            let exit = app.interrupted().unwrap_or_else(|| ui::error::exit_of(&error));
            tell(&error, exit, wants_json);
            exit
        }
    };
    log.end(exit);
    exit
}

/// Says why the command failed. An object for programs is the same however lines are to look.
fn tell(error: &anyhow::Error, exit: Exit, wants_json: bool) {
    let told = ui::error::describe(error, exit, wants_json);
    match wants_json {
        true => {
            ui::log::keep(Level::ERROR, ui::error::sentence(error));
            text::passing(told);
        }
        false => text::error(told),
    }
}

/// The log of this run, and when it began.
struct Log(ui::log::Log, Instant);

/// Begins the log with the version and the command; what follows the command may be secret.
fn begin_log(cli: &Cli, words: &str) -> Log {
    let flags = &cli.globals.log;
    // What writes for the shell is no work to look back at; in Kopia these are flags, and leave none.
    let is_work = !matches!(cli.command, Command::Completion(_) | Command::Man(_));
    let log = ui::log::begin(ui::log::Settings {
        console: cli.globals.log_level.into(),
        form: flags.form(),
        file: flags.to_file(&words.replace(' ', "-")).filter(|_| is_work),
    });
    ui::log::keep(Level::INFO, format_args!("kopia-lite {}: {words}", env!("CARGO_PKG_VERSION")));
    Log(log, Instant::now())
}

impl Log {
    fn end(self, exit: Exit) {
        let (code, name) = exit.describe();
        let took = self.1.elapsed().as_millis();
        ui::log::keep(Level::DEBUG, format_args!("exit code {code} ({name}) after {took} ms"));
        self.0.end();
    }
}

fn colours(globals: &Globals) {
    let forbid = globals.disable_color || globals.color == globals::Color::Never;
    text::colours(globals.force_color || globals.color == globals::Color::Always, forbid);
}

/// The usage line of the command that `args` name.
fn usage(args: &[OsString]) -> StyledStr {
    let name = args.first().and_then(|name| Path::new(name).file_name()?.to_str());
    let mut root = definition().bin_name(name.unwrap_or("kopia-lite").to_owned());
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
            text::passing(ui::error::describe(&failure.into(), Exit::Usage, true));
            Exit::Usage
        }
        _ => {
            text::passing(shown.trim_end());
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
