//! Writing a window: each content to every file and link that wants it, on the threads that open
//! contents.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use kopia_format::{ContentId, compress::decompress};
use kopia_repo::{Fetched, RepoError};

use super::{
    attributes::{self, Of},
    events::{RestoreEvent, RestoreReport, RestoreSink},
    folders,
    ground::{Ground, Near},
    options::RestoreOptions,
    place::{Growing, write_whole},
    plan::RestorePlan,
    trouble::Trouble,
    window::{Piece, PlannedFolder, PlannedLeaf, Unreadable, Window, Wish, Wishes},
};
use crate::error::Result;

/// A whole restore: what its windows share.
pub(super) struct Building {
    pub ground: Arc<Ground>,
    /// For messages.
    pub target: PathBuf,
    pub options: RestoreOptions,
    pub sink: Arc<dyn RestoreSink>,
    pub report: Mutex<RestoreReport>,
    /// Folders that could not be made.
    pub barred: Mutex<Vec<PathBuf>>,
    /// Are files left for later whose packs turn out to be archived?
    pub postpones: bool,
    pub left: Mutex<Left>,
}

/// What archived packs kept from being written.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Files and links, by their paths below the target.
    pub files: HashSet<PathBuf>,
    /// Packs that refused to be read: they are not asked again.
    pub packs: HashMap<String, Trouble>,
}

impl Building {
    /// Makes the folders of a window, takes out what lies below those that can't be made, and makes
    /// its empty files.
    pub fn begin(
        self: Arc<Self>,
        mut window: Window,
        unreadable: &[Unreadable],
    ) -> Result<Writing> {
        {
            let mut report = self.report.lock().expect("no holder of this lock panics");
            let mut barred = self.barred.lock().expect("no holder of this lock panics");
            let place = (self.ground.as_ref(), self.target.as_path());
            folders::make(place, &window.folders, &self.options, &mut report, &mut barred)?;
            window.keep_outside(&barred);
        }
        let wishes = window.wishes();
        let Window { files, links, full, .. } = window;
        let open_files = Arc::default();
        let growing = files.iter().map(|file| match file.piece_count() {
            0 | 1 => Progress::Short(AtomicBool::new(false)),
            _ => Progress::Long(Box::new(Growing::new(
                self.ground.clone(),
                file,
                Arc::clone(&open_files),
            ))),
        });
        let progress = growing.collect();
        let writing = Writing {
            building: self,
            progress,
            files,
            links,
            full,
            wishes,
            parts: Mutex::default(),
        };
        writing.make_empty_files()?;
        writing.note_unreadable(unreadable)?;
        Ok(writing)
    }

    /// The packs that are known not to be readable, and why. Of those of the plan only the lost ones,
    /// where archived ones are waited for.
    pub fn barred_packs(&self, plan: &RestorePlan) -> HashMap<String, Trouble> {
        let mut barred = plan.barred_packs();
        if self.postpones {
            let cold = plan.packs.iter().filter(|pack| pack.is_cold());
            cold.for_each(|pack| _ = barred.remove(&pack.pack));
        }
        let left = self.left.lock().expect("no holder of this lock panics");
        barred.extend(left.packs.clone());
        barred
    }

    /// Notes the pack that refused to be read, if that is the trouble. Gives whether the entry that
    /// wanted it is written later.
    fn leave(&self, path: &Path, trouble: &Trouble) -> bool {
        let mut left = self.left.lock().expect("no holder of this lock panics");
        let Some(pack) = trouble.archived_pack() else {
            // Another piece of it was refused while this one was written: that is no trouble.
            return left.files.contains(path);
        };
        left.packs.entry(pack).or_insert_with(|| trouble.clone());
        if self.postpones {
            left.files.insert(path.to_owned());
        }
        self.postpones
    }

    fn report(&self, note: impl FnOnce(&mut RestoreReport)) {
        note(&mut self.report.lock().expect("no holder of this lock panics"));
    }
}

/// How far a file is.
enum Progress {
    /// It takes one content at most; has it failed?
    Short(AtomicBool),
    Long(Box<Growing>),
}

