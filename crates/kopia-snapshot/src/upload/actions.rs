//! The actions of policies: commands that run before and after a snapshot or a folder of it.
//!
//! One may freeze a database, the next let it go on. So what was begun by one that ran before is
//! owed the one after it, whatever becomes of the upload in between. A command gets no input, runs in
//! an empty folder of its own, in a process group of its own, and hears of its work by variables of
//! the environment. A line `KOPIA_SNAPSHOT_PATH=…` that it writes to its output names the folder to
//! read instead. Facts: Kopia 0.23.1, `snapshot/upload/upload_actions.go`.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kopia_format::policy::ActionCommand;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::{events::UploadEvent, file::EntryError, run::Run};

/// Who may run actions.
#[derive(Debug, Clone, Default)]
pub struct Actions {
    /// Are they run? If not, each that would have been is told.
    pub enabled: bool,
    /// The version that they are told, as `KOPIA_VERSION`.
    pub version: String,
}

/// How long an action without a limit of its own may take.
const TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// How long an action that is told to end has for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer line of output is none that means anything.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The line that names another folder.
const REDIRECT: &[u8] = b"KOPIA_SNAPSHOT_PATH=";

/// The actions around a snapshot or a folder.
pub(super) struct Around {
    /// `before-folder` and `after-folder`, or those of the root.
    names: (&'static str, &'static str),
    after: Option<ActionCommand>,
    /// The folder as the user knows it.
    source: PathBuf,
    place: Option<Place>,
}

/// What the action before has in common with the one after.
struct Place {
    id: String,
    /// The folder that is read: the source, or the one that the action before named.
    snapshot: PathBuf,
    /// Where commands run. Goes away with this.
    work: tempfile::TempDir,
}

/// What is still to be run after folders that were begun, also if the upload is given up.
#[derive(Default)]
pub(crate) struct Owed(Mutex<Vec<Arc<Around>>>);

impl Owed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Around>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, around: &Arc<Around>) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|it| !Arc::ptr_eq(it, around));
        all.len() < before
    }

    /// Runs what folders that were left in the middle are owed, the innermost first.
    pub async fn settle(&self, run: &Run) {
        loop {
            let Some(around) = self.lock().pop() else { return };
            around.run_after(run).await;
        }
    }
}

/// The folder to read instead, if an action names one; and what is owed afterwards.
pub(super) struct Begun {
    pub instead: Option<PathBuf>,
    around: Option<Arc<Around>>,
}

impl Begun {
    /// Runs the action after the folder.
    pub async fn end(self, run: &Run) {
        if let Some(around) = self.around
            && run.owed.take(&around)
        {
            around.run_after(run).await;
        }
    }
}

/// Runs the action before a folder (`names.0`), and takes note of the one after it (`names.1`).
///
/// # Errors
/// An essential action failed, in Kopia's words; or the upload was stopped while one ran.
pub(super) async fn begin(
    run: &Run,
    names: (&'static str, &'static str),
    before: Option<&ActionCommand>,
    after: Option<&ActionCommand>,
    source: &Path,
) -> Result<Begun, EntryError> {
    let mut around =
        Around { names, after: after.cloned(), source: source.to_owned(), place: None };
    let mut instead = None;
    if let Some(action) = before {
        let name = names.0;
        if around.prepare(run, name).map_err(EntryError::Entry)? {
            instead = around.run_before(run, action).await?;
        }
    }
    if around.after.is_none() {
        return Ok(Begun { instead, around: None });
    }
    let around = Arc::new(around);
    run.owed.lock().push(around.clone());
    Ok(Begun { instead, around: Some(around) })
}

impl Around {
    /// Makes what a command needs; gives whether it may run.
    fn prepare(&mut self, run: &Run, name: &str) -> Result<bool, String> {
        if !run.options.actions.enabled {
            let source = self.source.display();
            run.tell(UploadEvent::Action {
                error: false,
                message: &format!(
                    "Not executing {name} action on {source} because it's been disabled for this \
                     client."
                ),
            });
            return Ok(false);
        }
        if self.place.is_none() {
            self.place = Some(Place::new(run, &self.source)?);
        }
        Ok(true)
    }

