//! The bits of a walk, and how they outlive it.
//!
//! Three a content: it is live, it was walked as a folder, it was taken apart as a list. The first
//! alone would not do, since a content that was met as a file first may be a folder elsewhere, and
//! what is below it must be walked then.
//!
//! While a walk is under way, folders count as walked that are yet to be read. Bits that were kept
//! then, or gone on from, would leave out what is below these: so both are refused.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use kopia_repo::{IndexView, Marks};

use crate::error::{Result, SnapshotError};

/// How kept marks begin: with this, and the lengths of the first two of the three.
const FORM: &[u8; 4] = b"kol1";
const LENGTH_LEN: usize = 8;

/// What is live, and how that is known. Clones share it.
#[derive(Debug, Clone)]
pub struct LiveMarks {
    pub(super) live: Marks,
    pub(super) walked: Marks,
    pub(super) taken_apart: Marks,
    /// Something is marked and what it names is not.
    is_open: Arc<AtomicBool>,
}

/// A walk under way.
pub(super) struct Open<'a>(&'a LiveMarks);

impl LiveMarks {
    /// Nothing is known to be live.
    pub fn new(view: Arc<IndexView>) -> Self {
        Self::over(Marks::new(view))
    }

    /// With marks that say nothing of what is below them.
    pub(super) fn over(live: Marks) -> Self {
        let unmarked = || Marks::new(Arc::clone(live.view()));
        let (walked, taken_apart) = (unmarked(), unmarked());
        Self { live, walked, taken_apart, is_open: Arc::default() }
    }

    /// What is live.
    pub fn live(&self) -> &Marks {
        &self.live
    }

    /// All of it as bytes, some three for eight entries of the index. `None` while a walk is under
    /// way, unless it is just between two groups of roots, and after one that was not finished.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.is_open.load(SeqCst) {
            return None;
        }
        let [live, walked, lists] =
            [&self.live, &self.walked, &self.taken_apart].map(Marks::to_bytes);
        let length = |bytes: &[u8]| (bytes.len() as u64).to_le_bytes();
        Some([FORM, &length(&live)[..], &length(&walked), &live, &walked, &lists].concat())
    }

    /// What [`to_bytes`](Self::to_bytes) made, for a newer view; `None` as [`Marks::restore`] has
    /// it.
    pub fn restore(view: Arc<IndexView>, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(FORM)?;
        let mut length = || {
            let (length, behind) = rest.split_first_chunk::<LENGTH_LEN>()?;
            rest = behind;
            usize::try_from(u64::from_le_bytes(*length)).ok()
        };
        let (live, walked) = (length()?, length()?);
        let (live, rest) = rest.split_at_checked(live)?;
        let (walked, lists) = rest.split_at_checked(walked)?;
        let marks = |bytes| Marks::restore(Arc::clone(&view), bytes);
        let (live, walked, taken_apart) = (marks(live)?, marks(walked)?, marks(lists)?);
        Some(Self { live, walked, taken_apart, is_open: Arc::default() })
    }

    /// Begins a walk.
    pub(super) fn open(&self) -> Result<Open<'_>> {
        match self.is_open.swap(true, SeqCst) {
            false => Ok(Open(self)),
            true => Err(SnapshotError::Invalid(
                "a walk from these marks is under way, or was not finished".to_owned(),
            )),
        }
    }
}

impl Open<'_> {
    /// All is read that was met.
    pub fn close(self) {
        self.0.is_open.store(false, SeqCst);
    }
}
