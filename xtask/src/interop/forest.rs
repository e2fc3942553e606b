//! Trees to snapshot, made from a seed: everything that a file system can hold and a client can
//! stumble over.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::ensure;

/// A tree.
#[derive(Debug)]
pub struct Tree {
    pub name: &'static str,
    pub path: PathBuf,
    /// A snapshot holds all of it: no ignore rules, no kinds of files that are left out.
    pub is_whole: bool,
}

/// The trees of one course.
#[derive(Debug)]
pub struct Forest {
    /// Nothing is left out of it, so a restore must equal it.
    pub plain: Tree,
    /// With ignore rules, pipes and names that are no text.
    pub rules: Tree,
    seed: u64,
}

impl Forest {
    /// Makes the trees under `folder`.
    pub fn plant(folder: &Path) -> anyhow::Result<Self> {
        let tree = |name: &'static str, is_whole| Tree { name, path: folder.join(name), is_whole };
        let mut forest = Self { plain: tree("plain", true), rules: tree("rules", false), seed: 1 };
        fs::create_dir_all(&forest.plain.path)?;
        fs::create_dir_all(&forest.rules.path)?;
        forest.plain()?;
        forest.rules()?;
        for tree in forest.all() {
            set_times(&tree.path)?;
        }
        Ok(forest)
    }

    /// Both trees.
    pub fn all(&self) -> impl Iterator<Item = &Tree> {
        [&self.plain, &self.rules].into_iter()
    }

    /// Changes, adds and removes files in both.
    pub fn change(&mut self, round: u64) -> anyhow::Result<()> {
        let (plain, rules) = (self.plain.path.clone(), self.rules.path.clone());
        self.write(&plain.join("big/random"), 5 << 20)?;
        self.write(&plain.join(format!("added {round}")), 70_000)?;
        fs::remove_file(plain.join(format!("many/{round}")))?;
        fs::rename(plain.join(format!("many/3{round}")), plain.join(format!("moved {round}")))?;
        fs::write(plain.join("same size"), format!("{round:08}"))?;
        self.write(&rules.join(format!("src/added {round}")), 10_000)?;
        fs::write(rules.join(format!("added {round}.tmp")), "ignored")?;
        fs::set_permissions(rules.join("src/main"), Permissions::from_mode(0o700 + round as u32))?;
        Ok(())
    }

    fn plain(&mut self) -> anyhow::Result<()> {
        let top = self.plain.path.clone();
        for name in NAMES {
            fs::write(top.join(name), name)?;
        }
        fs::create_dir_all(top.join("names"))?;
        for name in NAMES {
            fs::create_dir_all(top.join("names").join(name))?;
        }
        fs::write(top.join("x".repeat(255)), "a long name")?;
        fs::create_dir_all(top.join("empty folder"))?;
        fs::write(top.join("empty file"), "")?;
        fs::write(top.join("same size"), "00000000")?;
        fs::create_dir_all(top.join("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z"))?;
        fs::write(top.join("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/deep"), "deep")?;
        fs::create_dir_all(top.join("many"))?;
        for n in 0..300_usize {
            self.write(&top.join(format!("many/{n}")), n * 37)?;
        }
        self.big(&top.join("big"))?;
        modes(&top.join("modes"))?;
        links(&top.join("links"))
    }

    /// Sizes about where files are cut and packs are full.
    fn big(&mut self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        self.write(&folder.join("random"), 12 << 20)?;
        self.write(&folder.join("one MiB"), 1 << 20)?;
        self.write(&folder.join("one MiB and one"), (1 << 20) + 1)?;
        self.write(&folder.join("picture.jpg"), 300_000)?;
        let line = "All work and no play makes a compressible file.\n";
        fs::write(folder.join("text"), line.repeat(120_000))?;
        fs::write(folder.join("zeros"), vec![0; 9 << 20])?;
        File::create(folder.join("sparse"))?.set_len(10 << 20)?;
        fs::copy(folder.join("random"), folder.join("random, again"))?;
        Ok(())
    }

