//! A chunk of a log before it is sealed: gzip of lines.

use std::io::{Read, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use crate::{FormatError, Result};

/// A chunk with more compressed bytes than this takes no more lines. Kopia's limit.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;

const WHAT: &str = "log";

/// Lines as they are written, compressed at once.
#[derive(Debug)]
pub struct LogChunk(GzEncoder<Vec<u8>>);

impl Default for LogChunk {
    fn default() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::default()))
    }
}

impl LogChunk {
    /// Takes a line, which ends with its newline.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] if the encoder refuses, which it does not for bytes in memory.
    pub fn push(&mut self, line: &[u8]) -> Result<()> {
        self.0.write_all(line).map_err(|error| refused(&error))
    }

    /// Is it so long that another chunk should be begun? What the encoder still holds back is not
    /// counted.
    pub fn is_full(&self) -> bool {
        self.0.get_ref().len() > CHUNK_BYTES_MAX
    }

    /// The bytes to seal.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<Vec<u8>> {
        self.0.finish().map_err(|error| refused(&error))
    }
}

fn refused(error: &std::io::Error) -> FormatError {
    FormatError::Invalid { what: WHAT, reason: error.to_string() }
}

/// A chunk that was opened: still compressed, since it may have a thousand times as many bytes as it
/// takes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogText(Bytes);

impl LogText {
    /// What [`ItemCodec::open_blob`](crate::ItemCodec::open_blob) gives.
    pub fn new(compressed: impl Into<Bytes>) -> Self {
        Self(compressed.into())
    }

    /// Reads the lines piece by piece, in constant memory. An error says that the rest is damaged;
    /// what came before it is good.
    pub fn reader(&self) -> impl Read + '_ {
        MultiGzDecoder::new(&self.0[..])
    }

    /// All lines, if they have `length_max` bytes at most.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] if it is no gzip, damaged or cut, or holds more than `length_max`
    /// bytes.
    pub fn lines(&self, length_max: usize) -> Result<Vec<u8>> {
        let malformed = |reason: String| FormatError::malformed(WHAT, reason);
        let mut text = Vec::new();
        let limit = u64::try_from(length_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut stream = self.reader().take(limit);
        stream.read_to_end(&mut text).map_err(|error| malformed(error.to_string()))?;
        if text.len() > length_max {
            return Err(malformed(format!("it holds more than {length_max} bytes")));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_no_more_than_asked_for() {
        let mut chunk = LogChunk::default();
        chunk.push(b"{\"m\":1}\n").unwrap();
        chunk.push(b"{\"m\":2}\n").unwrap();
        assert!(!chunk.is_full());
        let text = LogText::new(chunk.finish().unwrap());
        assert_eq!(text.lines(16).unwrap(), b"{\"m\":1}\n{\"m\":2}\n");
        assert!(matches!(text.lines(15), Err(FormatError::Malformed { .. })));
        assert!(LogText::new(LogChunk::default().finish().unwrap()).lines(0).unwrap().is_empty());
    }

    #[test]
    fn a_chunk_is_full_when_more_than_4_mib_were_compressed() {
        let mut chunk = LogChunk::default();
        let line = kopia_fixtures::spec_bytes("ctr:1:65536");
        let mut pushed = 0;
        while !chunk.is_full() {
            chunk.push(&line).unwrap();
            pushed += line.len();
        }
        assert!((4 << 20..5 << 20).contains(&pushed), "{pushed}");
        assert_eq!(LogText::new(chunk.finish().unwrap()).lines(pushed).unwrap().len(), pushed);
    }

    #[test]
    fn damage_is_malformed_and_what_comes_before_it_is_read() {
        let mut chunk = LogChunk::default();
        let line = kopia_fixtures::spec_bytes("ctr:2:200000");
        chunk.push(&line).unwrap();
        let mut bytes = chunk.finish().unwrap();
        for bad in [&b""[..], b"no gzip", &bytes[..100], &bytes[..bytes.len() - 1]] {
            let error = LogText::new(bad.to_vec()).lines(1 << 20).unwrap_err();
            assert!(matches!(error, FormatError::Malformed { what: WHAT, .. }), "{}", bad.len());
        }
        bytes.truncate(150_000);
        let (text, mut read) = (LogText::new(bytes), Vec::new());
        assert!(text.reader().read_to_end(&mut read).is_err());
        assert!(read.len() > 100_000 && line.starts_with(&read));
    }
}
