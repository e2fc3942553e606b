//! Pack blobs: many contents in one blob, with an index of their own at the end.
//!
//! ```text
//! [copy of the format blob]   only where the password can't change
//! random preamble             32 bytes
//! contents                    back to back, as they were written
//! random padding              up to the next multiple of 4096, at least one byte
//! local index                 sealed; its iv is the full hash of its plaintext
//! postamble                   where the local index lies, and a CRC
//! ```
//! Readers find contents by the index blobs alone. The local index is there to recover a pack
//! whose index blob is lost. Format: `docs/format/03-contents-packs.md`, section 5.

use std::fmt;

use bytes::Bytes;

use crate::{FormatError, Result, codec::ItemCodec, hash::HashValue};

/// The length of the random bytes in front of the contents.
pub const PREAMBLE_LEN: usize = 32;

/// The local index begins at a multiple of this.
pub const PADDING_UNIT: usize = 4096;

/// How many bytes from the end of a pack to read first when its local index is wanted.
pub const TAIL_LEN: usize = 8192;

const POSTAMBLE_VERSION: u64 = 1;
const CRC_LEN: usize = 4;

/// The very end of a pack. It has a CRC and no signature: what it says must not be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postamble {
    /// What identifies the local index to the cipher: the full hash of its plaintext.
    pub iv: Vec<u8>,
    /// Where the sealed local index begins, from the start of the pack.
    pub local_index_offset: u32,
    /// How long it is, sealed.
    pub local_index_length: u32,
}

impl Postamble {
    /// The bytes to end a pack with.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the `iv` is so long that its length does not fit one byte;
    /// no hash is.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.iv.len() + 24);
        push_uvarint(&mut out, POSTAMBLE_VERSION);
        push_uvarint(&mut out, self.iv.len() as u64);
        out.extend_from_slice(&self.iv);
        push_uvarint(&mut out, u64::from(self.local_index_offset));
        push_uvarint(&mut out, u64::from(self.local_index_length));
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        let length = u8::try_from(out.len()).map_err(|_| FormatError::Invalid {
            what: "postamble",
            reason: format!("{} bytes are more than 255", out.len()),
        })?;
        out.push(length);
        Ok(out)
    }

    /// Finds the postamble at the end of a pack, given at least its last 256 bytes.
    pub fn find(tail: &[u8]) -> Option<Self> {
        let (length, rest) = tail.split_last()?;
        let bytes = &rest[rest.len().checked_sub(usize::from(*length))?..];
        let (payload, crc) = bytes.split_last_chunk::<CRC_LEN>()?;
        if payload.is_empty() || crc32fast::hash(payload).to_be_bytes() != *crc {
            return None;
        }
        let mut rest = payload;
        if take_uvarint(&mut rest)? != POSTAMBLE_VERSION {
            return None;
        }
        let iv_len = usize::try_from(take_uvarint(&mut rest)?).ok()?;
        let (iv, mut rest) = rest.split_at_checked(iv_len)?;
        Some(Self {
            iv: iv.to_vec(),
            local_index_offset: u32::try_from(take_uvarint(&mut rest)?).ok()?,
            local_index_length: u32::try_from(take_uvarint(&mut rest)?).ok()?,
        })
    }
}

fn push_uvarint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_uvarint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What the end of a pack says about its local index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalIndex {
    /// There is no postamble: not a pack, or cut off.
    Absent,
    /// The index begins before the bytes at hand; read the pack from here on and try again.
    StartsAt(u32),
    /// The plaintext of the index.
    Plain(Vec<u8>),
}