    async fn run_before(
        &mut self,
        run: &Run,
        action: &ActionCommand,
    ) -> Result<Option<PathBuf>, EntryError> {
        let name = self.names.0;
        let Some(place) = &mut self.place else { return Ok(None) };
        let failed = |why: String| {
            EntryError::Entry(format!(
                "error executing {name} action: error running '{name}' action: {why}"
            ))
        };
        let named = match place.run(run, name, action, &self.source, &run.stop).await {
            Ok(named) => named,
            Err(Ended::Stopped) => return Err(EntryError::Stopped),
            Err(Ended::Failed(why)) => return Err(failed(why)),
        };
        let Some(named) = named else { return Ok(None) };
        let is_folder = std::fs::metadata(&named).is_ok_and(|meta| meta.is_dir());
        if !is_folder {
            let text = format!("KOPIA_SNAPSHOT_PATH names {}, which is no folder", named.display());
            // What the action did is undone by the one after it.
            let text = EntryError::Entry(format!("error executing {name} action: {text}"));
            self.run_after(run).await;
            return Err(text);
        }
        place.snapshot.clone_from(&named);
        Ok(Some(named))
    }

    async fn run_after(&self, run: &Run) {
        let (name, Some(action)) = (self.names.1, &self.after) else { return };
        let mut fresh =
            Self { names: self.names, after: None, source: self.source.clone(), place: None };
        let place = match &self.place {
            Some(place) => place,
            None => match fresh.prepare(run, name) {
                Ok(false) => return,
                Ok(true) => fresh.place.as_ref().expect("it was prepared"),
                Err(error) => return say(run, &error),
            },
        };
        // What was stopped before still has to be put in order; only a new signal ends that, which
        // ends everything.
        let stop = match run.stop.is_cancelled() {
            true => CancellationToken::new(),
            false => run.stop.clone(),
        };
        match place.run(run, name, action, &self.source, &stop).await {
            Ok(_) => {}
            Err(Ended::Stopped) => say(run, &format!("the '{name}' action was stopped")),
            Err(Ended::Failed(why)) => say(run, &format!("error running '{name}' action: {why}")),
        }
    }
}

fn say(run: &Run, message: &str) {
    run.tell(UploadEvent::Action { error: true, message });
}

/// Why an action came to no good end.
enum Ended {
    Stopped,
    Failed(String),
}

impl Place {
    fn new(run: &Run, source: &Path) -> Result<Self, String> {
        let mut id = [0; 8];
        run.repo.env().entropy.fill(&mut id);
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let work = tempfile::Builder::new().prefix("kopia-action").tempdir();
        let work = work.map_err(|error| format!("no folder for an action to run in: {error}"))?;
        Ok(Self { id, snapshot: source.to_owned(), work })
    }

    /// Runs `action`; gives the path that it names, if it names one.
    async fn run(
        &self,
        run: &Run,
        name: &str,
        action: &ActionCommand,
        source: &Path,
        stop: &CancellationToken,
    ) -> Result<Option<PathBuf>, Ended> {
        let mut command = self.command(name, action).map_err(Ended::Failed)?;
        command
            .env("KOPIA_ACTION", name)
            .env("KOPIA_SNAPSHOT_ID", &self.id)
            .env("KOPIA_SOURCE_PATH", source)
            .env("KOPIA_SNAPSHOT_PATH", &self.snapshot)
            .env("KOPIA_VERSION", &run.options.actions.version)
            .current_dir(self.work.path())
            .stdin(Stdio::null())
            .process_group(0);
        let timeout = match u64::try_from(action.timeout) {
            Ok(seconds @ 1..) => Duration::from_secs(seconds),
            _ => TIMEOUT,
        };
        if action.mode == "async" {
            return match spawn(command.stdout(Stdio::null())).await {
                Ok(child) => {
                    tokio::spawn(end_in_time(child, timeout));
                    Ok(None)
                }
                Err(error) => Err(Ended::Failed(format!(
                    "error starting action command asynchronously: {error}"
                ))),
            };
        }
        let mut named = None;
        let status = match spawn(command.stdout(Stdio::piped())).await {
            Ok(child) => finish(child, timeout, stop, &mut named).await?,
            Err(error) => Err(error.to_string()),
        };
        match status {
            Ok(()) => {}
            Err(why) if action.mode == "essential" => {
                return Err(Ended::Failed(format!("essential action failed: {why}")));
            }
            Err(why) => say(run, &format!("error running non-essential action command: {why}")),
        }
        Ok(named)
    }

    fn command(&self, name: &str, action: &ActionCommand) -> Result<Command, String> {
        if action.script.is_empty() {
            if action.path.is_empty() {
                return Err("action did not provide either script nor command to run".into());
            }
            let mut command = Command::new(&action.path);
            command.args(&action.args);
            return Ok(command);
        }
        let file = self.work.path().join(format!("{name}.sh"));
        let written = write_script(&file, &action.script);
        written.map_err(|error| format!("error writing script for execution: {error}"))?;
        if action.script.starts_with("#!") {
            return Ok(Command::new(file));
        }
        let mut command = Command::new("sh");
        command.arg("-e").arg(file);
        Ok(command)
    }
}