    fn rules(&mut self) -> anyhow::Result<()> {
        let top = self.rules.path.clone();
        for folder in ["src/build", "build/deep", "doc/cache", "keep/build", "node_modules/x"] {
            fs::create_dir_all(top.join(folder))?;
        }
        let rules =
            "# Left out:\n*.tmp\n!keep.tmp\n/build/\n**/cache/*.bin\nnode_modules\n\\#odd\n";
        fs::write(top.join(".kopiaignore"), rules)?;
        fs::write(top.join("keep/.kopiaignore"), "*\n!*.rs\n!build/\n")?;
        for file in FILES {
            self.write(&top.join(file), 2_000 + file.len() * 100)?;
        }
        for name in [&b"latin-\xe9"[..], b"\xff\xfe", b"half \xe2\x82"] {
            fs::write(top.join(OsStr::from_bytes(name)), name)?;
        }
        symlink(OsStr::from_bytes(b"to \xff"), top.join("link to no text"))?;
        let pipe = Command::new("mkfifo").arg(top.join("pipe")).status();
        ensure!(pipe.is_ok_and(|status| status.success()), "can't make a pipe with mkfifo");
        Ok(())
    }

    /// A file of `length` bytes that don't repeat.
    fn write(&mut self, path: &Path, length: usize) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        Ok(File::create(path)?.write_all(&bytes[..length])?)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// Names that JSON, shells, HTML and other systems have trouble with.
const NAMES: &[&str] = &[
    " leading",
    "trailing ",
    "trailing.",
    "-dash",
    "a'b\"c",
    "a\\b",
    "tab\tnew\nline",
    "bell\u{7}",
    "<&>",
    "*?[x]",
    "$HOME",
    "~",
    "%41",
    "é composed",
    "e\u{301} decomposed",
    "日本語",
    "\u{1f600}",
    "\u{2028}",
    "\u{fffd}",
    "\u{200f}right",
    "CON",
    "I0f00",
    "k0f00",
    "UPPER",
    "upper",
];

/// Files that the rules keep or leave out.
const FILES: &[&str] = &[
    "src/main",
    "src/a.tmp",
    "src/keep.tmp",
    "src/build/made",
    "build/made",
    "build/deep/made",
    "doc/cache/a.bin",
    "doc/cache/a.txt",
    "doc/page",
    "keep/a.rs",
    "keep/a.txt",
    "keep/build/b.rs",
    "keep/build/b.txt",
    "node_modules/x/y",
    "#odd",
    "a.tmp",
];

fn modes(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for mode in [0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1644] {
        let path = folder.join(format!("file {mode:o}"));
        fs::write(&path, format!("{mode:o}"))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    for mode in [0o500, 0o700, 0o755, 0o1777, 0o2775] {
        let path = folder.join(format!("folder {mode:o}"));
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn links(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("target"), "target")?;
    fs::hard_link(folder.join("target"), folder.join("hard"))?;
    let long = "../".repeat(300);
    for (name, target) in [
        ("relative", "target"),
        ("dangling", "no such file"),
        ("absolute", "/etc/hostname"),
        ("folder", ".."),
        ("itself", "itself"),
        ("with blanks", " a b "),
        ("é", "é"),
        ("long", &long),
    ] {
        symlink(target, folder.join(name))?;
    }
    Ok(())
}

/// Times that count nanoseconds, lie before 1970, or far ahead; folders last, inside out.
fn set_times(folder: &Path) -> anyhow::Result<()> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    paths.sort_by_key(fs::DirEntry::file_name);
    for (n, entry) in paths.iter().enumerate() {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            set_times(&entry.path())?;
        } else if kind.is_file() {
            let nanos = Duration::from_nanos(n as u64 * 1_000_000_007 + 123_456_789);
            let time = match n % 10 {
                7 => SystemTime::UNIX_EPOCH - Duration::from_secs(86_400 * 365),
                8 => SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800) + nanos,
                9 => SystemTime::UNIX_EPOCH + Duration::from_secs(1),
                _ => SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000) + nanos,
            };
            // Reading is enough to set times, and works for files that must not be written.
            File::open(entry.path())?.set_times(FileTimes::new().set_modified(time))?;
        }
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_400_000_000_987_654_321);
    Ok(File::open(folder)?.set_times(FileTimes::new().set_modified(time))?)
}
