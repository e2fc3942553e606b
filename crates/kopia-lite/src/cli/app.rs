//! What a command has at hand: the flags of all commands, the connection, the signals.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use anyhow::Context;
use blob_core::BlobId;
use kopia_format::{local_config::LocalConfig, time::GoTime};
use kopia_repo::{Repository, RepositoryLog, RepositoryWriter};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::{Globals, LogLevel};
use crate::{
    compose::{Client, ClientOptions},
    connect::{backends, config, password, paths},
    exit::{Exit, Failure},
    ui::{error::DAMAGED_INDEX_WAY_OUT, log, text, time::Zone},
};

/// The variable that lets commands write though manifests are lost. Kopia's.
const IGNORE_LOST: &str = "KOPIA_IGNORE_MALFORMED_MANIFEST_CONTENTS";

/// What a command will do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read only, and nothing that was kept on this machine is believed.
    Verify,
    /// Read only, and by the whole index: a damaged blob of it is refused.
    Whole,
    /// Write: refused at once where the connection is read-only or the index is damaged.
    Write,
    /// Write what brings a damaged index back: refused only where the connection is read-only.
    Mend,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Mend)
    }

    /// Does it go on without index blobs that can't be read?
    fn passes_over_damaged_index(self) -> bool {
        matches!(self, Self::Read | Self::Verify | Self::Mend)
    }
}

/// What a command has at hand.
#[derive(Debug)]
pub struct App {
    /// The flags of all commands.
    pub globals: Globals,
    /// The connection file.
    pub config_file: PathBuf,
    /// The zone that times are shown in.
    pub zone: Zone,
    /// Cancelled by Ctrl-C and SIGTERM.
    pub stop: CancellationToken,
    /// Which signal came: 0 none, else its number.
    signal: Arc<AtomicU8>,
    /// What was opened last, and for what.
    opened: Mutex<Option<(Client, Access)>>,
    /// Is what is said printed as JSON in the end?
    says_json: bool,
    /// What was said so far of what was done, if it is.
    said: Mutex<Vec<String>>,
}

impl App {
    /// Makes the surroundings of one command.
    pub fn new(globals: Globals) -> Self {
        let zone = Zone::named(&globals.timezone);
        let app = Self {
            config_file: match &globals.profile {
                Some(file) => paths::config_folder().join(file),
                None => paths::config_file(&globals.config_file),
            },
            zone: zone.clone().unwrap_or_else(Zone::local),
            stop: CancellationToken::new(),
            signal: Arc::default(),
            opened: Mutex::default(),
            says_json: false,
            said: Mutex::default(),
            globals,
        };
        if zone.is_none() {
            let name = &app.globals.timezone;
            app.warn(format!("there is no time zone {name:?}; times are local, as Kopia's are"));
        }
        app
    }

