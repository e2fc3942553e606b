//! `diff --files`: a command is run for each pair of files, in a folder that has the old one below
//! `old` and the new one below `new`.

use std::{
    io::Write,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use futures::StreamExt;
use kopia_format::directory::EntryKind;
use kopia_repo::Repository;
use kopia_snapshot::diff::{Change, DiffEntry};

use crate::cli::show;

/// The path of what is compared itself, where that is no folder.
const ROOT: &str = ".";

/// What the command is, and where its files lie while it runs.
pub struct FileDiff<'a> {
    repo: &'a Repository,
    program: &'a str,
    arguments: Vec<&'a str>,
    folder: tempfile::TempDir,
    /// The folder of the new tree, where that is a live one.
    live: Option<String>,
}

impl<'a> FileDiff<'a> {
    /// Gets ready to run `command`, which is cut at each blank, as Kopia does.
    ///
    /// # Errors
    /// There is no place for temporary files.
    pub fn new(
        repo: &'a Repository,
        command: &'a str,
        live: Option<String>,
    ) -> anyhow::Result<Self> {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        Ok(Self { repo, program, arguments: words.collect(), folder, live })
    }

    /// Runs the command on the files of `change`, if it is about the bytes of files.
    ///
    /// # Errors
    /// Their packs are archived; a file can't be read; there is no such command.
    pub async fn run(&self, change: &Change) -> anyhow::Result<()> {
        let is_file = |side: &Option<DiffEntry>| {
            side.as_ref().is_none_or(|entry| entry.entry.kind == EntryKind::File)
        };
        let both = change.old.is_some() && change.new.is_some();
        if !is_file(&change.old) || !is_file(&change.new) || (both && !change.differs.content) {
            return Ok(());
        }
        let old = self.place("old", &change.path, change.old.as_ref(), None).await?;
        let live = self.live.as_deref().map(Path::new).map(|live| match change.path.as_str() {
            ROOT => live.to_owned(),
            below => live.join(below),
        });
        let new = self.place("new", &change.path, change.new.as_ref(), live).await?;
        let mut command = Command::new(self.program);
        command.args(&self.arguments).arg(&old).arg(&new).current_dir(self.folder.path());
        // What it says of its files is the result. That they differ is no failure.
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output =
            output.map_err(|error| super::cannot("run the diff command", self.program, error))?;
        crate::ui::text::raw(&output.stdout);
        crate::ui::text::raw(&output.stderr);
        for path in [old, new] {
            if path.starts_with("old") || path.starts_with("new") {
                let _ = fs_err::remove_file(self.folder.path().join(path));
            }
        }
        Ok(())
    }

    /// Where the command finds one of the files; `/dev/null` for one that is not there.
    async fn place(
        &self,
        side: &str,
        path: &str,
        entry: Option<&DiffEntry>,
        live: Option<PathBuf>,
    ) -> anyhow::Result<PathBuf> {
        let Some(entry) = entry else { return Ok("/dev/null".into()) };
        if let Some(live) = live {
            return Ok(live);
        }
        let path = if path == ROOT { "file" } else { path };
        // A name out of a repository must not lead out of the folder.
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{path:?} is no path for a file");
        let object = &entry.entry.object;
        show::refuse_cold(self.repo, object).await?;
        let name = Path::new(side).join(path);
        let target = self.folder.path().join(&name);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let reader = self.repo.open_object(object).await?;
        let mut file = fs_err::File::create(&target)?;
        let mut pieces = std::pin::pin!(reader.into_stream());
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?)?;
        }
        Ok(name)
    }
}
