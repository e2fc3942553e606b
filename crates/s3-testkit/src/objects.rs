//! The store: buckets of objects in memory, and the door by which a test looks into it.
//!
//! Bodies are [`Bytes`]: a GET hands out a reference, and only a PUT copies, from the socket into
//! one buffer. What a PUT said beside the bytes is kept as it was sent, header by header.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::classes::{ArchiveAccess, Restoring, is_archive};
use crate::clock::Clock;
use crate::text::hex;
use crate::versions::Earlier;

/// Retention and legal hold of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// `GOVERNANCE` or `COMPLIANCE`, and until when.
    pub retention: Option<(String, SystemTime)>,
    /// Whether a legal hold is on.
    pub legal_hold: bool,
}

impl ObjectLock {
    /// Whether the object may not be deleted or replaced now. `bypass` overrides `GOVERNANCE`.
    #[must_use]
    pub fn forbids_change(&self, now: SystemTime, bypass: bool) -> bool {
        let retained = self
            .retention
            .as_ref()
            .is_some_and(|(mode, until)| *until > now && !(bypass && mode == "GOVERNANCE"));
        self.legal_hold || retained
    }
}

/// An object as the server holds it.
#[derive(Debug, Clone)]
pub struct StoredObject {
    /// The content.
    pub bytes: Bytes,
    /// The ETag without quotes.
    pub etag: String,
    /// The storage class; `STANDARD` where nothing was sent.
    pub storage_class: String,
    /// When it was put or copied, by the server's clock.
    pub last_modified: SystemTime,
    /// Headers as they were sent, by lower-case name: `content-type`, `cache-control` and all of
    /// `x-amz-*` but those of signing.
    pub headers: BTreeMap<String, String>,
    /// A thaw that was asked for and whose copy is not gone yet.
    pub restore: Option<Restoring>,
    /// The archive tier of Intelligent-Tiering in which it lies.
    pub archive_access: Option<ArchiveAccess>,
    /// Retention and legal hold.
    pub lock: ObjectLock,
    /// Its ID among the versions of its key, where the bucket keeps versions.
    pub version_id: Option<String>,
}

impl StoredObject {
    /// A STANDARD object of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>, last_modified: SystemTime) -> Self {
        let bytes = bytes.into();
        Self {
            etag: hex(&<md5::Md5 as md5::Digest>::digest(&bytes)),
            bytes,
            storage_class: "STANDARD".into(),
            last_modified,
            headers: BTreeMap::new(),
            restore: None,
            archive_access: None,
            lock: ObjectLock::default(),
            version_id: None,
        }
    }

    /// Whether a GET would be answered with the content.
    #[must_use]
    pub fn is_readable(&self, now: SystemTime) -> bool {
        let thawed = self.restore.is_some_and(|thaw| !thaw.is_running(now));
        thawed || !(is_archive(&self.storage_class) || self.archive_access.is_some())
    }

    /// Brings the thaw up to date: expired copies vanish, Intelligent-Tiering moves for good.
    pub(crate) fn settle(&mut self, now: SystemTime) {
        let Some(thaw) = self.restore else { return };
        if thaw.is_over(now) {
            self.restore = None;
        } else if thaw.expiry.is_none() && !thaw.is_running(now) {
            (self.restore, self.archive_access) = (None, None);
        }
    }

    /// A header as it was sent with the PUT.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An unfinished multipart upload.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub key: String,
    /// The headers of the request that started it.
    pub headers: http::HeaderMap,
    /// Content and MD5 of each part.
    pub parts: BTreeMap<i32, (Bytes, [u8; 16])>,
}

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// The current object of each key.
    pub objects: BTreeMap<String, StoredObject>,
    /// What was there before, the newest last.
    pub earlier: BTreeMap<String, Vec<Earlier>>,
    pub is_versioned: bool,
    pub versions_made: u64,
    pub uploads: BTreeMap<String, Upload>,
    pub uploads_started: u64,
    /// The lifecycle document as it was put.
    pub lifecycle: Option<Bytes>,
    /// Is it configured so that objects of Intelligent-Tiering sink into archive tiers?
    pub has_archive_tiers: bool,
    /// Which objects its rules do not move, as the header of that PUT said.
    pub lifecycle_minimum: Option<String>,
}

