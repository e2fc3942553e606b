//! Versions: what a bucket keeps behind its current objects.
//!
//! A key has one current object or none, and below it, newest last, what was there before: objects
//! and delete markers. Putting and deleting only ever add; a version goes when it is deleted by its
//! ID. A lock protects the version it is on and nothing else, so who deletes or replaces a locked
//! object by its key alone succeeds and destroys nothing. Sources: "How S3 Versioning works",
//! "Deleting object versions from a versioning-enabled bucket" and "How Object Lock works", S3
//! User Guide.

use std::time::SystemTime;

use crate::objects::{Bucket, StoredObject};

/// What lay under a key before, or a delete marker.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    pub id: String,
    pub since: SystemTime,
    /// `None` = a delete marker.
    pub object: Option<StoredObject>,
}

/// One version of a key, as a listing tells it.
pub(crate) struct Told<'a> {
    pub id: &'a str,
    pub since: SystemTime,
    pub is_latest: bool,
    pub object: Option<&'a StoredObject>,
}

/// Why there is no object for a version ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoObject {
    /// Nothing has this ID.
    Unknown,
    /// It is a delete marker.
    Marker,
    /// It is locked.
    Locked,
}

impl Bucket {
    /// Makes an object the current one of its key. Gives its version ID, if there are versions.
    pub fn store(&mut self, key: &str, mut object: StoredObject) -> Option<String> {
        let id = self.is_versioned.then(|| self.fresh_id());
        object.version_id.clone_from(&id);
        self.push_down(key);
        self.objects.insert(key.to_owned(), object);
        id
    }

    /// Deletes by the key alone. Gives the ID of the delete marker, if there are versions.
    pub fn hide(&mut self, key: &str, now: SystemTime) -> Option<String> {
        if !self.is_versioned {
            self.objects.remove(key);
            return None;
        }
        self.push_down(key);
        let id = self.fresh_id();
        let marker = Earlier { id: id.clone(), since: now, object: None };
        self.earlier.entry(key.to_owned()).or_default().push(marker);
        Some(id)
    }

    /// Deletes one version for good; says whether it was a delete marker. What becomes the newest
    /// is the current one.
    pub fn destroy(
        &mut self,
        key: &str,
        id: &str,
        now: SystemTime,
        bypass: bool,
    ) -> Result<bool, NoObject> {
        let is_locked = |object: &StoredObject| object.lock.forbids_change(now, bypass);
        match self.objects.get(key) {
            Some(object) if object.version_id.as_deref() == Some(id) => {
                if is_locked(object) {
                    return Err(NoObject::Locked);
                }
                self.objects.remove(key);
                self.pull_up(key);
                return Ok(false);
            }
            _ => {}
        }
        let earlier = self.earlier.get_mut(key).ok_or(NoObject::Unknown)?;
        let at = earlier.iter().position(|it| it.id == id).ok_or(NoObject::Unknown)?;
        if earlier[at].object.as_ref().is_some_and(is_locked) {
            return Err(NoObject::Locked);
        }
        let gone = earlier.remove(at);
        if !self.objects.contains_key(key) {
            self.pull_up(key);
        }
        Ok(gone.object.is_none())
    }

    /// The current object of a key, or the version that is asked for.
    pub fn find(&mut self, key: &str, id: Option<&str>) -> Result<&mut StoredObject, NoObject> {
        let current = self.objects.get_mut(key);
        let Some(id) = id else { return current.ok_or(NoObject::Unknown) };
        match current {
            Some(object) if object.version_id.as_deref() == Some(id) => return Ok(object),
            _ => {}
        }
        let earlier = self.earlier.get_mut(key).into_iter().flatten();
        let found = earlier.into_iter().find(|it| it.id == id).ok_or(NoObject::Unknown)?;
        found.object.as_mut().ok_or(NoObject::Marker)
    }

    /// All versions of a key, the newest first.
    pub fn versions<'a>(&'a self, key: &str) -> Vec<Told<'a>> {
        let current = self.objects.get(key);
        let has_current = current.is_some();
        let current = current.and_then(|object| {
            let id = object.version_id.as_deref()?;
            Some(Told { id, since: object.last_modified, is_latest: true, object: Some(object) })
        });
        let earlier = self.earlier.get(key).into_iter().flatten().rev().enumerate();
        let earlier = earlier.map(|(number, it)| Told {
            id: &it.id,
            since: it.since,
            is_latest: !has_current && number == 0,
            object: it.object.as_ref(),
        });
        current.into_iter().chain(earlier).collect()
    }

    fn fresh_id(&mut self) -> String {
        self.versions_made += 1;
        format!("v{:08x}", self.versions_made)
    }

    fn push_down(&mut self, key: &str) {
        if !self.is_versioned {
            return;
        }
        if let Some(object) = self.objects.remove(key) {
            let (id, since) = (object.version_id.clone().unwrap_or_default(), object.last_modified);
            let was = Earlier { id, since, object: Some(object) };
            self.earlier.entry(key.to_owned()).or_default().push(was);
        }
    }

    fn pull_up(&mut self, key: &str) {
        let Some(earlier) = self.earlier.get_mut(key) else { return };
        if let Some(object) = earlier.pop_if(|it| it.object.is_some()).and_then(|it| it.object) {
            self.objects.insert(key.to_owned(), object);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::objects::ObjectLock;

    #[test]
    fn putting_and_deleting_by_key_only_ever_add() {
        let now = SystemTime::now();
        let mut bucket = Bucket { is_versioned: true, ..Bucket::default() };
        let until = now + Duration::from_secs(60);
        let retention = Some(("COMPLIANCE".to_owned(), until));
        let lock = ObjectLock { retention, legal_hold: false };
        let locked = StoredObject { lock, ..StoredObject::new("good", now) };
        let good = bucket.store("k", locked).unwrap();
        let bad = bucket.store("k", StoredObject::new("ransom", now)).unwrap();
        let marker = bucket.hide("k", now).unwrap();
        assert!(!bucket.objects.contains_key("k"));
        let told: Vec<_> = bucket.versions("k").iter().map(|it| (it.id, it.is_latest)).collect();
        assert_eq!(told, [(&*marker, true), (&*bad, false), (&*good, false)]);
        assert_eq!(bucket.find("k", Some(&marker)).unwrap_err(), NoObject::Marker);
        assert_eq!(bucket.destroy("k", &good, now, true).unwrap_err(), NoObject::Locked);
        assert!(bucket.destroy("k", &marker, now, false).unwrap());
        assert_eq!(bucket.find("k", None).unwrap().bytes, "ransom");
        assert!(!bucket.destroy("k", &bad, now, false).unwrap());
        assert_eq!(bucket.find("k", None).unwrap().bytes, "good");
        assert_eq!(bucket.destroy("k", "other", now, true).unwrap_err(), NoObject::Unknown);
        assert!(!bucket.destroy("k", &good, until, false).unwrap());
        assert!(bucket.versions("k").is_empty());
    }
}
