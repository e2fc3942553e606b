//! Whatever a file holds, a rewrite keeps what it means and what nobody here understands.
//!
//! Files are made from a seed, with everything that Go forgives: folded and repeated keys, nulls,
//! repeated arrays, unknown values, escapes, bad bytes, blanks. A failure prints the seed and the
//! file.

use blob_core::{BlobId, Entropy, PutPolicy, env::SeededEntropy};
use storageconfig::{Edit, StorageConfig};

struct Maker(SeededEntropy);

impl Maker {
    fn below(&self, end: usize) -> usize {
        let mut word = [0; 8];
        self.0.fill(&mut word);
        (u64::from_le_bytes(word) % end as u64) as usize
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn blank(&self) -> &'static [u8] {
        self.pick(&[&b""[..], b"", b"", b" ", b"\n\t", b"\r\n  "])
    }

    fn string(&self) -> Vec<u8> {
        let parts: [&[u8]; 16] = [
            b"p",
            b"q",
            b"x",
            b"kopia.",
            b"0a",
            b"GLACIER",
            b"STANDARD_IA",
            b"\\u0070",
            b"\\ud800",
            b"\xff",
            b"\xe2\x82",
            "é".as_bytes(),
            b"\\n",
            b"\\\\",
            b"\\\"",
            b"/",
        ];
        let mut out = b"\"".to_vec();
        (0..self.below(3)).for_each(|_| out.extend(self.pick(&parts)));
        out.push(b'"');
        out
    }

    fn any_value(&self, depth: usize) -> Vec<u8> {
        match self.below(if depth > 3 { 5 } else { 7 }) {
            0 => b"null".to_vec(),
            1 => b"1e999999".to_vec(),
            2 => b"true".to_vec(),
            3 | 4 => self.string(),
            5 => {
                let items: Vec<_> = (0..self.below(3)).map(|_| self.any_value(depth + 1)).collect();
                [b"[", &items.join(&b", "[..])[..], b"]"].concat()
            }
            _ => {
                self.object((0..self.below(3)).map(|_| (self.string(), self.any_value(depth + 1))))
            }
        }
    }

    fn object(&self, members: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<u8> {
        let members: Vec<Vec<u8>> = members
            .map(|(key, value)| {
                [self.blank(), &key, self.blank(), b":", self.blank(), &value, self.blank()]
                    .concat()
            })
            .collect();
        [&b"{"[..], &members.join(&b','), self.blank(), b"}"].concat()
    }

    fn entry(&self) -> Vec<u8> {
        if self.below(8) == 0 {
            return b"null".to_vec();
        }
        let keys: [&[u8]; 9] = [
            b"\"prefix\"",
            b"\"PREFIX\"",
            b"\"prefi\\u0078\"",
            b"\"storageClass\"",
            "\"ſtorageclaſs\"".as_bytes(),
            b"\"tags\"",
            b"\"acl\"",
            b"\"comment\"",
            b"\"\\ud800\"",
        ];
        self.object((0..self.below(6)).map(|_| {
            let key = self.pick(&keys);
            let known = key[1].eq_ignore_ascii_case(&b'p') || key.len() > 13;
            let value = match (known, self.below(6)) {
                (true, 0) => b"null".to_vec(),
                (true, _) => self.string(),
                (false, 0) => br#"{"a":"1"}"#.to_vec(),
                (false, 1) => br#""private""#.to_vec(),
                (false, _) => self.any_value(0),
            };
            (key.to_vec(), value)
        }))
    }

    fn file(&self) -> Vec<u8> {
        let keys: [&[u8]; 5] = [
            b"\"blobOptions\"",
            b"\"blobOptions\"",
            b"\"BLOBoptions\"",
            b"\"version\"",
            b"\"\\u00e9\"",
        ];
        self.object((0..self.below(5)).map(|_| {
            let key = self.pick(&keys);
            let value = match (key.len() > 12, self.below(8)) {
                (true, 0) => b"null".to_vec(),
                (true, _) => {
                    let items: Vec<_> = (0..self.below(5)).map(|_| self.entry()).collect();
                    [&b"["[..], &items.join(&b','), self.blank(), b"]"].concat()
                }
                (false, _) => self.any_value(0),
            };
            (key.to_vec(), value)
        }))
    }
}

/// Everything that counts: entries, what a put gets, and what is unknown.
fn meaning(config: &StorageConfig) -> Vec<String> {
    let ids = ["p0", "pa", "q0", "xn0_0", "kopia.repository", "s0", "é", "GLACIER", "0a"];
    let puts = ids.map(|id| format!("{:?}", config.attributes(&BlobId::new(id).unwrap(), 1)));
    let entries = config.entries().iter().map(|entry| {
        format!("{:?} {:?} {:?}", entry.prefix(), entry.storage_class(), entry.extra_attributes())
    });
    entries.chain(puts).collect()
}

#[test]
fn a_rewrite_keeps_meaning_and_unknown_keys_and_is_final() {
    for seed in 0..1500 {
        let text = Maker(SeededEntropy::new(seed)).file();
        let show = || format!("seed {seed}: {}", String::from_utf8_lossy(&text));
        let config = StorageConfig::parse(&text).unwrap_or_else(|e| panic!("{e}\n{}", show()));
        let written = config.to_bytes();
        let again = StorageConfig::parse(&written)
            .unwrap_or_else(|e| panic!("{e}\n{}\n{}", show(), String::from_utf8_lossy(&written)));
        assert_eq!(meaning(&again), meaning(&config), "{}", show());
        assert_eq!(again.to_bytes(), written, "{}", show());
        // Unknown keys are told by the findings, with their place; none is lost.
        let unknown = |config: &StorageConfig| {
            let all = config.findings().into_iter().filter(|f| f.code == "W-UNKNOWN-KEY");
            all.map(|finding| finding.key.unwrap()).collect::<Vec<_>>()
        };
        let before = unknown(&config);
        let after = unknown(&again);
        // A repeated array cuts entries off, with their keys; whatever is left must be there again.
        if config.findings().iter().all(|f| f.code != "W-DUP-KEY" || f.entry.is_some()) {
            let nulled = config.entries().is_empty();
            assert!(nulled || before == after, "{before:?} {after:?} {}", show());
        }
    }
}

#[test]
fn an_edit_does_just_what_it_says() {
    for seed in 0..500 {
        let config = StorageConfig::parse(&Maker(SeededEntropy::new(seed)).file()).unwrap();
        let add = Edit::Add { prefix: "pfff".into(), class: "NEW".into() };
        let edited = config.edited(&[add]).unwrap();
        assert_eq!(edited.class_of("pfff0"), Some("NEW"), "seed {seed}");
        for id in ["pfe", "q0", "xn0_1", "kopia.repository", "s1"] {
            assert_eq!(edited.class_of(id), config.class_of(id), "seed {seed}: {id}");
        }
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    for seed in 0..1500 {
        let maker = Maker(SeededEntropy::new(seed));
        let mut text = maker.file();
        for _ in 0..=maker.below(4) {
            let at = maker.below(text.len());
            match maker.below(3) {
                0 => text[at] = maker.pick(b"{}[]\",:\\u0n-.eE \xff\0"),
                1 => text.truncate(at + 1),
                _ => text.insert(at, maker.pick(b"{}[]\",:\\")),
            }
        }
        match StorageConfig::parse(&text) {
            Ok(config) => assert!(StorageConfig::parse(&config.to_bytes()).is_ok(), "seed {seed}"),
            Err(error) => assert!(error.position.line >= 1, "seed {seed}: {error}"),
        }
    }
}
