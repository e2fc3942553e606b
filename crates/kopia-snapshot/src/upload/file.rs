//! Uploading one file or link.
//!
//! A thread for blocking work reads ahead by a few pieces through a bounded channel; the object writer cuts, and its
//! chunks are hashed and sealed on the CPU threads. A file above the policy's size for parallel upload is cut into
//! parts first, each with a splitter of its own, exactly as Kopia does (docs/format/07-upload-restore.md §2).

use std::{path::Path, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use kopia_format::{ObjectId, compress::Compressor, directory::DirEntry};
use kopia_repo::ObjectOptions;
use tokio::sync::mpsc;

use super::{
    events::UploadEvent,
    run::{Run, dir_entry},
};
use crate::{
    error::SnapshotError,
    source::{FileReader, LocalEntry, read_link},
};

/// One read from the file system.
const PIECE: usize = 1 << 20;
/// Pieces read ahead of the splitter.
const PIECES_AHEAD: usize = 2;

/// Why one entry has no object.
#[derive(Debug)]
pub(crate) enum EntryError {
    /// The entry can't be read; the snapshot goes on. The text is Kopia's.
    Entry(String),
    /// The upload was stopped while the entry was read: it is dropped without a word.
    Stopped,
    /// The repository can't be written: the upload ends.
    Fatal(SnapshotError),
}

impl<E: Into<SnapshotError>> From<E> for EntryError {
    fn from(error: E) -> Self {
        Self::Fatal(error.into())
    }
}

/// How the bytes of a file are stored: what its policy says.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileStyle {
    pub compressor: Option<Compressor>,
    pub metadata_compressor: Option<Compressor>,
    pub splitter: Option<String>,
    /// Files larger than this many bytes are uploaded in parts; `None` = never.
    pub parallel_above: Option<u64>,
}

/// Where the bytes of a stream come from.
pub(crate) type Pieces = mpsc::Receiver<Result<Bytes, String>>;

/// Uploads a file that lies at `path`.
pub(crate) async fn upload_file(
    run: &Run,
    path: &Path,
    relative: &str,
    entry: &LocalEntry,
    style: &FileStyle,
) -> Result<DirEntry, EntryError> {
    run.tell(UploadEvent::Hashing { path: relative, size: entry.size });
    let (object, size) = match style.parallel_above {
        Some(part) if entry.size > part => upload_parts(run, path, entry.size, part, style).await?,
        _ => {
            let pieces = read_pieces(path, 0, None, entry.size);
            upload_pieces(run, pieces, &entry.name.to_string_lossy(), style).await?
        }
    };
    run.tell(UploadEvent::Finished { path: relative });
    Ok(DirEntry { size, ..dir_entry(entry, object) })
}

/// Uploads a link: its target is the object.
pub(crate) async fn upload_link(
    run: &Run,
    path: &Path,
    relative: &str,
    entry: &LocalEntry,
    metadata_compressor: Option<Compressor>,
) -> Result<DirEntry, EntryError> {
    run.tell(UploadEvent::Hashing { path: relative, size: entry.size });
    let target = read_link(path).map_err(EntryError::Entry)?;
    let size = target.len() as u64;
    let mut object = run.writer.object_writer(ObjectOptions {
        description: format!("SYMLINK:{}", entry.name.to_string_lossy()),
        metadata_compressor,
        ..ObjectOptions::default()
    })?;
    object.write(target).await?;
    run.count_hashed(size);
    let id = object.finish().await?.0;
    run.tell(UploadEvent::Finished { path: relative });
    Ok(DirEntry { size, ..dir_entry(entry, id) })
}

/// Uploads what comes through `pieces` as one object; gives its ID and length.
pub(crate) async fn upload_pieces(
    run: &Run,
    mut pieces: Pieces,
    name: &str,
    style: &FileStyle,
) -> Result<(ObjectId, u64), EntryError> {
    let mut object = run.writer.object_writer(ObjectOptions {
        description: format!("FILE:{name}"),
        prefix: None,
        compressor: style.compressor,
        metadata_compressor: style.metadata_compressor,
        splitter: style.splitter.clone(),
        concurrent: true,
    })?;
    while let Some(piece) = pieces.recv().await {
        if run.is_stopped() {
            return Err(EntryError::Stopped);
        }
        let piece = piece.map_err(EntryError::Entry)?;
        let length = piece.len() as u64;
        object.write(piece).await?;
        run.count_hashed(length);
    }
    let (id, length) = object.finish().await?;
    run.counters.files.fetch_add(1, Relaxed);
    run.counters.total_size.fetch_add(length, Relaxed);
    Ok((id, length))
}

/// Uploads a big file in parts of `part` bytes and a last one to the end of the file, whatever that is by then.
async fn upload_parts(
    run: &Run,
    path: &Path,
    size: u64,
    part: u64,
    style: &FileStyle,
) -> Result<(ObjectId, u64), EntryError> {
    let full = if part == 0 { 0 } else { size / part };
    let (mut parts, mut errors) = (Vec::new(), Vec::new());
    for number in 0..=full {
        let length = (number < full).then_some(part);
        let pieces = read_pieces(path, number * part, length, length.unwrap_or(size % part.max(1)));
        match upload_pieces(run, pieces, "part", style).await {
            Ok(uploaded) => parts.push(uploaded),
            Err(EntryError::Entry(text)) => errors.push(text),
            Err(other) => return Err(other),
        }
    }
    if !errors.is_empty() {
        let all = errors.join("\n");
        return Err(EntryError::Entry(format!("error uploading parts: {all}")));
    }
    let total = parts.iter().map(|(_, length)| length).sum();
    let id = run.writer.concatenate(&parts, style.metadata_compressor).await?;
    Ok((id, total))
}

/// Reads a file on a thread for blocking work; the channel's bound is what is read ahead.
fn read_pieces(path: &Path, offset: u64, length: Option<u64>, expected: u64) -> Pieces {
    let (send, receive) = mpsc::channel(PIECES_AHEAD);
    let path = path.to_owned();
    // One byte more than expected, so that a file that did not grow ends with its first piece.
    let piece = usize::try_from(expected.saturating_add(1)).map_or(PIECE, |size| size.min(PIECE));
    tokio::task::spawn_blocking(move || {
        let mut reader = match FileReader::open(&path).and_then(|r| r.part(offset, length)) {
            Ok(reader) => reader,
            Err(text) => return drop(send.blocking_send(Err(text))),
        };
        loop {
            let read = reader.next_piece(piece);
            let done = read.as_ref().map_or(true, |bytes| bytes.len() < piece);
            let empty = read.as_ref().is_ok_and(Bytes::is_empty);
            // A receiver that is gone has given up the file.
            if (!empty && send.blocking_send(read).is_err()) || done {
                return;
            }
        }
    });
    receive
}