    /// Cancels [`App::stop`] at the first Ctrl-C or SIGTERM, and leaves at once at the second.
    pub fn watch_signals(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let (stop, seen) = (self.stop.clone(), self.signal.clone());
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            // Without handlers a signal ends the process, which is what it asks for.
            return;
        };
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => 2,
                    _ = terminate.recv() => 15,
                };
                if seen.swap(number, Relaxed) != 0 {
                    password::show_typing();
                    std::process::exit(128 + i32::from(number));
                }
                text::note("Stopping in good order. Again to leave at once.");
                stop.cancel();
            }
        });
    }

    /// How the process ends if a signal came.
    pub fn interrupted(&self) -> Option<Exit> {
        match self.signal.load(Relaxed) {
            2 => Some(Exit::Interrupted),
            15 => Some(Exit::Terminated),
            _ => None,
        }
    }

    /// Does `work` until a signal comes. What is cut then must be harmless wherever that is.
    ///
    /// # Errors
    /// Those of `work`, and that a signal came.
    pub async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.stop.cancelled() => {
                let exit = self.interrupted().unwrap_or(Exit::Interrupted);
                Err(Failure::new(exit, "stopped").into())
            }
        }
    }

    /// The time now.
    pub fn now(&self) -> blob_core::Timestamp {
        blob_core::Clock::now(&blob_core::SystemClock)
    }

    /// Entries that a restore plans in one go: some 300 bytes each, a third of the memory at most.
    pub fn window_entries(&self) -> usize {
        let entries = usize::try_from(self.globals.memory_limit >> 10).unwrap_or(usize::MAX);
        entries.clamp(1 << 10, kopia_snapshot::restore::WINDOW_ENTRIES)
    }

    /// Says something on stderr, unless `--log-level` asks for less; the log file gets it anyway.
    pub fn info(&self, message: impl std::fmt::Display) {
        let message = message.to_string();
        match self.globals.log_level <= LogLevel::Info {
            true => text::note(&message),
            false => log::keep(Level::INFO, &message),
        }
        if self.says_json {
            self.said.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
    }

    /// The same with what is said as JSON on stdout in the end.
    #[must_use]
    pub fn saying_json(self, says_json: bool) -> Self {
        Self { says_json, ..self }
    }

    /// Writes a line of the result to stdout, unless that takes JSON alone.
    pub fn line(&self, line: impl std::fmt::Display) {
        match self.says_json {
            true => self.info(line),
            false => text::line(line),
        }
    }

    /// What was said so far of what was done, warnings left out.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Warns on stderr, unless `--log-level` asks for less; the log file gets it anyway.
    pub fn warn(&self, message: impl std::fmt::Display) {
        match self.globals.log_level <= LogLevel::Warning {
            true => text::warn(message),
            false => log::keep(Level::WARN, message),
        }
    }

    /// Refuses a command that can lose data, unless it is asked for twice. The words are Kopia's.
    ///
    /// # Errors
    /// `--dangerous-commands=enabled` is missing.
    pub fn allow_dangerous(&self) -> anyhow::Result<()> {
        if self.globals.dangerous_commands == "enabled" {
            return Ok(());
        }
        text::note(
            "\nThis command is dangerous, it can corrupt the repository and result in data loss.\n\n\
             Running this command is not needed for using a repository. Instead, rely on periodic \
             maintenance.\n\
             To run this command despite the warning, set --dangerous-commands=enabled\n",
        );
        Err(Failure::new(Exit::Failed, "dangerous commands are disabled").into())
    }

    /// Reads the connection file.
    ///
    /// # Errors
    /// [`Exit::NotConnected`] when there is none, or one that kopia-lite can't use.
    pub fn connection(&self) -> anyhow::Result<LocalConfig> {
        config::load(&self.config_file)
    }

    /// The password for what `purpose` says.
    ///
    /// # Errors
    /// No source has one, or a signal came while somebody was to type it.
    pub async fn password(&self, purpose: password::Purpose) -> anyhow::Result<SecretString> {
        let use_keyring = self.globals.use_keyring;
        let (given, file) = (self.globals.password.clone(), self.config_file.clone());
        // Off the async threads: somebody may have to type it.
        let found = tokio::task::spawn_blocking(move || {
            let given = match purpose {
                password::Purpose::Change => None,
                _ => given.get().context(Failure::new(Exit::Password, "no password"))?,
            };
            password::find(given, &file, use_keyring, purpose)
        });
        let found = self.unless_stopped(async { found.await.context("asking for the password")? });
        let found = found.await;
        password::show_typing();
        found
    }

    /// Opens the repository of the connection.
    ///
    /// # Errors
    /// There is no connection, it is read-only and `access` is not, the repository can't be opened,
    /// or a signal came.
    pub async fn open(&self, access: Access) -> anyhow::Result<Client> {
        let client = self.unless_stopped(self.open_at_leisure(access)).await?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((client.clone(), access));
        Ok(client)
    }

    /// The repository that the command has opened, if it has.
    pub fn opened(&self) -> Option<Client> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|(client, _)| client.clone())
    }

    /// Was it opened to be written?
    pub fn writes(&self) -> bool {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().is_some_and(|(_, access)| *access == Access::Write)
    }

    async fn open_at_leisure(&self, access: Access) -> anyhow::Result<Client> {
        let connection = self.connection()?;
        if access.writes() && connection.readonly {
            let file = self.config_file.display();
            let message = format!("the connection {file} is read-only; nothing was written");
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let password = self.password(password::Purpose::Open).await?;
        let told = ClientOptions::of_connection(&connection, &self.config_file)?;
        let options = ClientOptions {
            extra_keys: self.globals.storage_config_extra_keys,
            memory_bytes_max: Some(self.globals.memory_limit),
            limits: self.globals.limited(told.limits),
            keep_format: access != Access::Verify,
            pass_over_damaged_index: access.passes_over_damaged_index(),
            keep_key: password::is_stored(&self.config_file, &password),
            ..told
        };
        let backend = backends::open(config::storage_of(&connection, &self.config_file)?).await?;
        let client = Client::open(backend, &password, options).await.with_context(|| {
            format!("cannot open the repository of {}", self.config_file.display())
        })?;
        for finding in client.storage_warnings() {
            self.warn(finding);
        }
        // Reading goes on with what there is; what writes goes on if that is asked for.
        if access != Access::Write || std::env::var_os(IGNORE_LOST).is_some_and(|it| !it.is_empty())
        {
            client.repo.pass_over_lost_manifests();
        }
        Ok(client)
    }

    /// Names the contents with manifests that were passed over; gives whether there are any.
    pub fn name_lost_manifests(&self) -> bool {
        let lost = self.opened().map(|client| client.repo.manifests().lost_as_read());
        let lost = lost.unwrap_or_default();
        for error in &lost {
            self.warn(format!(
                "manifests can't be read, and the snapshots and policies among them are not known: \
                 {error}"
            ));
        }
        if !lost.is_empty() {
            self.warn(format!(
                "Put the blob back from a copy of the bucket. What writes refuses until then, unless \
                 {IGNORE_LOST}=1 is set; `snapshot create` goes on, and nothing expires."
            ));
        }
        !lost.is_empty()
    }

    /// Names the index blobs that were passed over in the repository of the command; gives the first.
    pub fn name_damaged_index(&self) -> Option<BlobId> {
        self.name_damaged_index_of(&self.opened()?.repo)
    }

    /// The same for any repository.
    pub fn name_damaged_index_of(&self, repo: &Repository) -> Option<BlobId> {
        let index = repo.index_as_read();
        for damaged in index.damaged() {
            self.warn(format!("{}; the contents in it are not known", damaged.error()));
        }
        let first = index.damaged().first()?;
        self.warn(format!("{DAMAGED_INDEX_WAY_OUT}. What writes or deletes refuses until then."));
        Some(first.blob.id.clone())
    }

    /// Begins a log in the repository, whose lines have `name` as their `n`. It goes nowhere where
    /// `--disable-repository-log` asks for that, or where nothing may be written.
    pub fn repository_log(&self, repo: &Repository, name: &str) -> RepositoryLog {
        if self.globals.disable_repository_log {
            return RepositoryLog::nowhere();
        }
        let offset = Zone::local().offset_secs(GoTime::from_unix_nanos(self.now().nanos()));
        repo.log(name, offset).unwrap_or_else(|_| RepositoryLog::nowhere())
    }

    /// Makes what `writer` wrote visible to everybody.
    ///
    /// # Errors
    /// What the repository says.
    pub async fn flush(&self, writer: &RepositoryWriter) -> anyhow::Result<()> {
        writer.flush().await.context("cannot write the index of what was uploaded")?;
        Ok(())
    }
}
