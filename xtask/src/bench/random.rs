//! Numbers and bytes that look random and are the same in every run.

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for every list of numbers.
    pub fn of(numbers: &[u64]) -> Self {
        let mut seed = Self(0x6b6f_7069_612d_6c69);
        for number in numbers {
            seed = Self(seed.next() ^ number.wrapping_mul(0xff51_afd7_ed55_8ccd));
        }
        seed
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Bytes that don't compress, `length` more of them.
    pub fn noise(&mut self, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(end);
    }

    /// Words, `length` bytes of them, which compress to about a third.
    pub fn prose(&mut self, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            out.extend_from_slice(self.word().as_bytes());
            out.push(if self.below(12) == 0 { b'\n' } else { b' ' });
        }
        out.truncate(end);
    }

    /// Lines that look like C.
    pub fn code(&mut self, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            let (a, b, n) = (self.word(), self.word(), self.below(4096));
            let line = match self.below(8) {
                0 => format!("static int {a}_{b}_{n}(struct {b} *{a}, unsigned int flags)\n{{\n"),
                1 => format!("\tif (!{a}->{b})\n\t\treturn -EINVAL;\n"),
                2 => format!("\t{a}->{b} = {b}_get({a}, 0x{n:04x});\n"),
                3 => format!("#define {}_{} 0x{n:x}\n", a.to_uppercase(), b.to_uppercase()),
                4 => format!("\t/* The {a} holds the {b} until it is put. */\n"),
                5 => format!("\tlist_for_each_entry({b}, &{a}->{b}_list, node)\n"),
                6 => format!("\tpr_debug(\"{a}: {b} {n}\\n\");\n"),
                _ => "\treturn 0;\n}\n\n".to_owned(),
            };
            out.extend_from_slice(line.as_bytes());
        }
        out.truncate(end);
    }

    /// About the median, within the limits, log-normal: the sum of twelve numbers is normal enough.
    pub fn size(&mut self, median: f64, spread: f64, limits: [u64; 2]) -> u64 {
        let sum: f64 = (0..12).map(|_| self.below(1 << 32) as f64 / (1u64 << 32) as f64).sum();
        let size = median * (spread * (sum - 6.0)).exp();
        (size as u64).clamp(limits[0], limits[1])
    }

    fn word(&mut self) -> &'static str {
        // The first ones more often, as in every language.
        let most = self.below(WORDS.len() as u64) + 1;
        WORDS[self.below(most) as usize]
    }
}

const WORDS: &[&str] = &[
    "the", "of", "and", "to", "in", "is", "for", "page", "node", "lock", "inode", "buffer",
    "queue", "state", "device", "index", "table", "entry", "block", "cache", "length", "offset",
    "reader", "writer", "bucket", "object", "request", "answer", "memory", "packet", "driver",
    "handle", "region", "folder", "parent", "child", "weight", "signal", "thread", "socket",
    "record", "marker", "vector", "matrix", "window", "cursor", "branch", "master", "member",
    "number", "stream", "string", "struct", "system", "target", "tunnel", "volume", "worker",
    "zone", "anchor", "bridge", "canvas", "domain", "engine", "filter", "garden", "harbor",
    "island", "jacket", "kernel", "ladder", "mirror", "needle", "orange", "pencil", "quarter",
    "rocket", "saddle", "timber", "umbrella", "valley", "winter", "yellow", "zipper", "balance",
    "capture", "deliver", "examine", "fortune", "gateway", "history", "journal", "kitchen",
    "library", "machine", "nothing", "opinion", "pattern", "quality", "release", "segment",
    "traffic",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_bytes_and_others_do_not() {
        for fill in [Random::noise, Random::prose, Random::code] {
            let made = |numbers: &[u64]| {
                let mut out = Vec::new();
                fill(&mut Random::of(numbers), 1001, &mut out);
                out
            };
            assert_eq!(made(&[1, 2]).len(), 1001);
            assert_eq!(made(&[1, 2]), made(&[1, 2]));
            assert_ne!(made(&[1, 2]), made(&[2, 1]));
            assert_ne!(made(&[1]), made(&[1, 0]));
        }
    }

    #[test]
    fn sizes_lie_about_their_median_and_within_their_limits() {
        let mut random = Random::of(&[7]);
        let mut sizes: Vec<_> = (0..1001).map(|_| random.size(8e3, 1.0, [1000, 64_000])).collect();
        sizes.sort_unstable();
        assert!((7_000..9_000).contains(&sizes[500]), "{}", sizes[500]);
        assert!(sizes[0] >= 1000 && sizes[1000] <= 64_000);
        assert!(sizes[100] < 4_000 && sizes[900] > 16_000, "they are spread");
    }
}
