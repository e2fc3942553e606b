//! The log file of one run: where it lies, its segments, what stands beside it.
//!
//! Kopia's layout, so that whoever knows its logs finds ours: `cli-logs/kopia-TIME-PID-COMMAND.0.log`,
//! the next number where a segment is full, and the link `latest.log`. Nothing is made before there
//! is a line. A log that can't be written is named once, and the command goes on without it.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    log_sweep::{self, Limits},
    text,
};

/// Where the log files of commands lie in the folder of all logs.
const FOLDER: &str = "cli-logs";
/// The link to the segment that was begun last.
const LATEST: &str = "latest.log";
/// Backup programs know this file and leave the folder out.
const TAG: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n\
     # This folder holds logs of kopia-lite. It can be deleted at any time.\n",
);

/// A file that is begun with its first line.
#[derive(Debug)]
pub struct LogFile {
    /// Its name, without the segment's number.
    path: PathBuf,
    /// What stays of the folder; `None` where the user named the file: then the folder is his own,
    /// and neither tagged nor swept.
    limits: Option<Limits>,
    segment_bytes_max: u64,
    /// The number of the segment that is written, or will be.
    number: u32,
    segment: Option<File>,
    segment_bytes: u64,
    is_over: bool,
}

impl LogFile {
    /// The file of a command in the folder of all logs; `name` is the time, the process and the
    /// command.
    pub fn in_folder(logs: &Path, name: &str, limits: Limits, segment_bytes_max: u64) -> Self {
        let name = format!("{}{name}{}", log_sweep::PREFIX, log_sweep::SUFFIX);
        let path = logs.join(FOLDER).join(name);
        Self { limits: Some(limits), ..Self::named(&path, segment_bytes_max) }
    }

    /// The file that the user named.
    pub fn named(path: &Path, segment_bytes_max: u64) -> Self {
        Self {
            // The current folder may change.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            limits: None,
            segment_bytes_max,
            number: 0,
            segment: None,
            segment_bytes: 0,
            is_over: false,
        }
    }

    /// Writes whole lines.
    pub fn write(&mut self, lines: &str) {
        if self.is_over {
            return;
        }
        if let Err(error) = self.try_to_write(lines.as_bytes()) {
            self.is_over = true;
            let path = self.segment_path();
            text::warn_of_log(format!("cannot write the log file {}: {error}", path.display()));
        }
    }

    /// No line comes after this.
    pub fn end(&mut self) {
        if !self.is_over {
            self.end_segment();
        }
        self.is_over = true;
    }

    fn try_to_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.segment.is_some() && self.segment_bytes + length > self.segment_bytes_max {
            self.end_segment();
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => {
                let begun = self.begin_segment()?;
                self.segment_bytes = 0;
                self.segment.insert(begun)
            }
        };
        segment.write_all(lines)?;
        self.segment_bytes += length;
        Ok(())
    }

    fn begin_segment(&self) -> io::Result<File> {
        let path = self.segment_path();
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = File::create(&path)?;
        if self.limits.is_some() {
            // Both help, and no log is lost for want of them.
            let _ = write_tag(folder);
            let _ = link_latest(folder, &path);
        }
        Ok(file)
    }

    fn end_segment(&mut self) {
        if self.segment.take().is_some() {
            self.number += 1;
        }
        if let (Some(limits), Some(folder)) = (&self.limits, self.path.parent()) {
            log_sweep::sweep(folder, limits, SystemTime::now());
        }
    }

    /// The number stands before the extension.
    fn segment_path(&self) -> PathBuf {
        let mut name = self.path.file_stem().map(OsString::from).unwrap_or_default();
        name.push(format!(".{}", self.number));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }
}

fn write_tag(folder: &Path) -> io::Result<()> {
    let (name, text) = TAG;
    let path = folder.join(name);
    if path.exists() { Ok(()) } else { fs::write(path, text) }
}

fn link_latest(folder: &Path, segment: &Path) -> io::Result<()> {
    let link = folder.join(LATEST);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(segment.file_name().unwrap_or_default(), link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_numbered_before_the_extension() {
        let name = |path: &str, number| {
            LogFile { number, ..LogFile::named(Path::new(path), 1) }.segment_path()
        };
        assert_eq!(name("/l/x.log", 0), Path::new("/l/x.0.log"));
        assert_eq!(name("/l/x.y.log", 12), Path::new("/l/x.y.12.log"));
        assert_eq!(name("/l/one", 1), Path::new("/l/one.1"));
    }
}
