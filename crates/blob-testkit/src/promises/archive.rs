//! A blob of an archive class is unreadable until it is thawed, and everybody says so by type.
//!
//! Only for storages with [`blob_core::BlobStorage::archive`]. Facts:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html>.

use std::time::Duration;

use blob_core::{
    Archive, BlobError, BlobId, DynStorage, Payload, PutAttributes, PutOptions, ReadRange,
    ReadState, StorageClass, ThawOutcome, ThawRequest, Tier,
};

use super::{
    Failure, Fresh, Must, Verdict, ensure, fails_as, id, list, pattern, put, read, same_bytes,
    skip, writable,
};

const BULK: ThawRequest = ThawRequest { tier: Tier::Bulk, days: 2 };
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The storage's archive, and a cold blob in it for each archive class.
async fn cold(fresh: &Fresh) -> Result<(&DynStorage, &dyn Archive, [BlobId; 2]), Failure> {
    let storage = writable(fresh)?;
    let archive = storage.archive().ok_or_else(|| skip("the storage has no archive"))?;
    let blobs = [id("p-glacier-0123456789abcdef"), id("p-deep-0123456789abcdef")];
    let classes = [StorageClass::GLACIER, StorageClass::DEEP_ARCHIVE];
    for (blob, class) in blobs.iter().zip(classes) {
        let attributes = PutAttributes { class: Some(class), ..PutAttributes::default() };
        let options = PutOptions { attributes, ..PutOptions::default() };
        let payload = Payload::from(pattern(9, 500));
        storage.put(blob, payload, &options).await.must("a put into an archive class")?;
    }
    Ok((storage, archive, blobs))
}

fn archived(blob: &BlobId, wanted: ReadState) -> impl Fn(&BlobError) -> bool {
    move |error| matches!(error, BlobError::Archived { id, state, .. } if (id, state) == (blob, &wanted))
}

pub(super) async fn an_archived_blob_is_unreadable_and_says_so(fresh: &Fresh) -> Verdict {
    let (storage, archive, blobs) = cold(fresh).await?;
    for blob in &blobs {
        let part = ReadRange::Bytes { offset: 1, length: 2 };
        for range in [ReadRange::Full, part, ReadRange::Suffix(7)] {
            let got = storage.get(blob, range).await;
            let what = format!("reading {range:?} of an archived blob");
            fails_as(what, got, "Archived and cold", archived(blob, ReadState::Cold))?;
        }
        let meta = storage.head(blob).await.must("the head of an archived blob")?;
        ensure!(meta.size == 500, "the head of an archived blob tells {} bytes", meta.size);
        ensure!(meta.is_cold(), "the head of an archived blob does not tell that it is cold");
        let state = archive.read_state(blob).await.must("asking for the state")?;
        ensure!(state == ReadState::Cold, "the state of an archived blob is {state:?}");
        let listed = list(storage, blob.as_str()).await?;
        ensure!(listed.len() == 1, "an archived blob is listed {} times", listed.len());
        ensure!(listed[0].is_cold(), "the list does not tell that an archived blob is cold");
        ensure!(listed[0].class == meta.class, "list and head tell different classes");
    }
    let [glacier, deep] = &blobs;
    put(storage, glacier, &pattern(10, 20)).await?;
    let warm = read(storage, glacier).await?;
    same_bytes("an archived blob put anew in the default class", &warm, &pattern(10, 20))?;
    storage.delete(deep).await.must("the delete of an archived blob")?;
    fails_as("the head of it afterwards", storage.head(deep).await, "NotFound", |error| {
        error.is_not_found()
    })
}

