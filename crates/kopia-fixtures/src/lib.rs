//! Real repositories and vectors made with Kopia 0.23.1, for the tests of this workspace.
//!
//! `fixtures/README.md` says what each repository holds, `vectors/README.md` what each vector file tests. Every
//! repository is kept as Kopia wrote it, packed; [`repo`] lays one out in a folder of its own. [`hostile`] damages bytes
//! on purpose, for tests of parsers. [`made`] is for benches over repositories that are made.

pub mod hostile;
pub mod made;
mod skip;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;
use sha2::{Digest, Sha256};
pub use skip::skip;

/// A repository laid out in a temporary folder that goes away with this value.
#[derive(Debug)]
pub struct Unpacked {
    folder: tempfile::TempDir,
    /// The fixture's name.
    pub name: String,
    /// What is in it: the fixture's `expected.json`.
    pub expected: Value,
}

impl Unpacked {
    /// The repository's folder, as `--path` takes it.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// The password that opens it.
    pub fn password(&self) -> &str {
        self.expected["password"].as_str().unwrap_or("fixture")
    }

    /// One of Kopia's own outputs kept beside the repository, such as `snapshot-list.json`.
    pub fn output(&self, file: &str) -> Value {
        json(&folder(&self.name).join(file))
    }
}

/// The folder that holds the fixture `name`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The names of all fixtures that are repositories.
pub fn names() -> Vec<String> {
    let all = fs::read_dir(folder("")).expect("the fixtures folder is part of this crate");
    let mut names: Vec<_> = all
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.join("repo.tar.gz").exists())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Lays out the fixture `name`; blob times are kept to the nanosecond.
pub fn repo(name: &str) -> Unpacked {
    let source = folder(name);
    let packed = fs::File::open(source.join("repo.tar.gz"))
        .unwrap_or_else(|e| panic!("there is no fixture {name}: {e}"));
    let target = tempfile::tempdir().expect("a temporary folder");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().expect("a tar file") {
        unpack(&mut entry.expect("a tar entry"), target.path());
    }
    let expected = json(&source.join("expected.json"));
    Unpacked { folder: target, name: name.to_owned(), expected }
}

fn unpack<R: Read>(entry: &mut tar::Entry<'_, R>, target: &Path) {
    entry.unpack_in(target).expect("the temporary folder takes files");
    let path = target.join(entry.path().expect("a path"));
    let exact = entry.pax_extensions().ok().flatten().and_then(|mut all| {
        all.find_map(|one| {
            let one = one.ok()?;
            (one.key() == Ok("mtime")).then(|| one.value().ok().map(str::to_owned)).flatten()
        })
    });
    if let (Some(text), true) = (exact, path.is_file()) {
        let (secs, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let nanos: u32 = format!("{fraction:0<9}")[..9].parse().expect("a fraction");
        let time = Duration::new(secs.parse().expect("seconds"), nanos);
        let file = fs::File::options().write(true).open(&path).expect("a file just written");
        file.set_modified(UNIX_EPOCH + time).expect("times can be set");
    }
}

/// A vector file, parsed.
pub fn vectors(file: &str) -> Value {
    json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file))
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The bytes that a hexadecimal text stands for.
pub fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a text"));
    assert!(text.len().is_multiple_of(2), "{text} has an odd length");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// The bytes that an input specification of the vector files stands for (`vectors/README.md`).
pub fn spec_bytes(spec: &str) -> Vec<u8> {
    let parts: Vec<_> = spec.split(':').collect();
    let number = |text: &str| text.parse::<usize>().expect("a number in a specification");
    match parts.as_slice() {
        ["ctr", seed, length] => counter_bytes(seed, number(length)),
        ["zeros", length] => vec![0; number(length)],
        ["text", length] => text_bytes(number(length)),
        ["repeat", seed, period, length] => {
            let once = counter_bytes(seed, number(period));
            once.iter().copied().cycle().take(number(length)).collect()
        }
        _ => panic!("{spec} is not an input specification"),
    }
}

fn counter_bytes(seed: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 32);
    for counter in 0_u64.. {
        if out.len() >= length {
            break;
        }
        let block = Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes());
        out.extend_from_slice(&block.finalize());
    }
    out.truncate(length);
    out
}

fn text_bytes(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 40);
    for line in 0_u64.. {
        if out.len() >= length {
            break;
        }
        out.extend_from_slice(format!("line {line} of the text pattern\n").as_bytes());
    }
    out.truncate(length);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_unpacks_into_the_blobs_that_it_lists() {
        let unpacked = repo("format-v3");
        assert!(unpacked.path().join("kopia.repository.f").is_file());
        assert_eq!(unpacked.expected["counts"]["blobs"], 15);
        assert!(names().len() > 100, "{} fixtures", names().len());
    }

    #[test]
    fn specifications_give_the_bytes_of_the_vectors() {
        assert_eq!(spec_bytes("text:9"), b"line 0 of");
        assert_eq!(spec_bytes("repeat:x:2:5")[..2], spec_bytes("ctr:x:2")[..]);
        assert_eq!(spec_bytes("repeat:x:2:5")[2..4], spec_bytes("ctr:x:2")[..]);
        assert_eq!(spec_bytes("zeros:3"), [0; 3]);
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
