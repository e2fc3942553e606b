//! The checksum at the end of a cache file.
//!
//! A keyed hash of the name and of the keyed hashes of all blocks of one mebibyte, so that it is
//! made through a buffer of a block. Of a file of one block it is what it was when files were
//! hashed whole; older files of more blocks fail it, and so are misses.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use kopia_format::hash::ContentHasher;

/// What a file has behind its bytes.
pub(super) const CHECKSUM_LEN: usize = 32;
const BLOCK_LEN: usize = 1 << 20;

/// A checksum in the making.
#[derive(Debug)]
pub(super) struct Checksum {
    mac: ContentHasher,
    /// The name, and the hashes of the blocks so far.
    outer: Vec<u8>,
    /// The beginning of the block that follows.
    begun: Vec<u8>,
    has_blocks: bool,
}

impl Checksum {
    pub(super) fn begin(mac: &ContentHasher, name: &str) -> Self {
        let outer = [name.as_bytes(), &[0]].concat();
        Self { mac: mac.clone(), outer, begun: Vec::new(), has_blocks: false }
    }

    /// Adds a block; only the last one may be short.
    fn add(&mut self, block: &[u8]) {
        self.outer.extend_from_slice(&self.mac.hash(block));
        self.has_blocks = true;
    }

    /// Adds the bytes that follow, as many as there are.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while self.begun.len() + bytes.len() >= BLOCK_LEN {
            let (now, later) = bytes.split_at(BLOCK_LEN - self.begun.len());
            if self.begun.is_empty() {
                self.add(now);
            } else {
                let mut block = std::mem::take(&mut self.begun);
                block.extend_from_slice(now);
                self.add(&block);
            }
            bytes = later;
        }
        self.begun.extend_from_slice(bytes);
    }

    pub(super) fn finish(mut self) -> [u8; CHECKSUM_LEN] {
        let last = std::mem::take(&mut self.begun);
        if !last.is_empty() || !self.has_blocks {
            self.add(&last);
        }
        self.mac.hash(&self.outer)[..].try_into().expect("HMAC-SHA256 gives 32 bytes")
    }

    /// The checksum of the file `name` with these bytes.
    pub(super) fn of(mac: &ContentHasher, name: &str, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
        let mut sum = Self::begin(mac, name);
        bytes.chunks(BLOCK_LEN).for_each(|block| sum.add(block));
        sum.finish()
    }

    /// Reads the file `name` of `length` bytes through a buffer, shows each block to `look`, and
    /// says whether the checksum behind them is right. What `look` learned of a file whose checksum
    /// is wrong is worth nothing.
    pub(super) fn is_right(
        mac: &ContentHasher,
        name: &str,
        mut file: &File,
        length: u64,
        mut look: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        let mut sum = Self::begin(mac, name);
        let mut buffer = vec![0; BLOCK_LEN.min(usize::try_from(length).unwrap_or(BLOCK_LEN))];
        file.seek(SeekFrom::Start(0))?;
        let mut left = length;
        loop {
            let block = &mut buffer[..usize::try_from(left).unwrap_or(BLOCK_LEN).min(BLOCK_LEN)];
            file.read_exact(block)?;
            sum.add(block);
            look(block);
            left -= block.len() as u64;
            if left == 0 {
                break;
            }
        }
        let mut found = [0; CHECKSUM_LEN];
        file.read_exact(&mut found)?;
        Ok(found == sum.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_in_blocks_has_the_checksum_of_its_bytes_and_every_block_counts() {
        let mac = ContentHasher::new("HMAC-SHA256", &[7; 16]).unwrap();
        for length in [0, 1, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 1, 3 * BLOCK_LEN + 5] {
            let bytes = kopia_fixtures::spec_bytes(&format!("ctr:checksum:{length}"));
            let sum = Checksum::of(&mac, "xn0", &bytes);
            for part in [BLOCK_LEN / 3, BLOCK_LEN, 2 * BLOCK_LEN + 7] {
                let mut in_parts = Checksum::begin(&mac, "xn0");
                bytes.chunks(part).for_each(|part| in_parts.write(part));
                assert_eq!(in_parts.finish(), sum, "{length} in parts of {part}");
            }
            let right = |name: &str, bytes: &[u8]| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(bytes).unwrap();
                file.write_all(&sum).unwrap();
                let mut seen = Vec::new();
                let look = |block: &[u8]| seen.extend_from_slice(block);
                let right = Checksum::is_right(&mac, name, &file, bytes.len() as u64, look);
                assert_eq!(seen, bytes);
                right.unwrap()
            };
            assert!(right("xn0", &bytes), "{length}");
            assert!(!right("xn1", &bytes), "{length}");
            for at in (0..length).step_by(BLOCK_LEN / 2) {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!right("xn0", &other), "{length}, byte {at}");
            }
        }
    }
}