pub(super) async fn a_thaw_is_idempotent_and_typed(fresh: &Fresh) -> Verdict {
    let (storage, archive, [glacier, deep]) = cold(fresh).await?;
    let (warm, absent) = (id("warm"), id("absent"));
    put(storage, &warm, &pattern(1, 5)).await?;
    let outcome = archive.thaw(&warm, &BULK).await.must("the thaw of a warm blob")?;
    ensure!(outcome == ThawOutcome::NotCold, "the thaw of a warm blob gives {outcome:?}");
    let state = archive.read_state(&warm).await.must("the state of a warm blob")?;
    ensure!(state == ReadState::Ready, "the state of a warm blob is {state:?}");
    let missing = |error: &BlobError| error.is_not_found();
    fails_as("the thaw of nothing", archive.thaw(&absent, &BULK).await, "NotFound", missing)?;
    fails_as("the state of nothing", archive.read_state(&absent).await, "NotFound", missing)?;
    let fast = ThawRequest { tier: Tier::Expedited, days: 1 };
    let refused = archive.thaw(&deep, &fast).await;
    fails_as("an expedited thaw from DEEP_ARCHIVE", refused, "InvalidOption", |error| {
        matches!(error, BlobError::InvalidOption { .. })
    })?;
    for blob in [&glacier, &deep] {
        let first = archive.thaw(blob, &BULK).await.must("a thaw")?;
        ensure!(first == ThawOutcome::Started, "the first thaw of a cold blob gives {first:?}");
        let second = archive.thaw(blob, &BULK).await.must("a second thaw")?;
        ensure!(second == ThawOutcome::AlreadyRunning, "a second thaw gives {second:?}");
        let state = archive.read_state(blob).await.must("the state during a thaw")?;
        ensure!(state == ReadState::Thawing, "the state during a thaw is {state:?}");
        let got = storage.get(blob, ReadRange::Full).await;
        let is = archived(blob, ReadState::Thawing);
        fails_as("reading during a thaw", got, "Archived and thawing", is)?;
        let class = storage.head(blob).await.must("a head during a thaw")?.class;
        ensure!(class.is_some_and(|c| c.is_archive()), "a thaw changed the blob's class");
    }
    Ok(())
}

pub(super) async fn a_thaw_ends_and_its_copy_goes_away(fresh: &Fresh) -> Verdict {
    let (storage, archive, [glacier, deep]) = cold(fresh).await?;
    for blob in [&glacier, &deep] {
        archive.thaw(blob, &BULK).await.must("a thaw")?;
    }
    // The slowest tier takes two days; a storage may round the end of a copy up to a midnight.
    if !fresh.advance(2 * DAY + Duration::from_secs(60)) {
        return Err(skip("the storage's clock can't be moved"));
    }
    for blob in [&deep] {
        same_bytes("reading a thawed blob", &read(storage, blob).await?, &pattern(9, 500))?;
        let state = archive.read_state(blob).await.must("the state of a thawed blob")?;
        let thawed = matches!(state, ReadState::Thawed { .. });
        ensure!(thawed, "the state of a thawed blob is {state:?}");
        let meta = storage.head(blob).await.must("the head of a thawed blob")?;
        ensure!(!meta.is_cold(), "the head of a thawed blob tells that it is cold");
        let longer = ThawRequest { tier: Tier::Bulk, days: 5 };
        let again = archive.thaw(blob, &longer).await.must("the thaw of a thawed blob")?;
        ensure!(again == ThawOutcome::Extended, "the thaw of a thawed blob gives {again:?}");
        fresh.advance(4 * DAY);
        same_bytes("reading an extended copy", &read(storage, blob).await?, &pattern(9, 500))?;
    }
    fresh.advance(10 * DAY);
    for blob in [&glacier, &deep] {
        let got = storage.get(blob, ReadRange::Full).await;
        let is = archived(blob, ReadState::Cold);
        fails_as("reading after the copy's end", got, "Archived and cold", is)?;
        let outcome = archive.thaw(blob, &BULK).await.must("a thaw after the copy's end")?;
        ensure!(outcome == ThawOutcome::Started, "a thaw after the copy's end gives {outcome:?}");
    }
    Ok(())
}