/// Reads the local index of a pack of `pack_len` bytes from its last bytes, `tail`.
///
/// Start with [`TAIL_LEN`] bytes, or the whole pack if it is shorter.
///
/// # Errors
/// [`FormatError::Malformed`] when the postamble points outside of the pack;
/// [`FormatError::Damaged`] when the index does not decrypt, or is not what its hash says.
pub fn read_local_index(codec: &ItemCodec, pack_len: u64, tail: &[u8]) -> Result<LocalIndex> {
    let Some(postamble) = Postamble::find(tail) else { return Ok(LocalIndex::Absent) };
    let outside = || FormatError::malformed("postamble", "the local index lies outside the pack");
    let offset = u64::from(postamble.local_index_offset);
    let end = offset + u64::from(postamble.local_index_length);
    if end > pack_len {
        return Err(outside());
    }
    let tail_offset = pack_len.checked_sub(tail.len() as u64).ok_or_else(outside)?;
    let Some(from) = offset.checked_sub(tail_offset) else {
        return Ok(LocalIndex::StartsAt(postamble.local_index_offset));
    };
    // Both lie within the tail, so they fit.
    let sealed = tail.get(from as usize..(end - tail_offset) as usize).ok_or_else(outside)?;
    let plain = codec.open(&postamble.iv, sealed)?;
    if codec.hasher().hash(&plain)[..] != postamble.iv[..] {
        return Err(FormatError::Damaged { what: "local index" });
    }
    Ok(LocalIndex::Plain(plain))
}

/// Lays out one pack. Holds what is appended; does no encryption of its own. A clone shares the
/// bytes.
#[derive(Clone)]
pub struct PackBuilder {
    pieces: Vec<Bytes>,
    /// Where each piece begins.
    starts: Vec<usize>,
    head_len: usize,
    len: usize,
}

impl PackBuilder {
    /// A pack that begins with the copy of the format blob, if there is one, and the preamble.
    /// The preamble must be random.
    pub fn new(preamble: [u8; PREAMBLE_LEN], format_copy: Option<&[u8]>) -> Self {
        let copy = format_copy.filter(|copy| !copy.is_empty()).map(Bytes::copy_from_slice);
        let preamble = Bytes::copy_from_slice(&preamble);
        let mut pack = Self { pieces: Vec::new(), starts: Vec::new(), head_len: 0, len: 0 };
        copy.into_iter().chain([preamble]).for_each(|piece| {
            pack.append(piece);
        });
        pack.head_len = pack.len;
        pack
    }

    /// Appends a sealed content, or several that lie one behind the other, and says at which offset
    /// the bytes lie.
    ///
    /// A pack is to be finished as soon as [`len`](Self::len) reaches the format's
    /// `max_pack_size`, so an offset always fits.
    pub fn append(&mut self, sealed: impl Into<Bytes>) -> u32 {
        let sealed = sealed.into();
        let offset = u32::try_from(self.len).expect("a pack is finished long before 4 GiB");
        self.starts.push(self.len);
        self.len += sealed.len();
        self.pieces.push(sealed);
        offset
    }

    /// What was appended and not forgotten.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Forgets the [`pieces`](Self::pieces), which are kept elsewhere now. They still count:
    /// [`read`](Self::read) no longer finds them, and [`finish`](Self::finish) gives what follows.
    pub fn forget_pieces(&mut self) {
        self.starts.clear();
        self.pieces.clear();
    }

    /// How long the pack is so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no content was appended yet. Such a pack is not written.
    pub fn is_empty(&self) -> bool {
        self.len == self.head_len
    }

    /// A sealed content that was appended, for readers that come before the pack is written.
    pub fn read(&self, offset: u32, length: u32) -> Option<Bytes> {
        let (offset, length) = (offset as usize, length as usize);
        let piece = self.starts.partition_point(|start| *start <= offset).checked_sub(1)?;
        let from = offset - self.starts[piece];
        let bytes = &self.pieces[piece];
        (from.checked_add(length)? <= bytes.len()).then(|| bytes.slice(from..from + length))
    }

    /// How many bytes of padding come before the local index: never none.
    pub fn padding_len(&self) -> usize {
        PADDING_UNIT - self.len % PADDING_UNIT
    }

