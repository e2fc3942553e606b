//! Seeded damage to real bytes, and what a parser may take of memory while it reads them.
//!
//! A mutation depends on the seed, its number and the documents alone, so that one that fails can
//! be made again. Memory is counted on the thread that parses: a test program that wants it counted
//! declares `#[global_allocator] static ALLOCATOR: Counting = Counting;`.

mod memory;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use memory::{Counting, peak_of};

/// How many mutations every parser of foreign bytes takes.
pub const MUTATIONS: u64 = 100_000;

/// The seed of all mutations of the tests.
pub const SEED: u64 = 0x6b6f_7069_612d_6c69;

/// At most so many changes are made to a document at once.
const CHANGES_MAX: usize = 4;

/// What makes numbers and JSON go wrong; put in as they are.
const TOKENS: &[&[u8]] = &[
    b"null",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b",",
    b":",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"\\ud800",
    b"\\",
    b"\0",
    b"-",
    b"_",
    b"\xff\xfe",
    b"true",
    b"[[[[[[[[[[[[[[[[",
];

/// Reads bytes, uses what it read, drops it, and says whether there was anything to read.
pub type Parse = fn(&[u8]) -> bool;

/// A parser and what is thrown at it.
pub struct Target {
    /// What it parses; names a failure.
    pub name: &'static str,
    /// The parser.
    pub parse: Parse,
    /// Real bytes; the parser reads each of them.
    pub documents: Vec<Vec<u8>>,
    /// It may take this many bytes of memory for each byte of input …
    pub times: usize,
    /// … and so many whatever the input.
    pub plus: usize,
    /// How many changes a mutation may have at once: 0 is the usual number.
    pub changes_max: usize,
}

/// What came of an attack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Mutations that were read: as harmless, or as another document.
    pub read: u64,
    /// Mutations that were refused.
    pub refused: u64,
    /// The most memory taken for one, in bytes.
    pub peak: usize,
    /// The most memory taken beyond [`Target::plus`] for each byte of input, rounded up.
    pub times: usize,
}

impl Target {
    /// A parser that takes `documents`, within `times` its input and `plus` bytes of memory.
    pub fn new(
        name: &'static str,
        parse: Parse,
        documents: impl IntoIterator<Item = Vec<u8>>,
        (times, plus): (usize, usize),
    ) -> Self {
        let documents: Vec<_> = documents.into_iter().collect();
        assert!(!documents.is_empty(), "{name}: there is nothing to mutate");
        Self { name, parse, documents, times, plus, changes_max: 0 }
    }

    /// Reads all documents, then [`MUTATIONS`] mutations of them.
    ///
    /// # Panics
    /// When the parser panics, takes more memory than it may, refuses one of the documents, or when
    /// all mutations come out alike, which shows that they are not those that matter. The message
    /// has the seed, the number and the bytes.
    pub fn attack(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for (number, document) in self.documents.iter().enumerate() {
            let read = self.take(document, || format!("document {number}"), &mut outcome);
            assert!(read, "{}: document {number} is refused", self.name);
        }
        outcome = Outcome { peak: outcome.peak, times: outcome.times, ..Outcome::default() };
        let mut bytes = Vec::new();
        for number in 0..MUTATIONS {
            self.mutate(SEED, number, &mut bytes);
            let what = || format!("seed {SEED:#x}, mutation {number}");
            self.take(&bytes, what, &mut outcome);
        }
        let name = self.name;
        println!("{name}: {outcome:?}, allowed {} times and {} bytes", self.times, self.plus);
        assert!(outcome.read > 0 && outcome.refused > 0, "{name}: all alike: {outcome:?}");
        outcome
    }

    /// Parses once and checks the memory; says whether it was read.
    pub fn take(&self, bytes: &[u8], what: impl Fn() -> String, outcome: &mut Outcome) -> bool {
        let parse = AssertUnwindSafe(|| (self.parse)(bytes));
        let (result, peak) = peak_of(|| catch_unwind(parse));
        let shown = || format!("{}: {}: {}", self.name, what(), shown(bytes));
        let Ok(read) = result else { panic!("a panic at {}", shown()) };
        let allowed = self.times * bytes.len() + self.plus;
        assert!(peak <= allowed, "{peak} bytes of memory, {allowed} are allowed, at {}", shown());
        outcome.peak = outcome.peak.max(peak);
        let beyond = peak.saturating_sub(self.plus).div_ceil(bytes.len().max(1));
        outcome.times = outcome.times.max(beyond);
        *(if read { &mut outcome.read } else { &mut outcome.refused }) += 1;
        read
    }

    /// Makes the mutation `number` of `seed`.
    pub fn mutate(&self, seed: u64, number: u64, out: &mut Vec<u8>) {
        let changes_max = if self.changes_max == 0 { CHANGES_MAX } else { self.changes_max };
        mutate(&self.documents, changes_max, seed, number, out);
    }
}

