//! The repository in its folder, and the two clients that share it as one user.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    super::course::{connect, repository},
    Life, NOT_BY_ITSELF,
};
use crate::{
    place::Place,
    programs::{Client, PASSWORD},
};

/// How often it is looked whether a writer has begun to write.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Logs that each client must be able to show.
const LOGS: usize = 6;
/// Words of a client that takes something for damaged, or is not sure.
const DOUBTS: &[&str] = &["ERROR", "WARN", "error", "warning", "missing", "corrupt", "damage"];

/// What clients say of a verification that finds nothing.
const NO_ERRORS: &[&str] = &["found 0 errors", " 0 errors, estimating", NO_COUNTED_ERRORS];
const NO_COUNTED_ERRORS: &str =
    "\"totalErrorCount\":0,\"contentsInMissingPacks\":0,\"contentsInTruncatedPacks\":0";

/// One repository, two clients.
pub struct Twins<'a> {
    pub clients: [Client; 2],
    age: &'a Path,
    path: PathBuf,
}

/// What is in the folder.
#[derive(Debug, Clone, Default)]
pub struct Blobs {
    pub packs: u64,
    pub data_bytes: u64,
    pub indexes: u64,
    pub index_kinds: [u64; 3],
    pub epoch: u64,
    pub sessions: u64,
}

impl<'a> Twins<'a> {
    /// Kopia creates it, both connect.
    pub fn create(
        life: &Life,
        [kopia, ours]: [&Client; 2],
        age: &'a Path,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let path = folder.join("repository");
        fs::create_dir_all(&path)?;
        let kopia = kopia.at_home(folder.join("home-kopia"))?;
        let ours = ours.at_home(folder.join("home-kopia-lite"))?;
        let place = Place::Folder(path.clone());
        repository(&kopia, "create", &place, life.create)?;
        if !life.parameters.is_empty() {
            kopia.run(&[&["repository", "set-parameters"], life.parameters].concat())?;
        }
        connect(&ours, &place)?;
        // Snapshots go when the course says so.
        kopia.run(&["policy", "set", "--global", "--keep-latest=1000", NOT_BY_ITSELF])?;
        kopia.run(&["maintenance", "set", "--owner=me", NOT_BY_ITSELF])?;
        Ok(Self { clients: [kopia, ours], age, path })
    }

    /// The history of maintenance.
    pub fn history_by_one(&self) -> anyhow::Result<Value> {
        Ok(self.clients[1].json(&["maintenance", "info", "--json"])?["schedule"].clone())
    }

    /// The history of maintenance, which both must read alike.
    pub fn history(&self) -> anyhow::Result<Value> {
        let read = |client: &Client| client.json(&["maintenance", "info", "--json"]);
        let [kopias, ours] = [read(&self.clients[0])?, read(&self.clients[1])?];
        let counts = |of: &Value| -> Vec<(String, usize)> {
            let runs = of["schedule"]["runs"].as_object().into_iter().flatten();
            runs.map(|(task, runs)| (task.clone(), runs.as_array().map_or(0, Vec::len))).collect()
        };
        ensure!(counts(&kopias) == counts(&ours), "the histories differ: {kopias}\n{ours}");
        Ok(ours["schedule"].clone())
    }

