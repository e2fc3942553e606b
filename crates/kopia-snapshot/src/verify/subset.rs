//! A part of all files, chosen by their objects.
//!
//! An object's hash is a place on a circle, as even as any draw. A part of the circle is a part of
//! all files: parts that follow on each other hold each file once, whenever they are read and
//! whatever was added meanwhile, and after one round every file was read that was there all the time.

use kopia_format::ObjectId;

/// The whole circle.
const WHOLE: u128 = 1 << 64;

/// Which files are read in full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// Those in this part.
    Part(Part),
    /// A part from this place on, of about so many bytes of what the packs for data hold.
    Bytes {
        /// Where it begins.
        start: u64,
        /// How many bytes.
        bytes: u64,
    },
}

impl Subset {
    /// The part that is meant, where all packs for data have `stored` bytes.
    pub(super) fn part(self, stored: u64) -> Part {
        match self {
            Self::Part(part) => part,
            Self::Bytes { start, bytes } => {
                let length = u128::from(bytes) * WHOLE / u128::from(stored.max(1));
                Part { start, length: length.min(WHOLE) }
            }
        }
    }
}

/// A part of the circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    start: u64,
    length: u128,
}

impl Part {
    /// The `n`-th of `of` equal parts, counted from 1; `None` if there is no such.
    #[must_use]
    pub fn nth(n: u64, of: u64) -> Option<Self> {
        if n == 0 || n > of {
            return None;
        }
        let place = |n: u64| u128::from(n) * WHOLE / u128::from(of);
        let (start, end) = (place(n - 1), place(n));
        Some(Self { start: u64::try_from(start).ok()?, length: end - start })
    }

    /// So many of a hundred, from a place on.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn percent(start: u64, percent: f64) -> Self {
        let share = (percent / 100.0).clamp(0.0, 1.0);
        // Rounded up, so that a hundred parts of one percent leave nothing out.
        let length = (share * WHOLE as f64).ceil() as u128;
        Self { start, length: length.min(WHOLE) }
    }

    /// Where the next part begins.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // that is how one goes around
    pub fn end(self) -> u64 {
        self.start.wrapping_add(self.length as u64)
    }

    /// Where it begins and how long it is, as shares of the circle from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn shares(self) -> (f64, f64) {
        (self.start as f64 / WHOLE as f64, self.length as f64 / WHOLE as f64)
    }

    /// Is the object in it?
    #[must_use]
    pub fn holds(self, object: &ObjectId) -> bool {
        let content = object.content_id();
        let mut place = [0; 8];
        for (to, from) in place.iter_mut().zip(content.hash()) {
            *to = *from;
        }
        u128::from(u64::from_be_bytes(place).wrapping_sub(self.start)) < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<ObjectId> {
        let object = |n: u64| format!("{:016x}{n:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..2000).map(|n| object(n).parse().unwrap()).collect()
    }

    #[test]
    fn equal_parts_hold_each_object_once() {
        for of in [1, 2, 7, 100] {
            let parts: Vec<_> = (1..=of).map(|n| Part::nth(n, of).unwrap()).collect();
            for object in objects() {
                assert_eq!(parts.iter().filter(|part| part.holds(&object)).count(), 1);
            }
        }
        assert_eq!([Part::nth(0, 3), Part::nth(4, 3), Part::nth(1, 0)], [None; 3]);
    }

    #[test]
    fn parts_that_follow_on_each_other_come_around() {
        let (mut start, mut left) = (u64::MAX / 3, objects());
        for round in 0..10 {
            let part = Part::percent(start, 10.0);
            left.retain(|object| !part.holds(object));
            start = part.end();
            assert_eq!(left.is_empty(), round == 9, "{round}");
        }
    }

    #[test]
    fn bytes_are_a_share_of_what_is_stored() {
        let shares = |bytes, stored| Subset::Bytes { start: 0, bytes }.part(stored).shares().1;
        assert!((shares(25, 100) - 0.25).abs() < 1e-9);
        assert!((shares(200, 100) - 1.0).abs() < 1e-9 && (shares(1, 0) - 1.0).abs() < 1e-9);
        let all = Part::percent(7, 100.0);
        assert!(objects().iter().all(|object| all.holds(object)));
    }
}