/// All buckets. Cheap to clone: all clones see the same objects.
///
/// The methods speak of the bucket that the server was started with; [`Objects::in_bucket`] gives
/// the same for another.
#[derive(Debug, Clone)]
pub struct Objects {
    buckets: Arc<Mutex<BTreeMap<String, Bucket>>>,
    clock: Arc<Clock>,
    bucket: Arc<str>,
    /// Do new buckets keep versions?
    is_versioned: bool,
}

impl Objects {
    pub(crate) fn new(bucket: &str, clock: Arc<Clock>, is_versioned: bool) -> Self {
        let buckets = Arc::default();
        Self { buckets, clock, bucket: bucket.into(), is_versioned }.in_bucket(bucket)
    }

    pub(crate) fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        // A panic of another test thread leaves a usable map: each change is a single insert.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the bucket; one that was removed looks empty and stays removed.
    fn with<T>(&self, look: impl FnOnce(&mut Bucket, SystemTime) -> T) -> T {
        let now = self.clock.now();
        match self.buckets().get_mut(&*self.bucket) {
            Some(bucket) => look(bucket, now),
            None => look(&mut Bucket::default(), now),
        }
    }

    /// Changes the bucket, which is created if it does not exist.
    fn with_made<T>(&self, change: impl FnOnce(&mut Bucket, SystemTime) -> T) -> T {
        let now = self.clock.now();
        let fresh = || Bucket { is_versioned: self.is_versioned, ..Bucket::default() };
        change(self.buckets().entry(self.bucket.to_string()).or_insert_with(fresh), now)
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut StoredObject, SystemTime)) -> bool {
        self.with(|bucket, now| match bucket.objects.get_mut(key) {
            Some(object) => {
                object.settle(now);
                change(object, now);
                true
            }
            None => false,
        })
    }

    /// The same view of another bucket, which is created if it does not exist.
    #[must_use]
    pub fn in_bucket(&self, bucket: &str) -> Self {
        let other = Self { bucket: bucket.into(), ..self.clone() };
        other.with_made(|_, _| ());
        other
    }

    /// Removes the bucket and all that is in it: requests then answer `NoSuchBucket`.
    pub fn remove_bucket(&self) {
        self.buckets().remove(&*self.bucket);
    }

    /// The object of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<StoredObject> {
        self.with(|bucket, now| {
            let object = bucket.objects.get_mut(key)?;
            object.settle(now);
            Some(object.clone())
        })
    }

    /// The keys that begin with `prefix`, in order.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|bucket, _| {
            let from = bucket.objects.range(prefix.to_owned()..);
            from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect()
        })
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|bucket, _| bucket.objects.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all objects whose keys begin with `prefix`.
    #[must_use]
    pub fn total_bytes(&self, prefix: &str) -> u64 {
        self.with(|bucket, _| {
            let from = bucket.objects.range(prefix.to_owned()..);
            let ours = from.take_while(|(key, _)| key.starts_with(prefix));
            ours.map(|(_, object)| object.bytes.len() as u64).sum()
        })
    }

    /// Stores an object of class STANDARD, past the protocol and its checks.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.put_with_class(key, bytes, "STANDARD");
    }

    /// Stores an object of this class, past the protocol and its checks.
    pub fn put_with_class(&self, key: &str, bytes: impl Into<Bytes>, class: &str) {
        let bytes = bytes.into();
        self.with_made(|bucket, now| {
            let mut object = StoredObject::new(bytes, now);
            object.storage_class = class.to_owned();
            bucket.store(key, object);
        });
    }

    /// Removes an object with all its versions, locked or not; says whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.with(|bucket, _| {
            bucket.earlier.remove(key);
            bucket.objects.remove(key).is_some()
        })
    }

    /// How many versions a key has, delete markers among them.
    #[must_use]
    pub fn versions(&self, key: &str) -> usize {
        self.with(|bucket, _| bucket.versions(key).len())
    }

    /// Moves an object to another class, as a lifecycle rule does: time and ETag stay. Says
    /// whether there is such an object.
    pub fn set_class(&self, key: &str, class: &str) -> bool {
        self.change(key, |object, _| {
            object.storage_class = class.to_owned();
            (object.restore, object.archive_access) = (None, None);
        })
    }

    /// Lets an Intelligent-Tiering object sink into an archive tier, or rise from it. The bucket is
    /// one where objects may, from then on.
    pub fn set_archive_access(&self, key: &str, tier: Option<ArchiveAccess>) -> bool {
        self.with(|bucket, _| bucket.has_archive_tiers |= tier.is_some());
        self.change(key, |object, _| (object.restore, object.archive_access) = (None, tier))
    }

    /// Ends a running thaw now; its copy keeps its expiry.
    pub fn finish_restore(&self, key: &str) -> bool {
        self.change(key, |object, now| {
            if let Some(thaw) = &mut object.restore {
                thaw.ready = thaw.ready.min(now);
            }
        })
    }

    /// Makes an object older by this much.
    pub fn age(&self, key: &str, by: Duration) -> bool {
        self.change(key, |object, _| object.last_modified -= by)
    }

    /// Flips the lowest bit of the byte at `offset`; ETag and stored checksums stay as they were.
    pub fn corrupt(&self, key: &str, offset: usize) -> bool {
        self.change(key, |object, _| {
            let mut bytes = BytesMut::from(&object.bytes[..]);
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
            object.bytes = bytes.freeze();
        })
    }

    /// Cuts an object to its first `len` bytes.
    pub fn truncate(&self, key: &str, len: usize) -> bool {
        self.change(key, |object, _| object.bytes.truncate(len))
    }

    /// The lifecycle document that was put, if any.
    #[must_use]
    pub fn lifecycle(&self) -> Option<Bytes> {
        self.with(|bucket, _| bucket.lifecycle.clone())
    }

    /// The value of `x-amz-transition-default-minimum-object-size` that was put with it, if any.
    #[must_use]
    pub fn lifecycle_minimum(&self) -> Option<String> {
        self.with(|bucket, _| bucket.lifecycle_minimum.clone())
    }

    /// Sets the lifecycle document, as if it were put without that header; its rules are never run.
    pub fn set_lifecycle(&self, document: Option<Bytes>) {
        self.with_made(|bucket, _| (bucket.lifecycle, bucket.lifecycle_minimum) = (document, None));
    }

    /// Sets the value of `x-amz-transition-default-minimum-object-size`.
    pub fn set_lifecycle_minimum(&self, value: &str) {
        self.with_made(|bucket, _| bucket.lifecycle_minimum = Some(value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Tier;

    fn objects() -> Objects {
        Objects::new("b", Arc::new(Clock::default()), false)
    }

    #[test]
    fn keys_and_bytes_are_told_by_prefix() {
        let objects = objects();
        for (key, len) in [("p1", 1), ("p2", 2), ("q1", 4), ("r", 8)] {
            objects.put(key, vec![0; len]);
        }
        assert_eq!(objects.keys("p"), ["p1", "p2"]);
        assert_eq!((objects.total_bytes("p"), objects.total_bytes(""), objects.len()), (3, 15, 4));
    }

    #[test]
    fn a_bucket_is_apart_from_another() {
        let objects = objects();
        objects.put("k", "1");
        let other = objects.in_bucket("c");
        assert!(other.is_empty());
        other.put("k", "2");
        assert_eq!(objects.get("k").unwrap().bytes, "1");
        other.remove_bucket();
        assert!(other.is_empty() && other.get("k").is_none());
        assert_eq!(objects.buckets().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn corruption_changes_one_bit_and_no_etag() {
        let objects = objects();
        objects.put("k", "abc");
        let before = objects.get("k").unwrap();
        assert!(objects.corrupt("k", 1));
        let after = objects.get("k").unwrap();
        assert_eq!((&after.bytes[..], &after.etag), (&b"acc"[..], &before.etag));
        assert!(!objects.corrupt("missing", 0));
    }

    #[test]
    fn intelligent_tiering_moves_for_good_once_thawed() {
        let now = SystemTime::now();
        let mut object = StoredObject::new("x", now);
        object.archive_access = Some(ArchiveAccess::Archive);
        object.restore = Some(Restoring { tier: Tier::Bulk, days: None, ready: now, expiry: None });
        object.settle(now - Duration::from_secs(1));
        assert!(!object.is_readable(now - Duration::from_secs(1)));
        object.settle(now);
        assert!(object.is_readable(now) && object.restore.is_none());
    }
}
