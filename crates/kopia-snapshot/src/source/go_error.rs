//! The words that Go's standard library has for the errors of the operating system.
//!
//! Kopia stores the text of an entry's error in the directory object, where it is hashed
//! (docs/format/06-manifests-snapshots.md): only the same words give the same object ID.

use std::{io, path::Path};

/// Go's text for an error of the operating system: glibc's text with a small first letter.
pub fn go_error(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() {
        return text;
    }
    let text = text.rsplit_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    // The one text that begins with an abbreviation keeps its capitals.
    if text.starts_with("RFS") {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Go's `PathError`: `open /a/b: permission denied`.
pub fn go_path_error(operation: &str, path: &Path, error: &io::Error) -> String {
    format!("{operation} {}: {}", path.display(), go_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_go() {
        let text = |number| go_error(&io::Error::from_raw_os_error(number));
        assert_eq!(text(13), "permission denied");
        assert_eq!(text(2), "no such file or directory");
        assert_eq!(text(5), "input/output error");
        assert_eq!(text(40), "too many levels of symbolic links");
        let path = Path::new("/x/y");
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(go_path_error("open", path, &error), "open /x/y: permission denied");
    }
}
