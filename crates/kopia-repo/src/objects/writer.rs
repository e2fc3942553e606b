//! Writing an object: cut, write the pieces, list them.
//!
//! A cut depends on the bytes alone, so the same bytes give the same object ID however they are
//! handed in and however the pieces are written. Where the index can't name compressed contents
//! (index version 1) data is compressed here, and the object's ID says so with a `Z`
//! (docs/format/05 §2).

use std::fmt;

use bytes::Bytes;
use dataplane::{Grant, limits};
use futures::future::BoxFuture;
use kopia_format::{
    FormatError, ObjectId, codec::Sealable, compress::Compressor, indirect::IndirectObject,
    split::SplitterKind,
};
use tokio::task::JoinSet;

use super::filler::Filler;
use crate::{
    RepositoryWriter, Result,
    contents::write::{Input, Plain},
};

/// How an object is written.
#[derive(Debug, Clone, Default)]
pub struct ObjectOptions {
    /// What it is, for logs: `FILE:a/b`.
    pub description: String,
    /// The prefix of its contents: `k` for directories, none for data.
    pub prefix: Option<u8>,
    /// The compressor of its contents.
    pub compressor: Option<Compressor>,
    /// The compressor of its lists of pieces.
    pub metadata_compressor: Option<Compressor>,
    /// Where it is cut; `None`, or a name that nobody knows, is the repository's splitter.
    pub splitter: Option<String>,
    /// Write pieces beside the caller, as far as the memory allows.
    pub concurrent: bool,
}

/// A piece that is written, or being written.
#[derive(Debug, Clone, Copy)]
struct Piece {
    length: u64,
    object: Option<ObjectId>,
}

/// Pieces that are hashed in one job, at most: some more than the CPU has lanes for, since they are
/// not of one length, and what ends early makes room for the next.
const PIECES_TOGETHER: usize = 6;

/// An object on its way. Dropped before [`finish`](Self::finish), its pieces stay as contents that
/// nothing names.
pub struct ObjectWriter {
    writer: RepositoryWriter,
    options: ObjectOptions,
    kind: SplitterKind,
    filler: Filler,
    ready: Ready,
    pieces: Vec<Piece>,
    length: u64,
    running: JoinSet<(Vec<usize>, Result<Vec<ObjectId>>)>,
}

/// Pieces that are cut and wait for others to be written with.
#[derive(Default)]
struct Ready {
    numbers: Vec<usize>,
    pieces: Vec<Sealable>,
    bytes: u64,
    grant: Option<Grant>,
}

impl ObjectWriter {
    pub(crate) fn new(writer: RepositoryWriter, options: ObjectOptions) -> Result<Self> {
        let kind = splitter(&writer, options.splitter.as_deref())?;
        let filler = Filler::new(kind, writer.writing.recycler.clone());
        Ok(Self {
            writer,
            options,
            kind,
            filler,
            ready: Ready::default(),
            pieces: Vec::new(),
            length: 0,
            running: JoinSet::new(),
        })
    }

