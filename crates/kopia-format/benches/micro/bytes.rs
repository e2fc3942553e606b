//! Bytes to work on, the same in every run.

/// Bytes that don't compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        // Xorshift.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Words that compress to about a third.
pub fn prose(length: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "snapshot ",
        "content ",
        "the ",
        "of ",
        "pack ",
        "index\n",
        "a ",
        "blob ",
        "is ",
        "file ",
        "restored ",
        "in ",
        "folder ",
        "key ",
        "and ",
        "policy.\n",
    ];
    let numbers = noise(length);
    let words = numbers.iter().flat_map(|it| WORDS[usize::from(it % 16)].bytes());
    words.take(length).collect()
}
