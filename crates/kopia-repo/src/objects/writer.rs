//! Writing an object: cut, write the pieces, list them.
//!
//! A cut depends on the bytes alone, so the same bytes give the same object ID however they are
//! handed in and however the pieces are written. Where the index can't name compressed contents
//! (index version 1) data is compressed here, and the object's ID says so with a `Z`
//! (docs/format/05 §2).

use std::fmt;

use bytes::{Bytes, BytesMut};
use dataplane::limits;
use futures::future::BoxFuture;
use kopia_format::{
    FormatError, ObjectId,
    compress::Compressor,
    indirect::IndirectObject,
    split::{Splitter, SplitterKind},
};
use tokio::task::JoinSet;

use crate::{RepositoryWriter, Result};

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

/// An object on its way. Dropped before [`finish`](Self::finish), its pieces stay as contents that
/// nothing names.
pub struct ObjectWriter {
    writer: RepositoryWriter,
    options: ObjectOptions,
    splitter: Box<dyn Splitter + Send>,
    buffer: Vec<Bytes>,
    buffered: usize,
    pieces: Vec<Piece>,
    length: u64,
    running: JoinSet<(usize, Result<ObjectId>)>,
}

impl ObjectWriter {
    pub(crate) fn new(writer: RepositoryWriter, options: ObjectOptions) -> Result<Self> {
        let splitter = splitter(&writer, options.splitter.as_deref())?.new_splitter();
        Ok(Self {
            writer,
            options,
            splitter,
            buffer: Vec::new(),
            buffered: 0,
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
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.length += bytes.len() as u64;
        while let Some(cut) = self.splitter.next_cut(&bytes) {
            self.buffered += cut;
            self.buffer.push(bytes.split_to(cut));
            self.flush_piece().await?;
        }
        if !bytes.is_empty() {
            self.buffered += bytes.len();
            self.buffer.push(bytes);
        }
        Ok(())
    }

    async fn flush_piece(&mut self) -> Result<()> {
        let bytes = joined(std::mem::take(&mut self.buffer), self.buffered);
        self.buffered = 0;
        let number = self.pieces.len();
        self.pieces.push(Piece { length: bytes.len() as u64, object: None });
        let (writer, options) = (self.writer.clone(), self.options.clone());
        if !self.options.concurrent {
            self.pieces[number].object = Some(write_piece(&writer, bytes, &options).await?);
            return Ok(());
        }
        while self.running.len() >= limits::CHUNKS_PER_OBJECT {
            self.join_one().await?;
        }
        let grant = writer.repository().budget().acquire(bytes.len() as u64).await;
        self.running.spawn(async move {
            let written = write_piece(&writer, bytes, &options).await;
            drop(grant);
            (number, written)
        });
        Ok(())
    }

    /// Waits for one piece; false if none is being written.
    async fn join_one(&mut self) -> Result<bool> {
        let (number, written) = match self.running.join_next().await {
            None => return Ok(false),
            Some(Ok(done)) => done,
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => unreachable!("only dropping the writer cancels its tasks"),
            },
        };
        self.pieces[number].object = Some(written?);
        Ok(true)
    }

    /// An object of what was cut so far, and its length; `None` if nothing was. Writing goes on
    /// afterwards.
    ///
    /// # Errors
    /// What writing a content may give.
    pub async fn checkpoint(&mut self) -> Result<Option<(ObjectId, u64)>> {
        while self.join_one().await? {}
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
        if self.buffered > 0 || self.pieces.is_empty() {
            self.flush_piece().await?;
        }
        while self.join_one().await? {}
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

fn splitter(writer: &RepositoryWriter, name: Option<&str>) -> Result<SplitterKind, FormatError> {
    let asked = name.filter(|name| !name.is_empty()).map(SplitterKind::parse);
    if let Some(Ok(kind)) = asked {
        return Ok(kind);
    }
    let format = writer.repository().format();
    SplitterKind::parse(if format.splitter.is_empty() { "FIXED" } else { &format.splitter })
}

fn joined(mut pieces: Vec<Bytes>, length: usize) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => {
            let mut all = BytesMut::with_capacity(length);
            pieces.iter().for_each(|piece| all.extend_from_slice(piece));
            all.freeze()
        }
    }
}

async fn write_piece(
    writer: &RepositoryWriter,
    bytes: Bytes,
    options: &ObjectOptions,
) -> Result<ObjectId> {
    let compressor = match options.compressor {
        Some(compressor) if options.prefix.is_none() && !compresses_contents(writer) => compressor,
        compressor => {
            let content = writer.put_content(bytes, options.prefix, compressor).await?;
            return Ok(ObjectId::direct(content));
        }
    };
    let plain = bytes.clone();
    let framed = writer.repository().cpu().run(move || compressor.compress(&plain)).await?;
    if framed.len() < bytes.len() {
        let content = writer.put_content(framed.into(), None, None).await?;
        return Ok(ObjectId::direct(content).with_compression()?);
    }
    Ok(ObjectId::direct(writer.put_content(bytes, None, None).await?))
}

fn compresses_contents(writer: &RepositoryWriter) -> bool {
    writer.repository().format().supports_content_compression()
}
