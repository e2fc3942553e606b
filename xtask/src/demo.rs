//! `cargo xtask demo`: the whole of it once, on an S3 server of our own. The second act, with
//! archived packs, is in `demo/cold.rs`, the third, their maintenance, in `demo/upkeep.rs`.
//!
//! Nothing is shown that was not checked: classes are read from the server, not from the client,
//! and the restored tree is compared with the source byte for byte.

mod cold;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use xshell::Shell;

use crate::{
    flags,
    programs::{self, Client, Scratch, Snapshot},
    server::Server,
    steps::{Outcome, Steps, done},
    tidy,
    tree::{self, Leave},
    workspace,
};

/// The example of Kopia's manual, to the letter.
const STORAGE_CONFIG: &str = r#"{
   "blobOptions": [
     { "prefix": "p", "storageClass": "INTELLIGENT_TIERING" },
     { "prefix": "s", "storageClass": "REDUCED_REDUNDANCY" },
     { "storageClass": "STANDARD_IA" }
  ]
}
"#;
/// Under which the repository lies in the bucket.
const PREFIX: &str = "demo/";

/// Builds what is needed and runs the demo.
pub fn run(sh: &Shell, flags: &flags::Demo) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let mut built = Vec::new();
    steps.run("build kopia-lite and the S3 server", || {
        built = programs::build(sh, &["kopia-lite", "s3-testkit"], false)?;
        done()
    })?;
    let scratch = Scratch::new("demo", flags.keep)?;
    let mut demo = Demo::start(scratch.path(), &built[0], &built[1])?;
    steps.run("create the repository, with its .storageconfig", || demo.create())?;
    steps.run("snapshot this project's sources", || demo.snapshot())?;
    steps.run("change them, snapshot again", || demo.change_and_snapshot())?;
    steps.run("list the snapshots", || demo.list())?;
    steps.run("classes, as the server stored them", || demo.classes())?;
    steps.run("restore and compare", || demo.restore())?;
    steps.run("move the packs to DEEP_ARCHIVE", || demo.freeze())?;
    steps.run("a restore is refused, with time and price", || demo.refuse())?;
    steps.run("thaw 48 hours and restore, in one command", || demo.thaw_and_restore())?;
    steps.run("forget two snapshots of archived packs", || demo.before_upkeep())?;
    steps.run("plan full maintenance", || demo.plan_upkeep())?;
    steps.run("run it: no archived pack is read", || demo.upkeep())?;
    steps.run("dead archived packs go now, when that is said", || demo.upkeep_now())?;
    print!("{}", steps.table());
    Ok(())
}

struct Demo {
    server: Server,
    client: Client,
    folder: PathBuf,
    source: PathBuf,
    made: Vec<Snapshot>,
}

impl Demo {
    fn start(folder: &Path, kopia_lite: &Path, s3_testkit: &Path) -> anyhow::Result<Self> {
        let server = Server::start(s3_testkit, "demo-bucket")?;
        let client = Client::new("kopia-lite", kopia_lite, folder.join("home"))?;
        let source = folder.join("sources");
        // Sources that came as an archive are no git work tree.
        for path in tidy::files().or_else(|_| workspace::files())? {
            let copy = source.join(&path);
            fs::create_dir_all(copy.parent().context("a file lies in a folder")?)?;
            fs::copy(workspace::root().join(&path), copy)?;
        }
        Ok(Self { server, client, folder: folder.to_owned(), source, made: Vec::new() })
    }

