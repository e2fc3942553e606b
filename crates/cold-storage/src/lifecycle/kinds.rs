//! How Kopia names its blobs, as far as a rule's filter can tell them apart
//! (docs/format/01-blob-storage.md §2).

/// A kind of blob.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// How the IDs begin; `.storageconfig` is a whole one.
    pub begin: &'static str,
    /// What lies in such blobs, for people.
    pub contents: &'static str,
    /// May such blobs be cold? Only file data is never needed to open a repository.
    pub may_be_cold: bool,
    /// Would a repository miss them?
    pub is_needed: bool,
    /// No blob of this kind is longer.
    size_max: Option<u64>,
    tail: Tail,
}

/// What follows the begin of an ID.
#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// Hexadecimal digits, then perhaps `-s…`.
    Hash,
    /// The letter of an epoch's blob, then its number.
    Epoch,
    /// Anything but a slash.
    Word,
    /// Nothing.
    None,
}

/// Control blobs and session markers have some kilobytes.
const SMALL: Option<u64> = Some(1 << 20);

const fn kind(begin: &'static str, contents: &'static str, tail: Tail) -> Kind {
    Kind { begin, contents, may_be_cold: false, is_needed: true, size_max: None, tail }
}

/// Every kind, file data first.
pub const KINDS: &[Kind] = &[
    Kind { may_be_cold: true, ..kind("p", "file data", Tail::Hash) },
    kind("q", "folders, snapshots, policies", Tail::Hash),
    kind("x", "indexes", Tail::Epoch),
    kind("n", "indexes (old form)", Tail::Hash),
    kind("m", "index compaction logs (old form)", Tail::Hash),
    kind("l", "index clean-up logs (old form)", Tail::Hash),
    Kind { size_max: SMALL, ..kind("s", "session markers", Tail::Hash) },
    Kind { is_needed: false, ..kind("_log_", "Kopia's logs", Tail::Word) },
    Kind { size_max: SMALL, ..kind("kopia.", "the repository's format and settings", Tail::Word) },
    Kind { size_max: SMALL, ..kind(".storageconfig", "the storage classes", Tail::None) },
];

impl Kind {
    /// Can the ID of such a blob begin with `text`?
    pub fn can_begin(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.begin) else { return self.begin.starts_with(text) };
        match self.tail {
            Tail::None => rest.is_empty(),
            Tail::Word => rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'),
            Tail::Epoch => match rest.as_bytes() {
                [] => true,
                [b'n' | b's' | b'r' | b'e' | b'w', tail @ ..] => tail.iter().all(is_tail),
                _ => false,
            },
            Tail::Hash => {
                let (hash, tail) = rest.split_once('-').unwrap_or((rest, ""));
                hash.bytes().all(|byte| is_hex(&byte))
                    && (hash.len() >= 16 || hash.len() == rest.len())
                    && tail.bytes().all(|byte| is_tail(&byte))
            }
        }
    }

    /// Can such a blob be longer than `size`?
    pub fn can_exceed(&self, size: u64) -> bool {
        self.size_max.is_none_or(|max| max > size)
    }
}

/// Is it the ID of a pack of file data? Sessions came later than packs: the oldest have no `-s…`.
pub fn is_data_pack(id: &str) -> bool {
    let Some(rest) = id.strip_prefix('p') else { return false };
    let (hash, session) = match rest.split_once("-s") {
        Some((hash, session)) => (hash, Some(session)),
        None => (rest, None),
    };
    let all_hex = |text: &str| text.bytes().all(|byte| is_hex(&byte));
    hash.len() == 32
        && all_hex(hash)
        && session.is_none_or(|session| session.len() >= 16 && all_hex(session))
}

fn is_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_tail(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_kopia_begins_one_kind_only() {
        let named = [
            ("p0f1e2d3c4b5a69788796a5b4c3d2e1f0-s9c8b7a6d5e4f30211", "p"),
            ("q0f1e2d3c4b5a69788796a5b4c3d2e1f0-s9c8b7a6d5e4f30211", "q"),
            ("xn0_00112233445566778899aabbccddeeff-s0011-c1", "x"),
            ("_log_20261124010203_ab12_1764000000_1764000001_0", "_log_"),
            ("kopia.repository", "kopia."),
            ("s9c8b7a6d5e4f30211", "s"),
            (".storageconfig", ".storageconfig"),
        ];
        for (id, begin) in named {
            let fits: Vec<_> = KINDS.iter().filter(|kind| kind.can_begin(id)).collect();
            assert_eq!(fits.iter().map(|kind| kind.begin).collect::<Vec<_>>(), [begin], "{id}");
        }
        for other in ["photos", "logs", "snapshots/", "xz", ".storageconfig.old", "kopia/", "P"] {
            assert!(!KINDS.iter().any(|kind| kind.can_begin(other)), "{other}");
        }
        assert!(KINDS.iter().all(|kind| kind.can_begin("")));
        assert_eq!(KINDS.iter().filter(|kind| kind.may_be_cold).count(), 1);
    }

    #[test]
    fn a_pack_is_told_from_a_stranger() {
        let hash = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        assert!(is_data_pack(&format!("p{hash}-s9c8b7a6d5e4f30211")));
        assert!(is_data_pack(&format!("p{hash}")));
        for stranger in ["p", "photos/", "prod/p0", "p0.txt", "p0f1e-s9c8b7a6d5e4f30211"] {
            assert!(!is_data_pack(stranger), "{stranger}");
        }
        for wrong in ["q{}", "p{}-s12", "p{}-", "p{}0", "p{}/x", "p{}-s9c8b7a6d5e4f3021X"] {
            assert!(!is_data_pack(&wrong.replace("{}", hash)), "{wrong}");
        }
    }
}
