//! The names of blobs in epochs, read as leniently as Kopia reads them.
//!
//! `xe<epoch>` marks the current epoch, `xw<seconds>` the deletion watermark. `xn<epoch>_…`,
//! `xs<epoch>_…` and `xr<min>_<max>_…` are index blobs: written at flush, compactions of one epoch,
//! of many.

/// Marks that an epoch has begun.
pub const PREFIX_MARKER: &str = "xe";
/// Index blobs written at flush.
pub const PREFIX_UNCOMPACTED: &str = "xn";
/// Compactions of one epoch.
pub const PREFIX_SINGLE: &str = "xs";
/// Compactions of a range of epochs.
pub const PREFIX_RANGE: &str = "xr";
/// Says until when deleted contents don't exist any more.
pub const PREFIX_WATERMARK: &str = "xw";

/// What Kopia writes into the marker of an epoch: plain text, not encrypted.
pub const MARKER_BODY: &[u8] = b"epoch-marker";
/// What Kopia writes into a watermark: plain text, not encrypted.
pub const WATERMARK_BODY: &[u8] = b"deletion-watermark";

/// What a blob in epochs is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexBlobName {
    /// The epoch has begun.
    Marker(u64),
    /// The deletion watermark, in seconds since 1970.
    Watermark(i64),
    /// An index blob written at flush, in this epoch.
    Uncompacted(u64),
    /// A compaction of this epoch.
    Single(u64),
    /// A compaction of the epochs from one to another.
    Range(u64, u64),
}

impl IndexBlobName {
    /// Reads the name of a blob; `None` for one that readers ignore.
    pub fn parse(id: &str) -> Option<Self> {
        match id.get(..2)? {
            PREFIX_MARKER => epoch_number(id).map(Self::Marker),
            PREFIX_WATERMARK => watermark(id).map(Self::Watermark),
            PREFIX_UNCOMPACTED => epoch_number(id).map(Self::Uncompacted),
            PREFIX_SINGLE => epoch_number(id).map(Self::Single),
            PREFIX_RANGE => epoch_range(id).map(|(min, max)| Self::Range(min, max)),
            _ => None,
        }
    }
}

/// The number before the first `_`, whatever letters stand before it.
pub(super) fn epoch_number(id: &str) -> Option<u64> {
    let (first, _) = id.split_once('_').unwrap_or((id, ""));
    digits(first)
}

/// Both numbers of a range. One that ends before it begins is none.
pub(super) fn epoch_range(id: &str) -> Option<(u64, u64)> {
    let mut parts = id.split('_');
    let (first, second, _) = (parts.next()?, parts.next()?, parts.next()?);
    let (min, max) = (digits(first)?, number(second)?);
    (min <= max).then_some((min, max))
}

/// The seconds of a watermark.
pub(super) fn watermark(id: &str) -> Option<i64> {
    id.strip_prefix(PREFIX_WATERMARK).unwrap_or(id).parse().ok()
}

fn digits(text: &str) -> Option<u64> {
    number(text.trim_start_matches(|c: char| !c.is_ascii_digit()))
}

/// Kopia counts epochs in 64 bits with a sign.
fn number(text: &str) -> Option<u64> {
    text.parse::<i64>().ok()?.try_into().ok()
}

/// The name of the marker of `epoch`.
pub fn marker_name(epoch: u64) -> String {
    format!("{PREFIX_MARKER}{epoch}")
}

/// The name of the watermark at `seconds` since 1970.
pub fn watermark_name(seconds: i64) -> String {
    format!("{PREFIX_WATERMARK}{seconds}")
}

/// What the names of index blobs begin with that are written at flush in `epoch`; the hash follows.
pub fn uncompacted_prefix(epoch: u64) -> String {
    format!("{PREFIX_UNCOMPACTED}{epoch}_")
}

/// What the names of a compaction of `epoch` begin with; the hash follows.
pub fn single_prefix(epoch: u64) -> String {
    format!("{PREFIX_SINGLE}{epoch}_")
}

/// What the names of a compaction of the epochs from `min` to `max` begin with; the hash follows.
pub fn range_prefix(min: u64, max: u64) -> String {
    format!("{PREFIX_RANGE}{min}_{max}_")
}

/// What the names of `count` blobs written together by a session end with, behind the hash.
pub fn set_suffix(session: &str, count: usize) -> String {
    format!("-{session}-c{count}")
}

/// What the names of the `count` blobs of a compaction end with: as if a session with a name of its
/// own had written it.
pub fn compaction_suffix(random: [u8; 8], count: usize) -> String {
    set_suffix(&format!("s{}", hex::encode(random)), count)
}
