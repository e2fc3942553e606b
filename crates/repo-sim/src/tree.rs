//! What snapshots are of: small trees, whose bytes follow from numbers.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::chance::Chance;

/// The bytes of a file, by a number and a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Says which bytes; below 2^62, for it is the file's time, too.
    pub number: u64,
    /// How many.
    pub length: usize,
}

impl Piece {
    /// One that nobody has drawn before.
    pub fn fresh(chance: &mut Chance) -> Self {
        let number = chance.next() >> 2;
        let length = match chance.below(40) {
            // More than one content, with a splitter of 128 KiB.
            0 => 140_000 + chance.below(100_000),
            1..=8 => 2_000 + chance.below(12_000),
            _ => 40 + chance.below(1_500),
        };
        Self { number, length }
    }

    /// The bytes.
    pub fn bytes(self) -> Bytes {
        let mut chance = Chance::new(self.number, 1);
        let mut out = Vec::with_capacity(self.length + 8);
        while out.len() < self.length {
            out.extend_from_slice(&chance.next().to_le_bytes());
        }
        out.truncate(self.length);
        out.into()
    }
}

/// Files of a folder, by their names.
pub type Files = BTreeMap<String, Piece>;

/// Folders of files, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Files>);

impl Tree {
    /// A tree of files that nobody has.
    pub fn fresh(chance: &mut Chance, folders: usize) -> Self {
        let folder = |chance: &mut Chance, name: usize| {
            let files = 1 + chance.below(4);
            let file = |at| (format!("f{at}"), Piece::fresh(chance));
            (format!("d{name}"), (0..files).map(file).collect())
        };
        Self((0..folders).map(|name| folder(chance, name)).collect())
    }

    /// The tree some time later: files changed, added and removed, some to what `known` has.
    pub fn changed(&self, chance: &mut Chance, known: &[Piece]) -> Self {
        let mut new = self.clone();
        for files in new.0.values_mut() {
            if chance.one_in(2) {
                continue;
            }
            for piece in files.values_mut() {
                if chance.one_in(3) {
                    *piece = drawn(chance, known);
                }
            }
            match chance.below(4) {
                0 if files.len() > 1 => _ = files.pop_first(),
                1 if files.len() < 6 => {
                    let name = format!("n{}", chance.below(1_000));
                    files.insert(name, drawn(chance, known));
                }
                _ => {}
            }
        }
        new
    }

    /// All pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.0.values().flat_map(|files| files.values().copied())
    }
}

fn drawn(chance: &mut Chance, known: &[Piece]) -> Piece {
    let again = chance.one_in(2).then(|| chance.pick(known).copied()).flatten();
    again.unwrap_or_else(|| Piece::fresh(chance))
}
