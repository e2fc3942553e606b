//! How many things of which size, in powers of ten, as Kopia prints it.

/// Upper ends of the classes: 10, 100 … 10^8.
const CLASSES: u32 = 8;

/// Counts and bytes by size.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Things in all.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    classes: [(u64, u64); CLASSES as usize],
}

impl Histogram {
    /// Adds a thing of `size` that counts for `bytes`.
    pub fn add(&mut self, size: u64, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        let class = (1..=CLASSES).find(|power| size < 10_u64.pow(*power));
        if let Some(class) = class {
            let (count, total) = &mut self.classes[class as usize - 1];
            *count += 1;
            *total += bytes;
        }
    }

    /// The table, with `show` for sizes.
    pub fn render(&self, show: impl Fn(u64) -> String) -> String {
        let mut out = String::from("Histogram:\n");
        let mut low = 0;
        for (power, (count, total)) in (1..).zip(&self.classes) {
            let high = 10_u64.pow(power);
            let (from, to, total) = (show(low), show(high), show(*total));
            out.push_str(&format!("\n{count:>9} between {from} and {to} (total {total})"));
            low = high;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_falls_into_one_class() {
        let mut histogram = Histogram::default();
        for size in [0, 9, 10, 99_999_999, 100_000_000] {
            histogram.add(size, size);
        }
        let text = histogram.render(|size| size.to_string());
        assert!(text.contains("        2 between 0 and 10 (total 9)"), "{text}");
        assert!(text.contains("        1 between 10 and 100 (total 10)"), "{text}");
        assert!(text.contains("1 between 10000000 and 100000000 (total 99999999)"), "{text}");
        assert_eq!(histogram.count, 5);
    }
}
