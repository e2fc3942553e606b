//! The power goes at any moment, and the disk has kept as little or as much as it may have.
//!
//! What a storage did is recorded, call by call. For every beginning of that record the states are
//! made that a disk may be in after a power cut there: of each name the one that was last made
//! durable or any later one, of each file's bytes those that were made durable or less or more.
//! This is weaker than what journaling file systems promise. Whatever the state, what a put had
//! answered for is there, byte for byte, and what it had not yet is there whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use blob_core::{BlobId, BlobStorage, Entropy, Payload, PutOptions, ReadRange, SeededEntropy};
use futures::TryStreamExt;

use crate::{
    FilesystemOptions, FilesystemStorage,
    disk::trace::{self, Step},
};

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    /// Which file: it keeps its bytes under every name.
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// The bytes that were made durable.
    durable: Vec<u8>,
}

/// A disk as the running system sees it, and what of it is durable.
#[derive(Debug, Default)]
struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// What each name led to since its folder was made durable, in order.
    since: BTreeMap<PathBuf, Vec<Option<Node>>>,
}

impl Disk {
    fn file(&mut self, path: &Path) -> &mut File {
        let Some(Node::File(number)) = self.names.get(path) else { panic!("{path:?} is no file") };
        &mut self.files[*number]
    }

    fn set(&mut self, path: &Path, node: Option<Node>) {
        match node {
            Some(node) => self.names.insert(path.to_owned(), node),
            None => self.names.remove(path),
        };
        self.since.entry(path.to_owned()).or_default().push(node);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(path) => {
                self.files.push(File::default());
                self.set(path, Some(Node::File(self.files.len() - 1)));
            }
            Step::Append(path, bytes) => self.file(path).bytes.extend_from_slice(bytes),
            Step::SyncFile(path) => {
                let file = self.file(path);
                file.durable = file.bytes.clone();
            }
            Step::CreateFolder(path) => self.set(path, Some(Node::Folder)),
            Step::SyncFolder(folder) => {
                let here = |path: &Path| path.parent() == Some(folder);
                self.since.retain(|path, _| !here(path));
                self.durable.retain(|path, _| !here(path));
                let named = self.names.iter().filter(|(path, _)| here(path));
                self.durable.extend(named.map(|(path, node)| (path.clone(), *node)));
            }
            Step::Rename(from, to) => {
                let node = self.names.get(from).copied();
                self.set(to, node);
                self.set(from, None);
            }
            Step::Link(from, to) => self.set(to, self.names.get(from).copied()),
            Step::Remove(path) => self.set(path, None),
        }
    }

    /// Makes a state that the power cut may have left below `root`, as a folder of this machine.
    fn materialise(&self, root: &Path, at: &Path, chance: &mut dyn FnMut(usize) -> usize) {
        let mut names = self.durable.clone();
        for (path, changes) in &self.since {
            // 0 is what was durable, 1 the first change since, and so on.
            let node = match chance(changes.len() + 1) {
                0 => continue,
                which => changes[which - 1],
            };
            match node {
                Some(node) => names.insert(path.clone(), node),
                None => names.remove(path),
            };
        }
        // In the order of the paths a folder comes before what is in it; without its folder a name
        // leads nowhere.
        for (path, node) in names {
            let Ok(below) = path.strip_prefix(root) else { continue };
            let place = at.join(below);
            match node {
                Node::Folder => _ = std::fs::create_dir(place),
                Node::File(number) => _ = std::fs::write(place, self.files[number].left(chance)),
            }
        }
    }
}

impl File {
    /// Bytes that may be left of the file.
    fn left(&self, chance: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        if self.durable == self.bytes {
            return self.bytes.clone();
        }
        match chance(4) {
            0 => self.durable.clone(),
            1 => self.bytes[..self.bytes.len() / 2].to_vec(),
            // The length went to the disk before the bytes.
            2 => vec![0; self.bytes.len()],
            _ => self.bytes.clone(),
        }
    }
}

/// One call, and how many steps were done when it began and when it answered.
#[derive(Debug, Clone)]
struct Call {
    id: BlobId,
    /// The bytes that the blob had before.
    before: Option<Vec<u8>>,
    bytes: Vec<u8>,
    begun: usize,
    answered: usize,
}

/// Puts blobs of all kinds into a new folder and keeps record.
async fn record(root: &Path, watched: &Path) -> (Vec<Step>, Vec<Call>) {
    trace::watch(watched);
    let options = FilesystemOptions::at(root);
    let storage = FilesystemStorage::create(options, None).await.unwrap();
    let mut calls: Vec<Call> = Vec::new();
    for (number, (name, if_absent)) in [
        ("kopia.repository", false),
        ("kopia.blobcfg", true),
        ("p0123456789abcdef0123456789abcdef-s0123456789abcdef", true),
        ("p0123456789abcdef0123456789abcdee-s0123456789abcdef", false),
        ("q0123456789abcdef0123456789abcdef-s0123456789abcdef", false),
        ("kopia.repository", false),
        ("xn0_0123456789abcdef0123456789abcdef-s0123456789abcdef-c1", true),
    ]
    .into_iter()
    .enumerate()
    {
        let id = BlobId::new(name).unwrap();
        let bytes = vec![u8::try_from(number).unwrap() + 1; 1000];
        let mut payload = Payload::new();
        payload.push(bytes[..300].to_vec());
        payload.push(bytes[300..].to_vec());
        let before = calls.iter().rev().find(|call| call.id == id).map(|call| call.bytes.clone());
        let begun = trace::steps(watched).len();
        let put = PutOptions { if_absent, ..PutOptions::default() };
        storage.put(&id, payload, &put).await.unwrap();
        let answered = trace::steps(watched).len();
        calls.push(Call { id, before, bytes, begun, answered });
    }
    (trace::steps(watched), calls)
}

