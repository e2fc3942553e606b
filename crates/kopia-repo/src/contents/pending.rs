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

    /// Closes everything open and ends the session: what comes later belongs to the next flush.
    pub(crate) fn end_session(&mut self) {
        self.close(0);
        self.close(1);
        self.ended.extend(self.session.take());
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

    /// What an index blob may name now, by session: contents of uploaded packs, and pointers.
    pub(crate) fn ready(&self) -> Vec<Ready> {
        let mut all: Vec<Ready> = Vec::new();
        for pack in self.closed.iter().filter(|pack| pack.stage() == Stage::Uploaded) {
            of_session(&mut all, &pack.session).packs.push(Arc::clone(pack));
        }
        let waiting = self.packs_not_there();
        for (session, entry) in &self.loose {
            // A pointer into a pack that is not there yet must wait for it.
            if !waiting.contains(&entry.pack) {
                of_session(&mut all, session).loose.push(entry.clone());
            }
        }
        all
    }

    fn packs_not_there(&self) -> HashSet<Arc<str>> {
        let open = self.open.iter().flatten().map(|pack| Arc::clone(&pack.id));
        let closed = self.closed.iter().filter(|pack| pack.stage() != Stage::Uploaded);
        open.chain(closed.map(|pack| Arc::clone(&pack.id))).collect()
    }

    /// An index blob names these: they are no longer pending.
    pub(crate) fn indexed(&mut self, ready: &Ready, now: Timestamp) {
        for entry in ready.entries() {
            let newest = self.entries.get(&entry.id).map(|pending| identity(&pending.entry));
            if newest == Some(identity(entry)) {
                self.entries.remove(&entry.id);
            }
        }
        self.closed.retain(|pack| !ready.packs.iter().any(|done| Arc::ptr_eq(done, pack)));
        let done: HashSet<_> = ready.loose.iter().map(identity).collect();
        self.loose.retain(|(_, entry)| !done.contains(&identity(entry)));
        let left = self.open.iter().any(Option::is_some)
            || !(self.closed.is_empty() && self.loose.is_empty());
        self.since = left.then_some(now);
    }

    /// Sessions that have nothing left to be named: their markers may go.
    pub(crate) fn finished_sessions(&self) -> Vec<Arc<Session>> {
        let busy = |session: &Session| {
            self.closed.iter().any(|pack| pack.session.id == session.id)
                || self.loose.iter().any(|(of, _)| of.id == session.id)
        };
        self.ended.iter().filter(|session| !busy(session)).map(Arc::clone).collect()
    }

    /// The marker of the session is gone.
    pub(crate) fn forget_session(&mut self, session: &Session) {
        self.ended.retain(|ended| ended.id != session.id);
    }
}

fn of_session<'a>(all: &'a mut Vec<Ready>, session: &Arc<Session>) -> &'a mut Ready {
    let known = all.iter().position(|ready| ready.session.id == session.id);
    let place = known.unwrap_or_else(|| {
        let session = Arc::clone(session);
        all.push(Ready { session, packs: Vec::new(), loose: Vec::new() });
        all.len() - 1
    });
    &mut all[place]
}

/// What tells two entries apart.
fn identity(entry: &IndexEntry) -> (ContentId, Arc<str>, u32, i64, bool) {
    (entry.id, Arc::clone(&entry.pack), entry.offset, entry.timestamp, entry.deleted)
}
