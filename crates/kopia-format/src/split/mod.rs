//! Where Kopia cuts an object into contents.
//!
//! Equal data must be cut at equal places, or nothing is found twice; so every splitter here is
//! exact. A [`Splitter`] walks one stream. For a dynamic splitter the places where a cut is
//! *possible* depend on the last [`WINDOW`] bytes alone, not on earlier cuts, so a large file may
//! also be scanned by several threads at once: see [`parallel`]. Format: docs/format/05-objects.md
//! §4.

mod buzhash;
mod dynamic;
mod fixed;
pub mod parallel;
mod rabinkarp;
mod rolling;
mod tables;

use buzhash::Buzhash;
use rabinkarp::RabinKarp;

use crate::{FormatError, Result};

/// How many bytes a dynamic splitter looks back.
pub const WINDOW: usize = 64;

/// The splitter of repositories that don't say otherwise when they are created.
pub const DEFAULT: &str = "DYNAMIC-4M-BUZHASH";

/// The names Kopia knows, in its own order.
pub const SPLITTERS: &[&str] = &[
    "DYNAMIC",
    "DYNAMIC-128K-BUZHASH",
    "DYNAMIC-128K-RABINKARP",
    "DYNAMIC-1M-BUZHASH",
    "DYNAMIC-1M-RABINKARP",
    "DYNAMIC-256K-BUZHASH",
    "DYNAMIC-256K-RABINKARP",
    "DYNAMIC-2M-BUZHASH",
    "DYNAMIC-2M-RABINKARP",
    "DYNAMIC-4M-BUZHASH",
    "DYNAMIC-4M-RABINKARP",
    "DYNAMIC-512K-BUZHASH",
    "DYNAMIC-512K-RABINKARP",
    "DYNAMIC-8M-BUZHASH",
    "DYNAMIC-8M-RABINKARP",
    "FIXED",
    "FIXED-128K",
    "FIXED-1M",
    "FIXED-256K",
    "FIXED-2M",
    "FIXED-4M",
    "FIXED-512K",
    "FIXED-8M",
];

/// Finds the cuts of one stream.
pub trait Splitter {
    /// Takes bytes of `data` up to and including the next cut and says how many they are; `None`
    /// when all of `data` was taken and no cut fell into it. Call again with the rest. The cuts
    /// don't depend on how the stream is sliced.
    fn next_cut(&mut self, data: &[u8]) -> Option<usize>;

    /// Begins a new stream.
    fn reset(&mut self);
}

/// The rolling hash that a dynamic splitter uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RollingHash {
    /// Buzhash, 32 bits.
    Buzhash,
    /// Rabin-Karp over GF(2), 53 bits.
    RabinKarp,
}

/// A splitter by its name; makes a [`Splitter`] for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SplitterKind {
    /// Cuts after every so many bytes.
    Fixed {
        /// The length of every chunk but the last.
        size: usize,
    },
    /// Cuts where the last [`WINDOW`] bytes say so, between half and twice the average.
    Dynamic {
        /// The average chunk; a power of two.
        average: usize,
        /// The hash over the window.
        hash: RollingHash,
    },
}

impl SplitterKind {
    /// The splitter called `name`. The empty name means `FIXED`, as in a format blob without a
    /// splitter.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for a name that Kopia 0.23 doesn't know.
    pub fn parse(name: &str) -> Result<Self> {
        Self::parse_known(name)
            .ok_or_else(|| FormatError::Unsupported { what: "splitter", name: name.to_owned() })
    }

    fn parse_known(name: &str) -> Option<Self> {
        if name.is_empty() || name == "FIXED" {
            return Some(Self::Fixed { size: 4 << 20 });
        }
        if name == "DYNAMIC" {
            return Some(Self::Dynamic { average: 4 << 20, hash: RollingHash::Buzhash });
        }
        if let Some(size) = name.strip_prefix("FIXED-") {
            return Some(Self::Fixed { size: size_of(size)? });
        }
        let (size, hash) = name.strip_prefix("DYNAMIC-")?.split_once('-')?;
        let hash = match hash {
            "BUZHASH" => RollingHash::Buzhash,
            "RABINKARP" => RollingHash::RabinKarp,
            _ => return None,
        };
        Some(Self::Dynamic { average: size_of(size)?, hash })
    }

    /// The longest chunk this splitter can make: what a reader of a stream must be able to hold.
    pub fn max_segment(self) -> usize {
        match self {
            Self::Fixed { size } => size,
            Self::Dynamic { average, .. } => average * 2,
        }
    }

    /// The shortest chunk before the last one.
    pub fn min_segment(self) -> usize {
        match self {
            Self::Fixed { size } => size,
            Self::Dynamic { average, .. } => average / 2,
        }
    }

    /// A splitter for one stream.
    pub fn new_splitter(self) -> Box<dyn Splitter + Send> {
        match self {
            Self::Fixed { size } => Box::new(fixed::Fixed::new(size)),
            Self::Dynamic { average, hash: RollingHash::Buzhash } => {
                Box::new(dynamic::Dynamic::<Buzhash>::new(average))
            }
            Self::Dynamic { average, hash: RollingHash::RabinKarp } => {
                Box::new(dynamic::Dynamic::<RabinKarp>::new(average))
            }
        }
    }
}

fn size_of(text: &str) -> Option<usize> {
    Some(match text {
        "128K" => 128 << 10,
        "256K" => 256 << 10,
        "512K" => 512 << 10,
        "1M" => 1 << 20,
        "2M" => 2 << 20,
        "4M" => 4 << 20,
        "8M" => 8 << 20,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
