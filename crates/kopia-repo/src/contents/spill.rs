//! The beginning of a long pack in a temporary file, so that packs of any size fit the memory.
//!
//! A repository may ask for packs of up to 120 MiB (docs/format/03 §5.2), and several are on their
//! way at once. The file has no name, so it is gone when the program is; what lies in it is sealed.
//! It is checked when it is read to be put: a bit that fell over on the way would be found out only
//! at a restore.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc};

use blob_core::PieceSource;
use bytes::Bytes;
use kopia_format::index::IndexEntry;

/// Bytes that are read at once to be put.
const SEGMENT: usize = 1 << 20;

/// Bytes at the beginning of a pack, from 0 on.
#[derive(Debug)]
pub(crate) struct Spill {
    file: Arc<File>,
    segments: Vec<Arc<Segment>>,
    len: u64,
}

/// A part of the file, and its CRC.
#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    bytes: Range<u64>,
    crc: u32,
}

impl Spill {
    /// Nothing yet, in a new file in `folder`, or where the system has its temporary files.
    pub(crate) fn begin(folder: Option<&Path>) -> io::Result<Self> {
        let file = match folder {
            Some(folder) => tempfile::tempfile_in(folder)?,
            None => tempfile::tempfile()?,
        };
        Ok(Self { file: Arc::new(file), segments: Vec::new(), len: 0 })
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Writes the bytes that follow. After an error all is as it was before.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let (mut at, mut segments) = (self.len, Vec::new());
        let mut crc = crc32fast::Hasher::new();
        let mut end = |bytes: Range<u64>, crc: crc32fast::Hasher| {
            if !bytes.is_empty() {
                let (file, crc) = (Arc::clone(&self.file), crc.finalize());
                segments.push(Arc::new(Segment { file, bytes, crc }));
            }
        };
        let mut begun = at;
        for part in pieces.iter().flat_map(|piece| piece.chunks(SEGMENT)) {
            if at + part.len() as u64 > begun + SEGMENT as u64 {
                end(begun..at, std::mem::take(&mut crc));
                begun = at;
            }
            self.file.write_all_at(part, at)?;
            crc.update(part);
            at += part.len() as u64;
        }
        end(begun..at, crc);
        self.segments.extend(segments);
        self.len = at;
        Ok(())
    }

    /// The sealed bytes of an entry that lies here.
    pub(crate) fn read(&self, entry: &IndexEntry) -> io::Result<Bytes> {
        let mut bytes = vec![0; entry.packed_length as usize];
        self.file.read_exact_at(&mut bytes, entry.offset.into())?;
        Ok(bytes.into())
    }

    /// Its bytes in order, for a payload.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Arc<dyn PieceSource>> {
        self.segments.iter().map(|segment| Arc::clone(segment) as Arc<dyn PieceSource>)
    }
}

impl PieceSource for Segment {
    fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.len()).expect("a segment is short")];
        self.file.read_exact_at(&mut bytes, self.bytes.start)?;
        if crc32fast::hash(&bytes) == self.crc {
            return Ok(bytes.into());
        }
        let text = "the temporary file of a pack gives back other bytes than were written";
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

#[cfg(test)]
mod tests {
    use blob_core::Payload;

    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_a_changed_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::begin(Some(folder.path())).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
        let long: Vec<u8> = (0..SEGMENT + 5).map(|n| n as u8).collect();
        spill.append(&[Bytes::from(long.clone()), Bytes::from_static(b"end")]).unwrap();
        spill.append(&[Bytes::from_static(b"more")]).unwrap();
        assert_eq!(spill.len(), long.len() as u64 + 7);
        let mut payload = Payload::new();
        spill.pieces().for_each(|piece| payload.push_source(piece));
        assert_eq!(payload.pieces().len(), 3, "short ones are read together");
        assert!(payload.equals(&[&long[..], b"endmore"].concat()).unwrap());

        spill.file.write_all_at(b"E", long.len() as u64).unwrap();
        let error = payload.to_bytes().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_can_not_be_written_leaves_all_as_it_was() {
        let mut spill = Spill::begin(None).unwrap();
        spill.append(&[Bytes::from_static(b"begun")]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        spill.file = Arc::new(File::open(file.path()).unwrap());
        assert!(spill.append(&[Bytes::from_static(b"more")]).is_err());
        assert_eq!((spill.len(), spill.pieces().count()), (5, 1));
    }
}
