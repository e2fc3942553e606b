//! ListObjectsV2: prefix, delimiter, pages, URL encoding, and the state of thaws.
//!
//! A page starts where the token says, and finds its place in the ordered map; a common prefix is
//! passed in one step. So a list of a million keys costs its pages, not their square.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use crate::objects::StoredObject;
use crate::text::list_encode;

/// What a list asks for.
struct Wanted {
    prefix: String,
    delimiter: String,
    limit: usize,
    with_restore: bool,
    owner: Option<Owner>,
}

/// One page.
#[derive(Default)]
struct Page {
    contents: Vec<Object>,
    prefixes: Vec<String>,
    /// The last key or common prefix, if more follow.
    next: Option<String>,
}

impl Service {
    pub(super) fn list(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let page_size = i32::try_from(self.0.options.page_size).unwrap_or(1000);
        let max_keys = input.max_keys.unwrap_or(page_size);
        if max_keys < 0 {
            return Err(s3_error!(InvalidArgument, "Argument maxKeys must be an integer"));
        }
        let after = match &input.continuation_token {
            Some(token) => decode_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let owner = Owner { id: Some(self.0.options.owner.clone()), ..Default::default() };
        let asked = |list: &OptionalObjectAttributesList| {
            list.iter().any(|item| item.as_str().split(',').any(|a| a.trim() == "RestoreStatus"))
        };
        let wanted = Wanted {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            limit: usize::try_from(max_keys.min(page_size)).unwrap_or(0),
            with_restore: input.optional_object_attributes.as_ref().is_some_and(asked),
            owner: input.fetch_owner.unwrap_or(false).then_some(owner),
        };
        let page = self.with_bucket(&input.bucket, |bucket, now| {
            Ok(page_of(&mut bucket.objects, &wanted, &after, now))
        })?;
        Ok(S3Response::new(output_of(input, page, max_keys.min(page_size))))
    }
}

fn page_of(
    objects: &mut BTreeMap<String, StoredObject>,
    wanted: &Wanted,
    after: &str,
    now: SystemTime,
) -> Page {
    let mut page = Page::default();
    let mut at = first_bound(wanted, after);
    loop {
        let mut rest = objects.range_mut((at, Bound::Unbounded));
        // The keys until the next common prefix; behind that the range starts anew.
        let jump = loop {
            let Some((key, object)) = rest.next() else { return page };
            if !key.starts_with(&wanted.prefix) {
                return page;
            }
            if page.contents.len() + page.prefixes.len() >= wanted.limit {
                page.next = last_of(&page);
                return page;
            }
            object.settle(now);
            match common_prefix(key, wanted) {
                Some(common) => break common,
                None => page.contents.push(entry(key, object, wanted, now)),
            }
        };
        at = behind(&jump);
        page.prefixes.push(jump);
    }
}

fn first_bound(wanted: &Wanted, after: &str) -> Bound<String> {
    let ends_in_delimiter = !wanted.delimiter.is_empty() && after.ends_with(&wanted.delimiter);
    if after < wanted.prefix.as_str() {
        Bound::Included(wanted.prefix.clone())
    } else if ends_in_delimiter && after.len() > wanted.prefix.len() {
        behind(after)
    } else if after.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Excluded(after.to_owned())
    }
}

/// Behind all keys that begin with `prefix`. The last character is replaced by its successor;
/// the character behind all others has none, and then keys are passed one by one.
fn behind(prefix: &str) -> Bound<String> {
    let mut text = prefix.to_owned();
    match text.pop().and_then(|last| ((last as u32 + 1)..).find_map(char::from_u32)) {
        Some(next) => {
            text.push(next);
            Bound::Included(text)
        }
        None => Bound::Excluded(prefix.to_owned()),
    }
}

fn common_prefix(key: &str, wanted: &Wanted) -> Option<String> {
    if wanted.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(wanted.prefix.len()..)?;
    let end = rest.find(&wanted.delimiter)? + wanted.delimiter.len();
    Some(key[..wanted.prefix.len() + end].to_owned())
}

/// Keys and common prefixes are two lists of one order.
fn last_of(page: &Page) -> Option<String> {
    let key = page.contents.last().and_then(|object| object.key.clone());
    key.max(page.prefixes.last().cloned())
}

fn entry(key: &str, object: &StoredObject, wanted: &Wanted, now: SystemTime) -> Object {
    let status = object.restore.filter(|_| wanted.with_restore).map(|thaw| RestoreStatus {
        is_restore_in_progress: Some(thaw.is_running(now)),
        restore_expiry_date: thaw.expiry.filter(|_| !thaw.is_running(now)).map(Timestamp::from),
    });
    let algorithms = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
    let has = |name: &&str| object.header(&format!("x-amz-checksum-{name}")).is_some();
    let found = algorithms.into_iter().find(has);
    let named = |name: &str| vec![ChecksumAlgorithm::from(name.to_uppercase())];
    Object {
        checksum_algorithm: found.map(named),
        key: Some(key.to_owned()),
        size: i64::try_from(object.bytes.len()).ok(),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.last_modified.into()),
        storage_class: Some(ObjectStorageClass::from(object.storage_class.clone())),
        owner: wanted.owner.clone(),
        restore_status: status,
        ..Default::default()
    }
}

fn output_of(input: ListObjectsV2Input, page: Page, max_keys: i32) -> ListObjectsV2Output {
    let is_url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
    let encode = |text: String| if is_url { list_encode(&text) } else { text };
    let count = page.contents.len() + page.prefixes.len();
    let mut contents = page.contents;
    for object in &mut contents {
        object.key = object.key.take().map(encode);
    }
    let common = |prefix| CommonPrefix { prefix: Some(encode(prefix)) };
    ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encode(input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(encode),
        start_after: input.start_after.map(encode),
        encoding_type: input.encoding_type,
        continuation_token: input.continuation_token,
        max_keys: Some(max_keys),
        key_count: i32::try_from(count).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(|last| URL_SAFE_NO_PAD.encode(last)),
        common_prefixes: Some(page.prefixes.into_iter().map(common).collect()),
        contents: Some(contents),
        ..Default::default()
    }
}

fn decode_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}