    fn create(&mut self) -> anyhow::Result<Outcome> {
        let config = self.folder.join("example.storageconfig");
        fs::write(&config, STORAGE_CONFIG)?;
        let mut args = vec!["repository".to_owned(), "create".to_owned(), "s3".to_owned()];
        args.extend(self.server.flags(PREFIX));
        args.push(format!("--storage-config={}", config.display()));
        self.client.run(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
        println!("{}", self.client.run(&["storage-config", "explain"])?);
        Ok(Outcome::Done(format!("bucket {}, prefix {PREFIX}", self.server.bucket)))
    }

    fn snapshot(&mut self) -> anyhow::Result<Outcome> {
        let snapshot = self.client.snapshot(&self.source, &[])?;
        let word = format!("root {}", snapshot.root);
        self.made.push(snapshot);
        Ok(Outcome::Done(word))
    }

    fn change_and_snapshot(&mut self) -> anyhow::Result<Outcome> {
        let manifest = self.source.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        fs::write(manifest, format!("# Changed by the demo.\n{text}"))?;
        fs::write(self.source.join("new file"), "It was not there before.\n")?;
        fs::remove_file(self.source.join("LICENSE"))?;
        let outcome = self.snapshot()?;
        let roots: Vec<_> = self.made.iter().map(|it| &it.root).collect();
        ensure!(roots[0] != roots[1], "the change did not show in the second snapshot");
        Ok(outcome)
    }

    fn list(&mut self) -> anyhow::Result<Outcome> {
        let text = self.client.run(&["snapshot", "list", "--all"])?;
        println!("{text}");
        let ids = self.client.snapshot_ids()?;
        ensure!(self.made.iter().all(|it| ids.contains(&it.id)), "a snapshot is not listed");
        Ok(Outcome::Done(format!("{} snapshots", ids.len())))
    }

    fn classes(&mut self) -> anyhow::Result<Outcome> {
        // Session markers are deleted when a snapshot is done; what was written tells of them, too.
        let (objects, written) = (self.server.objects(PREFIX)?, self.server.written(PREFIX)?);
        let stored: BTreeSet<_> = objects.iter().map(|object| &object.key).collect();
        let gone = written.iter().filter(|object| !stored.contains(&object.key));
        let mut rows: BTreeMap<(String, String, &str), (u64, u64)> = BTreeMap::new();
        let all = objects.iter().map(|object| (object, "stored"));
        for (object, state) in all.chain(gone.map(|object| (object, "deleted since"))) {
            let kind = kind_of(&object.key).to_owned();
            let wanted = match kind.as_str() {
                "p" => "INTELLIGENT_TIERING",
                "s" => "REDUCED_REDUNDANCY",
                ".storageconfig" => "STANDARD",
                _ => "STANDARD_IA",
            };
            let class = &object.storage_class;
            ensure!(class == wanted, "{} was stored as {class}, not as {wanted}", object.key);
            let row = rows.entry((kind, object.storage_class.clone(), state)).or_default();
            *row = (row.0 + 1, row.1 + object.size);
        }
        for kind in ["p", "q", "s", "x"] {
            ensure!(rows.keys().any(|row| row.0 == kind), "no {kind} blob was written");
        }
        for ((kind, class, state), (count, bytes)) in &rows {
            println!("  {kind:16} {class:20} {count:>4} objects {bytes:>12} bytes  {state}");
        }
        let count: u64 = rows.values().map(|(count, _)| count).sum();
        Ok(Outcome::Done(format!("{count} objects, each as .storageconfig says")))
    }

    fn restore(&mut self) -> anyhow::Result<Outcome> {
        let target = self.folder.join("restored");
        let last = self.made.last().context("a snapshot was made")?;
        self.client.restore(&last.id, &target)?;
        let result = tree::compare(&self.source, &target, Leave { folder_times: false })?;
        let differences = result.differences.join("\n");
        ensure!(differences.is_empty(), "the restored tree differs:\n{differences}");
        let (files, bytes) = (result.files, result.bytes);
        Ok(Outcome::Done(format!("{files} files, {bytes} bytes, all equal")))
    }
}

/// The kind of blob by its name: one letter, or up to the first dot or second underscore.
fn kind_of(key: &str) -> &str {
    match key {
        _ if key.starts_with('.') => key,
        _ if key.starts_with("kopia.") => "kopia.*",
        _ if key.starts_with("_log_") => "_log_",
        _ => key.get(..1).unwrap_or(""),
    }
}
