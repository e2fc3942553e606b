//! From what a user types to an entry of a snapshot.
//!
//! A root is a snapshot manifest ID, an object ID, `latest`, or a source, each with a path behind
//! it (docs/guide/restoring.md). An object that is the root of a snapshot has that snapshot's
//! attributes; any other object gets made-up ones, as in Kopia.

use kopia_format::{
    ManifestId, ObjectId,
    directory::{DirEntry, EntryKind},
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::Repository;

use crate::{
    error::{Result, SnapshotError},
    manifests,
    tree::{descend, made_up_entry},
};

/// The fewest digits that may stand for an ID.
const ABBREVIATION_MIN: usize = 8;

/// Which of several snapshots of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The newest, or the n-th before it.
    Latest(usize),
    /// The oldest.
    Oldest,
    /// The newest that began before this time.
    Before(GoTime),
}

/// An entry of a snapshot, found by what a user typed.
#[derive(Debug, Clone)]
pub struct Root {
    /// The entry.
    pub entry: DirEntry,
    /// The snapshot it was found in; `None` for a bare object.
    pub manifest: Option<SnapshotManifest>,
    /// The path below the snapshot's root; empty for the root itself.
    pub path: String,
}

/// How roots are looked up.
#[derive(Debug, Clone)]
pub struct Lookup<'a> {
    /// The connection's user, for sources without one.
    pub username: &'a str,
    /// The connection's host.
    pub hostname: &'a str,
    /// The current folder, for relative paths.
    pub folder: &'a str,
    /// Which snapshot of a source.
    pub pick: Pick,
    /// Fail when an object is the root of snapshots that differ in its attributes.
    pub consistent_attributes: bool,
}