fn shown(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().take(1024).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes, in hex {hex}", bytes.len())
}

/// Makes the mutation `number` of `seed`: one of `documents`, with one to `changes_max` changes.
pub fn mutate(
    documents: &[Vec<u8>],
    changes_max: usize,
    seed: u64,
    number: u64,
    out: &mut Vec<u8>,
) {
    let mut chance = Chance(seed ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
    out.clear();
    let document: &Vec<u8> = chance.one_of(documents);
    out.extend_from_slice(document);
    let length_max = 2 * out.len() + 64;
    for _ in 0..=chance.below(changes_max) {
        change(out, documents, &mut chance);
    }
    out.truncate(length_max);
}

fn change(out: &mut Vec<u8>, documents: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(out.len() + 1);
    let length_max = if chance.below(4) == 0 { out.len() } else { 16 };
    let length = chance.below(length_max + 1);
    let end = (at + length).min(out.len());
    match chance.below(16) {
        0..=2 if at < out.len() => out[at] ^= 1 << chance.below(8),
        3..=4 if at < out.len() => out[at] = chance.next() as u8,
        5..=8 => put_extreme(out, at, chance),
        9 => out.truncate(at),
        10 => {
            let copy = out[at..end].to_vec();
            let to = chance.below(out.len() + 1);
            out.splice(to..to, copy);
        }
        11 => {
            out.drain(at..end);
        }
        12 => {
            let new: Vec<u8> = (0..=chance.below(9)).map(|_| chance.next() as u8).collect();
            out.splice(at..at, new);
        }
        13 => {
            let other = chance.one_of(documents);
            let from = chance.below(other.len() + 1);
            out.truncate(at);
            out.extend_from_slice(&other[from..]);
        }
        _ => {
            let token = chance.one_of(TOKENS);
            out.splice(at..if chance.below(2) == 0 { at } else { end }, token.iter().copied());
        }
    }
}

/// Puts a number that lengths and offsets stumble over, in either byte order.
fn put_extreme(out: &mut [u8], at: usize, chance: &mut Chance) {
    let width = 1 << chance.below(4);
    let Some(field) = out.get_mut(at..at + width) else { return };
    let top = 1_u64 << (8 * width - 1);
    let number = *chance.one_of(&[0, 1, top - 1, top, top - 1 + top, 2, top - 2 + top]);
    field.copy_from_slice(&number.to_le_bytes()[..width]);
    if chance.below(2) == 0 {
        field.reverse();
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Texts nested so deep that a parser that recurses without a limit overflows its stack.
pub fn deep_json() -> Vec<Vec<u8>> {
    const DEPTH: usize = 100_000;
    let within = |key: &str, inner: &str| format!("{{\"{key}\":{}", inner.repeat(DEPTH));
    let mut texts = vec!["[".repeat(DEPTH), "{\"a\":".repeat(DEPTH), "[{\"a\":".repeat(DEPTH)];
    // Where keys are that parsers go into, and one that none knows.
    for key in ["entries", "format", "storage", "data", "rootEntry", "files", "runs", "x"] {
        texts.push(within(key, "["));
        texts.push(within(key, "{\"a\":"));
    }
    // Closed ones are whole documents, which nothing but the depth speaks against.
    texts.push(format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)));
    texts.push(format!("{{\"x\":{}{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH)));
    texts.into_iter().map(String::into_bytes).collect()
}

/// Gives each of `texts` to `parse` on a thread with a stack of 1 MiB; says how many were read.
///
/// That is little: without optimisation the 128 levels that serde_json allows take a good part.
/// A stack that overflows ends the test program: there is no way to catch it.
pub fn on_small_stack(parse: Parse, texts: Vec<Vec<u8>>) -> usize {
    let read = move || texts.iter().filter(|text| parse(text)).count();
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(read);
    thread.expect("a thread can be started").join().expect("no parser panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_depends_on_its_number_and_few_equal_the_document() {
        let documents = [b"{\"a\":[1,2,3]}".to_vec(), vec![7; 40]];
        let make = |number| {
            let mut out = Vec::new();
            mutate(&documents, 4, SEED, number, &mut out);
            out
        };
        assert!((0..1000).all(|number| make(number) == make(number)));
        let same = (0..1000).filter(|&number| documents.contains(&make(number))).count();
        assert!(same < 100, "{same} of 1000 mutations change nothing");
        assert!((0..1000).all(|number| make(number).len() <= 2 * 40 + 64));
    }

    #[test]
    #[should_panic(expected = "a panic at test: seed")]
    fn a_parser_that_panics_is_found() {
        let parse = |bytes: &[u8]| bytes[..2] == [7, 7];
        Target::new("test", parse, [vec![7; 10]], (0, 1000)).attack();
    }

    #[test]
    fn nesting_overflows_no_stack_of_a_parser_without_recursion() {
        assert_eq!(on_small_stack(|text| text.len() >= 100_000, deep_json()), 21);
    }
}
