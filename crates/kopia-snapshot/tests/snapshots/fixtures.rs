//! Every repository that Kopia wrote: listed, restored, and compared with what Kopia says is in it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::tz::TimeZone;
use kopia_fixtures::Unpacked;
use kopia_format::{
    directory::{DirEntry, EntryKind},
    snapshot::SnapshotManifest,
    time::{mode_text, mode_to_unix},
};
use kopia_repo::Repository;
use kopia_snapshot::{
    manifests, policies,
    restore::{RestoreOptions, RestorePlan, RestoreReport, Silent},
    retention,
    tree::read_directory,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    reupload::uploaded_again,
    support::{Found, for_each, found, is_root, open, tree},
};

/// What can't be opened, and a word of the error that says why.
const CLOSED: [(&str, &str); 12] = [
    ("damaged-format-flipped", "wrong password, or blob kopia.repository is damaged"),
    ("damaged-format-lost", "blob kopia.repository is missing"),
    ("damaged-format-lost-v1", "blob kopia.repository is missing"),
    ("damaged-format-truncated", "blob kopia.repository is damaged"),
    ("damaged-index-extra-zero", "xn0_22222222222222222222222222222222-s00-c1"),
    ("damaged-index-flipped", "xn0_0f9884f2acd5de56a59a9e795c2a4df0-sb314249ac267d7c4147-c1"),
    ("damaged-index-truncated", "xn0_159560c5c4304a77d68ea847b71800b8-see382f118eeb7cc7147-c1"),
    ("damaged-index-zero", "xn0_46260ce21c6555957f629c782f080c87-s8acd94a252b61679147-c1"),
    ("future-format", "newer version"),
    ("required-feature", "newer version"),
    ("upgrade-locked", "owner-1"),
    ("upgrade-locked-zone", "owner-1"),
];

#[test]
fn what_kopia_refuses_to_open_is_refused_with_the_blob_and_the_reason() {
    for_each(&CLOSED, async |(name, word)| match open(&kopia_fixtures::repo(name)).await {
        Ok(_) => vec![format!("{name}: opened")],
        Err(error) if error.to_string().contains(word) => Vec::new(),
        Err(error) => vec![format!("{name}: {error}")],
    });
}

#[test]
fn every_fixture_lists_and_restores_as_kopia_says() {
    let mut names = kopia_fixtures::names();
    names.retain(|name| CLOSED.iter().all(|(closed, _)| closed != name));
    assert!(names.len() > 90, "{} fixtures", names.len());
    for_each(&names, async |name| {
        let unpacked = kopia_fixtures::repo(name);
        let complaints = match open(&unpacked).await {
            Ok(repo) => Fixture { repo, unpacked: &unpacked }.check().await,
            Err(error) => vec![format!("can't be opened: {error}")],
        };
        complaints.into_iter().map(|complaint| format!("{name}: {complaint}")).collect()
    });
}

struct Fixture<'a> {
    repo: Repository,
    unpacked: &'a Unpacked,
}

/// One difference, if there is one.
fn differs<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Option<String> {
    (is != should).then(|| format!("{what} is {is:?} and should be {should:?}"))
}

