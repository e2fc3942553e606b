//! Marks as bytes, to go on with them in another run.
//!
//! They stand beside the names of their index blobs, which never change, so they are those of the
//! same entries or of none. A lost bit would be a lost content: a checksum stands behind them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::BufMut;

use super::Marks;
use crate::index::IndexView;

/// How kept marks begin.
const FORM: &[u8; 4] = b"kom1";
/// In place of a time, where there is no watermark.
const NO_WATERMARK: i64 = i64::MIN;
/// Bytes of a word of bits, and of the checksum.
const WORD_LEN: usize = 8;
const CHECKSUM_LEN: usize = 4;

impl Marks {
    /// The marks as bytes: about one for eight entries of the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        let view = self.view();
        let words: usize = self.0.bits.iter().map(|words| words.len()).sum();
        let mut out = Vec::with_capacity(words * WORD_LEN + self.0.bits.len() * 128 + 64);
        out.extend_from_slice(FORM);
        out.put_i64_le(view.watermark().unwrap_or(NO_WATERMARK));
        for (segment, words) in view.segments().iter().zip(&self.0.bits) {
            let name = segment.meta.id.as_str();
            out.put_u64_le(name.len() as u64);
            out.extend_from_slice(name.as_bytes());
            out.put_u64_le(segment.index.len() as u64);
            words.iter().for_each(|word| out.put_u64_le(word.load(Relaxed)));
        }
        let checksum = crc32fast::hash(&out);
        out.put_u32_le(checksum);
        out
    }

    /// What [`to_bytes`](Self::to_bytes) made, for a newer view. Nothing is marked of index blobs
    /// that are new in it. `None` if an index blob is in it no longer, if the watermark is another
    /// one, or if the bytes are not whole: then nothing that was marked counts.
    pub fn restore(view: Arc<IndexView>, bytes: &[u8]) -> Option<Self> {
        let (bytes, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = bytes.strip_prefix(FORM)?;
        if take_word(&mut rest)?.cast_signed() != view.watermark().unwrap_or(NO_WATERMARK) {
            return None;
        }
        let marks = Self::new(Arc::clone(&view));
        let segments = view.segments().iter().zip(&marks.0.bits);
        let mut known: HashMap<&[u8], _> =
            segments.map(|segment| (segment.0.meta.id.as_str().as_bytes(), segment)).collect();
        while !rest.is_empty() {
            let name_len = usize::try_from(take_word(&mut rest)?).ok()?;
            let (name, behind) = rest.split_at_checked(name_len)?;
            rest = behind;
            let (segment, words) = known.remove(name)?;
            if take_word(&mut rest)? != segment.index.len() as u64 {
                return None;
            }
            for word in words {
                word.store(take_word(&mut rest)?, Relaxed);
            }
        }
        Some(marks)
    }
}

fn take_word(rest: &mut &[u8]) -> Option<u64> {
    let (word, behind) = rest.split_first_chunk::<WORD_LEN>()?;
    *rest = behind;
    Some(u64::from_le_bytes(*word))
}
