//! S2: the framing of Snappy with larger blocks and a few more kinds of copies.
//!
//! A stream is a sequence of chunks, each a type byte and a 24-bit little-endian length. `minlz`
//! codes the blocks; the framing is done here, because its reader allocates what a block claims
//! before it can be refused, and because it has no stream writer with more effort.

use minlz::s2::{Encoder, decode_into, decode_len};

use super::{bounded::Bounded, crc32c, malformed};
use crate::Result;

/// How hard the encoder tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Effort {
    Default,
    Better,
}

/// The length of blocks written, as in Kopia.
const BLOCK_LEN: usize = 1 << 20;
const BLOCK_LEN_MAX: usize = 4 << 20;
const SNAPPY_BLOCK_LEN_MAX: usize = 64 << 10;
/// Blocks that save less than this part are stored as they are.
const LEAST_SAVING: usize = 32;

const COMPRESSED: u8 = 0x00;
const STORED: u8 = 0x01;
const IDENTIFIER: u8 = 0xff;
const S2_NAME: &[u8] = b"S2sTwO";
const SNAPPY_NAME: &[u8] = b"sNaPpY";
const CHECKSUM_LEN: usize = 4;

pub(super) fn compress(plain: &[u8], effort: Effort, out: &mut Vec<u8>) {
    if plain.is_empty() {
        // Kopia writes nothing at all for nothing.
        return;
    }
    put_chunk_header(out, IDENTIFIER, S2_NAME.len());
    out.extend_from_slice(S2_NAME);
    let mut encoder = Encoder::new();
    let mut check = Vec::new();
    for block in plain.chunks(BLOCK_LEN) {
        let coded = match effort {
            Effort::Default => encoder.encode(block),
            Effort::Better => encoder.encode_better(block),
        };
        let worth_it = coded.len() + block.len() / LEAST_SAVING < block.len();
        // The encoder is young, and what it gets wrong is lost for good: look before trusting it.
        // Decoding costs a fraction of encoding.
        check.resize(block.len(), 0);
        let is_right = worth_it
            && decode_into(&mut check, &coded).is_ok_and(|len| len == block.len())
            && check == block;
        let (kind, body) = if is_right { (COMPRESSED, &coded[..]) } else { (STORED, block) };
        put_chunk_header(out, kind, CHECKSUM_LEN + body.len());
        out.extend_from_slice(&crc32c::masked(block).to_le_bytes());
        out.extend_from_slice(body);
    }
}

fn put_chunk_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    let [a, b, c, ..] = (len as u32).to_le_bytes();
    out.extend_from_slice(&[kind, a, b, c]);
}

pub(super) fn decompress(mut stream: &[u8], mut out: Bounded) -> Result<Vec<u8>> {
    let mut block_len_max = None;
    while let Some((kind, body)) = take_chunk(&mut stream)? {
        match (kind, block_len_max) {
            (IDENTIFIER, _) => {
                block_len_max = Some(match body {
                    S2_NAME => BLOCK_LEN_MAX,
                    SNAPPY_NAME => SNAPPY_BLOCK_LEN_MAX,
                    _ => return Err(malformed("neither an S2 nor a Snappy stream")),
                });
            }
            (_, None) => return Err(malformed("an S2 stream without its identifier")),
            (COMPRESSED | STORED, Some(len_max)) => put_block(kind, body, len_max, &mut out)?,
            // Padding, seek indexes and what others may add.
            (0x80..=0xfe, _) => {}
            _ => return Err(malformed(format!("an S2 chunk of the unknown type 0x{kind:02x}"))),
        }
    }
    Ok(out.finish())
}

fn put_block(kind: u8, body: &[u8], len_max: usize, out: &mut Bounded) -> Result<()> {
    let (checksum, block) = body.split_first_chunk::<CHECKSUM_LEN>().ok_or_else(cut_short)?;
    let bad = || malformed("an S2 block is damaged");
    let len = match kind {
        COMPRESSED => decode_len(block).map_err(|_| bad())?.0,
        _ => block.len(),
    };
    if len > len_max {
        return Err(malformed(format!("an S2 block of {len} bytes, {len_max} are allowed")));
    }
    let plain = out.extend(len)?;
    if kind == COMPRESSED {
        decode_into(plain, block).map_err(|_| bad())?;
    } else {
        plain.copy_from_slice(block);
    }
    if crc32c::masked(plain) != u32::from_le_bytes(*checksum) {
        return Err(malformed("the checksum of an S2 block is wrong"));
    }
    Ok(())
}

fn take_chunk<'a>(stream: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>> {
    if stream.is_empty() {
        return Ok(None);
    }
    let (&[kind, a, b, c], rest) = stream.split_first_chunk::<4>().ok_or_else(cut_short)?;
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    let (body, rest) = rest.split_at_checked(len).ok_or_else(cut_short)?;
    *stream = rest;
    Ok(Some((kind, body)))
}

fn cut_short() -> crate::FormatError {
    malformed("the S2 stream is cut short")
}
