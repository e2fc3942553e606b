//! What the dynamic splitters ask of a rolling hash over the last [`WINDOW`](super::WINDOW) bytes.

/// A rolling hash. Implementations are a word or two and copied freely.
pub(super) trait Rolling: Copy + Default + Send {
    /// Takes a byte while the window is not yet full.
    fn absorb(&mut self, byte: u8);

    /// Takes `byte` and lets `oldest`, the byte taken a window ago, go.
    fn roll(&mut self, oldest: u8, byte: u8);

    /// Whether the low bits chosen by `mask` are all zero: a cut may fall behind the newest byte.
    fn is_candidate(&self, mask: u32) -> bool;
}
