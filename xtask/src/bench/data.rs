//! The data sets: which files there are, what is in them, and which of them change.
//!
//! Nothing is remembered: the n-th file of a set follows from n, so a set of any size is written
//! with little memory, and what was changed is put back by writing it again.

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::random::Random;

/// A set of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Small files of all sorts, and some of 4 MiB.
    Small,
    /// One file.
    Big,
    /// Files smaller than a block of a disk.
    Tiny,
    /// Like the sources of a kernel.
    Kernel,
}

/// Their names on the command line.
pub const KINDS: &[(&str, Kind)] =
    &[("small", Kind::Small), ("big", Kind::Big), ("tiny", Kind::Tiny), ("kernel", Kind::Kernel)];

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stuff {
    Noise,
    Prose,
    Code,
}

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spec {
    folder: String,
    name: String,
    length: u64,
    stuff: Stuff,
}

/// A file is made of pieces of this size, each from a stream of its own.
const PIECE: u64 = 1 << 20;
/// Of how many files one changes.
const ONE_OF: u64 = 100;
/// In how many places a single big file changes.
const PLACES: u64 = 4;

/// A set on disk.
#[derive(Debug)]
pub struct Set {
    kind: Kind,
    scale: f64,
    root: PathBuf,
}

impl Set {
    /// Writes the set below `root`.
    pub fn plant(kind: Kind, scale: f64, root: &Path) -> anyhow::Result<Self> {
        let set = Self { kind, scale, root: root.to_owned() };
        let mut folder = String::new();
        for n in 0..set.files() {
            let spec = set.spec(n);
            if spec.folder != folder || n == 0 {
                folder.clone_from(&spec.folder);
                fs::create_dir_all(root.join(&folder))?;
            }
            set.write(n, &spec, 0, false)?;
        }
        Ok(set)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Are its files so few that deleting them costs those who make files next nothing?
    pub fn has_few_files(&self) -> bool {
        self.files() < 1000
    }

    /// One folder out of many, from the root; none if there are not many.
    pub fn folder(&self) -> Option<String> {
        (self.kind != Kind::Big).then(|| self.spec(self.files() / 2).folder)
    }

    /// Writes what changes in the version that is wanted; version 0 is what was planted.
    pub fn turn_to(&self, version: u64) -> anyhow::Result<()> {
        let mut changing = (0..self.files()).filter(|n| changes(*n));
        changing.try_for_each(|n| self.write(n, &self.spec(n), version, true))
    }

    fn files(&self) -> u64 {
        let full = match self.kind {
            Kind::Small => 20_060,
            Kind::Big => 1,
            Kind::Tiny => 100_000,
            Kind::Kernel => 30_000,
        };
        self.scaled(full)
    }

    fn scaled(&self, full: u64) -> u64 {
        ((full as f64 * self.scale).round() as u64).max(1)
    }

    /// What the `n`th file is.
    fn spec(&self, n: u64) -> Spec {
        let mut random = Random::of(&[self.kind as u64, n]);
        match self.kind {
            // 60 of 20,060 are large, and spread among the folders.
            Kind::Small if n % 334 == 167 => Spec {
                folder: format!("d{:03}", n / 40),
                name: format!("large{n:05}"),
                length: 4 << 20,
                stuff: if n % 668 == 167 { Stuff::Noise } else { Stuff::Prose },
            },
            Kind::Small => {
                let noise = random.below(3) == 0;
                Spec {
                    folder: format!("d{:03}", n / 40),
                    name: format!("{n:05}.{}", if noise { "bin" } else { "txt" }),
                    length: random.size(8192.0, 1.0, [1 << 10, 64 << 10]),
                    stuff: if noise { Stuff::Noise } else { Stuff::Prose },
                }
            }
            Kind::Big => Spec {
                folder: String::new(),
                name: "big".to_owned(),
                length: self.scaled(2 << 30),
                stuff: Stuff::Noise,
            },
            Kind::Tiny => Spec {
                folder: format!("{:02}/{:04}", n / 10_000, n / 100),
                name: format!("{n:06}"),
                length: random.below(1025),
                stuff: if random.below(2) == 0 { Stuff::Noise } else { Stuff::Prose },
            },
            Kind::Kernel => Spec {
                folder: kernel_folder(n / 15),
                name: format!(
                    "{}{n}.{}",
                    ["main", "core", "dev"][n as usize % 3],
                    ["c", "h"][n as usize % 2]
                ),
                length: random.size(8192.0, 0.9, [1 << 10, 60 << 10]),
                stuff: Stuff::Code,
            },
        }
    }

    fn write(&self, n: u64, spec: &Spec, version: u64, is_there: bool) -> anyhow::Result<()> {
        let path = self.root.join(&spec.folder).join(&spec.name);
        let mut file = OpenOptions::new().write(true).create_new(!is_there).open(path)?;
        // Of one file among many all changes, of a single file only some pieces.
        let pieces = spec.length.div_ceil(PIECE);
        let all = !is_there || self.kind != Kind::Big;
        let mut bytes = Vec::new();
        for piece in (0..pieces).filter(|piece| all || changes_inside(*piece, pieces)) {
            let mut random = Random::of(&[self.kind as u64, n, piece, version]);
            let begin = piece * PIECE;
            let length = (spec.length - begin).min(PIECE) as usize;
            bytes.clear();
            match spec.stuff {
                Stuff::Noise => random.noise(length, &mut bytes),
                Stuff::Prose => random.prose(length, &mut bytes),
                Stuff::Code => random.code(length, &mut bytes),
            }
            file.seek(SeekFrom::Start(begin))?;
            file.write_all(&bytes)?;
        }
        set_time(&file, n, version)
    }
}

/// Does this file change? The first does, and of the others one of a hundred, here and there.
fn changes(n: u64) -> bool {
    n == 0 || Random::of(&[n]).below(ONE_OF) == 0
}

/// Does this piece of a single file change? One of a hundred does, in few places.
fn changes_inside(piece: u64, pieces: u64) -> bool {
    let stretch = pieces.div_ceil(PLACES);
    let length = (pieces / ONE_OF / PLACES).max(1);
    // In the middle of each stretch, so that neither end of the file changes.
    (stretch / 2..stretch / 2 + length).contains(&(piece % stretch))
}

/// Times long past, so that no client takes a file for one that may be changing now.
fn set_time(file: &File, n: u64, version: u64) -> anyhow::Result<()> {
    let seconds = Duration::from_secs(1_600_000_000 + n + version * 10_000_000);
    let time = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + seconds);
    Ok(file.set_times(time)?)
}