    /// Runs a command, and notes what sounds as if something were wrong.
    pub fn listen(
        &self,
        client: &Client,
        args: &[&str],
        wrong: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let output = client.command(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let name = format!("{} {}", client.name, args.join(" "));
        ensure!(output.status.success(), "{name} ended with {}:\n{said}", output.status);
        let is_doubt = |line: &&str| {
            let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
            says(DOUBTS) && !says(NO_ERRORS)
        };
        let doubts = said.lines().filter(is_doubt);
        wrong.extend(doubts.map(|line| format!("{name}: {line}")));
        Ok(())
    }

    /// Begins a snapshot, and kills it when its session has begun to write.
    pub fn kill(&self, client: &Client, source: &Path) -> anyhow::Result<()> {
        let source = source.to_str().context("the path is not UTF-8")?;
        let args = ["snapshot", "create", "--no-progress", NOT_BY_ITSELF, source];
        let markers = self.blobs()?.sessions;
        let mut command = client.command(&args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        while self.blobs()?.sessions == markers && child.try_wait()?.is_none() {
            thread::sleep(LOOK_EVERY);
        }
        let _ = child.kill();
        // Else there is a snapshot that nobody knows of.
        ensure!(!child.wait()?.success(), "{} could not be killed while it wrote", client.name);
        Ok(())
    }

    /// All that is in the repository becomes older. What Kopia remembers of names of blobs for
    /// minutes is forgotten, as it is after such a time.
    pub fn grow_older(&self, seconds: u64) -> anyhow::Result<()> {
        let mut command = Command::new(self.age);
        let command = command.arg(&self.path).arg(seconds.to_string());
        let output = command.env("KOPIA_PASSWORD", PASSWORD).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the repository can't be made older: {said}");
        for client in &self.clients {
            forget_names(client.home())?;
        }
        Ok(())
    }

    /// What is there now.
    pub fn blobs(&self) -> anyhow::Result<Blobs> {
        let mut blobs = Blobs::default();
        count(&self.path, "", &mut blobs)?;
        Ok(blobs)
    }

    /// The logs of both can be read by `client`; gives what is wrong.
    pub fn logs(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let list = client.run(&["logs", "list", "--all"])?;
        let ids: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let mut wrong = Vec::new();
        for id in ids.iter().rev().take(LOGS) {
            let lines = client.run(&["logs", "show", id])?;
            // Not JSON in every line: Kopia leaves out commas between objects of a list.
            let is_log = lines.lines().all(|it| it.starts_with("{\"t\":\"") && it.ends_with('}'));
            if lines.is_empty() || !is_log {
                wrong.push(format!("{} shows no lines of log {id}", client.name));
            }
        }
        println!("  {} reads {} logs", client.name, ids.len());
        if ids.len() < LOGS {
            wrong.push(format!("{} lists {} logs", client.name, ids.len()));
        }
        Ok(wrong)
    }
}

/// Kopia keeps the names of its own index blobs on disk for a quarter of an hour, listed or not.
fn forget_names(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if entry.file_name() == "own-writes" || entry.file_name() == "blob-list" {
            fs::remove_dir_all(entry.path())?;
        } else {
            forget_names(&entry.path())?;
        }
    }
    Ok(())
}

fn count(folder: &Path, before: &str, blobs: &mut Blobs) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            count(&entry.path(), &name, blobs)?;
        } else if let Some(id) = name.strip_suffix(".f") {
            // One that is deleted while it is looked at is not there.
            match entry.metadata() {
                Ok(metadata) => blobs.add(id, metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

impl Blobs {
    fn add(&mut self, id: &str, bytes: u64) {
        let kinds = ["xn", "xs", "xr"];
        if let Some(epoch) = id.strip_prefix("xe").and_then(|epoch| epoch.parse().ok()) {
            self.epoch = self.epoch.max(epoch);
        }
        if let Some(kind) = kinds.iter().position(|kind| id.starts_with(kind)) {
            self.index_kinds[kind] += 1;
            self.indexes += 1;
        }
        match id.as_bytes().first() {
            Some(b'p') => {
                self.packs += 1;
                self.data_bytes += bytes;
            }
            Some(b'q') => self.packs += 1,
            Some(b'n') => self.indexes += 1,
            Some(b's') => self.sessions += 1,
            _ => {}
        }
    }

    /// The greater of each number.
    pub fn rise_to(&mut self, other: &Self) {
        self.packs = self.packs.max(other.packs);
        self.data_bytes = self.data_bytes.max(other.data_bytes);
        self.indexes = self.indexes.max(other.indexes);
        self.sessions = self.sessions.max(other.sessions);
        self.epoch = self.epoch.max(other.epoch);
        for (mine, others) in self.index_kinds.iter_mut().zip(other.index_kinds) {
            *mine = (*mine).max(others);
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { packs, data_bytes, indexes, index_kinds: [xn, xs, xr], epoch, sessions } = self;
        let mb = *data_bytes as f64 / 1e6;
        format!(
            "epoch {epoch:>2}, {packs:>3} packs, {mb:>5.1} MB of data, {indexes:>3} index blobs \
             ({xn} xn, {xs} xs, {xr} xr), {sessions} sessions"
        )
    }
}

impl fmt::Debug for Twins<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Twins({})", self.path.display())
    }
}
