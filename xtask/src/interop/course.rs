//! One repository, put through everything.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Instant,
};

use anyhow::{Context, anyhow, ensure};

use super::forest::{Forest, Tree};
use crate::{
    place::Place,
    programs::{Client, Snapshot},
    tree::{self, Leave},
};

/// How many times both write at once.
const ROUNDS: u64 = 2;

/// How many snapshots of each client are killed.
const KILLS: u32 = 3;

/// How a repository is created, and how its snapshots are made.
#[derive(Debug)]
pub struct Format {
    pub name: &'static str,
    create: &'static [&'static str],
    /// Flags of `policy set --global`.
    policy: &'static [&'static str],
    /// Tried on the S3 server, too.
    pub on_s3: bool,
    /// Object IDs are the same by design; not with object-level compression, which version 1 has.
    same_roots: bool,
}

/// Versions, hashes, ciphers, splitters, compressors, error correction: each at least once.
pub const FORMATS: &[Format] = &[
    Format { name: "v3-default", create: &[], policy: &[], on_s3: true, same_roots: true },
    Format {
        name: "v3-blake3-chacha-zstd",
        create: &[
            "--block-hash=BLAKE3-256",
            "--encryption=CHACHA20-POLY1305-HMAC-SHA256",
            "--object-splitter=DYNAMIC-1M-BUZHASH",
        ],
        policy: &["--compression=zstd", "--metadata-compression=zstd-better-compression"],
        on_s3: true,
        same_roots: true,
    },
    Format {
        name: "v3-hmac-fixed-s2",
        create: &["--block-hash=HMAC-SHA256-128", "--object-splitter=FIXED-1M"],
        policy: &["--compression=s2-default", "--compression-min-size=1000"],
        on_s3: false,
        same_roots: true,
    },
    Format {
        name: "v2-ecc-gzip",
        create: &[
            "--format-version=2",
            "--ecc=REED-SOLOMON-CRC32",
            "--ecc-overhead-percent=10",
            "--encryption=CHACHA20-POLY1305-HMAC-SHA256",
        ],
        policy: &["--compression=gzip", "--add-never-compress=.jpg"],
        on_s3: true,
        same_roots: true,
    },
    Format {
        name: "v2-sha3-rabinkarp-deflate",
        create: &[
            "--format-version=2",
            "--block-hash=HMAC-SHA3-224",
            "--object-splitter=DYNAMIC-4M-RABINKARP",
            "--format-block-key-derivation-algorithm=pbkdf2-sha256-600000",
        ],
        policy: &["--compression=deflate-default"],
        on_s3: false,
        same_roots: true,
    },
    Format {
        name: "v1-blake2s",
        create: &["--format-version=1", "--block-hash=BLAKE2S-128"],
        policy: &[],
        on_s3: true,
        same_roots: true,
    },
    Format {
        name: "v1-sha256-chacha-pgzip",
        create: &[
            "--format-version=1",
            "--block-hash=HMAC-SHA256",
            "--encryption=CHACHA20-POLY1305-HMAC-SHA256",
            "--object-splitter=DYNAMIC-2M-BUZHASH",
        ],
        policy: &["--compression=pgzip"],
        on_s3: false,
        same_roots: false,
    },
];

/// What was done and found equal.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    snapshots: u64,
    roots: u64,
    verified: u64,
    restores: u64,
    files: u64,
    bytes: u64,
    /// Snapshots that were killed before their end.
    killed: u64,
}

impl Counts {
    pub const HEAD: &str =
        "snapshots  killed  equal roots  verifications  restores   files        MB";

    pub fn text(&self) -> String {
        let Self { snapshots, roots, verified, restores, files, bytes, killed } = self;
        let mb = *bytes as f64 / 1e6;
        format!(
            "{snapshots:>9}  {killed:>6}  {roots:>11}  {verified:>13}  {restores:>8}  {files:>6}  {mb:>8.1}"
        )
    }

    pub fn add_snapshots(&mut self, count: u64) {
        self.snapshots += count;
    }

    pub fn add_verified(&mut self, count: u64) {
        self.verified += count;
    }

    pub fn add_killed(&mut self, is_killed: bool) {
        self.killed += u64::from(is_killed);
    }

    /// Compares what `reader` restored with what was snapshot; gives the differences.
    pub fn compare(
        &mut self,
        reader: &Client,
        source: &Path,
        restored: &Path,
    ) -> anyhow::Result<Vec<String>> {
        let leave = Leave { folder_times: !reader.restores_folder_times };
        let result = tree::compare(source, restored, leave)?;
        self.restores += 1;
        self.files += result.files;
        self.bytes += result.bytes;
        let name = reader.name;
        Ok(result.differences.into_iter().map(|it| format!("restored by {name}: {it}")).collect())
    }

    pub fn add(&mut self, other: &Self) {
        self.snapshots += other.snapshots;
        self.roots += other.roots;
        self.verified += other.verified;
        self.restores += other.restores;
        self.files += other.files;
        self.bytes += other.bytes;
        self.killed += other.killed;
    }
}

