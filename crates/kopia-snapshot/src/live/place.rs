//! Where in a snapshot something was met, for messages alone.

use std::sync::Arc;

/// A file or folder: its name, and the folder above it. Folders that wait to be read share what is
/// above them, so that one costs no more than its name.
pub(super) struct Place {
    above: Option<Arc<Place>>,
    name: Box<[u8]>,
}

impl Place {
    /// The root of a snapshot, by its name for people.
    pub fn root(name: &str) -> Arc<Self> {
        Arc::new(Self { above: None, name: name.as_bytes().into() })
    }

    /// The entry `name` of this folder.
    pub fn below(self: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { above: Some(Arc::clone(self)), name: name.into() })
    }

    /// `root/path`.
    pub fn path(&self) -> String {
        let mut names = vec![&self.name];
        let mut above = &self.above;
        while let Some(folder) = above {
            names.push(&folder.name);
            above = &folder.above;
        }
        let names: Vec<_> = names.iter().rev().map(|name| String::from_utf8_lossy(name)).collect();
        names.join("/")
    }
}

impl Drop for Place {
    /// One by one: a chain as long as a hostile tree is deep would not fit on the stack.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut last) = above.and_then(Arc::into_inner) {
            above = last.above.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_its_path_and_a_deep_one_does_no_harm() {
        let root = Place::root("snapshot 12 of a@b:/c");
        assert_eq!(root.path(), "snapshot 12 of a@b:/c");
        assert_eq!(root.below(b"d").below(b"\xff").path(), "snapshot 12 of a@b:/c/d/\u{fffd}");
        let mut deep = Place::root("deep");
        for _ in 0..300_000 {
            deep = deep.below(b"x");
        }
        assert_eq!(deep.path().len(), 600_004);
    }
}
