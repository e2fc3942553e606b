//! An entry that is written part by part, so that one longer than the memory can be kept.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use bytes::Bytes;

use super::{Cache, Kind, blocking, checksum::Checksum, files::Files, lru::Limit};

/// An entry whose bytes are not all there yet. Dropped before its end, it is none.
#[derive(Debug)]
pub(crate) struct Storing {
    files: Files,
    file: tempfile::NamedTempFile,
    path: PathBuf,
    sum: Checksum,
    left: u64,
    room: Room,
}

/// What a limit has counted for an entry; taken back if that is never finished.
#[derive(Debug)]
struct Room {
    limit: Limit,
    length: u64,
    is_used: bool,
}

impl Room {
    /// The entry is there.
    fn use_up(mut self) {
        self.is_used = true;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.is_used {
            self.limit.not_written(self.length);
        }
    }
}

impl Cache {
    /// Begins an entry of `length` bytes; `None` if there is no room for it.
    pub(crate) async fn begin(&self, kind: Kind, name: &str, length: u64) -> Option<Storing> {
        if !self.keeps(kind) {
            return None;
        }
        let (limit, name) = (self.limit(kind).clone(), name.to_owned());
        let begun = blocking(&self.files, move |files| {
            let with_checksum = Files::length_of(length);
            if !limit.make_room(files, kind, with_checksum)? {
                return Ok(None);
            }
            let room = Room { limit, length: with_checksum, is_used: false };
            let path = files.path(kind, &name);
            let file = Files::begin(&path)?;
            let sum = Checksum::begin(files.mac(), &name);
            Ok(Some(Storing { files: files.clone(), file, path, sum, left: length, room }))
        });
        begun.await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a long entry of the cache was not begun");
            None
        })
    }
}

impl Storing {
    /// Writes the bytes that follow.
    pub(crate) async fn append(mut self, bytes: Bytes) -> io::Result<Self> {
        let files = self.files.clone();
        let appending = move |_: &Files| {
            let length = bytes.len() as u64;
            self.left = self.left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
            self.file.write_all(&bytes)?;
            self.sum.write(&bytes);
            Ok(self)
        };
        blocking(&files, appending).await
    }

    /// Makes it an entry.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        let files = self.files.clone();
        let finishing = move |_: &Files| {
            if self.left > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.file.write_all(&self.sum.finish())?;
            self.file.persist(&self.path)?;
            self.room.use_up();
            Ok(())
        };
        blocking(&files, finishing).await
    }
}
