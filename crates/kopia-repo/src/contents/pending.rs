//! What one writer has taken and no index blob names yet.
//!
//! One lock, held for moments and never across a wait: a content is either in `places` here or in
//! the committed index, and a flush adds to the latter before it takes from the former, so nobody
//! finds it in neither. A content costs some 150 bytes here until an index blob names it: its place,
//! and the entry in its pack. Its sealed bytes are the pack's.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
};

use bytes::Bytes;
use kopia_format::{ContentId, index::IndexEntry};

use tokio::sync::Notify;

use super::{
    pack::{ClosedPack, OpenPack, PackNumber, Stage},
    session::Session,
};
use crate::{Timestamp, state::Shared};

/// With so many entries in packs that are in the storage, index blobs are written though little time
/// has passed: what is pending takes memory.
pub(crate) const INDEXABLE_MAX: usize = 100_000;

/// Where the newest entry of a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The pack, or [`LOOSE`].
    pack: PackNumber,
    /// Among the entries of the pack.
    at: u32,
}

/// Not in a pack: an entry that only points.
const LOOSE: PackNumber = PackNumber::MAX;

/// Contents that were sealed together, in order.
#[derive(Debug, Default)]
pub(crate) struct SealedRun {
    pub contents: Vec<SealedContent>,
    /// Their bytes: in each piece contents lie one behind the other.
    pub pieces: Vec<Bytes>,
}

/// A content that is ready for a pack.
#[derive(Debug)]
pub(crate) struct SealedContent {
    /// Its entry, without pack and offset.
    pub entry: IndexEntry,
    /// Append even if the content is there: it is being moved.
    pub moved: bool,
    /// Which piece it lies in.
    pub piece: usize,
}

/// Everything one writer has taken since the last flush.
#[derive(Debug, Default)]
pub(crate) struct PendingContents {
    places: HashMap<ContentId, Place>,
    session: Option<Arc<Session>>,
    packs_begun: PackNumber,
    open: [Option<OpenPack>; 2],
    closed: BTreeMap<PackNumber, Arc<ClosedPack>>,
    /// Entries that only point: deletions and their opposite.
    loose: Vec<(Arc<Session>, IndexEntry)>,
    /// Sessions whose packs are all closed; their markers go at the end of the flush.
    ended: Vec<Arc<Session>>,
    /// Since when there is something that no index names.
    since: Option<Timestamp>,
    /// Rings when the upload of a pack ended, well or not.
    moved: Arc<Notify>,
}

const KINDS: [char; 2] = ['p', 'q'];

/// Part of a piece that goes into one pack.
#[derive(Debug, Default)]
struct Stretch {
    /// Of the pack, as in [`KINDS`].
    kind: usize,
    piece: usize,
    from: usize,
    to: usize,
}

/// What an index blob may name now, of one session.
#[derive(Debug)]
pub(crate) struct Ready {
    pub session: Arc<Session>,
    packs: Vec<Arc<ClosedPack>>,
    loose: Vec<IndexEntry>,
}

impl Ready {
    pub(crate) fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.packs.iter().flat_map(|pack| pack.entries()).chain(&self.loose)
    }

    fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.loose.is_empty()
    }
}

impl PendingContents {
    /// The newest entry of a content.
    pub(crate) fn find(&self, id: &ContentId) -> Option<&IndexEntry> {
        let Place { pack, at } = *self.places.get(id)?;
        if pack == LOOSE {
            return self.loose.iter().rev().map(|(_, entry)| entry).find(|entry| entry.id == *id);
        }
        let open = self.open.iter().flatten().find(|open| open.number == pack);
        open.map_or_else(|| self.closed.get(&pack)?.entry(at), |open| open.entry(at))
    }

    /// The sealed bytes of an entry, until its pack is in the storage.
    pub(crate) fn sealed(&self, entry: &IndexEntry) -> Option<io::Result<Bytes>> {
        let open = self.open.iter().flatten().find(|open| open.id == entry.pack);
        let closed = || self.closed.values().find(|closed| closed.id == entry.pack);
        open.map_or_else(|| closed()?.read(entry), |open| open.read(entry))
    }