impl Lookup<'_> {
    /// Finds what `text` means: `ID`, `ID/path`, `latest`, `latest~2`, `/source/path`,
    /// `user@host:/path`,
    /// `/source@latest~1`.
    ///
    /// # Errors
    /// [`SnapshotError::NotInSnapshot`] when there is no such snapshot or path,
    /// [`SnapshotError::Invalid`] when the text is ambiguous.
    pub async fn find(&self, repo: &Repository, text: &str) -> Result<Root> {
        if text.is_empty() {
            return Err(SnapshotError::Invalid("no snapshot is named".to_owned()));
        }
        let (first, path) = text.split_once('/').unwrap_or((text, ""));
        if let Some(back) = latest(first) {
            let manifest = self.newest_of_own_sources(repo, back).await?;
            return below(repo, manifest, path).await;
        }
        if !first.is_empty()
            && !first.contains(['@', ':'])
            && let Some(root) = self.by_id(repo, first, path).await?
        {
            return Ok(root);
        }
        self.by_source(repo, text).await
    }

    /// By a manifest ID, an object ID, or the first digits of one.
    async fn by_id(&self, repo: &Repository, id: &str, path: &str) -> Result<Option<Root>> {
        if let Some(manifest) = manifests::get(repo, &ManifestId::new(id)).await? {
            return below(repo, manifest, path).await.map(Some);
        }
        let object = id.parse::<ObjectId>().ok().filter(|o| !o.content_id().hash().is_empty());
        if let Some(object) = object {
            let snapshots = manifests::with_root(repo, &object).await?;
            if let Some(manifest) = self.agreed(&snapshots, path)? {
                return below(repo, manifest, path).await.map(Some);
            }
            if repo.content_entry(&object.content_id()).await?.is_some() {
                let mut start = made_up_entry(object);
                if start.kind == EntryKind::File {
                    // No directory tells its length, so its own contents have to.
                    start.size = length_of(repo, &object).await?;
                }
                let entry = descend(repo, start, path).await?;
                return Ok(Some(Root { entry, manifest: None, path: path.to_owned() }));
            }
        }
        match abbreviated(repo, id).await?.pop() {
            Some(manifest) => below(repo, manifest, path).await.map(Some),
            None => Ok(None),
        }
    }

    /// The snapshot whose attributes the root gets, of those that have it: the newest.
    fn agreed(&self, all: &[SnapshotManifest], path: &str) -> Result<Option<SnapshotManifest>> {
        let differ = all.windows(2).any(|pair| pair[0].root_entry != pair[1].root_entry);
        if differ && self.consistent_attributes && path.is_empty() {
            let ids: Vec<_> = all.iter().map(|m| m.id.as_str()).collect();
            return Err(SnapshotError::Invalid(format!(
                "the object is the root of snapshots with different attributes: {}",
                ids.join(", ")
            )));
        }
        Ok(all.last().cloned())
    }

    async fn newest_of_own_sources(
        &self,
        repo: &Repository,
        back: usize,
    ) -> Result<SnapshotManifest> {
        let labels = [("hostname", self.hostname), ("username", self.username)];
        let mut all = manifests::find(repo, &labels).await?;
        all.retain(|m| m.incomplete.is_empty());
        let mut sources: Vec<_> = all.iter().map(|m| m.source.to_string()).collect();
        sources.sort();
        sources.dedup();
        if sources.len() > 1 {
            return Err(SnapshotError::Invalid(format!(
                "latest is ambiguous: there are snapshots of {}; say SOURCE@latest",
                sources.join(", ")
            )));
        }
        let nth = all.len().checked_sub(back + 1);
        nth.map(|at| all.swap_remove(at)).ok_or_else(|| SnapshotError::NotInSnapshot {
            path: format!("latest~{back}"),
            root: format!("the snapshots of {}@{}", self.username, self.hostname),
        })
    }

    /// By a source or a path below one: the snapshot picked among those that have the path.
    async fn by_source(&self, repo: &Repository, text: &str) -> Result<Root> {
        let (text, pick) = match text.rsplit_once('@').map(|(head, tail)| (head, latest(tail))) {
            Some((head, Some(back))) if !head.is_empty() => (head, Pick::Latest(back)),
            _ => (text, self.pick),
        };
        let wanted = Source::parse(text, self.hostname, self.username, self.folder)
            .map_err(|source| SnapshotError::Format { what: text.to_owned(), source })?;
        if wanted.path.is_empty() {
            return Err(SnapshotError::Invalid(format!("the source {wanted} has no path")));
        }
        let mut candidates = candidates(repo, &wanted).await?;
        match pick {
            Pick::Latest(_) => {}
            Pick::Oldest => candidates.reverse(),
            Pick::Before(time) => candidates.retain(|(manifest, _)| manifest.start_time < time),
        }
        let mut to_pass = if let Pick::Latest(back) = pick { back } else { 0 };
        for (manifest, rest) in candidates {
            // A snapshot that can't be read is an error: an older one would not be what was asked
            // for.
            match below(repo, manifest, &rest).await {
                Ok(root) if to_pass == 0 => return Ok(root),
                Ok(_) => to_pass -= 1,
                Err(SnapshotError::NotInSnapshot { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let root = format!("any snapshot of {}@{} that fits", wanted.user_name, wanted.host);
        Err(SnapshotError::NotInSnapshot { path: wanted.path, root })
    }
}

/// The complete snapshots of `wanted` and of the folders above it, the newest first, each with the
/// way from its root.
async fn candidates(repo: &Repository, wanted: &Source) -> Result<Vec<(SnapshotManifest, String)>> {
    let mut found = Vec::new();
    let mut path = wanted.path.as_str();
    loop {
        let source = Source { path: path.to_owned(), ..wanted.clone() };
        let all = manifests::of_source(repo, &source).await?;
        let rest = wanted.path[path.len()..].trim_start_matches('/');
        let complete = all.into_iter().filter(|manifest| manifest.incomplete.is_empty());
        found.extend(complete.map(|manifest| (manifest, rest.to_owned())));
        match path.rfind('/') {
            Some(0) if path.len() > 1 => path = "/",
            Some(at) if at > 0 => path = &path[..at],
            _ => break,
        }
    }
    found.sort_by_key(|(manifest, _)| std::cmp::Reverse(manifest.start_time));
    Ok(found)
}

/// Does `text` name one of the newest snapshots: `latest`, `latest~2`, `SOURCE@latest`?
#[must_use]
pub fn is_latest(text: &str) -> bool {
    latest(text).or_else(|| latest(text.rsplit_once('@')?.1)).is_some()
}

/// `latest` and `latest~N`, as a number of snapshots to go back.
fn latest(text: &str) -> Option<usize> {
    match text.strip_prefix("latest")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

async fn below(repo: &Repository, manifest: SnapshotManifest, path: &str) -> Result<Root> {
    let root = manifest
        .root_entry
        .clone()
        .ok_or_else(|| SnapshotError::Invalid(format!("snapshot {} has no root", manifest.id)))?;
    let entry = descend(repo, root, path).await?;
    Ok(Root { entry, manifest: Some(manifest), path: path.to_owned() })
}

/// The length of an object in bytes; read only where no index tells it.
async fn length_of(repo: &Repository, object: &ObjectId) -> Result<u64> {
    match repo.object_contents(object).await?.length() {
        Some(length) => Ok(length),
        None => Ok(repo.open_object(object).await?.len()),
    }
}

/// Could `text` be the first digits of an ID, with or without the letter of an object before them?
#[must_use]
pub fn is_abbreviation(text: &str) -> bool {
    let digits = text.strip_prefix('I').unwrap_or(text);
    let digits = digits.strip_prefix(|c: char| ('g'..='z').contains(&c)).unwrap_or(digits);
    digits.len() >= ABBREVIATION_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The snapshots whose manifest ID or root object begins with `digits`, of which eight are needed:
/// one by its manifest ID, or all that have this root, oldest first. None if there is none.
///
/// # Errors
/// [`SnapshotError::Invalid`] when these digits begin several IDs, which it lists; what reading
/// manifests may give.
pub async fn abbreviated(repo: &Repository, digits: &str) -> Result<Vec<SnapshotManifest>> {
    if !is_abbreviation(digits) {
        return Ok(Vec::new());
    }
    begun_by(digits, manifests::find(repo, &[]).await?)
}

/// Those of `all` that `digits` name.
fn begun_by(digits: &str, all: Vec<SnapshotManifest>) -> Result<Vec<SnapshotManifest>> {
    let root = |m: &SnapshotManifest| {
        let root = m.root_object().map(|root| root.to_string());
        root.filter(|root| root.starts_with(digits))
    };
    let mut candidates: Vec<String> = Vec::new();
    for manifest in &all {
        if manifest.id.as_str().starts_with(digits) {
            candidates.push(format!("snapshot {} of {}", manifest.id, manifest.source));
        }
        candidates.extend(root(manifest).map(|root| format!("root {root}")));
    }
    candidates.sort();
    candidates.dedup();
    if candidates.len() > 1 {
        let all = candidates.join(", ");
        return Err(SnapshotError::Invalid(format!("{digits} is ambiguous: it begins {all}")));
    }
    let fits = |m: &SnapshotManifest| m.id.as_str().starts_with(digits) || root(m).is_some();
    Ok(all.into_iter().filter(fits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_may_stand_for_an_id() {
        for text in ["00112233", "k0011223344", "Ix00112233", "001122334"] {
            assert!(is_abbreviation(text), "{text}");
        }
        for text in ["0011223", "k0011223", "0011223g", "kk00112233", "", "k"] {
            assert!(!is_abbreviation(text), "{text}");
        }
    }

    #[test]
    fn digits_that_begin_several_ids_are_ambiguous() {
        let snapshot = |id: &str, root: &str| SnapshotManifest {
            id: ManifestId::new(id),
            source: Source::new("h", "u", "/s"),
            root_entry: Some(made_up_entry(root.parse().unwrap())),
            ..SnapshotManifest::default()
        };
        let (one, two) = ("k11111111aaaaaaaaaaaaaaaaaaaaaaaa", "k11111111bbbbbbbbbbbbbbbbbbbbbbbb");
        let all = vec![
            snapshot("22222222aaaaaaaa", one),
            snapshot("22222222bbbbbbbb", one),
            snapshot("33333333aaaaaaaa", two),
        ];
        let ids = |digits: &str| -> Vec<String> {
            let found = begun_by(digits, all.clone()).unwrap();
            found.iter().map(|it| it.id.to_string()).collect()
        };
        assert_eq!(ids("33333333"), ["33333333aaaaaaaa"]);
        assert_eq!(ids("22222222b"), ["22222222bbbbbbbb"]);
        assert_eq!(ids("k11111111a"), ["22222222aaaaaaaa", "22222222bbbbbbbb"], "one root of two");
        assert!(ids("44444444").is_empty());
        let error = |digits: &str| begun_by(digits, all.clone()).unwrap_err().to_string();
        let wanted = "22222222 is ambiguous: it begins snapshot 22222222aaaaaaaa of u@h:/s, \
                      snapshot 22222222bbbbbbbb of u@h:/s";
        assert_eq!(error("22222222"), wanted);
        let wanted = format!("k11111111 is ambiguous: it begins root {one}, root {two}");
        assert_eq!(error("k11111111"), wanted);
    }

    #[test]
    fn latest_counts_backwards() {
        assert_eq!([latest("latest"), latest("latest~3")], [Some(0), Some(3)]);
        assert_eq!([latest("latest~x"), latest("later"), latest("latestx")], [None; 3]);
    }
}
