//! How a restore is done: Kopia's flags.

use super::selection::Selection;

/// How a restore is done. `Default` is what Kopia does without flags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of the command
pub struct RestoreOptions {
    /// Take folders that exist and are not empty.
    pub overwrite_directories: bool,
    /// Replace files that exist.
    pub overwrite_files: bool,
    /// Replace links that exist.
    pub overwrite_symlinks: bool,
    /// Leave owners alone.
    pub skip_owners: bool,
    /// Leave permissions alone.
    pub skip_permissions: bool,
    /// Leave times alone.
    pub skip_times: bool,
    /// A missing right to set owner, permissions or times is no error.
    pub ignore_permission_errors: bool,
    /// Go on after an error of one entry.
    pub ignore_errors: bool,
    /// Leave files alone that have the right size and time already, and links that exist.
    pub skip_existing: bool,
    /// Delete what is in a restored folder and not in the snapshot.
    pub delete_extra: bool,
    /// Write each file beside its place and move it there when it is whole.
    pub write_files_atomically: bool,
    /// Leave holes for blocks of zeros.
    pub write_sparse_files: bool,
    /// Sync each file to the disk.
    pub flush_files: bool,
    /// Threads that write files.
    pub parallel: usize,
    /// So many entries are planned and written in one go, some 300 bytes of memory each. A file
    /// counts once more for each 256 KiB.
    pub window_entries: usize,
    /// Which files of the tree; folders are always made.
    pub selection: Selection,
}

/// Entries of a window, if nothing else is said.
pub const WINDOW_ENTRIES: usize = 128 << 10;

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            overwrite_directories: true,
            overwrite_files: true,
            overwrite_symlinks: true,
            skip_owners: false,
            skip_permissions: false,
            skip_times: false,
            ignore_permission_errors: true,
            ignore_errors: false,
            skip_existing: false,
            delete_extra: false,
            write_files_atomically: false,
            write_sparse_files: false,
            flush_files: false,
            parallel: 8,
            window_entries: WINDOW_ENTRIES,
            selection: Selection::default(),
        }
    }
}