/// A window on its way.
pub(super) struct Writing {
    building: Arc<Building>,
    files: Vec<PlannedLeaf>,
    /// One for each file.
    progress: Vec<Progress>,
    links: Vec<PlannedLeaf>,
    /// Folders that get their attributes afterwards.
    full: Vec<Arc<PlannedFolder>>,
    wishes: Wishes,
    /// What there is of the texts of links: pieces by their offset, by the link's number.
    parts: Mutex<HashMap<usize, Vec<(u64, Bytes)>>>,
}

impl Writing {
    /// Writes contents that lie one after the other in a pack, and so mostly in one folder.
    pub fn take(&self, contents: &mut dyn Iterator<Item = Fetched>) -> Result<()> {
        let mut near = Near::default();
        for (id, content) in contents {
            self.place(&mut near, id, content)?;
        }
        Ok(())
    }

    /// Removes what is not whole.
    pub fn give_up(&self) {
        for progress in &self.progress {
            if let Progress::Long(growing) = progress {
                growing.give_up();
            }
        }
    }

    /// Gives the folders that are full their attributes.
    pub fn finish(&self) -> Result<()> {
        let Building { ground, target, options, report, .. } = self.building.as_ref();
        let mut report = report.lock().expect("no holder of this lock panics");
        folders::finish((ground, target), &self.full, options, &mut report)
    }

    /// A file without contents is whole as soon as it exists.
    fn make_empty_files(&self) -> Result<()> {
        let mut near = Near::default();
        for (item, file) in self.files.iter().enumerate() {
            if file.piece_count() == 0 {
                let made = self.write_short(&mut near, file, &[]);
                self.settle(item, made.map(|()| true))?;
            }
        }
        Ok(())
    }

    /// Notes the entries that want contents which can't be read.
    fn note_unreadable(&self, unreadable: &[Unreadable]) -> Result<()> {
        for one in unreadable {
            for wish in self.wishes.of(one.id) {
                self.settle(wish.item as usize, Err(one.trouble.clone()))?;
            }
        }
        Ok(())
    }

    fn place(
        &self,
        near: &mut Near,
        id: ContentId,
        content: Result<Bytes, RepoError>,
    ) -> Result<()> {
        let content = content.map_err(Trouble::from);
        for Wish { item, piece, .. } in self.wishes.of(id) {
            let (item, piece) = (*item as usize, *piece as usize);
            let Some(file) = self.files.get(item) else {
                self.place_link(near, item, piece, content.clone())?;
                continue;
            };
            let done = match &self.progress[item] {
                Progress::Long(growing) if growing.is_given_up() => continue,
                Progress::Long(growing) => self.unpack(file, piece, &content).and_then(|bytes| {
                    Ok(growing.write(file.piece(piece).offset, &bytes, &self.building.options)?)
                }),
                Progress::Short(_) => {
                    let bytes = self.unpack(file, piece, &content);
                    bytes.and_then(|bytes| self.write_short(near, file, &bytes)).map(|()| true)
                }
            };
            self.settle(item, done)?;
        }
        Ok(())
    }

    /// The bytes for one place, which are about to be written.
    fn unpack(
        &self,
        leaf: &PlannedLeaf,
        piece: usize,
        content: &Result<Bytes, Trouble>,
    ) -> Result<Bytes, Trouble> {
        let bytes = content.clone()?;
        let damaged = |reason| RepoError::ObjectDamaged { id: leaf.object, reason };
        let bytes = unpack(bytes, leaf.piece(piece)).map_err(damaged)?;
        self.building.sink.event(RestoreEvent::Written { bytes: bytes.len() as u64 });
        Ok(bytes)
    }

    fn write_short(
        &self,
        near: &mut Near,
        file: &PlannedLeaf,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let spot = near.spot(&self.building.ground, file)?;
        Ok(write_whole(spot, file, bytes, &self.building.options)?)
    }

