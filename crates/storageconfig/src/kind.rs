//! The kinds of blobs that Kopia writes, told by how their IDs begin, and which of them an entry
//! can reach.
//!
//! The one question is [`reachable`]: is there a name that begins so and that no earlier entry
//! takes first? It walks only along the earlier prefixes, so its cost is their length, not the
//! number of names. Names:
//! `docs/format/01-blob-storage.md`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A kind of blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// `p`: packs of file data. The only kind that may be archived.
    DataPack,
    /// `q`: packs of directories and manifests.
    MetadataPack,
    /// `s`: markers of sessions that write.
    Session,
    /// `x`: indexes and markers of epochs.
    EpochIndex,
    /// `n`: indexes of repositories without epochs.
    Index,
    /// `m`: compaction logs of such indexes.
    CompactionLog,
    /// `l`: clean-up logs of such indexes.
    CleanupLog,
    /// `_log_`: Kopia's logs.
    Log,
    /// `kopia.`: format, maintenance schedule, retention.
    Control,
}

impl BlobKind {
    /// Every kind, data packs first.
    pub const ALL: [BlobKind; 9] = [
        Self::DataPack,
        Self::MetadataPack,
        Self::Session,
        Self::EpochIndex,
        Self::Index,
        Self::CompactionLog,
        Self::CleanupLog,
        Self::Log,
        Self::Control,
    ];

    /// How IDs of this kind begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::DataPack => "p",
            Self::MetadataPack => "q",
            Self::Session => "s",
            Self::EpochIndex => "x",
            Self::Index => "n",
            Self::CompactionLog => "m",
            Self::CleanupLog => "l",
            Self::Log => "_log_",
            Self::Control => "kopia.",
        }
    }

    /// The kind's name in messages: its prefix, and `kopia.*` for the control blobs.
    pub fn name(self) -> &'static str {
        if self == Self::Control { "kopia.*" } else { self.prefix() }
    }

    /// What lies in such blobs, for people.
    pub fn contents(self) -> &'static str {
        match self {
            Self::DataPack => "file data",
            Self::MetadataPack => "directories and manifests",
            Self::Session => "session markers",
            Self::EpochIndex => "indexes",
            Self::Index => "indexes (old form)",
            Self::CompactionLog => "index compaction log (old form)",
            Self::CleanupLog => "index clean-up log (old form)",
            Self::Log => "Kopia's logs",
            Self::Control => "repository format and settings",
        }
    }

    /// The kind of the blob `id`, if Kopia writes blobs that are named so.
    pub fn of(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| id.starts_with(kind.prefix()) && kind.can_begin(id))
    }

    /// Small and soon replaced: classes that bill a minimum time and size are dear for these.
    pub fn is_short_lived(self) -> bool {
        !matches!(self, Self::DataPack | Self::MetadataPack | Self::Control)
    }

    /// Can a name of this kind begin with `text`?
    pub fn can_begin(self, text: &str) -> bool {
        let prefix = self.prefix();
        let Some(rest) = text.strip_prefix(prefix) else { return prefix.starts_with(text) };
        match self {
            Self::Log | Self::Control => rest.bytes().all(|b| b.is_ascii_graphic() && b != b'/'),
            Self::EpochIndex => match rest.as_bytes() {
                [] => true,
                [b'n' | b's' | b'r' | b'e' | b'w'] => true,
                [b'n' | b's' | b'r' | b'e' | b'w', b'0'..=b'9', rest @ ..] => {
                    rest.iter().all(is_tail)
                }
                _ => false,
            },
            _ => {
                let (hash, tail) = rest.split_once('-').unwrap_or((rest, ""));
                hash.bytes().all(|b| is_hex(&b))
                    && (hash.len() >= 16 || rest.len() == hash.len())
                    && tail.bytes().all(|b| is_tail(&b))
            }
        }
    }
}

fn is_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_tail(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'_')
}

impl fmt::Display for BlobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for BlobKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Prefixes longer than this can't split a kind further than its names are told apart.
const SPLIT_LENGTH_MAX: usize = 64;

/// Is there a name of `kind` that begins with `prefix` and with none of `earlier`?
///
/// Names are taken as endless: a name that ends where an earlier prefix goes on isn't told from one
/// that goes on otherwise. A walk that would go deeper than 64 characters is answered with yes, the
/// cautious answer.
pub(crate) fn reachable(kind: BlobKind, prefix: &str, earlier: &[&str]) -> bool {
    if !kind.can_begin(prefix) {
        return false;
    }
    // A prefix shorter than the kind's own stands for the whole kind.
    let own = kind.prefix();
    let begin = if prefix.len() < own.len() { own } else { prefix };
    let mut open = vec![begin.to_owned()];
    while let Some(name) = open.pop() {
        if earlier.iter().any(|taken| name.starts_with(taken)) {
            continue;
        }
        if name.len() >= SPLIT_LENGTH_MAX || !earlier.iter().any(|taken| taken.starts_with(&*name))
        {
            return true;
        }
        open.extend((0x21..0x7f).map(char::from).filter_map(|next| {
            let longer = format!("{name}{next}");
            kind.can_begin(&longer).then_some(longer)
        }));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_name_and_its_grammar() {
        let named = [
            ("p0f1e2d3c4b5a69788796a5b4c3d2e1f0-s9c8b7a6d5e4f30211", BlobKind::DataPack),
            ("xn0_00112233445566778899aabbccddeeff-s0011-c1", BlobKind::EpochIndex),
            ("xw17", BlobKind::EpochIndex),
            ("_log_20261124010203_ab12_1764000000_1764000001_0", BlobKind::Log),
            ("kopia.repository", BlobKind::Control),
            ("s9c8b7a6d5e4f30211", BlobKind::Session),
        ];
        for (id, kind) in named {
            assert_eq!(BlobKind::of(id), Some(kind), "{id}");
        }
        for id in ["P0", "photos", "xz0_1", "p-1", "kopia", "repo", "_lo", "q0G", ""] {
            assert_eq!(BlobKind::of(id), None, "{id}");
        }
    }

    #[test]
    fn a_kind_is_taken_when_the_earlier_prefixes_cover_it_together() {
        let digits: Vec<String> = (0..16).map(|n| format!("q{n:x}")).collect();
        let mut earlier: Vec<&str> = digits.iter().map(String::as_str).collect();
        earlier.push("q-");
        assert!(!reachable(BlobKind::MetadataPack, "q", &earlier));
        assert!(!reachable(BlobKind::MetadataPack, "", &earlier));
        assert!(reachable(BlobKind::DataPack, "", &earlier));
        earlier.retain(|p| *p != "q7");
        assert!(reachable(BlobKind::MetadataPack, "q", &earlier));
        assert!(!reachable(BlobKind::MetadataPack, "q8", &earlier));
        assert!(reachable(BlobKind::Control, "k", &["kopia.repository"]));
        assert!(!reachable(BlobKind::Control, "k", &["kopia"]));
    }

    #[test]
    fn a_very_long_prefix_costs_no_more_than_its_length() {
        let long = format!("p{}", "a".repeat(5000));
        assert!(reachable(BlobKind::DataPack, "p", &[&long]));
        assert!(reachable(BlobKind::DataPack, &long, &[]));
        assert!(!reachable(BlobKind::DataPack, &long, &["p"]));
    }
}
