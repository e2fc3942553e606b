//! Every command that both clients have, side by side: exit code, stdout and stderr must be the same.
//!
//! Each client works on a repository of its own, a copy of one that Kopia made, and in a home of its
//! own, so that commands that write may be compared, too. IDs, times and places are masked before
//! the comparison. What differs on purpose is in the table with its reason, and must differ.

mod lines;
mod mask;

use std::{fs, path::Path, process::Output, time::Instant};

use anyhow::Context;
use lines::{LINES, Line, Look, ON_S3};
use mask::Mask;

use crate::{place::Place, programs::Client, server::Server};

/// The courses' names in the table of courses: repositories in folders, and on the S3 server.
pub const IN_FOLDERS: &str = "beside/commands";
pub const ON_THE_SERVER: &str = "beside/s3";

/// What a client printed, comparable.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    ok: bool,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// One client with its repository.
struct Side {
    client: Client,
    words: Vec<(&'static str, String)>,
    mask: Mask,
}

/// Runs all lines, in folders or on a server; gives those that differ and ought not to.
pub fn run(
    kopia: &Client,
    ours: &Client,
    folder: &Path,
    server: Option<&Server>,
) -> anyhow::Result<Vec<String>> {
    let first = folder.join("first");
    plant(&folder.join("source"), 1)?;
    let maker = kopia.at_home(folder.join("maker"))?;
    fs::create_dir_all(&first)?;
    let path = format!("--path={}", first.display());
    maker.run(&["repository", "create", "filesystem", &path, WHO[0], WHO[1]])?;
    let source = folder.join("source");
    maker.snapshot(&source, &["--tags=job:nightly"])?;
    plant(&source, 2)?;
    maker.snapshot(&source, &["--description=second"])?;
    let side = |client: &Client, name: &str| {
        let folder = folder.join(name);
        let place = match server {
            Some(server) => Place::S3(server, format!("beside-{name}/")),
            None => Place::Folder(folder.join("repo")),
        };
        Side::new(client, &maker, &folder, &place, &source)
    };
    let sides = [side(kopia, "kopia")?, side(ours, "ours")?];
    let (mut same, mut wrong) = (0, Vec::new());
    let lines: Vec<_> = match server {
        Some(_) => LINES.iter().map(Line::on_s3).chain(ON_S3.iter().copied()).collect(),
        None => LINES.to_vec(),
    };
    for line in &lines {
        let start = Instant::now();
        let [theirs, our] = [sides[0].say(line)?, sides[1].say(line)?];
        let is_same = theirs == our;
        let verdict = match (is_same, line.differs) {
            (true, None) => "same".to_owned(),
            (false, Some(reason)) => format!("differs: {reason}"),
            (true, Some(_)) => "SAME, AND IS SAID TO DIFFER".to_owned(),
            (false, None) => "DIFFERS".to_owned(),
        };
        println!("    {:72} {verdict}", line.words);
        say_if_slow(start, line);
        same += u64::from(is_same);
        if is_same != line.differs.is_none() {
            wrong.push(format!("{}: {verdict}", line.words));
            difference(&theirs, &our).iter().for_each(|line| println!("      {line}"));
        }
    }
    println!("    {same} of {} the same", lines.len());
    Ok(wrong)
}

/// A command that takes long is worth a line of its own.
fn say_if_slow(start: Instant, line: &Line) {
    let seconds = start.elapsed().as_secs();
    if seconds > 20 {
        println!("    {} took {seconds} s", line.words);
    }
}

/// Who takes the snapshots, the same on both sides.
const WHO: [&str; 2] = ["--override-hostname=h", "--override-username=u"];

impl Side {
    /// A client in a home of its own, with a copy of what `maker` made at `place`.
    fn new(
        client: &Client,
        maker: &Client,
        folder: &Path,
        place: &Place<'_>,
        source: &Path,
    ) -> anyhow::Result<Self> {
        let (home, out) = (folder.join("home"), folder.join("out"));
        fs::create_dir_all(folder.join("copy"))?;
        fs::create_dir_all(&out)?;
        let at = place.args();
        let at: Vec<_> = at.iter().map(String::as_str).collect();
        let copy_place = match place {
            Place::Folder(path) => {
                copy(&folder.with_file_name("first"), path)?;
                Place::Folder(folder.join("copy"))
            }
            Place::S3(server, prefix) => {
                maker.run(&[&["repository", "sync-to"], &at[..]].concat())?;
                Place::S3(server, format!("copy-of-{prefix}"))
            }
        };
        let client = client.at_home(home.clone())?;
        client.run(&[&["repository", "connect"], &at[..], &WHO[..]].concat())?;
        let list = client.json(&["snapshot", "list", "--all", "--show-identical", "--json"])?;
        let told = |at: usize, pointer: &str| {
            let value = list.get(at).and_then(|it| it.pointer(pointer)).and_then(|it| it.as_str());
            value.map(str::to_owned).context("the first two snapshots")
        };
        let words = vec![
            ("$SOURCE", source.display().to_string()),
            ("$AT", at.join(" ")),
            ("$COPYAT", copy_place.args().join(" ")),
            ("$COPY", folder.join("copy").display().to_string()),
            ("$OUT", out.display().to_string()),
            ("$HOME", home.display().to_string()),
            ("$ID1", told(0, "/id")?),
            ("$ID2", told(1, "/id")?),
            ("$ROOT1", told(0, "/rootEntry/obj")?),
            ("$ROOT2", told(1, "/rootEntry/obj")?),
        ];
        let program = if client.name == "Kopia" { "kopia" } else { "kopia-lite" };
        let mut mask = Mask::new(folder, program);
        if let Place::S3(_, prefix) = place {
            mask = mask.and(prefix, "PREFIX/");
        }
        Ok(Self { client, words, mask })
    }