impl Fixture<'_> {
    fn expected(&self) -> &Value {
        &self.unpacked.expected
    }

    /// Paths that the damage made unreadable: those whose contents are lost.
    fn lost_objects(&self) -> Vec<String> {
        let damage = &self.expected()["damage"];
        let listed = damage["contents"].as_array().into_iter().flatten();
        let one = damage["paths"].is_array().then(|| &damage["content"]);
        let lost = listed.chain(one).map(|id| id.as_str().unwrap().to_owned());
        if damage["recoverable"].is_null() { lost.collect() } else { Vec::new() }
    }

    async fn check(&self) -> Vec<String> {
        let mut all = manifests::find(&self.repo, &[]).await.unwrap();
        all.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        if self.unpacked.name == "damaged-index-missing" {
            return self.check_without_an_index(&all).await;
        }
        let mut complaints = self.check_list(&all).await;
        let mut roots: BTreeMap<String, &SnapshotManifest> = BTreeMap::new();
        for manifest in &all {
            let Some(root) = &manifest.root_entry else { continue };
            roots.insert(root.object.to_string(), manifest);
        }
        for (id, manifest) in &roots {
            let root = manifest.root_entry.as_ref().unwrap();
            let expected = self.expected()["listings"][id].as_object().unwrap();
            complaints.extend(self.check_listing(root, expected).await);
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            complaints.extend(self.check_restore(root, expected, &target).await);
            if complaints.is_empty() && self.can_be_uploaded_again(manifest, expected) {
                complaints.extend(uploaded_again(&self.repo, manifest, &target).await);
            }
        }
        complaints
    }

    /// Is the snapshot one that its own restored tree must give again?
    fn can_be_uploaded_again(
        &self,
        manifest: &SnapshotManifest,
        expected: &serde_json::Map<String, Value>,
    ) -> bool {
        // What the object layer compressed depends on the compressor's every byte.
        let is_compressed = |entry: &Value| entry["obj"].as_str().unwrap().starts_with('Z');
        if expected.values().any(is_compressed) || (!is_root() && expected.contains_key("modes")) {
            return false;
        }
        let root = manifest.root_entry.as_ref().unwrap();
        let summary = root.summary.clone().unwrap_or_default();
        let whole = manifest.is_complete() && summary.failed == 0 && summary.ignored_errors == 0;
        whole && root.is_dir() && self.expected()["damaged"].is_null()
    }

    /// Snapshots, their manifests and retention reasons.
    async fn check_list(&self, all: &[SnapshotManifest]) -> Vec<String> {
        let mut complaints = Vec::new();
        let ids: Vec<_> = all.iter().map(|m| Value::from(m.id.as_str())).collect();
        let expected = self.expected()["snapshots"].as_array().unwrap();
        let mut wanted: Vec<_> = expected.iter().map(|one| one["id"].clone()).collect();
        wanted.sort_by_key(|id| id.as_str().unwrap().to_owned());
        complaints.extend(differs("the list of snapshots", ids, wanted));
        for listed in self.unpacked.output("snapshot-list.json").as_array().unwrap() {
            let mut listed = listed.clone();
            let reasons = listed.as_object_mut().unwrap().remove("retentionReason");
            let id = listed["id"].as_str().unwrap().to_owned();
            let Some(manifest) = all.iter().find(|m| m.id.as_str() == id) else { continue };
            let is = serde_json::to_value(manifest).unwrap();
            complaints.extend(differs(&format!("manifest {id}"), is, listed));
            let mut same_source = all.to_vec();
            same_source.retain(|m| m.source == manifest.source);
            let effective = policies::effective(&self.repo, &manifest.source).await.unwrap();
            let is = retention::reasons(&same_source, &effective.policy, &TimeZone::UTC);
            let place = same_source.iter().position(|m| m.id == manifest.id).unwrap();
            let wanted: Vec<String> = match reasons {
                Some(reasons) => serde_json::from_value(reasons).unwrap(),
                None => Vec::new(),
            };
            complaints.extend(differs(&format!("reasons of {id}"), is[place].clone(), wanted));
        }
        complaints
    }

    async fn check_listing(
        &self,
        root: &DirEntry,
        expected: &serde_json::Map<String, Value>,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut is = BTreeMap::new();
        if root.kind == EntryKind::Directory {
            let mut folders = vec![(String::new(), root.object)];
            while let Some((path, id)) = folders.pop() {
                for entry in read_directory(&self.repo, &id).await.unwrap().entries {
                    let path = format!("{path}{}", String::from_utf8_lossy(&entry.name));
                    if entry.is_dir() {
                        folders.push((format!("{path}/"), entry.object));
                    }
                    is.insert(path, entry);
                }
            }
        } else {
            is.insert(String::new(), root.clone());
        }
        let names = (is.keys().cloned().collect::<Vec<_>>(), sorted_keys(expected));
        complaints.extend(differs("the list of paths", names.0, names.1));
        for (path, entry) in &is {
            let Some(wanted) = expected.get(path) else { continue };
            let kind = match entry.kind {
                EntryKind::Directory => "dir",
                EntryKind::File => "file",
                EntryKind::Symlink => "symlink",
                EntryKind::Unknown => "unknown",
            };
            let number = |key: &str| wanted[key].as_u64().unwrap_or(0);
            let is = [
                kind.to_owned(),
                mode_text(entry.mode),
                entry.mtime.to_string(),
                entry.object.to_string(),
                entry.size.to_string(),
                entry.uid.to_string(),
                entry.gid.to_string(),
            ];
            let text = |key: &str| wanted[key].as_str().unwrap_or("0").to_owned();
            let mode = if entry.mode == 0 { "00".to_owned() } else { text("mode") };
            let should = [
                text("type"),
                mode,
                text("mtimeNs"),
                text("obj"),
                number("size").to_string(),
                number("uid").to_string(),
                number("gid").to_string(),
            ];
            complaints.extend(differs(&format!("listing of {path:?}"), is, should));
        }
        complaints
    }

    async fn restore(
        &self,
        root: &DirEntry,
        target: &Path,
        options: &RestoreOptions,
    ) -> Result<RestoreReport, kopia_snapshot::SnapshotError> {
        let plan = RestorePlan::of(&self.repo, root, Some(target), options).await?;
        plan.run(&self.repo, target, options, Arc::new(Silent), &CancellationToken::new()).await
    }

    async fn check_restore(
        &self,
        root: &DirEntry,
        expected: &serde_json::Map<String, Value>,
        target: &Path,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let lost = self.lost_objects();
        let ignore_errors = !lost.is_empty();
        let lost: BTreeMap<_, _> = expected
            .iter()
            .filter(|(_, entry)| lost.iter().any(|id| entry["obj"] == id.as_str()))
            // A file without bytes needs no content.
            .filter(|(_, entry)| entry["type"] != "file" || entry["size"].as_u64().is_some())
            .collect();
        let options = RestoreOptions { ignore_errors, ..RestoreOptions::default() };
        let report = match self.restore(root, target, &options).await {
            Ok(report) => report,
            Err(error) => return vec![format!("restoring {}: {error}", root.object)],
        };
        let mut failed: Vec<_> = report.failures.iter().map(|f| f.path.clone()).collect();
        failed.sort();
        let wanted: Vec<_> = lost.keys().map(|path| (*path).clone()).collect();
        complaints.extend(differs("what could not be restored", failed, wanted));
        let blob = self.expected()["damage"]["blob"].as_str().unwrap_or("-");
        for failure in report.failures.iter().filter(|f| f.blob.as_deref() != Some(blob)) {
            complaints.push(format!("{failure:?} does not name the blob {blob}"));
        }
        let is = if root.is_dir() {
            tree(target)
        } else {
            BTreeMap::from([(String::new(), found(target))])
        };
        let mut paths = sorted_keys(expected);
        paths.retain(|path| !lost.contains_key(path));
        complaints.extend(differs("paths", is.keys().cloned().collect::<Vec<_>>(), paths));
        for (path, is) in &is {
            let Some(wanted) = expected.get(path) else { continue };
            let wanted = restored(wanted);
            let is = Found {
                // Owners can be set by root alone, links have no mode.
                owner: if is_root() { is.owner } else { wanted.owner },
                mode: if is.kind == "symlink" { wanted.mode } else { is.mode },
                ..is.clone()
            };
            complaints.extend(differs(&format!("restored {path:?}"), is, wanted));
        }
        let is = found(target);
        complaints.extend(differs("mode of the target", is.mode, mode_to_unix(root.mode)));
        // The folder of a stream has the year 1754, which most file systems can't keep.
        if root.mtime > i64::from(i32::MIN) * 1_000_000_000 {
            complaints.extend(differs("time of the target", is.mtime, root.mtime));
        }
        complaints
    }

    /// An index blob is gone: nobody knows what was in it, but all else can be had.
    async fn check_without_an_index(&self, all: &[SnapshotManifest]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut lost = 0;
        for root in all.iter().filter_map(|m| m.root_entry.as_ref()) {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            let strict = RestoreOptions::default();
            if self.restore(root, &target, &strict).await.is_ok() {
                continue;
            }
            lost += 1;
            complaints.extend(target.exists().then(|| "a lost tree was begun".to_owned()));
            let options = RestoreOptions { ignore_errors: true, ..strict };
            match self.restore(root, &target, &options).await {
                Ok(report) if report.failures.is_empty() => {
                    complaints.push("nothing was reported as lost".into());
                }
                Ok(report) => {
                    let nameless = report.failures.iter().filter(|f| !f.error.contains("content"));
                    complaints.extend(nameless.map(|f| format!("{f:?} names no content")));
                }
                Err(error) => complaints.push(format!("in spite of ignore_errors: {error}")),
            }
        }
        complaints.extend((lost == 0).then(|| "nothing was lost".to_owned()));
        complaints
    }
}

fn sorted_keys(map: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut keys: Vec<_> = map.keys().cloned().collect();
    keys.sort();
    keys
}

/// What a restore must make of an entry of `expected.json`.
fn restored(entry: &Value) -> Found {
    let kind = match entry["type"].as_str().unwrap() {
        "file" => "file",
        "dir" => "dir",
        "symlink" => "symlink",
        other => panic!("{other} is not in any fixture"),
    };
    let mode = entry["unixMode"].as_str().or(entry["mode"].as_str()).unwrap();
    let owner = |key: &str| entry[key].as_u64().unwrap_or(0).try_into().unwrap();
    let content = match kind {
        "file" => &entry["sha256"],
        _ => &entry["target"],
    };
    Found {
        kind,
        mode: u32::from_str_radix(mode, 8).unwrap(),
        mtime: entry["mtimeNs"].as_str().unwrap().parse().unwrap(),
        size: if kind == "file" { entry["size"].as_u64().unwrap_or(0) } else { 0 },
        owner: (owner("uid"), owner("gid")),
        content: content.as_str().unwrap_or_default().to_owned(),
    }
}