    /// Ends the pack and gives its pieces in order.
    ///
    /// `fill_random` fills the padding. The local index, sealed with the full hash of its
    /// plaintext as `iv`, lists every entry of this pack, and entries of deleted contents that
    /// are written with it.
    pub fn finish(
        mut self,
        fill_random: impl FnOnce(&mut [u8]),
        sealed_local_index: impl Into<Bytes>,
        iv: &HashValue,
    ) -> Vec<Bytes> {
        let mut padding = vec![0; self.padding_len()];
        fill_random(&mut padding);
        self.append(padding);
        let sealed = sealed_local_index.into();
        let length = u32::try_from(sealed.len()).expect("an index is shorter than 4 GiB");
        let local_index_offset = self.append(sealed);
        let postamble =
            Postamble { iv: iv.to_vec(), local_index_offset, local_index_length: length };
        self.append(postamble.encode().expect("a hash is at most 32 bytes long"));
        self.pieces
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackBuilder({} pieces, {} bytes)", self.pieces.len(), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_blob::{FormatOptions, RepositoryFormat};
    use kopia_fixtures::{hex, spec_bytes, vectors};

    fn codec(options: &FormatOptions) -> ItemCodec {
        ItemCodec::new(&RepositoryFormat::new(options, [1; 32], [2; 32])).unwrap()
    }

    #[test]
    fn postambles_are_written_as_kopia_does_and_found_again() {
        let file = vectors("postamble.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let postamble = Postamble {
                iv: hex(&case["iv"]),
                local_index_offset: case["localIndexOffset"].as_u64().unwrap() as u32,
                local_index_length: case["localIndexLength"].as_u64().unwrap() as u32,
            };
            if case["error"].is_string() {
                assert!(matches!(postamble.encode(), Err(FormatError::Invalid { .. })));
                continue;
            }
            let bytes = postamble.encode().unwrap();
            assert_eq!(bytes, hex(&case["bytes"]), "{case}");
            assert_eq!(Postamble::find(&bytes), Some(postamble));
        }
    }

    #[test]
    fn postambles_are_found_where_kopia_finds_them() {
        let file = vectors("postamble.json");
        let cases = file["find"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let found = Postamble::find(&hex(&case["bytes"]));
            assert_eq!(case["found"], found.is_some(), "{case}");
        }
    }

