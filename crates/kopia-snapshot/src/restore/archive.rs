//! Restoring into one file: tar, tar.gz or zip.
//!
//! An archive is written front to back, so contents are fetched in the order of the files, a window
//! at a time: each window is planned like a restore of its own, and its contents wait in memory
//! until their turn.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::OsStr,
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::StreamExt;
use kopia_format::{ContentId, compress::decompress, time::mode_to_unix};
use kopia_repo::{PackReads, RangeRead, ReadPlan, Repository, read_plan::GAP_BYTES_MAX};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zip::{CompressionMethod, ZipWriter, write::FullFileOptions};

use super::{
    events::{RestoreEvent, RestoreReport, RestoreSink},
    folders::local,
    options::RestoreOptions,
    place::name_beside,
    plan::RestorePlan,
    window::{Attributes, Piece, PlannedLeaf, Window},
};
use crate::error::{Result, SnapshotError};

/// Bytes of contents that wait for their turn.
const WINDOW_BYTES: u64 = 32 << 20;
/// Pieces between the fetching task and the writing thread.
const PIECES_AHEAD: usize = 4;

/// The kinds of archive that a restore can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// tar, not compressed.
    Tar,
    /// tar, compressed with gzip.
    TarGz,
    /// zip, compressed. Holds no folders and no links, as Kopia's.
    Zip,
    /// zip, not compressed.
    ZipStored,
}

/// What the writing thread is told, in this order: an entry, its bytes, the next entry.
enum Part {
    Folder(PathBuf, Attributes),
    Link(PathBuf, Attributes, Bytes),
    /// With its length in bytes.
    File(PathBuf, Attributes, u64, mpsc::Receiver<Bytes>),
}

impl RestorePlan {
    /// Restores into the archive `path`.
    ///
    /// # Errors
    /// As [`RestorePlan::run`]. With `ignore_errors` an archive is made without the entries that are
    /// known beforehand to be unreadable; what shows itself only when it is read ends the restore,
    /// for an archive can't take back the half of a file.
    pub async fn run_archive(
        self,
        repo: &Repository,
        path: &Path,
        kind: ArchiveKind,
        options: &RestoreOptions,
        sink: Arc<dyn RestoreSink>,
        stop: &CancellationToken,
    ) -> Result<RestoreReport> {
        self.check_possible(options.ignore_errors)?;
        if stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        sink.event(RestoreEvent::Planned { files: self.files, bytes: self.bytes });
        // Under another name until it is whole: half an archive must not look like one.
        let half = path.with_file_name(name_beside());
        let file = File::create(&half).map_err(|source| local(&half, source))?;
        let (send, parts) = mpsc::channel(1);
        let writing = tokio::task::spawn_blocking(move || write_archive(file, kind, parts));
        let mut report = self.first_report();
        let fed = self.feed(repo, options, send, &mut report, &*sink, stop).await;
        let written = writing.await.expect("writing an archive does not panic");
        // A writer that gave up is why feeding it failed, so its word comes first.
        let done = written.map_err(|source| local(path, source)).and(fed);
        let done =
            done.and_then(|()| std::fs::rename(&half, path).map_err(|source| local(path, source)));
        if done.is_err() {
            // Nothing depends on it: the failure itself is reported.
            let _ = std::fs::remove_file(&half);
        }
        done.map(|()| report)
    }

    async fn feed(
        mut self,
        repo: &Repository,
        options: &RestoreOptions,
        send: mpsc::Sender<Part>,
        report: &mut RestoreReport,
        sink: &dyn RestoreSink,
        stop: &CancellationToken,
    ) -> Result<()> {
        let only = self.only.take();
        let mut windows = self.windows(repo, only, options);
        while let Some(mut window) = windows.next().await? {
            window.leave_out_unreadable(&self);
            let reads = std::mem::take(&mut window.reads);
            report.add_window(&mut window, &reads);
            feed(window, &reads, repo, &send, report, sink, stop).await?;
        }
        Ok(())
    }
}

impl Window {
    /// Takes the entries out that need a content which can't be read.
    fn leave_out_unreadable(&mut self, plan: &RestorePlan) {
        let unreadable = self.take_unreadable(&plan.barred_packs());
        let unreadable: HashMap<_, _> =
            unreadable.iter().map(|one| (one.id, &one.trouble)).collect();
        let failures = &mut self.failures;
        let mut is_whole = |leaf: &PlannedLeaf| {
            let mut pieces = leaf.all_pieces();
            let trouble = pieces.find_map(|piece| unreadable.get(&piece.content));
            failures.extend(trouble.map(|trouble| trouble.noted(&leaf.path())));
            trouble.is_none()
        };
        self.files.retain(&mut is_whole);
        self.links.retain(&mut is_whole);
    }
}