/// Writes a script that may be run.
fn write_script(file: &Path, script: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o700);
    options.open(file)?.write_all(script.as_bytes())
}

/// Starts a command. A script that was just written is busy while another task starts a command at
/// the same time: for a moment that one has all our open files, the script among them.
async fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            started => return started,
        }
    }
    command.spawn()
}

/// Waits for a command and reads what it writes; `named` becomes the path that it names last.
async fn finish(
    mut child: Child,
    timeout: Duration,
    stop: &CancellationToken,
    named: &mut Option<PathBuf>,
) -> Result<Result<(), String>, Ended> {
    let output = child.stdout.take().expect("it was piped");
    let (mut read, mut at_end) = (pin!(read_path(output, named)), false);
    let mut waiting = pin!(wait(&mut child, timeout, stop));
    loop {
        tokio::select! {
            ended = &mut waiting => {
                if !at_end {
                    // What it has left running may keep its output open for ever.
                    let _ = tokio::time::timeout(PATIENCE, &mut read).await;
                }
                return ended;
            }
            () = &mut read, if !at_end => at_end = true,
        }
    }
}

/// Waits for a command, and ends it when its time is up or `stop` says so.
async fn wait(
    child: &mut Child,
    timeout: Duration,
    stop: &CancellationToken,
) -> Result<Result<(), String>, Ended> {
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = tokio::time::sleep(timeout) => {
            end(child).await;
            return Ok(Err(format!("it took longer than {} s and was ended", timeout.as_secs())));
        }
        () = stop.cancelled() => {
            end(child).await;
            return Err(Ended::Stopped);
        }
    };
    Ok(match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(words(status)),
        Err(error) => Err(error.to_string()),
    })
}

/// As Go says it.
fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// Ends a command with all that it has started: asks first, and does not wait for ever.
async fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(PATIENCE, child.wait()).await;
    // What did not listen, or was left behind.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

async fn end_in_time(mut child: Child, timeout: Duration) {
    if tokio::time::timeout(timeout, child.wait()).await.is_err() {
        end(&mut child).await;
    }
}

/// Reads what a command writes, to its end; `named` becomes the path that it names last.
async fn read_path(output: impl AsyncRead + Unpin, named: &mut Option<PathBuf>) {
    use std::os::unix::ffi::OsStringExt;
    let mut output = BufReader::new(output);
    let (mut line, mut too_long) = (Vec::new(), false);
    loop {
        // A command whose output can't be read any more has said all that it has to say.
        let Ok(piece) = output.fill_buf().await else { return };
        let at_end = piece.is_empty();
        let newline = piece.iter().position(|&byte| byte == b'\n');
        let taken = newline.unwrap_or(piece.len());
        if line.len() + taken <= LINE_BYTES_MAX {
            line.extend_from_slice(&piece[..taken]);
        } else {
            too_long = true;
        }
        let consumed = newline.map_or(taken, |at| at + 1);
        output.consume(consumed);
        if newline.is_none() && !at_end {
            continue;
        }
        if let Some(path) = line.strip_prefix(REDIRECT).filter(|_| !too_long) {
            let path = path.strip_suffix(b"\r").unwrap_or(path);
            *named = (!path.is_empty()).then(|| std::ffi::OsString::from_vec(path.to_vec()).into());
        }
        line.clear();
        too_long = false;
        if at_end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_line_that_names_a_path_counts() {
        async fn named(text: &str) -> Option<String> {
            let mut named = None;
            read_path(text.as_bytes(), &mut named).await;
            named.map(|path| path.to_str().unwrap().to_owned())
        }
        assert_eq!(named("").await, None);
        assert_eq!(
            named("x\nKOPIA_SNAPSHOT_PATH=/a=b\n KOPIA_SNAPSHOT_PATH=/c\ny").await.unwrap(),
            "/a=b"
        );
        assert_eq!(named("KOPIA_SNAPSHOT_PATH=/a\r\nKOPIA_SNAPSHOT_PATH=/b").await.unwrap(), "/b");
        assert_eq!(named("KOPIA_SNAPSHOT_PATH=/a\nKOPIA_SNAPSHOT_PATH=\n").await, None);
        let long = "y".repeat(LINE_BYTES_MAX + 1);
        let text = format!("{long}\nKOPIA_SNAPSHOT_PATH=/a\nKOPIA_SNAPSHOT_PATH={long}");
        assert_eq!(named(&text).await.unwrap(), "/a");
    }
}
