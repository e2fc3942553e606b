//! Raw DEFLATE without a wrapper: nothing but the stream itself says where it ends, and nothing
//! checks its bytes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{bounded::Bounded, bounded::too_long, malformed, refused};
use crate::Result;

/// How far the output grows at least at each step.
const STEP: usize = 64 << 10;

pub(super) fn compress(plain: &[u8], level: u32, out: &mut Vec<u8>) -> Result<()> {
    let mut encoder = Compress::new(Compression::new(level), false);
    loop {
        let taken = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
        out.reserve(STEP);
        let status =
            encoder.compress_vec(&plain[taken..], out, FlushCompress::Finish).map_err(refused)?;
        if status == Status::StreamEnd {
            return Ok(());
        }
    }
}

/// Unlike flate2's reader, which takes the end of the input for the end of the stream, this sees a
/// stream cut short.
pub(super) fn decompress(stream: &[u8], mut out: Bounded) -> Result<Vec<u8>> {
    let mut decoder = Decompress::new(false);
    loop {
        let left = out.length_max() - out.len();
        let step = out.len().max(STEP).min(left);
        // At the limit one byte more tells an exact end from too much.
        let mut probe = [0];
        let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
        let input = &stream[before_in as usize..];
        let room = if step == 0 { &mut probe[..] } else { out.extend(step)? };
        let status = decoder
            .decompress(input, room, FlushDecompress::None)
            .map_err(|error| malformed(error.to_string()))?;
        let made = (decoder.total_out() - before_out) as usize;
        if step == 0 && made > 0 {
            return Err(too_long(out.length_max()));
        }
        if step > 0 {
            out.truncate_last(step - made);
        }
        let stuck = made == 0 && decoder.total_in() == before_in;
        match status {
            Status::StreamEnd => return Ok(out.finish()),
            Status::Ok | Status::BufError if stuck => return Err(malformed("it is cut short")),
            Status::Ok | Status::BufError => {}
        }
    }
}
