//! Cutting bytes into pieces where they are: in the memory in which they are sealed.

use std::mem;

use dataplane::{Grant, Recycler};
use kopia_format::{
    cipher::OVERHEAD,
    codec::Sealable,
    split::{Splitter, SplitterKind},
};

/// Bytes that are read before the splitter looks at them: few enough to be in the cache then.
const STEP: usize = 256 << 10;

/// Bytes that one filling takes where pieces are shorter.
const TOGETHER: usize = 1 << 20;

/// The bytes since the last cut, and pieces that were cut and not taken yet.
pub(super) struct Filler {
    splitter: Box<dyn Splitter + Send>,
    longest: usize,
    recycler: Recycler,
    piece: Sealable,
    pub cut: Vec<Sealable>,
    /// Memory for what one filling takes, if pieces are written beside the caller.
    pub grant: Option<Grant>,
}

impl Filler {
    pub fn new(kind: SplitterKind, recycler: Recycler) -> Self {
        Self {
            splitter: kind.new_splitter(),
            longest: kind.max_segment(),
            recycler,
            piece: Sealable::with_room(0),
            cut: Vec::new(),
            grant: None,
        }
    }

    /// Bytes that one filling takes at most, but for a step.
    pub fn room(&self) -> usize {
        self.longest.max(TOGETHER)
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        let cut = self.cut.iter().map(|piece| piece.plain().len());
        cut.sum::<usize>() + self.piece.plain().len()
    }

    /// Is there nothing behind the last cut?
    pub fn is_empty(&self) -> bool {
        self.piece.plain().is_empty()
    }

    /// Copies bytes of `data` up to the next cut; says how many, and whether there was one.
    pub fn push(&mut self, data: &[u8]) -> (usize, bool) {
        let cut = self.splitter.next_cut(data);
        let length = cut.unwrap_or(data.len());
        if self.is_empty() {
            // Nothing more may come.
            self.piece = Sealable::with_room(length);
        }
        self.piece.extend(&data[..length]);
        if cut.is_some() {
            self.end();
        }
        (length, cut.is_some())
    }

    /// Reads until at least one piece is cut and no other has room, or `read` gives no more bytes.
    /// Says how many bytes came; those before an error count as taken.
    pub fn fill<E>(
        &mut self,
        read: &mut impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let (mut taken, mut cut) = (0, 0);
        while cut == 0 || cut + self.longest <= self.room() {
            if self.is_empty() {
                self.piece = self.new_piece();
            }
            let from = self.piece.plain().len();
            let count = self.piece.extend_by(STEP, &mut *read)?;
            if count == 0 {
                break;
            }
            taken += count;
            cut += self.scan(from);
        }
        Ok(taken)
    }

    fn new_piece(&self) -> Sealable {
        Sealable::in_memory(self.recycler.take(self.longest + STEP + OVERHEAD))
    }

    /// Cuts what came behind `from`; gives the bytes of the pieces that were cut.
    fn scan(&mut self, mut from: usize) -> usize {
        let mut bytes = 0;
        while let Some(cut) = self.splitter.next_cut(&self.piece.plain()[from..]) {
            let at = from + cut;
            let mut rest = self.new_piece();
            rest.extend(&self.piece.plain()[at..]);
            self.piece.truncate(at);
            self.cut.push(mem::replace(&mut self.piece, rest));
            (from, bytes) = (0, bytes + at);
        }
        bytes
    }

    /// Ends the piece at hand where it is.
    pub fn end(&mut self) {
        self.cut.push(mem::replace(&mut self.piece, Sealable::with_room(0)));
    }
}

#[cfg(test)]
mod tests {
    use kopia_fixtures::spec_bytes;

    use super::*;

    fn pieces(filler: &mut Filler) -> Vec<Vec<u8>> {
        mem::take(&mut filler.cut).iter().map(|piece| piece.plain().to_vec()).collect()
    }

    #[test]
    fn what_is_read_is_cut_as_what_is_pushed() {
        let bytes = spec_bytes("ctr:a:9000001");
        for name in ["DYNAMIC-128K-BUZHASH", "DYNAMIC-1M-RABINKARP", "FIXED-128K", "FIXED-2M"] {
            let kind = SplitterKind::parse(name).unwrap();
            let mut pushed = Filler::new(kind, Recycler::new(1 << 20));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                rest = &rest[pushed.push(rest).0..];
            }
            pushed.end();
            let wanted = pieces(&mut pushed);
            assert_eq!(wanted.concat(), bytes);
            for slice in [usize::MAX, 100_000, 65_537] {
                let mut rest = &bytes[..];
                let mut read = |place: &mut [u8]| -> Result<usize, ()> {
                    let count = place.len().min(rest.len()).min(slice);
                    place[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok(count)
                };
                let (mut filler, mut found, mut taken) =
                    (Filler::new(kind, Recycler::new(1 << 20)), Vec::new(), 0);
                loop {
                    let count = filler.fill(&mut read).unwrap();
                    let held: usize = filler.cut.iter().map(|piece| piece.plain().len()).sum();
                    assert!(held <= filler.room(), "{name}: {held} bytes cut in one filling");
                    taken += count;
                    found.extend(pieces(&mut filler));
                    if count == 0 {
                        break;
                    }
                }
                filler.end();
                found.extend(pieces(&mut filler));
                assert_eq!(taken, bytes.len());
                assert!(found == wanted, "{name} in slices of {slice}");
            }
        }
    }

    #[test]
    fn bytes_before_an_error_stay() {
        let mut filler = Filler::new(SplitterKind::parse("FIXED-1M").unwrap(), Recycler::new(0));
        let mut calls = 0;
        let mut read = |place: &mut [u8]| {
            calls += 1;
            if calls > 1 {
                return Err("broken");
            }
            place[..3].copy_from_slice(b"abc");
            Ok(3)
        };
        assert_eq!(filler.fill(&mut read), Err("broken"));
        filler.end();
        assert_eq!(pieces(&mut filler), [b"abc"]);
    }
}