/// Checks the folder that a power cut after `done` steps left; gives why it is not as it should be.
async fn check(at: &Path, calls: &[Call], done: usize) -> Result<(), String> {
    let mut wanted: BTreeMap<&BlobId, Vec<Option<&[u8]>>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.begun < done) {
        let now = Some(call.bytes.as_slice());
        let may_be =
            if call.answered <= done { vec![now] } else { vec![call.before.as_deref(), now] };
        wanted.insert(&call.id, may_be);
    }
    let storage = match FilesystemStorage::open(FilesystemOptions::at(at)).await {
        Ok(storage) => storage,
        Err(_) if wanted.values().all(|may_be| may_be.contains(&None)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    for (id, may_be) in &wanted {
        let found = match storage.get(id, ReadRange::Full).await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.to_string()),
        };
        if !may_be.contains(&found.as_deref()) {
            let length = found.map(|bytes| bytes.len());
            return Err(format!("{id} has {length:?} bytes, and not those that it should have"));
        }
    }
    let listed: Vec<_> = storage.list("").try_collect().await.map_err(|e| e.to_string())?;
    let known: BTreeSet<_> = wanted.keys().map(|id| id.as_str()).collect();
    match listed.iter().find(|meta| !known.contains(meta.id.as_str()) || meta.size != 1000) {
        Some(meta) => Err(format!("{} of {} bytes is listed", meta.id, meta.size)),
        None => Ok(()),
    }
}

/// Cuts the power after every step, and looks at states that may be left: the two extremes and
/// `drawn` more. Gives how many.
async fn cut_everywhere(
    steps: &[Step],
    calls: &[Call],
    root: &Path,
    drawn: u64,
) -> Result<usize, String> {
    let above = root.parent().unwrap();
    let mut states = 0;
    for done in 0..=steps.len() {
        let mut disk = Disk::default();
        steps[..done].iter().for_each(|step| disk.apply(step));
        for state in 0..drawn + 2 {
            let entropy = SeededEntropy::new(done as u64 * 100 + state);
            let mut chance = |of: usize| match state {
                0 => 0,
                1 => of - 1,
                _ => {
                    let mut byte = [0; 2];
                    entropy.fill(&mut byte);
                    usize::from(u16::from_le_bytes(byte)) % of
                }
            };
            let after = tempfile::tempdir().unwrap();
            disk.materialise(above, after.path(), &mut chance);
            let at = after.path().join(root.strip_prefix(above).unwrap());
            let checked = check(&at, calls, done).await;
            checked.map_err(|why| {
                format!("cut after step {done} ({:?}), state {state}: {why}", &steps[..done].last())
            })?;
            states += 1;
        }
    }
    Ok(states)
}

#[tokio::test]
async fn no_power_cut_takes_what_was_answered_for_or_leaves_half_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("disk");
    std::fs::create_dir(&above).unwrap();
    let root = above.join("repo");
    let (steps, calls) = record(&root, &above).await;
    let states = cut_everywhere(&steps, &calls, &root, 6).await.unwrap();
    assert!(steps.len() > 50 && states > 400, "{} steps, {states} states", steps.len());
}

#[tokio::test]
async fn each_sync_but_one_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("disk");
    std::fs::create_dir(&above).unwrap();
    let root = above.join("repo");
    let (steps, calls) = record(&root, &above).await;
    let is_sync = |step: &Step| matches!(step, Step::SyncFile(_) | Step::SyncFolder(_));
    let syncs: Vec<_> = (0..steps.len()).filter(|at| is_sync(&steps[*at])).collect();
    let mut needless = Vec::new();
    for left_out in &syncs {
        let mut fewer = steps.clone();
        fewer.remove(*left_out);
        let earlier = |at: usize| at - usize::from(at > *left_out);
        let calls: Vec<_> = calls
            .iter()
            .map(|call| Call {
                begun: earlier(call.begun),
                answered: earlier(call.answered),
                ..call.clone()
            })
            .collect();
        if cut_everywhere(&fewer, &calls, &root, 1).await.is_ok() {
            needless.push(*left_out);
        }
    }
    // Every first put of a process makes the names up to the root durable, that of `.shards` too.
    let shards = root.join(".shards");
    let moved = steps.iter().position(|step| matches!(step, Step::Rename(_, to) if *to == shards));
    assert_eq!(needless, [moved.unwrap() + 1], "of {}: {steps:#?}", syncs.len());
    assert!(syncs.len() > 20);
}