    /// Collects the pieces of a link's text; makes the link when all are there.
    fn place_link(
        &self,
        near: &mut Near,
        item: usize,
        piece: usize,
        content: Result<Bytes, Trouble>,
    ) -> Result<()> {
        let link = &self.links[item - self.files.len()];
        let made = self.unpack(link, piece, &content).and_then(|bytes| {
            let mut all = self.parts.lock().expect("no holder of this lock panics");
            let pieces = all.entry(item).or_default();
            pieces.push((link.piece(piece).offset, bytes));
            if pieces.len() < link.piece_count() {
                return Ok(false);
            }
            let mut pieces = all.remove(&item).unwrap_or_default();
            drop(all);
            pieces.sort_by_key(|(offset, _)| *offset);
            let text: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
            let spot = near.spot(&self.building.ground, link)?;
            spot.make_link(OsStr::from_bytes(&text))?;
            let options = &self.building.options;
            attributes::set(Of::Spot(&spot), &spot.stat()?, &link.attributes, options)?;
            Ok(true)
        });
        self.settle(item, made)
    }

    /// Counts an entry that is whole; notes or raises one that failed.
    fn settle(&self, item: usize, result: Result<bool, Trouble>) -> Result<()> {
        let leaf = self.files.get(item).unwrap_or_else(|| &self.links[item - self.files.len()]);
        match result {
            Ok(false) => Ok(()),
            Ok(true) => {
                if item >= self.files.len() {
                    self.building.report(|report| report.links += 1);
                    return Ok(());
                }
                self.building.report(|report| {
                    report.files += 1;
                    report.bytes += leaf.size;
                });
                let path = leaf.path();
                self.building.sink.event(RestoreEvent::File { path: &path.to_string_lossy() });
                Ok(())
            }
            Err(trouble) => {
                let path = leaf.path();
                if self.building.leave(&path, &trouble) {
                    match self.progress.get(item) {
                        Some(Progress::Long(growing)) => _ = growing.give_up(),
                        Some(Progress::Short(failed)) => failed.store(true, Relaxed),
                        None => {}
                    }
                    return Ok(());
                }
                let (named, error) = (path.to_string_lossy(), trouble.to_string());
                self.building.sink.event(RestoreEvent::Failed { path: &named, error: &error });
                if !self.building.options.ignore_errors {
                    return Err(trouble.raised(&path));
                }
                let first = match self.progress.get(item) {
                    Some(Progress::Long(growing)) => growing.give_up(),
                    Some(Progress::Short(failed)) => !failed.swap(true, Relaxed),
                    None => true,
                };
                if first {
                    self.building.report(|report| report.failures.push(trouble.noted(&path)));
                }
                Ok(())
            }
        }
    }
}

/// The bytes of one place: decompressed where the object layer compressed them, and exactly as long
/// as it says.
fn unpack(bytes: Bytes, piece: Piece) -> Result<Bytes, String> {
    let Some(length) = piece.length else { return Ok(bytes) };
    let plain = if piece.compressed {
        let limit = usize::try_from(length).map_err(|error| error.to_string())?;
        Bytes::from(decompress(None, &bytes, limit).map_err(|error| error.to_string())?)
    } else {
        bytes
    };
    if plain.len() as u64 != length {
        let found = plain.len();
        return Err(format!("a content of {found} bytes stands where {length} belong"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::Silent;

    #[test]
    fn a_file_that_is_left_for_later_is_not_failed_by_its_other_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let building = |postpones| Building {
            ground: Arc::new(Ground::folder(folder.path()).unwrap()),
            target: folder.path().to_owned(),
            options: RestoreOptions::default(),
            sink: Arc::new(Silent),
            report: Mutex::default(),
            barred: Mutex::default(),
            postpones,
            left: Mutex::default(),
        };
        let id = blob_core::BlobId::new("p1").unwrap();
        let state = blob_core::ReadState::Cold;
        let archived = blob_core::BlobError::Archived { id, class: None, state };
        let archived = Trouble::from(RepoError::from(archived));
        // What a thread gets that writes a piece of a file while another one gives it up.
        let local = Trouble::from(std::io::Error::other("a content of the file is missing"));
        let (one, other) = (Path::new("one"), Path::new("other"));
        let stage = building(true);
        assert!(!stage.leave(one, &local));
        assert!(stage.leave(one, &archived) && stage.leave(one, &local));
        assert!(!stage.leave(other, &local));
        let whole = building(false);
        assert!(!whole.leave(one, &archived) && !whole.leave(one, &local));
    }
}
