//! What one writer has taken and no index blob names yet.
//!
//! One lock, held for moments and never across a wait: a content is either in `entries` here or in
//! the committed index, and a flush adds to the latter before it takes from the former, so nobody
//! finds it in neither.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use kopia_format::{ContentId, index::IndexEntry};

use tokio::sync::Notify;

use super::{
    pack::{ClosedPack, OpenPack, Stage},
    session::Session,
};
use crate::{Timestamp, state::Shared};

/// A content on its way.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub entry: IndexEntry,
    /// The sealed bytes, until its pack is in the storage; `None` for entries that only point.
    pub sealed: Option<Bytes>,
}

/// Everything one writer has taken since the last flush.
#[derive(Debug, Default)]
pub(crate) struct PendingContents {
    entries: HashMap<ContentId, Pending>,
    session: Option<Arc<Session>>,
    open: [Option<OpenPack>; 2],
    closed: Vec<Arc<ClosedPack>>,
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

/// What an index blob may name now, of one session.
#[derive(Debug)]
pub(crate) struct Ready {
    pub session: Arc<Session>,
    packs: Vec<Arc<ClosedPack>>,
    loose: Vec<IndexEntry>,
}

impl Ready {
    pub(crate) fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.packs.iter().flat_map(|pack| &pack.entries).chain(&self.loose)
    }

    fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.loose.is_empty()
    }
}

impl PendingContents {
    pub(crate) fn find(&self, id: &ContentId) -> Option<&Pending> {
        self.entries.get(id)
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

    /// Adds a sealed content to its pack and closes the pack if that made it long enough.
    pub(crate) fn append(&mut self, shared: &Shared, mut entry: IndexEntry, sealed: Bytes) {
        let kind = usize::from(entry.id.is_metadata());
        if self.open[kind].is_none() {
            let session = self.session(shared);
            self.open[kind] = Some(OpenPack::begin(shared, KINDS[kind], session));
        }
        let pack = self.open[kind].as_mut().expect("just begun");
        entry.pack = Arc::clone(&pack.id);
        entry.offset = pack.append(sealed.clone());
        pack.entries.push(entry.clone());
        if pack.len() >= u64::from(shared.format.format().max_pack_size) {
            self.close(kind);
        }
        self.entries.insert(entry.id, Pending { entry, sealed: Some(sealed) });
    }

    fn close(&mut self, kind: usize) {
        // A pack whose contents were all dropped again is not worth a blob.
        if let Some(pack) = self.open[kind].take().filter(|pack| !pack.entries.is_empty()) {
            self.closed.push(Arc::new(pack.close(Arc::clone(&self.moved))));
        }
    }

    /// Adds an entry that points to a place written before.
    pub(crate) fn point(&mut self, shared: &Shared, entry: IndexEntry) {
        let session = self.session(shared);
        let sealed = self.entries.get(&entry.id).and_then(|pending| pending.sealed.clone());
        self.loose.push((session, entry.clone()));
        self.entries.insert(entry.id, Pending { entry, sealed });
    }

    /// Takes back a content that is in an open pack still; its bytes stay as dead space. False if
    /// it is not there.
    pub(crate) fn take_back(&mut self, id: &ContentId) -> bool {
        let Some(pending) = self.entries.get(id) else { return false };
        let open = self.open.iter_mut().flatten().find(|pack| pack.id == pending.entry.pack);
        let Some(pack) = open else { return false };
        // An entry that only points here was pushed after it: then the newest state is not the
        // pack's.
        if self.loose.iter().any(|(_, entry)| entry.id == *id) {
            return false;
        }
        pack.entries.retain(|entry| entry.id != *id);
        self.entries.remove(id);
        true
    }

    /// The newest entry of a content in a pack that is closed and named by no index.
    pub(crate) fn in_closed_pack(&self, id: &ContentId) -> Option<IndexEntry> {
        let packs = self.closed.iter().rev();
        packs.flat_map(|pack| pack.entries.iter().rev()).find(|entry| entry.id == *id).cloned()
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
        let packs = self.closed.iter().filter(|pack| pack.stage() != Stage::Uploaded);
        packs.map(Arc::clone).collect()
    }

    /// A pack is in the storage: its contents are read from there from now on.
    pub(crate) fn uploaded(&mut self, pack: &ClosedPack) {
        for entry in &pack.entries {
            if let Some(pending) = self.entries.get_mut(&entry.id)
                && pending.entry.pack == pack.id
            {
                pending.sealed = None;
            }
        }
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
        let uploaded = self.packs_of(session).filter(|pack| pack.stage() == Stage::Uploaded);
        let packs = uploaded.filter(|pack| !pack.has_manifests()).map(Arc::clone).collect();
        let ready = Ready { session: Arc::clone(session), packs, loose: Vec::new() };
        (!ready.is_empty()).then_some(ready)
    }

    fn packs_of(&self, session: &Session) -> impl Iterator<Item = &Arc<ClosedPack>> {
        self.closed.iter().filter(|pack| pack.session.id == session.id)
    }

    fn loose_of(&self, session: &Session) -> impl Iterator<Item = &IndexEntry> {
        let of_session = self.loose.iter().filter(|(of, _)| of.id == session.id);
        of_session.map(|(_, entry)| entry)
    }

    /// An index blob names these: they are no longer pending.
    pub(crate) fn indexed(&mut self, ready: &Ready) {
        for entry in ready.entries() {
            let newest = self.entries.get(&entry.id).map(|pending| identity(&pending.entry));
            if newest == Some(identity(entry)) {
                self.entries.remove(&entry.id);
            }
        }
        self.closed.retain(|pack| !ready.packs.iter().any(|done| Arc::ptr_eq(done, pack)));
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

/// What tells two entries apart.
fn identity(entry: &IndexEntry) -> (ContentId, Arc<str>, u32, i64, bool) {
    (entry.id, Arc::clone(&entry.pack), entry.offset, entry.timestamp, entry.deleted)
}
