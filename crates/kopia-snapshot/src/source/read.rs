//! Reading the bytes of files and the targets of links.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStringExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};

use super::go_error::go_path_error;

/// Reads a file piece by piece.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    path: PathBuf,
    length: u64,
    left: Option<u64>,
}

impl FileReader {
    /// Opens a regular file. A link that took its place since it was listed is not followed; a FIFO
    /// or device is not waited for, and is not an empty file.
    ///
    /// # Errors
    /// Go's text: `unable to open file: unable to open local file: open PATH: …`. That a FIFO is no
    /// file is in our words: Kopia would wait for who writes into it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("the two flags are small numbers");
        let opened = File::options().read(true).custom_flags(flags).open(path);
        let file = opened.and_then(|file| {
            let found = file.metadata()?;
            // Reading a folder fails by itself, in words that Kopia has too.
            if found.is_file() || found.is_dir() {
                return Ok((file, found.len()));
            }
            Err(io::Error::other("no longer a regular file"))
        });
        let (file, length) = file.map_err(|error| {
            let cause = go_path_error("open", path, &error);
            format!("unable to open file: unable to open local file: {cause}")
        })?;
        Ok(Self { file, path: path.to_owned(), length, left: None })
    }

    /// How long the file was when it was opened, in bytes; 0 for some that the system makes up as
    /// they are read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Restricts the reader to `length` bytes from `offset` on; `None` = to the end.
    ///
    /// # Errors
    /// Go's text: `seek error: seek PATH: …`.
    pub fn part(mut self, offset: u64, length: Option<u64>) -> Result<Self, String> {
        if offset > 0 {
            self.file.seek(SeekFrom::Start(offset)).map_err(|error| {
                format!("seek error: {}", go_path_error("seek", &self.path, &error))
            })?;
        }
        self.left = length;
        Ok(self)
    }

    /// The next piece of at most `size` bytes; empty at the end.
    ///
    /// # Errors
    /// Go's text: `read PATH: …`.
    pub fn next_piece(&mut self, size: usize) -> Result<Bytes, String> {
        let mut piece = BytesMut::zeroed(self.within(size));
        let filled = self.fill(&mut piece)?;
        piece.truncate(filled);
        Ok(piece.freeze())
    }

    /// As much of `size` as is left.
    fn within(&self, size: usize) -> usize {
        self.left.map_or(size, |left| size.min(usize::try_from(left).unwrap_or(size)))
    }

    /// Fills `place` as far as there are bytes; says how far.
    ///
    /// # Errors
    /// Go's text: `read PATH: …`.
    pub fn fill(&mut self, place: &mut [u8]) -> Result<usize, String> {
        let (mut filled, size) = (0, self.within(place.len()));
        let place = &mut place[..size];
        while filled < place.len() {
            match self.file.read(&mut place[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(go_path_error("read", &self.path, &error)),
            }
        }
        if let Some(left) = &mut self.left {
            *left -= filled as u64;
        }
        Ok(filled)
    }
}

/// The target of a link, as bytes.
///
/// # Errors
/// Go's text: `unable to read symlink: readlink PATH: …`.
pub fn read_link(path: &Path) -> Result<Bytes, String> {
    let target = std::fs::read_link(path).map_err(|error| {
        format!("unable to read symlink: {}", go_path_error("readlink", path, &error))
    })?;
    Ok(target.into_os_string().into_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_pieces_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "0123456789").unwrap();
        let mut whole = FileReader::open(&path).unwrap();
        assert_eq!(whole.next_piece(4).unwrap(), "0123");
        assert_eq!(whole.next_piece(100).unwrap(), "456789");
        assert!(whole.next_piece(4).unwrap().is_empty());
        let mut part = FileReader::open(&path).unwrap().part(2, Some(5)).unwrap();
        assert_eq!(part.next_piece(3).unwrap(), "234");
        assert_eq!(part.next_piece(30).unwrap(), "56");
        assert!(part.next_piece(3).unwrap().is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(FileReader::open(&link).unwrap_err().contains("too many levels"));
        assert_eq!(read_link(&link).unwrap(), "/etc/passwd");
    }
}
