//! zstd: frames with a checksum, which may or may not tell their length.
//!
//! Frames are decoded straight into the result, so the window that a frame claims costs no memory
//! of its own. Each thread keeps one context for either direction: making one costs more than
//! compressing a small content.

use std::cell::RefCell;

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, ErrorCode, compress_bound, find_frame_compressed_size, get_error_name,
    get_frame_content_size, is_error_kind, zstd_sys::ZSTD_ErrorCode,
};

use super::{bounded::too_long, malformed, refused};
use crate::Result;

/// What is tried first for a stream that doesn't tell its length: every content of a splitter fits.
const FIRST_CAPACITY: usize = 16 << 20;

const FRAME_MAGIC: u32 = 0xfd2f_b528;
/// Frames to be skipped differ in the last four bits.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

thread_local! {
    static COMPRESSION: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSION: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

pub(super) fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) -> Result<()> {
    let named = |code: ErrorCode| refused(get_error_name(code));
    let header = out.len();
    let bound = compress_bound(plain.len());
    let mut frame = Vec::with_capacity(bound);
    COMPRESSION.with_borrow_mut(|context| {
        context.set_parameter(CParameter::CompressionLevel(level)).map_err(named)?;
        context.set_parameter(CParameter::ChecksumFlag(true)).map_err(named)?;
        context.compress2(&mut frame, plain).map_err(named)
    })?;
    out.reserve_exact(frame.len());
    out.extend_from_slice(&frame);
    debug_assert_eq!(out.len(), header + frame.len());
    Ok(())
}

pub(super) fn decompress(stream: &[u8], length_max: usize) -> Result<Vec<u8>> {
    let told = told_length(stream)?;
    if told.is_some_and(|told| told > length_max as u64) {
        return Err(too_long(length_max));
    }
    // A told length is believed only as far as memory goes that the caller is ready to give anyway.
    let mut capacity = told.map_or(FIRST_CAPACITY.min(length_max), |told| told as usize);
    loop {
        let mut out = Vec::with_capacity(capacity);
        let result = DECOMPRESSION.with_borrow_mut(|context| context.decompress(&mut out, stream));
        match result {
            Ok(_) if out.len() > length_max => return Err(too_long(length_max)),
            Ok(_) => {
                if out.capacity() / 2 > out.len() {
                    out.shrink_to_fit();
                }
                return Ok(out);
            }
            Err(code) if is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
                if capacity >= length_max {
                    return Err(too_long(length_max));
                }
                capacity = capacity.saturating_mul(2).clamp(1, length_max);
            }
            Err(code) => return Err(malformed(get_error_name(code))),
        }
    }
}

/// The length that all frames together tell, if all do. Refuses anything but frames of today's
/// format: the library would also read those from before its first release.
fn told_length(mut stream: &[u8]) -> Result<Option<u64>> {
    let mut total = Some(0_u64);
    while !stream.is_empty() {
        let magic = stream.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match magic {
            Some(FRAME_MAGIC) => {
                let told = get_frame_content_size(stream).map_err(|_| malformed("a bad frame"))?;
                total = total.zip(told).and_then(|(total, told)| total.checked_add(told));
            }
            Some(magic) if magic & !0xf == SKIPPABLE_MAGIC => {}
            _ => return Err(malformed("no zstd frame where one must be")),
        }
        let len =
            find_frame_compressed_size(stream).map_err(|code| malformed(get_error_name(code)))?;
        stream = stream.get(len.max(1)..).ok_or_else(|| malformed("a frame is cut short"))?;
    }
    Ok(total)
}