/// Gives a window to the writing thread: its folders, its links, its files.
async fn feed(
    window: Window,
    reads: &ReadPlan,
    repo: &Repository,
    send: &mpsc::Sender<Part>,
    report: &mut RestoreReport,
    sink: &dyn RestoreSink,
    stop: &CancellationToken,
) -> Result<()> {
    let send = async |part| send.send(part).await.map_err(|_| SnapshotError::Stopped);
    let leaves = window.links.iter().chain(&window.files);
    let mut contents = InOrder::new(repo, reads, leaves);
    for folder in &window.folders {
        report.folders += 1;
        if !folder.path.as_os_str().is_empty() {
            send(Part::Folder(folder.path.clone(), folder.attributes)).await?;
        }
    }
    for link in &window.links {
        let mut text = Vec::new();
        for piece in link.all_pieces() {
            text.extend_from_slice(&contents.next(&piece).await?);
        }
        send(Part::Link(link.path(), link.attributes, text.into())).await?;
        report.links += 1;
    }
    for file in &window.files {
        let path = in_archive(file);
        let (pieces, receive) = mpsc::channel(PIECES_AHEAD);
        send(Part::File(path.clone(), file.attributes, file.size, receive)).await?;
        for piece in file.all_pieces() {
            if stop.is_cancelled() {
                return Err(SnapshotError::Stopped);
            }
            let bytes = contents.next(&piece).await?;
            sink.event(RestoreEvent::Written { bytes: bytes.len() as u64 });
            pieces.send(bytes).await.map_err(|_| SnapshotError::Stopped)?;
        }
        report.files += 1;
        report.bytes += file.size;
        sink.event(RestoreEvent::File { path: &path.to_string_lossy() });
    }
    Ok(())
}

/// The name of a file in the archive. A root that is a file has no path, but mostly a name.
fn in_archive(file: &PlannedLeaf) -> PathBuf {
    if file.folder.is_some() {
        return file.path();
    }
    match Path::new(OsStr::from_bytes(&file.name)).file_name() {
        Some(name) => name.into(),
        None => file.object.to_string().into(),
    }
}

/// Gives contents in the order of the archive, fetched a window at a time.
struct InOrder<'a> {
    repo: &'a Repository,
    reads: &'a ReadPlan,
    /// What comes after the window, in order.
    waiting: VecDeque<(ContentId, u64)>,
    /// How many of the window are still to be given.
    left_in_window: usize,
    window: HashMap<ContentId, Bytes>,
}

impl<'a> InOrder<'a> {
    fn new(
        repo: &'a Repository,
        reads: &'a ReadPlan,
        leaves: impl Iterator<Item = &'a PlannedLeaf>,
    ) -> Self {
        let length = |leaf: &PlannedLeaf, piece: &Piece| piece.length.unwrap_or(leaf.size);
        let pieces = leaves.flat_map(|leaf| leaf.all_pieces().map(move |piece| (leaf, piece)));
        let waiting = pieces.map(|(leaf, piece)| (piece.content, length(leaf, &piece)));
        let waiting = waiting.collect();
        Self { repo, reads, waiting, left_in_window: 0, window: HashMap::new() }
    }

    /// The bytes of `piece`, which is the next in order.
    async fn next(&mut self, piece: &Piece) -> Result<Bytes> {
        if self.left_in_window == 0 {
            self.fetch_window().await?;
        }
        self.left_in_window -= 1;
        let id = piece.content;
        let bytes = self.window.get(&id).cloned().ok_or_else(|| self.repo.not_found(id))?;
        if !piece.compressed {
            return Ok(bytes);
        }
        let limit = piece.length.and_then(|length| usize::try_from(length).ok());
        let what = format!("content {id}");
        let plain = decompress(None, &bytes, limit.unwrap_or(usize::MAX));
        Ok(plain.map_err(SnapshotError::format(what))?.into())
    }

    async fn fetch_window(&mut self) -> Result<()> {
        let (mut wanted, mut bytes) = (HashSet::new(), 0);
        while let Some((id, length)) = self.waiting.front().copied() {
            if !wanted.is_empty() && bytes + length > WINDOW_BYTES {
                break;
            }
            self.waiting.pop_front();
            self.left_in_window += 1;
            bytes += if wanted.insert(id) { length } else { 0 };
        }
        self.window.clear();
        let plan = restricted(self.reads, &wanted);
        let mut contents = std::pin::pin!(self.repo.fetch_all(&plan));
        while let Some((id, content)) = contents.next().await {
            self.window.insert(id, content?);
        }
        Ok(())
    }
}

/// The part of a plan that reads `wanted`.
fn restricted(reads: &ReadPlan, wanted: &HashSet<ContentId>) -> ReadPlan {
    let mut plan = ReadPlan::default();
    for pack in &reads.packs {
        let mut ranges: Vec<RangeRead> = Vec::new();
        for content in pack.ranges.iter().flat_map(|range| &range.contents) {
            if !wanted.contains(&content.id) {
                continue;
            }
            let (start, end) = (
                u64::from(content.offset),
                u64::from(content.offset) + u64::from(content.packed_length),
            );
            match ranges.last_mut() {
                Some(last) if start <= last.offset + last.length + GAP_BYTES_MAX => {
                    last.length = last.length.max(end - last.offset);
                    last.contents.push(content.clone());
                }
                _ => ranges.push(RangeRead {
                    offset: start,
                    length: end - start,
                    contents: vec![content.clone()],
                }),
            }
        }
        if !ranges.is_empty() {
            plan.packs.push(PackReads { ranges, ..pack.clone() });
        }
    }
    plan
}

