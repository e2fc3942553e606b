//! gzip and pgzip: the same format on the wire, possibly in several members.

use std::io::Write;

use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};

use super::{bounded::Bounded, refused};
use crate::Result;

pub(super) fn compress(plain: &[u8], level: u32, out: &mut Vec<u8>) -> Result<()> {
    let mut encoder = GzEncoder::new(out, Compression::new(level));
    encoder.write_all(plain).map_err(refused)?;
    encoder.finish().map_err(refused)?;
    Ok(())
}

pub(super) fn decompress(stream: &[u8], out: Bounded) -> Result<Vec<u8>> {
    out.take_all(MultiGzDecoder::new(stream))
}
