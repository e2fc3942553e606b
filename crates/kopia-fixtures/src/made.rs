//! For benches over repositories that are made, not written by Kopia: names of contents and packs by
//! number, and the memory of the process.

use std::{fs, io};

/// Stands for the hash of content or pack number `n`: a good mixer, and not two numbers alike.
pub fn hash(n: u64) -> u128 {
    let mixed = |n: u64| {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    u128::from(mixed(n + 1)) << 64 | u128::from(mixed(n ^ 0x5555_5555_5555_5555))
}

/// Lets the kernel's peak of this process's memory begin anew; gives the memory now, in KiB.
///
/// # Errors
/// The system is not Linux, or does not tell.
pub fn reset_peak() -> io::Result<u64> {
    fs::write("/proc/self/clear_refs", "5")?;
    memory("VmRSS:")
}

/// The kernel's peak of this process's memory, in KiB.
///
/// # Errors
/// As [`reset_peak`].
pub fn peak() -> io::Result<u64> {
    memory("VmHWM:")
}

fn memory(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/self/status has no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_near_have_names_that_are_not() {
        let mut seen = std::collections::HashSet::new();
        assert!((0..10_000).all(|n| seen.insert(hash(n))));
        let bits: u32 = (0..1_000).map(|n| (hash(n) ^ hash(n + 1)).count_ones()).sum();
        assert!((60_000..68_000).contains(&bits), "{bits} of 128000 bits differ");
    }
}
