//! A restored tree, uploaded again, is the same object that Kopia made of the tree it had.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kopia_format::{ObjectId, directory::DirEntry, snapshot::SnapshotManifest};
use kopia_repo::{EntryFilter, IndexEntry, Repository};
use kopia_snapshot::{
    policies,
    tree::read_directory,
    upload::{Silent, UploadOptions, UploadRequest, UploadSource, Uploaded, upload},
};
use tokio_util::sync::CancellationToken;

/// Uploads `folder` once without and once with the snapshot as the one before, and says what
/// differs.
pub async fn uploaded_again(
    repo: &Repository,
    manifest: &SnapshotManifest,
    folder: &Path,
) -> Vec<String> {
    let root = manifest.root_entry.as_ref().unwrap();
    let should = objects(repo, root).await;
    let before = repo.entries(&EntryFilter::with_deleted()).await.unwrap();
    let mut complaints = Vec::new();
    for previous in [&[][..], std::slice::from_ref(manifest)] {
        let uploaded = upload_folder(repo, manifest, folder, previous).await;
        let is = objects(repo, &uploaded.root).await;
        for (path, object) in &should {
            // A name that was not UTF-8 sorts elsewhere after a restore, so its folder is another
            // object, and so are those above.
            let below = |name: &&String| name.contains('\u{fffd}') && name.starts_with(path);
            if is.get(path) != Some(object) && should.keys().find(below).is_none() {
                complaints.push(format!("{path:?} is {:?} instead of {object}", is.get(path)));
            }
        }
        let summary = root.summary.as_ref().unwrap();
        let stats = &uploaded.stats;
        let is = (stats.non_cached_files, stats.cached_files, stats.dir_count);
        // Links that are read are not counted at all, as in Kopia.
        let should = match previous {
            [] => (summary.files, 0, summary.dirs),
            _ => (0, summary.files + summary.symlinks, summary.dirs),
        };
        if is != should {
            complaints.push(format!("read, cached and folders are {is:?}, not {should:?}"));
        }
    }
    let after = repo.entries(&EntryFilter::with_deleted()).await.unwrap();
    let data = |all: &[IndexEntry]| all.iter().filter(|e| !e.id.is_metadata()).count();
    if data(&before) != data(&after) {
        complaints.push(format!("{} contents became {}", data(&before), data(&after)));
    }
    complaints
}

/// The object of every entry, by its path; the root has the empty path.
async fn objects(repo: &Repository, root: &DirEntry) -> BTreeMap<String, ObjectId> {
    let mut all = BTreeMap::from([(String::new(), root.object)]);
    let mut folders = vec![(String::new(), root.object)];
    while let Some((path, id)) = folders.pop() {
        for entry in read_directory(repo, &id).await.unwrap().entries {
            let path = format!("{path}{}", String::from_utf8_lossy(&entry.name));
            if entry.is_dir() {
                folders.push((format!("{path}/"), entry.object));
            }
            all.insert(path, entry.object);
        }
    }
    all
}

async fn upload_folder(
    repo: &Repository,
    manifest: &SnapshotManifest,
    folder: &Path,
    previous: &[SnapshotManifest],
) -> Uploaded {
    let writer = repo.writer().unwrap();
    let request = UploadRequest {
        writer: &writer,
        policy: &policies::tree(repo, &manifest.source).await.unwrap(),
        previous,
        prototype: manifest,
        options: UploadOptions::default(),
        sink: Arc::new(Silent),
        stop: CancellationToken::new(),
    };
    let uploaded = upload(request, UploadSource::Local(folder)).await.unwrap();
    writer.flush().await.unwrap();
    uploaded
}