    fn say(&self, line: &Line) -> anyhow::Result<Said> {
        let put = |text: String, (name, value): &(&str, String)| text.replace(name, value);
        let words = self.words.iter().fold(line.words.to_owned(), put);
        let args: Vec<_> = words.split(' ').collect();
        let mut command = self.client.command(&args);
        let output = command.output().with_context(|| format!("running {}", line.words))?;
        Ok(self.said(line, &output))
    }

    fn said(&self, line: &Line, output: &Output) -> Said {
        let lines = |bytes: &[u8]| {
            let text = self.mask.text(&String::from_utf8_lossy(bytes));
            let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
            if line.is_unordered {
                lines.iter_mut().for_each(|line| *line = line.trim_end_matches(',').to_owned());
                lines.sort();
            }
            lines
        };
        let (out, err) = match line.look {
            Look::Both => (true, true),
            Look::Stdout => (true, false),
            Look::Code => (false, false),
        };
        Said {
            ok: output.status.success(),
            stdout: if out { lines(&output.stdout) } else { Vec::new() },
            stderr: if err { lines(&output.stderr) } else { Vec::new() },
        }
    }
}

/// The lines that one side alone has.
fn difference(theirs: &Said, ours: &Said) -> Vec<String> {
    let mut all = Vec::new();
    if theirs.ok != ours.ok {
        all.push(format!("  Kopia ends well: {}, kopia-lite: {}", theirs.ok, ours.ok));
    }
    for (name, theirs, ours) in
        [("stdout", &theirs.stdout, &ours.stdout), ("stderr", &theirs.stderr, &ours.stderr)]
    {
        let only = |of: &[String], other: &[String], mark: char| {
            let of = of.iter().filter(|line| !other.contains(line)).take(8);
            of.map(|line| format!("  {name} {mark} {line}")).collect::<Vec<_>>()
        };
        all.extend(only(theirs, ours, '-'));
        all.extend(only(ours, theirs, '+'));
        if all.is_empty() && theirs != ours {
            all.push(format!("  {name}: the same lines in another order, or more often"));
        }
    }
    all
}

/// The tree that snapshots are taken of, as it is at the `n`th.
fn plant(folder: &Path, n: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("sub/deep"))?;
    fs::write(folder.join("a.txt"), "hello\n")?;
    fs::write(folder.join("sub/b.bin"), vec![7; 300_000])?;
    fs::write(folder.join("sub/deep/c.txt"), format!("version {n}\n"))?;
    if n > 1 {
        fs::write(folder.join("new.txt"), "new\n")?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
            let modified = entry.metadata()?.modified()?;
            fs::File::options().append(true).open(&to)?.set_modified(modified)?;
        }
    }
    Ok(())
}
