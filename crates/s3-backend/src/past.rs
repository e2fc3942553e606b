//! A bucket as it was at a point in time.
//!
//! A blob is its newest version whose Last-Modified is not after that time; if that one is a delete
//! marker there is no blob. This needs a bucket with versioning, which is asked once: without it
//! what was deleted or replaced since would be missing in silence. Kopia has the same view
//! (docs/format/01 §4.7), read-only as well.
//!
//! Reading needs the version's ID. Listings tell it, so what was listed is read without a further
//! request; any other blob costs a listing of its versions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use blob_core::{BlobError, BlobId, BlobMeta, Result, Timestamp};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use rusoto_core::signature::SignedRequest;
use tokio::sync::OnceCell;

use crate::{
    errors::Op,
    list::{Entry, Token, VersionsPage},
    storage::Inner,
    time,
    wire::{Exchange, Expect, text_fields},
};

/// How many versions of blobs are remembered at most: some 20 MB.
const KNOWN_MAX: usize = 200_000;
/// How Go writes a time that was never set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A view of the past.
#[derive(Debug)]
pub(crate) struct Past {
    at: Timestamp,
    is_versioned: OnceCell<()>,
    known: Mutex<HashMap<BlobId, String>>,
}

impl Past {
    /// The view that `pointInTime` of a connection asks for.
    pub fn of(point_in_time: Option<&str>) -> Result<Option<Self>> {
        let Some(text) = point_in_time.filter(|text| *text != NEVER) else { return Ok(None) };
        let at = time::parse_rfc3339(text).ok_or_else(|| BlobError::InvalidOption {
            option: "pointInTime".into(),
            reason: format!("{text:?} is no time like 2026-01-02T03:04:05Z"),
        })?;
        let (is_versioned, known) = (OnceCell::new(), Mutex::default());
        Ok(Some(Self { at, is_versioned, known }))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<BlobId, String>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// The version that counts, of one key's versions in the order of the listing.
    fn choose(&self, versions: Vec<Entry>) -> Option<Entry> {
        let past = versions.into_iter().filter(|version| version.modified <= self.at);
        // Of versions of the same second the one that comes first in the listing is newer.
        let newest = past.reduce(|a, b| if b.modified > a.modified { b } else { a });
        newest.filter(|version| !version.deleted)
    }
}

/// Where a listing of versions is.
struct Reading {
    next: Option<Token>,
    ended: bool,
    /// The versions of the last key so far: more of them may be on the next page.
    held: Vec<Entry>,
}

impl Inner {
    /// All blobs under a prefix as they were.
    pub(crate) fn list_past<'a>(
        &'a self,
        past: &'a Past,
        prefix: &'a str,
    ) -> BoxStream<'a, Result<BlobMeta>> {
        let start = Reading { next: None, ended: false, held: Vec::new() };
        stream::try_unfold(start, move |mut reading| async move {
            if reading.ended {
                return Ok(None);
            }
            self.require_versions(past).await?;
            let entries = self.entries_past(past, prefix, &mut reading).await?;
            let versions: HashMap<_, _> = entries
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), entry.version.clone()?)))
                .collect();
            let metas = self.metas(entries)?;
            let mut known = past.known();
            for meta in &metas {
                let version = versions.get(&self.key(&meta.id));
                if let Some(version) = version.filter(|_| known.len() < KNOWN_MAX) {
                    known.insert(meta.id.clone(), version.clone());
                }
            }
            drop(known);
            Ok::<_, BlobError>(Some((stream::iter(metas).map(Ok), reading)))
        })
        .try_flatten()
        .boxed()
    }

    /// Reads a page; gives what was chosen of the keys whose versions are all known.
    async fn entries_past(
        &self,
        past: &Past,
        prefix: &str,
        reading: &mut Reading,
    ) -> Result<Vec<Entry>> {
        let VersionsPage { entries, next } =
            self.page_of_versions(prefix, reading.next.as_ref()).await?;
        if next.is_some() && next == reading.next {
            let reason = "the listing goes in a circle: a page names itself as the next";
            return Err(self.about(Op::List, None).other(reason));
        }
        (reading.ended, reading.next) = (next.is_none(), next);
        let mut all = std::mem::take(&mut reading.held);
        all.extend(entries);
        // Some services list the delete markers of a page behind its versions.
        all.sort_by(|a, b| a.key.cmp(&b.key));
        if !reading.ended
            && let Some(last) = all.last().map(|entry| entry.key.clone())
        {
            reading.held = all.split_off(all.partition_point(|entry| entry.key < last));
        }
        let mut chosen = Vec::new();
        let mut rest = all.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut versions = vec![first];
            while let Some(more) = rest.next_if(|entry| entry.key == versions[0].key) {
                versions.push(more);
            }
            chosen.extend(past.choose(versions));
        }
        Ok(chosen)
    }

    /// The version of a blob to be read; `None` = the current one, in a view of the present.
    ///
    /// # Errors
    /// [`BlobError::NotFound`]: there was no such blob.
    pub(crate) async fn version(&self, id: &BlobId) -> Result<Option<String>> {
        let Some(past) = &self.past else { return Ok(None) };
        let known = past.known().get(id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        self.require_versions(past).await?;
        let key = self.key(id);
        let (mut versions, mut next) = (Vec::new(), None);
        loop {
            let page = self.page_of_versions(id.as_str(), next.as_ref()).await?;
            let of_others = page.entries.iter().any(|entry| entry.key > key);
            versions.extend(page.entries.into_iter().filter(|entry| entry.key == key));
            if of_others || page.next.is_none() || page.next == next {
                break;
            }
            next = page.next;
        }
        let chosen = past.choose(versions).and_then(|entry| entry.version);
        let version = chosen.ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        let mut known = past.known();
        if known.len() < KNOWN_MAX {
            known.insert(id.clone(), version.clone());
        }
        Ok(Some(version))
    }

    /// No call that changes something is made in a view of the past.
    pub(crate) fn require_present(&self, op: Op) -> Result<()> {
        match self.past {
            Some(_) => Err(BlobError::ReadOnly { op: op.name() }),
            None => Ok(()),
        }
    }

    async fn require_versions(&self, past: &Past) -> Result<()> {
        past.is_versioned.get_or_try_init(|| self.check_versioning()).await.copied()
    }

    async fn check_versioning(&self) -> Result<()> {
        match self.versioning().await?.as_deref() {
            Some("Enabled") => Ok(()),
            status => Err(BlobError::InvalidOption {
                option: "pointInTime".into(),
                reason: format!(
                    "the bucket {} does not keep versions (its versioning is {}), so nothing \
                     tells how it was; connect without a point in time",
                    self.bucket(),
                    status.unwrap_or("off").to_lowercase()
                ),
            }),
        }
    }

    /// `Enabled`, `Suspended`, or `None` for a bucket that never kept versions.
    pub(crate) async fn versioning(&self) -> Result<Option<String>> {
        let exchange = Arc::new(Exchange::new(Expect::Listing));
        let region = self.wire.rusoto_region();
        let mut request = SignedRequest::new("GET", "s3", &region, &format!("/{}", self.bucket()));
        request.add_param("versioning", "");
        let body = self
            .whole_body(&exchange, request, self.about(Op::List, None))
            .await
            .map_err(|(_, error)| error)?;
        let about = self.about(Op::List, None);
        let (root, fields) = text_fields(&body).map_err(|reason| {
            about.transient(format!("the state of versioning can't be read: {reason}"))
        })?;
        match root.as_str() {
            "VersioningConfiguration" => {
                let status = fields.get("Status").map(|status| status.trim().to_owned());
                Ok(status.filter(|status| !status.is_empty()))
            }
            other => Err(about
                .transient(format!("<{other}> came where the state of versioning was asked for"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(modified: i64, name: &str, deleted: bool) -> Entry {
        let modified = Timestamp::from_secs(modified);
        Entry { modified, version: Some(name.into()), deleted, ..Entry::default() }
    }

    #[test]
    fn the_newest_version_up_to_the_time_counts() {
        let at = |secs: i64| {
            let text = time::rfc3339_secs(Timestamp::from_secs(secs));
            let past = Past::of(Some(&text)).unwrap().unwrap();
            let newest_first =
                vec![version(30, "c", false), version(20, "gone", true), version(10, "a", false)];
            past.choose(newest_first).and_then(|entry| entry.version)
        };
        let chosen = [9, 10, 19, 20, 29, 30, 99].map(at);
        let named = [None, Some("a"), Some("a"), None, None, Some("c"), Some("c")];
        assert_eq!(chosen.each_ref().map(Option::as_deref), named);
    }

    #[test]
    fn of_one_second_the_first_in_the_listing_counts() {
        let past = Past::of(Some("1970-01-01T00:01:00Z")).unwrap().unwrap();
        let deleted_at_once = vec![version(10, "gone", true), version(10, "a", false)];
        assert_eq!(past.choose(deleted_at_once), None);
        let markers_last = vec![version(10, "a", false), version(20, "gone", true)];
        assert_eq!(past.choose(markers_last), None);
    }

    #[test]
    fn gos_zero_time_is_no_time_and_nonsense_is_refused() {
        assert!(Past::of(None).unwrap().is_none() && Past::of(Some(NEVER)).unwrap().is_none());
        let error = Past::of(Some("yesterday")).unwrap_err();
        assert!(error.to_string().contains("yesterday"), "{error}");
    }
}
