//! File modes for people, in Go's form: `drwxr-xr-x`.

use kopia_format::{
    directory::{DirEntry, EntryKind},
    time::{MODE_SETGID, MODE_SETUID, MODE_STICKY},
};

/// The mode of an entry as Go prints it: letters for what it is and for special bits, then nine for
/// permissions.
pub fn of(entry: &DirEntry) -> String {
    let mut out = String::new();
    match entry.kind {
        EntryKind::Directory => out.push('d'),
        EntryKind::Symlink => out.push('L'),
        EntryKind::File | EntryKind::Unknown => {}
    }
    for (bit, letter) in [(MODE_SETUID, 'u'), (MODE_SETGID, 'g'), (MODE_STICKY, 't')] {
        if entry.mode & bit != 0 {
            out.push(letter);
        }
    }
    if out.is_empty() {
        out.push('-');
    }
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        out.push(if entry.mode & (1 << (8 - at)) != 0 { letter } else { '-' });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_go_prints_them() {
        let text = |kind, mode| of(&DirEntry { kind, mode, ..DirEntry::default() });
        assert_eq!(text(EntryKind::Directory, 0o755), "drwxr-xr-x");
        assert_eq!(text(EntryKind::File, 0o600), "-rw-------");
        assert_eq!(text(EntryKind::Symlink, 0o777), "Lrwxrwxrwx");
        assert_eq!(text(EntryKind::Directory, 0o777 | MODE_STICKY), "dtrwxrwxrwx");
        assert_eq!(text(EntryKind::File, 0o755 | MODE_SETUID), "urwxr-xr-x");
    }
}