/// Reads what comes through a channel.
struct ChannelReader {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.current.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

fn write_archive(file: File, kind: ArchiveKind, parts: mpsc::Receiver<Part>) -> io::Result<()> {
    let out = BufWriter::with_capacity(1 << 20, file);
    match kind {
        ArchiveKind::Tar => write_tar(out, parts)?.flush(),
        ArchiveKind::TarGz => {
            write_tar(GzEncoder::new(out, Compression::default()), parts)?.finish()?.flush()
        }
        ArchiveKind::Zip => write_zip(out, CompressionMethod::Deflated, parts),
        ArchiveKind::ZipStored => write_zip(out, CompressionMethod::Stored, parts),
    }
}

fn write_tar<W: Write>(out: W, mut parts: mpsc::Receiver<Part>) -> io::Result<W> {
    let mut tar = tar::Builder::new(out);
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Folder(path, entry) => {
                let mut header = tar_header(&entry, tar::EntryType::Directory, 0);
                // With a slash at its end, which older readers go by.
                tar.append_data(&mut header, path.join(""), io::empty())?;
            }
            Part::Link(path, entry, text) => {
                let mut header = tar_header(&entry, tar::EntryType::Symlink, 0);
                let text = OsStr::from_bytes(&text);
                tar.append_link(&mut header, path, text)?;
            }
            Part::File(path, entry, size, pieces) => {
                let mut header = tar_header(&entry, tar::EntryType::Regular, size);
                let reader = ChannelReader { pieces, current: Bytes::new() };
                let exact = Exact { left: size, inner: reader };
                tar.append_data(&mut header, path, exact)?;
            }
        }
    }
    tar.into_inner()
}

fn tar_header(entry: &Attributes, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode_to_unix(entry.mode));
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    let seconds = entry.mtime.div_euclid(1_000_000_000);
    match u64::try_from(seconds) {
        Ok(seconds) => header.set_mtime(seconds),
        Err(_) => set_mtime_before_1970(&mut header, seconds),
    }
    header
}

/// As GNU tar writes it: a number of 96 bits in two's complement, whose first bit says that it is
/// no octal text.
fn set_mtime_before_1970(header: &mut tar::Header, seconds: i64) {
    let field = &mut header.as_old_mut().mtime;
    field.fill(0xff);
    field[4..].copy_from_slice(&seconds.to_be_bytes());
}

/// Fails where the bytes are fewer than the header promised: the archive would be unreadable behind
/// that place.
struct Exact<R> {
    left: u64,
    inner: R,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        if count == 0 && self.left > 0 && !out.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

fn write_zip(
    out: BufWriter<File>,
    method: CompressionMethod,
    mut parts: mpsc::Receiver<Part>,
) -> io::Result<()> {
    let mut zip = ZipWriter::new(out);
    while let Some(part) = parts.blocking_recv() {
        let Part::File(path, entry, size, pieces) = part else { continue };
        let options = zip_time(entry.mtime)?
            .compression_method(method)
            .unix_permissions(mode_to_unix(entry.mode))
            .large_file(size >= u64::from(u32::MAX));
        zip.start_file(path.to_string_lossy(), options)?;
        io::copy(&mut ChannelReader { pieces, current: Bytes::new() }, &mut zip)?;
    }
    zip.finish()?.flush()
}

/// A file's time, in nanoseconds since 1970, as zip keeps it: in two-second steps of UTC from 1980
/// on, and beside it in seconds since 1970, which other programs prefer where it is there (field
/// 0x5455 of Info-ZIP, 32 bits with a sign). Kopia writes both, too.
fn zip_time(mtime: i64) -> io::Result<FullFileOptions<'static, 'static>> {
    let options = FullFileOptions::default();
    let seconds = mtime.div_euclid(1_000_000_000);
    let options = match jiff::Timestamp::from_second(seconds).ok().and_then(dos_time) {
        Some(time) => options.last_modified_time(time),
        None => options,
    };
    match i32::try_from(seconds) {
        Ok(seconds) => {
            Ok(options.with_extended_timestamp(Some(seconds.cast_unsigned()), None, None)?)
        }
        Err(_) => Ok(options),
    }
}

fn dos_time(time: jiff::Timestamp) -> Option<zip::DateTime> {
    let time = jiff::tz::TimeZone::UTC.to_datetime(time);
    let small = |number: i8| u8::try_from(number).ok();
    zip::DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        small(time.month())?,
        small(time.day())?,
        small(time.hour())?,
        small(time.minute())?,
        small(time.second())?,
    )
    .ok()
}