/// One repository.
#[derive(Debug)]
pub struct Course<'a> {
    pub format: &'static Format,
    pub place: Place<'a>,
    pub by_kopia: bool,
    pub counts: Counts,
}

impl Course<'_> {
    /// Format, storage, creator.
    pub fn name(&self) -> String {
        let place = match self.place {
            Place::Folder(_) => "folder",
            Place::S3(..) => "s3",
        };
        let by = if self.by_kopia { "by-kopia" } else { "by-kopia-lite" };
        format!("{}/{place}/{by}", self.format.name)
    }

    /// Runs the course; gives the differences found.
    pub fn run(
        &mut self,
        kopia: &Client,
        ours: &Client,
        folder: &Path,
        mut forest: Forest,
    ) -> anyhow::Result<Vec<String>> {
        let kopia = kopia.at_home(folder.join("home-kopia"))?;
        let ours = ours.at_home(folder.join("home-kopia-lite"))?;
        let (first, second) = if self.by_kopia { (&kopia, &ours) } else { (&ours, &kopia) };
        let mut walk = Walk {
            format: self.format,
            counts: &mut self.counts,
            restores: folder.join("restored"),
            wrong: Vec::new(),
        };
        create(first, &self.place, self.format)?;
        connect(second, &self.place)?;
        walk.one_way(first, second, &forest)?;
        for round in 0..ROUNDS {
            forest.change(round)?;
            walk.at_once(first, second, &forest)?;
        }
        let mut round = ROUNDS;
        for client in [&ours, &kopia] {
            walk.killed(client, &mut forest, &mut round)?;
        }
        walk.verify(&kopia)?;
        walk.verify(&ours)?;
        walk.same_view(&kopia, &ours)?;
        walk.maintained(&kopia, &ours, &forest)?;
        Ok(walk.wrong)
    }
}

/// Both clients are to be one user on one host, so that they share sources.
const WHO: [&str; 3] =
    ["--override-hostname=host", "--override-username=user", "--max-list-cache-duration=0s"];

pub fn repository(
    client: &Client,
    verb: &str,
    place: &Place,
    flags: &[&str],
) -> anyhow::Result<()> {
    let place_args = place.args();
    let mut args = vec!["repository", verb];
    args.extend(place_args.iter().map(String::as_str));
    args.extend(WHO);
    args.extend(flags);
    client.run(&args).map(|_| ())
}

fn create(client: &Client, place: &Place, format: &Format) -> anyhow::Result<()> {
    if let Place::Folder(path) = place {
        std::fs::create_dir_all(path)?;
    }
    repository(client, "create", place, format.create)?;
    if !format.policy.is_empty() {
        client.run(&[&["policy", "set", "--global"], format.policy].concat())?;
    }
    Ok(())
}

pub fn connect(client: &Client, place: &Place) -> anyhow::Result<()> {
    repository(client, "connect", place, &[])
}

/// The steps of a course, and what they found.
struct Walk<'a> {
    format: &'static Format,
    counts: &'a mut Counts,
    restores: PathBuf,
    wrong: Vec<String>,
}

