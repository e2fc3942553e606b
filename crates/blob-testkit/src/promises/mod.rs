//! What a storage promises, one file per promise.
//!
//! The words are those of [`blob_core::BlobStorage`]; each check needs an empty storage and nothing
//! but the trait.

mod archive;
mod attributes;
mod big;
mod cancel;
mod concurrent;
mod delete;
mod empty;
mod head;
mod if_absent;
mod info;
mod list;
mod modified;
mod not_found;
mod odd_ids;
mod overwrite;
mod put;
mod ranges;
mod read_only;
mod reclass;
mod retain;
mod volume;

use std::fmt::{Debug, Display};

use blob_core::{
    BlobError, BlobId, BlobMeta, DynStorage, Payload, PutOptions, PutReceipt, ReadRange, Result,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::LocalBoxFuture};

use crate::Fresh;

/// Why a promise was not found kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It does not concern the storage.
    Skipped(String),
    /// The storage broke it.
    Broken(String),
}

/// How a check ends.
pub type Verdict = Result<(), Failure>;

/// One promise.
#[derive(Clone, Copy)]
pub struct Promise {
    /// Its name: a sentence with underscores.
    pub name: &'static str,
    /// Checks it on a storage without blobs.
    pub check: for<'a> fn(&'a Fresh) -> LocalBoxFuture<'a, Verdict>,
}

macro_rules! promises {
    ($($file:ident::$name:ident),* $(,)?) => {
        /// The suite.
        pub const ALL: &[Promise] = &[$(Promise {
            name: stringify!($name),
            check: |fresh| Box::pin($file::$name(fresh)),
        }),*];
    };
}

promises! {
    info::it_says_what_it_is,
    read_only::a_read_only_storage_refuses_every_change,
    put::a_blob_reads_back_as_it_was_put,
    ranges::a_range_gives_exactly_its_bytes_or_fails,
    head::a_head_tells_what_was_put,
    list::a_list_gives_every_blob_once,
    list::a_prefix_is_any_beginning_of_an_id,
    overwrite::a_put_replaces_the_blob_whole,
    modified::a_time_that_is_told_is_kept_or_refused,
    if_absent::a_put_that_must_be_new_never_replaces,
    if_absent::of_many_puts_that_must_be_new_one_wins,
    delete::a_deleted_blob_is_gone_and_deleting_again_is_fine,
    not_found::an_absent_blob_is_not_found_by_type,
    empty::a_blob_may_have_no_bytes,
    odd_ids::every_valid_id_names_its_own_blob,
    big::a_blob_of_21_mib_is_kept_whole,
    concurrent::a_reader_sees_no_torn_blob,
    concurrent::a_list_misses_no_blob_while_others_change,
    cancel::a_cancelled_put_leaves_the_blob_old_or_new,
    attributes::attributes_that_are_refused_write_nothing,
    archive::an_archived_blob_is_unreadable_and_says_so,
    archive::a_thaw_is_idempotent_and_typed,
    archive::a_thaw_ends_and_its_copy_goes_away,
    reclass::a_change_of_class_keeps_the_blob_whole,
    retain::a_lock_is_extended_and_never_shortened,
    volume::a_disk_tells_its_size,
}

/// Fails with a sentence unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)*) => {
        if !$condition {
            return Err($crate::promises::Failure::Broken(format!($($sentence)*)));
        }
    };
}
use ensure;

/// The promise does not concern this storage.
fn skip(why: &str) -> Failure {
    Failure::Skipped(why.to_owned())
}

/// A storage that takes writes, or the reason why this promise can't be checked.
fn writable(fresh: &Fresh) -> Result<&DynStorage, Failure> {
    let storage = fresh.storage();
    if storage.info().read_only {
        return Err(skip("the storage is read-only"));
    }
    Ok(storage)
}

fn id(text: &str) -> BlobId {
    BlobId::new(text).expect("the suite's IDs are valid")
}

/// Bytes that differ everywhere, so that a shifted range shows.
fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// A call that has to succeed.
trait Must<T> {
    fn must(self, what: impl Display) -> Result<T, Failure>;
}

impl<T> Must<T> for Result<T> {
    fn must(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::Broken(format!("{what} failed: {error}")))
    }
}

async fn put(storage: &DynStorage, id: &BlobId, bytes: &Bytes) -> Result<PutReceipt, Failure> {
    let payload = Payload::from(bytes.clone());
    storage.put(id, payload, &PutOptions::default()).await.must(format!("the put of {id}"))
}

async fn put_new(storage: &DynStorage, id: &BlobId, bytes: &Bytes) -> Result<PutReceipt> {
    let options = PutOptions { if_absent: true, ..PutOptions::default() };
    storage.put(id, Payload::from(bytes.clone()), &options).await
}

async fn read(storage: &DynStorage, id: &BlobId) -> Result<Bytes, Failure> {
    storage.get(id, ReadRange::Full).await.must(format!("reading {id}"))
}

async fn list(storage: &DynStorage, prefix: &str) -> Result<Vec<BlobMeta>, Failure> {
    storage.list(prefix).try_collect().await.must(format!("the list of {prefix:?}"))
}

/// Puts many blobs, several at once.
async fn put_many(storage: &DynStorage, blobs: &[(BlobId, Bytes)]) -> Verdict {
    let puts = futures::stream::iter(blobs).map(|(id, bytes)| put(storage, id, bytes));
    puts.buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await
}

fn same_bytes(what: impl Display, got: &[u8], expected: &[u8]) -> Verdict {
    ensure!(
        got.len() == expected.len(),
        "{what} gave {} bytes instead of {}",
        got.len(),
        expected.len()
    );
    if got == expected {
        return Ok(());
    }
    let wrong = got.iter().zip(expected).position(|(a, b)| a != b);
    Err(Failure::Broken(format!("{what} gave other bytes, the first at {}", wrong.unwrap_or(0))))
}

/// The result must be an error of the kind that `is` knows.
fn fails_as<T: Debug>(
    what: impl Display,
    result: Result<T>,
    kind: &str,
    is: impl Fn(&BlobError) -> bool,
) -> Verdict {
    match result {
        Ok(value) => {
            let mut shown = format!("{value:?}");
            if shown.len() > 80 {
                shown = shown.chars().take(80).chain(['…']).collect();
            }
            Err(Failure::Broken(format!("{what} should fail as {kind}, it gave {shown}")))
        }
        Err(error) if is(&error) => Ok(()),
        Err(error) => {
            Err(Failure::Broken(format!("{what} should fail as {kind}, it failed with: {error:?}")))
        }
    }
}