    #[test]
    fn wrong_postambles_with_a_right_crc_are_passed_over() {
        let with_crc = |payload: &[u8]| {
            let crc = crc32fast::hash(payload).to_be_bytes();
            [payload, &crc, &[payload.len() as u8 + 4]].concat()
        };
        for payload in [
            &[][..],
            &[2, 0, 0, 0],                            // another version
            &[1, 5, 0, 0],                            // an iv longer than what is there
            &[1, 0, 0x80],                            // a number that does not end
            &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0], // more than 32 bits
            &[1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0], // more than 64 bits
        ] {
            assert_eq!(Postamble::find(&with_crc(payload)), None, "{payload:?}");
        }
        assert!(Postamble::find(&with_crc(&[1, 0, 3, 4])).is_some());
    }

    fn pack(codec: &ItemCodec, contents: &[Vec<u8>], copy: Option<&[u8]>) -> (Vec<u8>, Vec<u32>) {
        let mut builder = PackBuilder::new([9; 32], copy);
        assert!(builder.is_empty());
        let offsets = contents.iter().map(|bytes| builder.append(bytes.clone())).collect();
        assert!(!builder.is_empty());
        let iv = codec.hasher().hash(b"the local index");
        let sealed = codec.seal(&iv, [4; 12], b"the local index");
        (builder.finish(|padding| padding.fill(0xaa), sealed, &iv).concat(), offsets)
    }

    #[test]
    fn a_pack_is_laid_out_in_kopias_order() {
        let codec = codec(&FormatOptions { hash: "BLAKE3-256".to_owned(), ..Default::default() });
        let contents = [spec_bytes("ctr:a:100"), spec_bytes("ctr:b:3964")];
        let (bytes, offsets) = pack(&codec, &contents, None);
        assert_eq!(offsets, [32, 132]);
        assert_eq!(bytes[32..132], contents[0]);
        assert_eq!(bytes[132..4096], contents[1]);
        // 4096 bytes are a multiple already, so there is a whole unit of padding.
        assert_eq!(bytes[4096..8192], [0xaa; 4096]);
        let postamble = Postamble::find(&bytes).unwrap();
        assert_eq!(postamble.local_index_offset, 8192);
        assert_eq!(postamble.iv, codec.hasher().hash(b"the local index").to_vec());

        let (with_copy, offsets) = pack(&codec, &contents, Some(b"copy"));
        assert_eq!(offsets[0], 36);
        assert_eq!(&with_copy[..4], b"copy");
    }

    #[test]
    fn the_local_index_is_read_from_the_tail_or_from_where_it_starts() {
        let codec = codec(&FormatOptions { ecc_overhead_percent: 10, ..Default::default() });
        let (bytes, _) = pack(&codec, &[spec_bytes("ctr:a:20000")], None);
        let len = bytes.len() as u64;
        let plain = LocalIndex::Plain(b"the local index".to_vec());
        assert_eq!(read_local_index(&codec, len, &bytes).unwrap(), plain);
        let tail = &bytes[bytes.len() - 200..];
        assert_eq!(read_local_index(&codec, len, tail).unwrap(), plain);
        let short = &bytes[bytes.len() - 40..];
        assert_eq!(read_local_index(&codec, len, short).unwrap(), LocalIndex::StartsAt(20480));
        let from = &bytes[20480..];
        assert_eq!(read_local_index(&codec, len, from).unwrap(), plain);
        assert_eq!(read_local_index(&codec, len, &bytes[..100]).unwrap(), LocalIndex::Absent);
    }

    #[test]
    fn a_postamble_that_points_outside_is_malformed_and_a_changed_index_is_damage() {
        let codec = codec(&FormatOptions::default());
        let (mut bytes, _) = pack(&codec, &[vec![1; 10]], None);
        let len = bytes.len() as u64;
        let outside = read_local_index(&codec, 100, &bytes[4100..]).unwrap_err();
        assert!(matches!(outside, FormatError::Malformed { .. }), "{outside}");
        bytes[4100] ^= 1;
        let damaged = read_local_index(&codec, len, &bytes).unwrap_err();
        assert!(matches!(damaged, FormatError::Damaged { .. }), "{damaged}");
    }

    #[test]
    fn what_is_kept_elsewhere_and_what_follows_make_the_same_pack() {
        let codec = codec(&FormatOptions::default());
        let iv = codec.hasher().hash(b"index");
        let finish = |pack: PackBuilder| pack.finish(|padding| padding.fill(7), vec![8; 9], &iv);
        let mut whole = PackBuilder::new([9; 32], None);
        let mut rest = whole.clone();
        for pack in [&mut whole, &mut rest] {
            pack.append(vec![5; 10]);
        }
        let mut pieces = rest.pieces().to_vec();
        rest.forget_pieces();
        assert_eq!((pieces.len(), rest.len(), rest.read(32, 10)), (2, 42, None));
        assert!(rest.pieces().is_empty() && !rest.is_empty());
        for pack in [&mut whole, &mut rest] {
            assert_eq!(pack.append(vec![6; 3]), 42);
            assert_eq!(pack.read(43, 2).unwrap(), vec![6; 2]);
        }
        pieces.extend(finish(rest));
        assert_eq!(pieces.concat(), finish(whole).concat());
    }

    #[test]
    fn a_content_can_be_read_before_the_pack_is_written() {
        let mut builder = PackBuilder::new([9; 32], None);
        let offset = builder.append(vec![5; 10]);
        let run = builder.append(vec![6, 7, 8]);
        assert_eq!(builder.read(offset, 10).unwrap(), vec![5; 10]);
        assert_eq!(builder.read(offset, 11), None);
        assert_eq!(builder.read(run, 1).unwrap(), vec![6]);
        assert_eq!(builder.read(run + 1, 2).unwrap(), vec![7, 8]);
        assert_eq!(builder.read(run + 1, 3), None);
        assert_eq!(builder.len(), 45);
    }
}
