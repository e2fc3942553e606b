//! The compressors of contents: a 4-byte big-endian header ID, then the compressor's own stream.
//!
//! Any stream that follows its format will do, since content IDs are hashes of uncompressed bytes;
//! so the levels here mirror Kopia's, the bytes need not. Reading is bounded by what the caller is
//! ready to hold, whatever a stream claims. Format: docs/format/05-objects.md §5,
//! docs/format/03-contents-packs.md §4.

mod bounded;
mod crc32c;
mod deflate;
mod gzip;
mod s2;
mod zstd;

use crate::{FormatError, Result};
use bounded::Bounded;

/// The length of the header ID in front of every stream.
pub const HEADER_LEN: usize = 4;

/// The names that a writer may use, in alphabetical order. `lz4` is not among them: Kopia 0.23
/// neither reads nor writes it.
pub const NAMES: &[&str] = &[
    "deflate-best-compression",
    "deflate-best-speed",
    "deflate-default",
    "gzip",
    "gzip-best-compression",
    "gzip-best-speed",
    "pgzip",
    "pgzip-best-compression",
    "pgzip-best-speed",
    "s2-better",
    "s2-default",
    "s2-parallel-4",
    "s2-parallel-8",
    "zstd",
    "zstd-best-compression",
    "zstd-better-compression",
    "zstd-fastest",
];

/// A compressor, known by its name in policies and by its header ID in contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compressor(&'static Row);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Row {
    name: &'static str,
    id: u32,
    method: Method,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Method {
    Gzip(u32),
    Zstd(i32),
    S2(s2::Effort),
    Deflate(u32),
    /// Removed from Kopia in 0.23.
    Lz4,
}

const TABLE: &[Row] = &[
    row("gzip", 0x1000, Method::Gzip(6)),
    row("gzip-best-speed", 0x1001, Method::Gzip(1)),
    row("gzip-best-compression", 0x1002, Method::Gzip(9)),
    row("zstd", 0x1100, Method::Zstd(3)),
    row("zstd-fastest", 0x1101, Method::Zstd(1)),
    row("zstd-better-compression", 0x1102, Method::Zstd(7)),
    row("zstd-best-compression", 0x1103, Method::Zstd(11)),
    row("s2-default", 0x1200, Method::S2(s2::Effort::Default)),
    row("s2-better", 0x1201, Method::S2(s2::Effort::Better)),
    row("s2-parallel-4", 0x1202, Method::S2(s2::Effort::Default)),
    row("s2-parallel-8", 0x1203, Method::S2(s2::Effort::Default)),
    row("pgzip", 0x1300, Method::Gzip(6)),
    row("pgzip-best-speed", 0x1301, Method::Gzip(1)),
    row("pgzip-best-compression", 0x1302, Method::Gzip(9)),
    row("lz4", 0x1400, Method::Lz4),
    row("deflate-default", 0x1500, Method::Deflate(6)),
    row("deflate-best-speed", 0x1501, Method::Deflate(1)),
    row("deflate-best-compression", 0x1502, Method::Deflate(9)),
];

const fn row(name: &'static str, id: u32, method: Method) -> Row {
    Row { name, id, method }
}

impl Compressor {
    /// The compressor that a policy names; `none` and the empty name mean no compression.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for unknown names and for `lz4`.
    pub fn by_name(name: &str) -> Result<Option<Self>> {
        if name.is_empty() || name == "none" {
            return Ok(None);
        }
        let row = TABLE.iter().find(|row| row.name == name);
        row.ok_or_else(|| unsupported(name)).and_then(Self::of).map(Some)
    }

    /// The compressor with the header ID `id`.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for unknown IDs and for that of `lz4`.
    pub fn by_id(id: u32) -> Result<Self> {
        let row = TABLE.iter().find(|row| row.id == id);
        row.ok_or_else(|| unsupported(&format!("ID 0x{id:04x}"))).and_then(Self::of)
    }

    fn of(row: &'static Row) -> Result<Self> {
        if row.method == Method::Lz4 {
            return Err(unsupported("lz4 (Kopia 0.22.3 or older reads it)"));
        }
        Ok(Self(row))
    }

    /// The name in policies.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The header ID in contents and index entries.
    pub fn id(self) -> u32 {
        self.0.id
    }

    /// Whether Kopia discourages it for new contents.
    pub fn is_deprecated(self) -> bool {
        self.0.name == "zstd-best-compression"
    }

    /// The header ID and the compressed stream. Whether that is worth keeping is for the caller to
    /// see: Kopia keeps it only when it is shorter than `plain`.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the encoder refuses, which none of them does for contents of a
    /// repository.
    pub fn compress(self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(HEADER_LEN + plain.len() / 2 + 64);
        out.extend_from_slice(&self.0.id.to_be_bytes());
        match &self.0.method {
            Method::Gzip(level) => gzip::compress(plain, *level, &mut out)?,
            Method::Zstd(level) => zstd::compress(plain, *level, &mut out)?,
            Method::S2(effort) => s2::compress(plain, *effort, &mut out),
            Method::Deflate(level) => deflate::compress(plain, *level, &mut out)?,
            Method::Lz4 => return Err(unsupported(self.0.name)),
        }
        Ok(out)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressor({}, 0x{:04x})", self.0.name, self.0.id)
    }
}

impl std::fmt::Display for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// The header ID that `framed` begins with.
///
/// # Errors
/// [`FormatError::Malformed`] when it is shorter than a header.
pub fn header_id(framed: &[u8]) -> Result<u32> {
    let header = framed.first_chunk::<HEADER_LEN>();
    header.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(|| {
        malformed(format!("{} bytes are too few for the compression header", framed.len()))
    })
}

/// The plain bytes of `framed`: a header ID and a compressed stream.
///
/// `expected_id` is what the index entry says, if there is one. No more than `length_max` bytes are
/// made (and about as much memory is used), however much the stream holds.
///
/// # Errors
/// [`FormatError::Malformed`] when the header is another one or missing, when the stream is
/// damaged, cut short or holds more than `length_max` bytes; [`FormatError::Unsupported`] for a
/// compressor that cannot be read.
pub fn decompress(expected_id: Option<u32>, framed: &[u8], length_max: usize) -> Result<Vec<u8>> {
    let id = header_id(framed)?;
    if let Some(expected) = expected_id.filter(|&expected| expected != id) {
        return Err(malformed(format!("the header is 0x{id:04x}, expected 0x{expected:04x}")));
    }
    let compressor = Compressor::by_id(id)?;
    let stream = &framed[HEADER_LEN..];
    match compressor.0.method {
        Method::Gzip(_) => gzip::decompress(stream, Bounded::new(length_max)),
        Method::Zstd(_) => zstd::decompress(stream, length_max),
        Method::S2(_) => s2::decompress(stream, Bounded::new(length_max)),
        Method::Deflate(_) => deflate::decompress(stream, Bounded::new(length_max)),
        Method::Lz4 => Err(unsupported(compressor.0.name)),
    }
}

fn unsupported(name: &str) -> FormatError {
    FormatError::Unsupported { what: "compressor", name: name.to_owned() }
}

fn malformed(reason: impl Into<String>) -> FormatError {
    FormatError::malformed("compressed content", reason)
}

fn refused(reason: impl ToString) -> FormatError {
    FormatError::Invalid { what: "content to compress", reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
