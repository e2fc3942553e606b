//! Uploading one file or link.
//!
//! A file of one piece is read in one go on a thread for blocking work. A longer one is read there
//! straight into the memory in which its pieces are sealed, and cut; the pieces are hashed and sealed
//! on the CPU threads meanwhile. A stream comes in slices through a bounded channel. A file above the policy's size for parallel
//! upload is cut into parts first, each with a splitter of its own, exactly as Kopia does
//! (docs/format/07-upload-restore.md §2).

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::FutureExt;
use kopia_format::{ObjectId, compress::Compressor, directory::DirEntry};
use kopia_repo::ObjectOptions;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    events::UploadEvent,
    open::Registry,
    run::{Run, dir_entry},
};
use crate::{
    error::SnapshotError,
    source::{FileReader, LocalEntry, read_link},
};

/// Files that are shorter are read in one go.
const PIECE: usize = 1 << 20;

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

impl EntryError {
    /// What is told of it at debug level.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Entry(text) => text.into(),
            // Kopia's words.
            Self::Stopped => "canceled when copying data: canceled".into(),
            Self::Fatal(error) => error.to_string().into(),
        }
    }
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

/// Uploads the file at `path`; while that lasts, checkpoints find it in `open`.
pub(crate) async fn upload_file(
    run: &Arc<Run>,
    path: &Path,
    relative: &str,
    entry: &LocalEntry,
    style: &FileStyle,
    open: &Arc<Registry>,
) -> Result<DirEntry, EntryError> {
    run.tell(UploadEvent::Hashing { path: relative, size: entry.size });
    let (object, size) = match style.parallel_above {
        Some(part) if entry.size > part => {
            upload_parts(run, path, entry, part, style, open).await?
        }
        _ => {
            let part =
                Part { path: path.to_owned(), offset: 0, length: None, expected: entry.size };
            upload_part(run, part, entry, style, open).await?
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
    let options = ObjectOptions {
        description: format!("SYMLINK:{}", entry.name.to_string_lossy()),
        metadata_compressor,
        ..ObjectOptions::default()
    };
    let id = run.writer.write_object(target, options).await?;
    run.count_hashed(size);
    if run.is_stopped() {
        return Err(EntryError::Stopped);
    }
    run.tell(UploadEvent::Finished { path: relative });
    Ok(DirEntry { size, ..dir_entry(entry, id) })
}

/// Uploads what comes through `pieces` as one object; gives its ID and length.
pub(crate) async fn upload_pieces(
    run: &Run,
    mut pieces: Pieces,
    entry: &LocalEntry,
    style: &FileStyle,
    open: &Arc<Registry>,
) -> Result<(ObjectId, u64), EntryError> {
    let mut object = run.writer.object_writer(options(entry, style))?;
    let mut open = open.enter_file(entry.clone());
    loop {
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            asked = open.asked() => {
                if let Some(so_far) = object.checkpoint().await? {
                    // Whoever asked may have been stopped.
                    let _ = asked.send(so_far);
                }
                continue;
            }
        };
        // Also behind the last piece: a file that crosses the limit is not in the snapshot.
        if run.is_stopped() {
            return Err(EntryError::Stopped);
        }
        // A channel that ends without the empty piece has lost its reader: the file is not whole.
        let lost = || Err("reading ended before the end was reached".to_owned());
        let piece = piece.unwrap_or_else(lost).map_err(EntryError::Entry)?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len() as u64;
        object.write(piece).await?;
        run.count_hashed(length);
    }
    let (id, length) = object.finish().await?;
    run.count_file(length);
    Ok((id, length))
}

/// Uploads a file of which there is more than its first bytes.
async fn upload_long(
    run: &Run,
    (mut reader, first): (FileReader, Bytes),
    entry: &LocalEntry,
    style: &FileStyle,
    open: &Arc<Registry>,
) -> Result<(ObjectId, u64), EntryError> {
    let mut object = run.writer.object_writer(options(entry, style))?;
    let mut open = open.enter_file(entry.clone());
    let mut count = first.len() as u64;
    object.write(first).await?;
    let mut read = move |place: &mut [u8]| reader.fill(place);
    loop {
        run.count_hashed(count);
        while let Some(asked) = open.asked().now_or_never() {
            if let Some(so_far) = object.checkpoint().await? {
                // Whoever asked may have been stopped.
                let _ = asked.send(so_far);
            }
        }
        // Also behind the last piece: a file that crosses the limit is not in the snapshot.
        if run.is_stopped() {
            return Err(EntryError::Stopped);
        }
        if count == 0 {
            break;
        }
        let filled;
        (object, read, filled) = object.fill(read).await?;
        count = filled.map_err(EntryError::Entry)? as u64;
    }
    let (id, length) = object.finish().await?;
    run.count_file(length);
    Ok((id, length))
}

/// Uploads a file that was read whole.
async fn upload_whole(
    run: &Run,
    bytes: Bytes,
    entry: &LocalEntry,
    style: &FileStyle,
) -> Result<(ObjectId, u64), EntryError> {
    let length = bytes.len() as u64;
    let id = run.writer.write_object(bytes, options(entry, style)).await?;
    run.count_hashed(length);
    if run.is_stopped() {
        return Err(EntryError::Stopped);
    }
    run.count_file(length);
    Ok((id, length))
}

/// How the object of a file is written.
pub(crate) fn options(entry: &LocalEntry, style: &FileStyle) -> ObjectOptions {
    ObjectOptions {
        description: format!("FILE:{}", entry.name.to_string_lossy()),
        prefix: None,
        compressor: style.compressor,
        metadata_compressor: style.metadata_compressor,
        splitter: style.splitter.clone(),
        concurrent: true,
    }
}

/// Uploads a big file in parts of `part` bytes and a last one to the end of the file, whatever that
/// is by then; several at once while there are permits.
async fn upload_parts(
    run: &Arc<Run>,
    path: &Path,
    entry: &LocalEntry,
    part: u64,
    style: &FileStyle,
    open: &Arc<Registry>,
) -> Result<(ObjectId, u64), EntryError> {
    let full = entry.size.checked_div(part).unwrap_or(0);
    let mut helpers = JoinSet::new();
    let mut results = Vec::new();
    for number in 0..=full {
        let length = (number < full).then_some(part);
        let expected = length.unwrap_or(entry.size - full * part);
        let piece = Part { path: path.to_owned(), offset: number * part, length, expected };
        if let Ok(permit) = run.helpers.clone().try_acquire_owned() {
            let (run, open) = (run.clone(), open.clone());
            let (entry, style) = (entry.clone(), style.clone());
            helpers.spawn(async move {
                let uploaded = upload_part(&run, piece, &entry, &style, &open).await;
                drop(permit);
                (number, uploaded)
            });
        } else {
            results.push((number, upload_part(run, piece, entry, style, open).await));
        }
    }
    while let Some(done) = helpers.join_next().await {
        results.push(done.expect("uploading a part does not panic"));
    }
    results.sort_by_key(|(number, _)| *number);
    let (mut parts, mut errors) = (Vec::new(), Vec::new());
    for (_, result) in results {
        match result {
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

/// Which bytes of a file.
struct Part {
    path: PathBuf,
    offset: u64,
    /// `None` = to the end of the file.
    length: Option<u64>,
    /// How many there were when the file was listed.
    expected: u64,
}

async fn upload_part(
    run: &Run,
    part: Part,
    entry: &LocalEntry,
    style: &FileStyle,
    open: &Arc<Registry>,
) -> Result<(ObjectId, u64), EntryError> {
    // One byte more than expected, so that a file that did not grow ends with its first piece.
    let piece = part.expected.saturating_add(1).min(PIECE as u64);
    let piece = usize::try_from(piece).expect("it is at most a piece");
    let begin = move || {
        let mut reader = FileReader::open(&part.path)?.part(part.offset, part.length)?;
        let first = reader.next_piece(piece)?;
        Ok((reader, first))
    };
    let begun = tokio::task::spawn_blocking(begin).await.expect("reading does not panic");
    let (reader, first) = begun.map_err(EntryError::Entry)?;
    if first.len() < piece {
        return upload_whole(run, first, entry, style).await;
    }
    upload_long(run, (reader, first), entry, style, open).await
}