    /// Since when there is something that no index names.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(crate) fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.moved)
    }

    fn session(&mut self, shared: &Shared) -> Arc<Session> {
        self.since.get_or_insert_with(|| shared.env().clock.now());
        let session = self.session.get_or_insert_with(|| Arc::new(Session::begin(shared)));
        Arc::clone(session)
    }

    /// The pack of a kind that takes contents now.
    fn open(&mut self, shared: &Shared, kind: usize) -> &mut OpenPack {
        if self.open[kind].is_none() {
            let session = self.session(shared);
            let number = self.packs_begun;
            self.packs_begun += 1;
            assert_ne!(number, LOOSE, "a session has fewer than four billion packs");
            self.open[kind] = Some(OpenPack::begin(shared, KINDS[kind], number, session));
        }
        self.open[kind].as_mut().expect("just begun")
    }

    /// Adds sealed contents to their packs, and closes a pack as soon as it is long enough. Those
    /// that are here already are left out, unless they are being moved: two callers may have sealed
    /// the same content at the same time, and the first one counts.
    pub(crate) fn append(&mut self, shared: &Shared, run: SealedRun) {
        // What lies together in a piece goes into its pack together.
        let mut stretch = Stretch::default();
        let (mut last_piece, mut piece_end) = (0, 0);
        for SealedContent { entry, moved, piece } in run.contents {
            let (id, length) = (entry.id, entry.packed_length as usize);
            if piece != last_piece {
                (last_piece, piece_end) = (piece, 0);
            }
            let from = piece_end;
            piece_end += length;
            if !moved && self.find(&id).is_some_and(|known| !known.deleted) {
                continue;
            }
            shared.meters.written(entry.original_length, length);
            let kind = usize::from(id.is_metadata());
            if (stretch.kind, stretch.piece, stretch.to) != (kind, piece, from) {
                self.append_stretch(shared, &run.pieces, &stretch);
                stretch = Stretch { kind, piece, from, to: from };
            }
            let pack = self.open(shared, kind);
            let offset = pack.len() + (stretch.to - stretch.from) as u64;
            stretch.to += length;
            let offset_u32 = u32::try_from(offset).expect("a pack is closed long before 4 GiB");
            let pack_id = Arc::clone(&pack.id);
            let at = pack.enter(IndexEntry { pack: pack_id, offset: offset_u32, ..entry });
            let place = Place { pack: pack.number, at };
            self.places.insert(id, place);
            let length_max = u64::from(shared.format.format().max_pack_size);
            if offset + length as u64 >= length_max {
                self.append_stretch(shared, &run.pieces, &stretch);
                stretch.from = stretch.to;
                self.close(kind);
            }
        }
        self.append_stretch(shared, &run.pieces, &stretch);
    }

    fn append_stretch(&mut self, shared: &Shared, pieces: &[Bytes], stretch: &Stretch) {
        if stretch.from < stretch.to {
            let bytes = pieces[stretch.piece].slice(stretch.from..stretch.to);
            self.open(shared, stretch.kind).append(bytes);
        }
    }

    fn close(&mut self, kind: usize) {
        // A pack whose contents were all dropped again is not worth a blob.
        if let Some(pack) = self.open[kind].take().filter(|pack| !pack.is_empty()) {
            let pack = pack.close(Arc::clone(&self.moved));
            self.closed.insert(pack.number, Arc::new(pack));
        }
    }

    /// Adds an entry that points to a place written before.
    pub(crate) fn point(&mut self, shared: &Shared, entry: IndexEntry) {
        let session = self.session(shared);
        self.places.insert(entry.id, Place { pack: LOOSE, at: 0 });
        self.loose.push((session, entry));
    }

    /// Takes back a content that is in an open pack still; its bytes stay as dead space. False if
    /// it is not there.
    pub(crate) fn take_back(&mut self, id: &ContentId) -> bool {
        // One that only points was made after it: then the newest state is not the pack's.
        let Some(place) = self.places.get(id) else { return false };
        let pack = self.open.iter_mut().flatten().find(|pack| pack.number == place.pack);
        let Some(pack) = pack else { return false };
        pack.take_back(place.at);
        self.places.remove(id);
        true
    }

    /// The newest entry of a content in a pack that is closed and named by no index.
    pub(crate) fn in_closed_pack(&self, id: &ContentId) -> Option<IndexEntry> {
        let packs = self.closed.values().rev();
        packs.flat_map(|pack| pack.entries().rev()).find(|entry| entry.id == *id).cloned()
    }

    /// Closes everything open and ends the session: what comes later belongs to the next flush.
    /// Gives the packs that this flush has to wait for.
    pub(crate) fn end_session(&mut self) -> Vec<Arc<ClosedPack>> {
        self.close(0);
        self.close(1);
        self.ended.extend(self.session.take());
        self.not_uploaded()
    }

    /// Packs that wait to be uploaded or are being uploaded.
    pub(crate) fn not_uploaded(&self) -> Vec<Arc<ClosedPack>> {
        let packs = self.closed.values().filter(|pack| pack.stage() != Stage::Uploaded);
        packs.map(Arc::clone).collect()
    }

    /// Are there so many entries that an index blob is to be written for them?
    pub(crate) fn is_crowded(&self) -> bool {
        if self.places.len() < INDEXABLE_MAX {
            return false;
        }
        let Some(session) = &self.session else { return false };
        let early = self.packs_of(session).filter(|pack| may_be_early(pack));
        early.map(|pack| pack.entries_max()).sum::<usize>() >= INDEXABLE_MAX / 2
    }

    /// What index blobs name at the end of a flush: everything of the sessions that have ended,
    /// oldest first, since a later one may build on an earlier one. Up to the first pack that is
    /// not in the storage; a flush gets here only when there is none.
    pub(crate) fn ready(&self) -> Vec<Ready> {
        let whole = |session: &&Arc<Session>| {
            self.packs_of(session).all(|pack| pack.stage() == Stage::Uploaded)
        };
        let ended = self.ended.iter().take_while(whole);
        let all = ended.map(|session| Ready {
            session: Arc::clone(session),
            packs: self.packs_of(session).map(Arc::clone).collect(),
            loose: self.loose_of(session).cloned().collect(),
        });
        all.filter(|ready| !ready.is_empty()).collect()
    }

    /// What an index blob may name while writing goes on, before any flush: packs of the running
    /// session that make nothing visible. Not its manifests, since what they name may be in a pack
    /// that is not in the storage; and no deletions, since what they make room for (manifests,
    /// merged) may not be either. Sessions that have ended are left to the flush, which looks
    /// whether they are whole.
    pub(crate) fn ready_early(&self) -> Option<Ready> {
        let session = self.session.as_ref()?;
        let packs = self.packs_of(session).filter(|pack| may_be_early(pack));
        let packs = packs.map(Arc::clone).collect();
        let ready = Ready { session: Arc::clone(session), packs, loose: Vec::new() };
        (!ready.is_empty()).then_some(ready)
    }

    fn packs_of(&self, session: &Session) -> impl Iterator<Item = &Arc<ClosedPack>> {
        self.closed.values().filter(|pack| pack.session.id == session.id)
    }

    fn loose_of(&self, session: &Session) -> impl Iterator<Item = &IndexEntry> {
        let of_session = self.loose.iter().filter(|(of, _)| of.id == session.id);
        of_session.map(|(_, entry)| entry)
    }

    /// An index blob names these: they are no longer pending.
    pub(crate) fn indexed(&mut self, ready: &Ready) {
        for pack in &ready.packs {
            for (at, entry) in pack.places() {
                let place = Place { pack: pack.number, at };
                if self.places.get(&entry.id) == Some(&place) {
                    self.places.remove(&entry.id);
                }
            }
            self.closed.remove(&pack.number);
        }
        let newest: Vec<_> = ready
            .loose
            .iter()
            .filter(|entry| self.find(&entry.id).map(identity) == Some(identity(entry)))
            .map(|entry| entry.id)
            .collect();
        newest.iter().for_each(|id| {
            self.places.remove(id);
        });
        let done: HashSet<_> = ready.loose.iter().map(identity).collect();
        self.loose.retain(|(_, entry)| !done.contains(&identity(entry)));
    }

    /// Index blobs name all that they may: the next ones have time.
    pub(crate) fn all_indexed(&mut self, now: Timestamp) {
        let left = self.open.iter().any(Option::is_some)
            || !(self.closed.is_empty() && self.loose.is_empty());
        self.since = left.then_some(now);
    }

    /// Sessions that have nothing left to be named: their markers may go.
    pub(crate) fn finished_sessions(&self) -> Vec<Arc<Session>> {
        let busy = |session: &Session| {
            self.packs_of(session).next().is_some() || self.loose_of(session).next().is_some()
        };
        self.ended.iter().filter(|session| !busy(session)).map(Arc::clone).collect()
    }

    /// The marker of the session is gone.
    pub(crate) fn forget_session(&mut self, session: &Session) {
        self.ended.retain(|ended| ended.id != session.id);
    }
}

/// May an index blob name the pack before the flush?
fn may_be_early(pack: &ClosedPack) -> bool {
    pack.stage() == Stage::Uploaded && !pack.has_manifests()
}

/// What tells two entries apart.
fn identity(entry: &IndexEntry) -> (ContentId, Arc<str>, u32, i64, bool) {
    (entry.id, Arc::clone(&entry.pack), entry.offset, entry.timestamp, entry.deleted)
}
