//! One maintenance at a time on one machine: the lock that Kopia takes, too.
//!
//! A `flock` on the connection file's name with `.mlock` behind it (docs/format/08 §3). Nothing in
//! the repository keeps out another machine: there the owner's name does.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Held until it is dropped.
#[derive(Debug)]
pub struct MaintenanceLock {
    _file: File,
}

impl MaintenanceLock {
    /// The lock's file for the connection file `config`.
    pub fn path_of(config: &Path) -> PathBuf {
        let mut name = config.as_os_str().to_owned();
        name.push(".mlock");
        name.into()
    }

    /// Takes the lock, unless somebody has it: then `None`, at once.
    ///
    /// # Errors
    /// The file can't be made or locked.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