    /// How many bytes it has taken.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Has it taken none?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What writing a content may give, of these bytes or earlier ones.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.length += bytes.len() as u64;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.ensure_room().await?;
            let (taken, is_cut) = self.filler.push(rest);
            rest = &rest[taken..];
            if is_cut {
                self.take_cut().await?;
            }
        }
        Ok(())
    }

    /// Takes bytes as `read` gives them, on a thread for blocking work, straight into the memory in
    /// which they are sealed: some MiB, until a piece is cut. Says how many came; none is the end.
    /// `read` fills its slice as far as it likes and says how far, 0 at the end; where it fails, what
    /// came before is taken.
    ///
    /// # Errors
    /// What writing a content may give, of these bytes or earlier ones.
    pub async fn fill<R, E>(mut self, mut read: R) -> Result<(Self, R, Result<usize, E>)>
    where
        R: FnMut(&mut [u8]) -> Result<usize, E> + Send + 'static,
        E: Send + 'static,
    {
        self.ensure_room().await?;
        let filled = tokio::task::spawn_blocking(move || {
            let before = self.filler.bytes();
            let filled = self.filler.fill(&mut read);
            self.length += (self.filler.bytes() - before) as u64;
            (self, read, filled)
        });
        let (mut object, read, filled) = match filled.await {
            Ok(filled) => filled,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        object.take_cut().await?;
        Ok((object, read, filled))
    }

    /// Takes memory for what is about to be filled. Nobody waits for memory while he holds some of
    /// the same budget: what is ready is written first, and gives back what it has.
    async fn ensure_room(&mut self) -> Result<()> {
        if !self.options.concurrent || self.filler.grant.is_some() {
            return Ok(());
        }
        let budget = self.writer.repository().budget().clone();
        let room = self.filler.room() as u64;
        let grant = match budget.try_acquire(room) {
            Some(grant) => grant,
            None => {
                self.start_ready().await?;
                budget.acquire(room).await
            }
        };
        self.filler.grant = Some(grant);
        Ok(())
    }

    /// Writes the pieces that were cut, or has them wait for others.
    async fn take_cut(&mut self) -> Result<()> {
        let cut = std::mem::take(&mut self.filler.cut);
        if cut.is_empty() {
            return Ok(());
        }
        let first = self.pieces.len();
        let bytes = cut.iter().map(|piece| piece.plain().len() as u64);
        self.pieces.extend(bytes.clone().map(|length| Piece { length, object: None }));
        if !self.options.concurrent {
            let written = write_pieces(&self.writer, cut, &self.options).await?;
            for (piece, object) in self.pieces[first..].iter_mut().zip(written) {
                piece.object = Some(object);
            }
            return Ok(());
        }
        let (bytes, together) = (bytes.sum(), self.bytes_together());
        let ready = &mut self.ready;
        ready.numbers.extend(first..self.pieces.len());
        ready.pieces.extend(cut);
        ready.bytes += bytes;
        if let Some(mut grant) = self.filler.grant.take() {
            grant.shrink(bytes);
            match &mut ready.grant {
                Some(all) => all.merge(grant),
                none => *none = Some(grant),
            }
        }
        if ready.pieces.len() >= PIECES_TOGETHER
            || ready.bytes + self.kind.max_segment() as u64 / 2 > together
        {
            self.start_ready().await?;
        }
        Ok(())
    }

    /// How many bytes of pieces are to be written in one job.
    fn bytes_together(&self) -> u64 {
        let repository = self.writer.repository();
        let memory = repository.budget().capacity();
        match self.options.compressor {
            // A core compresses more slowly than one thread cuts: there is to be a job for each core,
            // and memory for what is being filled.
            Some(_) => memory / repository.cpu().threads().max(2) as u64 / 5 * 4,
            // A core hashes and seals as fast as one thread cuts, the faster the more there is.
            None => memory / 5 * 3,
        }
    }

    /// Has the pieces that are ready written, beside the caller.
    async fn start_ready(&mut self) -> Result<()> {
        let Ready { numbers, pieces, grant, .. } = std::mem::take(&mut self.ready);
        if pieces.is_empty() {
            return Ok(());
        }
        let (writer, options) = (self.writer.clone(), self.options.clone());
        self.running.spawn(async move {
            let written = write_pieces(&writer, pieces, &options).await;
            drop(grant);
            (numbers, written)
        });
        while self.running.len() >= limits::CHUNKS_PER_OBJECT {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Waits for pieces of one job; false if none is being written.
    async fn join_one(&mut self) -> Result<bool> {
        let (numbers, written) = match self.running.join_next().await {
            None => return Ok(false),
            Some(Ok(done)) => done,
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => unreachable!("only dropping the writer cancels its tasks"),
            },
        };
        for (number, object) in numbers.into_iter().zip(written?) {
            self.pieces[number].object = Some(object);
        }
        Ok(true)
    }

    /// Waits until all that was cut is written.
    async fn join_all(&mut self) -> Result<()> {
        self.start_ready().await?;
        while self.join_one().await? {}
        Ok(())
    }

    /// An object of what was cut so far, and its length; `None` if nothing was. Writing goes on
    /// afterwards.
    ///
    /// # Errors
    /// What writing a content may give.
    pub async fn checkpoint(&mut self) -> Result<Option<(ObjectId, u64)>> {
        self.join_all().await?;
        if self.pieces.is_empty() {
            return Ok(None);
        }
        let length = self.pieces.iter().map(|piece| piece.length).sum();
        Ok(Some((self.list().await?, length)))
    }

    /// Writes what is left, and the list of pieces if there are several. Gives the object's ID and
    /// length.
    ///
    /// # Errors
    /// What writing a content may give, of any piece.
    pub async fn finish(mut self) -> Result<(ObjectId, u64)> {
        // An object without bytes is one content without bytes.
        if !self.filler.is_empty() || self.pieces.is_empty() {
            self.filler.end();
            self.take_cut().await?;
        }
        self.join_all().await?;
        let id = self.list().await?;
        tracing::trace!(object = %id, description = self.options.description, "wrote an object");
        Ok((id, self.length))
    }

    /// The object of the pieces so far, all of which are written.
    async fn list(&mut self) -> Result<ObjectId> {
        let written = |piece: &Piece| piece.object.expect("all pieces are joined");
        if let [only] = self.pieces.as_slice() {
            return Ok(written(only));
        }
        let mut list = IndirectObject::default();
        self.pieces.iter().for_each(|piece| list.push(written(piece), piece.length));
        let prefix = self.options.prefix.unwrap_or(b'x');
        write_list(&self.writer, &list, prefix, self.options.metadata_compressor).await
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectWriter({}, {} bytes)", self.options.description, self.length)
    }
}

/// Writes a list of pieces as an object of its own, which may be cut again. Gives the object that
/// it stands for.
pub(crate) fn write_list<'a>(
    writer: &'a RepositoryWriter,
    list: &'a IndirectObject,
    prefix: u8,
    compressor: Option<Compressor>,
) -> BoxFuture<'a, Result<ObjectId>> {
    Box::pin(async move {
        let options = ObjectOptions {
            description: "LIST".into(),
            prefix: Some(prefix),
            compressor,
            metadata_compressor: compressor,
            ..ObjectOptions::default()
        };
        let mut object = ObjectWriter::new(writer.clone(), options)?;
        object.write(list.to_bytes().into()).await?;
        let (id, _) = object.finish().await?;
        Ok(id.try_wrapped()?)
    })
}