/// Up to six deep, about fifteen files in each.
fn kernel_folder(n: u64) -> String {
    const TOP: [&str; 8] = ["arch", "drivers", "fs", "include", "kernel", "mm", "net", "sound"];
    const DEEPER: [&str; 3] = ["core", "hw", "regs"];
    let top = TOP[(n % 8) as usize];
    let mut path = format!("{top}/{top}{:02}/unit{:02}", n / 8 % 16, n / 128);
    for part in &DEEPER[..(n % 4) as usize] {
        path.push('/');
        path.push_str(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        programs::Scratch,
        tree::{self, Leave},
    };

    fn differences(one: &Set, two: &Set) -> Vec<String> {
        let leave = Leave { folder_times: true };
        tree::compare(one.root(), two.root(), leave).expect("both are there").differences
    }

    #[test]
    fn a_set_is_the_same_each_time_changes_in_part_and_turns_back() {
        let scratch = Scratch::new("data", false).expect("there is a place for such");
        for (name, kind) in KINDS {
            let plant = |which: &str| {
                let root = scratch.path().join(name).join(which);
                fs::create_dir_all(&root).expect("the folder is new");
                Set::plant(*kind, 0.004, &root).expect("it is written")
            };
            let (one, two) = (plant("one"), plant("two"));
            assert_eq!(differences(&one, &two), Vec::<String>::new(), "{name}");
            one.turn_to(1).expect("it is written");
            let found = differences(&one, &two);
            let changed = |part: &str| found.iter().filter(|it| it.contains(part)).count() as u64;
            let files = (0..one.files()).filter(|n| changes(*n)).count() as u64;
            assert_eq!((changed("other bytes"), changed("the time")), (files, files), "{found:?}");
            two.turn_to(1).expect("it is written");
            assert_eq!(differences(&one, &two), Vec::<String>::new(), "{name}");
            one.turn_to(0).expect("it is written");
            two.turn_to(0).expect("it is written");
            assert_eq!(differences(&one, &two), Vec::<String>::new(), "{name}");
            if let Some(folder) = one.folder() {
                assert!(one.root().join(folder).is_dir(), "{name}");
            }
        }
    }

    #[test]
    fn the_sets_have_the_shape_that_is_said() {
        let set = |kind| Set { kind, scale: 1.0, root: PathBuf::new() };
        let count = |kind, of: &dyn Fn(&Spec) -> bool| {
            let set = set(kind);
            (0..set.files()).filter(|n| of(&set.spec(*n))).count()
        };
        assert_eq!(count(Kind::Small, &|it| it.length == 4 << 20), 60);
        assert_eq!(count(Kind::Tiny, &|it| it.length > 1024), 0);
        assert_eq!(set(Kind::Big).spec(0).length, 2 << 30);
        for (kind, folders) in [(Kind::Small, 502), (Kind::Tiny, 1000), (Kind::Kernel, 2000)] {
            let set = set(kind);
            let found: BTreeSet<_> = (0..set.files()).map(|n| set.spec(n).folder).collect();
            assert_eq!(found.len(), folders, "{kind:?}");
        }
    }

    #[test]
    fn about_one_hundredth_of_many_files_changes() {
        let changing = (0..100_000).filter(|n| changes(*n)).count();
        assert!((900..1100).contains(&changing), "{changing}");
    }

    #[test]
    fn one_hundredth_of_a_big_file_changes_in_few_places() {
        let changed: Vec<_> = (0..2048).filter(|piece| changes_inside(*piece, 2048)).collect();
        assert_eq!(changed.len(), 20);
        let places = changed.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() + 1;
        assert_eq!(places, 4);
        assert_eq!((0..1).filter(|piece| changes_inside(*piece, 1)).count(), 1);
    }
}