impl Walk<'_> {
    /// One client writes; the other sees, restores, and comes to the same roots by hashing all
    /// anew.
    fn one_way(&mut self, first: &Client, second: &Client, forest: &Forest) -> anyhow::Result<()> {
        for tree in forest.all() {
            let theirs = first.snapshot(&tree.path, &[])?;
            let seen = second.snapshot_ids()?.contains(&theirs.id);
            ensure!(seen, "{} does not see what {} wrote", second.name, first.name);
            self.restored(second, first, &theirs, tree)?;
            let again = second.snapshot(&tree.path, &["--force-hash=100"])?;
            self.counts.snapshots += 2;
            self.same_root(&theirs, &again, tree);
            self.restored(first, second, &again, tree)?;
        }
        Ok(())
    }

    /// Both write at the same time, crosswise, so that each builds on the other's last snapshot.
    fn at_once(&mut self, first: &Client, second: &Client, forest: &Forest) -> anyhow::Result<()> {
        let (a, b) = (&forest.plain, &forest.rules);
        let (one, two) = both(|| first.snapshot(&a.path, &[]), || second.snapshot(&b.path, &[]))?;
        let (three, four) =
            both(|| first.snapshot(&b.path, &[]), || second.snapshot(&a.path, &[]))?;
        self.counts.snapshots += 4;
        self.same_root(&one, &four, a);
        self.same_root(&two, &three, b);
        for client in [first, second] {
            let ids = client.snapshot_ids()?;
            for made in [&one, &two, &three, &four] {
                if !ids.contains(&made.id) {
                    self.wrong.push(format!("{} does not see {}", client.name, made.id));
                }
            }
        }
        self.restored(second, first, &one, a)?;
        self.restored(first, second, &two, b)
    }

    /// One is killed at several instants of its snapshots; what it leaves both must verify.
    fn killed(
        &mut self,
        client: &Client,
        forest: &mut Forest,
        round: &mut u64,
    ) -> anyhow::Result<()> {
        let source = forest.plain.path.clone();
        let mut change = || {
            *round += 1;
            forest.change(*round - 1)
        };
        change()?;
        let begun = Instant::now();
        client.snapshot(&source, &[])?;
        self.counts.snapshots += 1;
        let whole = begun.elapsed();
        for kill in 1..=KILLS {
            change()?;
            let path = source.to_str().context("the path is not UTF-8")?;
            let mut command = client.command(&["snapshot", "create", "--no-progress", path]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            thread::sleep(whole * kill / (KILLS + 1));
            // One that has ended already can't be killed any more.
            let _ = child.kill();
            self.counts.killed += u64::from(!child.wait()?.success());
        }
        Ok(())
    }

    fn same_root(&mut self, one: &Snapshot, two: &Snapshot, tree: &Tree) {
        if !self.format.same_roots {
            return;
        }
        if one.root == two.root {
            self.counts.roots += 1;
        } else {
            self.wrong.push(format!("{}: roots {} and {}", tree.name, one.root, two.root));
        }
    }

    /// `reader` restores what `writer` wrote: equal to the source, or, where rules left things out,
    /// to what the writer itself restores.
    fn restored(
        &mut self,
        reader: &Client,
        writer: &Client,
        snapshot: &Snapshot,
        tree: &Tree,
    ) -> anyhow::Result<()> {
        let target =
            |client: &Client| self.restores.join(format!("{}-by-{}", tree.name, client.name));
        let found = target(reader);
        restore_fresh(reader, snapshot, &found)?;
        let (expected, folder_times) = if tree.is_whole {
            (tree.path.clone(), !reader.restores_folder_times)
        } else {
            let other = self.restores.join(format!("{}-by-the-writer", tree.name));
            restore_fresh(writer, snapshot, &other)?;
            (other, reader.restores_folder_times != writer.restores_folder_times)
        };
        let result = tree::compare(&expected, &found, Leave { folder_times })?;
        self.counts.restores += 1;
        self.counts.files += result.files;
        self.counts.bytes += result.bytes;
        let place = format!("{}, written by {}, read by {}", tree.name, writer.name, reader.name);
        self.wrong.extend(result.differences.into_iter().map(|it| format!("{place}: {it}")));
        Ok(())
    }

    fn verify(&mut self, client: &Client) -> anyhow::Result<()> {
        client.run(&["snapshot", "verify", "--verify-files-percent=100", "--no-progress"])?;
        client.run(&["content", "verify", "--full", "--no-progress"])?;
        self.counts.verified += 2;
        Ok(())
    }

    /// Each works with the other's connection file, and sees the same.
    fn same_view(&mut self, kopia: &Client, ours: &Client) -> anyhow::Result<()> {
        let lists = [
            kopia.snapshot_ids()?,
            ours.snapshot_ids()?,
            kopia.with_connection_of(ours).snapshot_ids()?,
            ours.with_connection_of(kopia).snapshot_ids()?,
        ];
        if lists.iter().any(|list| *list != lists[0]) {
            self.wrong.push(format!("the lists of snapshots differ: {lists:?}"));
        }
        Ok(())
    }

    /// Last and alone: Kopia rewrites what it can at once, and all is still there.
    fn maintained(&mut self, kopia: &Client, ours: &Client, forest: &Forest) -> anyhow::Result<()> {
        let last = forest.all().map(|tree| Ok((tree, kopia.snapshot(&tree.path, &[])?)));
        let last: Vec<_> = last.into_iter().collect::<anyhow::Result<_>>()?;
        self.counts.snapshots += last.len() as u64;
        kopia.run(&["maintenance", "set", "--owner=me"])?;
        kopia.run(&["maintenance", "run", "--full", "--safety=none", "--no-progress"])?;
        for (tree, snapshot) in &last {
            self.restored(ours, kopia, snapshot, tree)?;
        }
        self.verify(ours)?;
        self.verify(kopia)
    }
}

fn restore_fresh(client: &Client, snapshot: &Snapshot, target: &Path) -> anyhow::Result<()> {
    if target.exists() {
        std::fs::remove_dir_all(target)?;
    }
    std::fs::create_dir_all(target.parent().context("a target lies in a folder")?)?;
    client.restore(&snapshot.id, target)
}

/// Does two things at the same time.
pub fn both<A: Send, B: Send>(
    one: impl FnOnce() -> anyhow::Result<A> + Send,
    two: impl FnOnce() -> anyhow::Result<B> + Send,
) -> anyhow::Result<(A, B)> {
    thread::scope(|scope| {
        let other = scope.spawn(two);
        let one = one();
        let two = other.join().map_err(|_| anyhow!("a thread ended early"))?;
        Ok((one?, two?))
    })
}