pub(crate) fn splitter(
    writer: &RepositoryWriter,
    name: Option<&str>,
) -> Result<SplitterKind, FormatError> {
    let asked = name.filter(|name| !name.is_empty()).map(SplitterKind::parse);
    if let Some(Ok(kind)) = asked {
        return Ok(kind);
    }
    let format = writer.repository().format();
    SplitterKind::parse(if format.splitter.is_empty() { "FIXED" } else { &format.splitter })
}

/// Writes pieces in one job, unless each is to be compressed as an object first.
async fn write_pieces(
    writer: &RepositoryWriter,
    pieces: Vec<Sealable>,
    options: &ObjectOptions,
) -> Result<Vec<ObjectId>> {
    let ObjectOptions { prefix, compressor, .. } = *options;
    match compressor {
        Some(compressor) if prefix.is_none() && !compresses_contents(writer) => {
            let mut written = Vec::with_capacity(pieces.len());
            for piece in pieces {
                written.push(write_compressed(writer, piece, compressor).await?);
            }
            Ok(written)
        }
        compressor => {
            let input = |piece| Input { plain: Plain::Own(piece), prefix, compressor };
            let contents = writer.put_inputs(pieces.into_iter().map(input).collect()).await?;
            Ok(contents.into_iter().map(ObjectId::direct).collect())
        }
    }
}

/// Writes a piece that is compressed before it becomes a content, if that makes it smaller.
async fn write_compressed(
    writer: &RepositoryWriter,
    piece: Sealable,
    compressor: Compressor,
) -> Result<ObjectId> {
    let compress = move || compressor.compress(piece.plain()).map(|framed| (piece, framed));
    let (piece, framed) = writer.repository().cpu().run(compress).await?;
    let (plain, is_compressed) = match framed.len() < piece.plain().len() {
        true => (Plain::Shared(framed.into()), true),
        false => (Plain::Own(piece), false),
    };
    let input = Input { plain, prefix: None, compressor: None };
    let object = ObjectId::direct(writer.put_inputs(vec![input]).await?[0]);
    Ok(if is_compressed { object.with_compression()? } else { object })
}

pub(crate) fn compresses_contents(writer: &RepositoryWriter) -> bool {
    writer.repository().format().supports_content_compression()
}
