//! Which index files need not be read whole again.
//!
//! Beside a large index lies a record: what a walk over its entries found, which file it was, and
//! when its checksum was right. As long as the file is the same by all that the system tells
//! (device, inode, length, times of change), and for a day at most, the record is believed and of
//! the file only those pages are read that a look-up needs.
//!
//! Every write to a file changes its time of change, as coarse as the system's clock ticks: so a
//! file is read only when its last change is some ticks old, and whatever changes it from then on
//! tells. It is on the disk before its record is written, so that after a loss of power there is no
//! record of bytes that did not get there. What changes bytes and tells nobody, a disk that gives
//! back others than were written, is noticed within the day. Until then an entry of the index may
//! be missing or wrong: a content is not found, or not what it should be, which its own seal tells;
//! one that is written again costs its space. No other byte is ever given for it.

use std::{
    fs::{File, Metadata},
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use kopia_format::index::Outline;

/// For how long a record is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3600);
/// No system's clock of changes ticks more slowly.
const TICKS: Duration = Duration::from_millis(50);
/// What the name of a record has behind that of the index. No blob's name has a dot.
const SUFFIX: &str = ".seen";
/// Seven numbers that tell files apart, and the time.
const TRAILER_LEN: usize = 8 * 8;

/// The name of the record of the index `name`.
pub(super) fn record_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// Which file it is, and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity([i64; 7]);

impl Identity {
    /// `None` where the system does not tell enough.
    #[cfg(unix)]
    pub(super) fn of(meta: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let (device, inode) = (meta.dev().cast_signed(), meta.ino().cast_signed());
        let modified = [meta.mtime(), meta.mtime_nsec()];
        let changed = [meta.ctime(), meta.ctime_nsec()];
        let length = meta.len().cast_signed();
        Some(Self([device, inode, length, modified[0], modified[1], changed[0], changed[1]]))
    }

    /// `None` where the system does not tell enough.
    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Whether a change from `now` on would tell.
    fn is_settled(&self, now: SystemTime) -> bool {
        let [.., secs, nanos] = self.0;
        let (Ok(secs), Ok(nanos)) = (u64::try_from(secs), u32::try_from(nanos)) else {
            return false;
        };
        let changed = UNIX_EPOCH + Duration::new(secs, nanos);
        now.duration_since(changed).is_ok_and(|age| age >= TICKS)
    }
}

/// The file as it is, when any change from now on would tell; waits for a moment if need be.
pub(super) fn settle(file: &File) -> Option<Identity> {
    for _ in 0..2 {
        let identity = Identity::of(&file.metadata().ok()?)?;
        if identity.is_settled(SystemTime::now()) {
            return Some(identity);
        }
        std::thread::sleep(TICKS);
    }
    // The times of change are from another clock.
    None
}

fn now_secs() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}

/// The record that says that `file`, which is still the one that was read as `identity`, has a right
/// checksum and this outline. `None` if it changed meanwhile.
pub(super) fn record(
    file: &File,
    identity: Identity,
    outline: &Outline,
) -> io::Result<Option<Vec<u8>>> {
    file.sync_all()?;
    if Identity::of(&file.metadata()?) != Some(identity) {
        return Ok(None);
    }
    let mut record = outline.to_bytes();
    let trailer = identity.0.into_iter().chain([now_secs()]);
    trailer.for_each(|number| record.extend_from_slice(&number.to_be_bytes()));
    Ok(Some(record))
}

/// What `record` says of `file`, if it speaks of it and is not too old.
pub(super) fn believe(mut record: Bytes, file: &File) -> Option<Outline> {
    let trailer = record.split_off(record.len().checked_sub(TRAILER_LEN)?);
    let mut numbers = trailer.as_chunks::<8>().0.iter().map(|number| i64::from_be_bytes(*number));
    let identity = Identity(std::array::from_fn(|_| numbers.next().unwrap_or(0)));
    let age = now_secs().checked_sub(numbers.next()?)?;
    let age = Duration::from_secs(u64::try_from(age).ok()?);
    let is_same = Identity::of(&file.metadata().ok()?) == Some(identity);
    if !is_same || age >= BELIEVED_FOR {
        return None;
    }
    Outline::from_bytes(record).ok()
}
