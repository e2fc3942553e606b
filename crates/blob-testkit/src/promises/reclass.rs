//! A blob that is moved to another class keeps its bytes, can be moved again, and is not moved cold.
//!
//! Only for storages with [`blob_core::BlobStorage::archive`]. Facts:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>.

use blob_core::{
    BlobError, PutAttributes, PutOptions, ReadRange, ReadState, StorageClass, ThawRequest, Tier,
};

use super::{
    Fresh, Must, Verdict, ensure, fails_as, id, list, pattern, put, read, same_bytes, skip,
    writable,
};

fn to(class: &StorageClass) -> PutAttributes {
    PutAttributes { class: Some(class.clone()), ..PutAttributes::default() }
}

pub(super) async fn a_change_of_class_keeps_the_blob_whole(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let archive = storage.archive().ok_or_else(|| skip("the storage has no archive"))?;
    let (blob, other, bytes) = (id("p-moved"), id("p-moved-not"), pattern(11, 5_000));
    put(storage, &blob, &bytes).await?;
    put(storage, &other, &pattern(12, 50)).await?;
    let (warm, deep) = (StorageClass::GLACIER_IR, StorageClass::DEEP_ARCHIVE);
    for what in ["a change of class", "the same change again"] {
        archive.reclass(&blob, &to(&warm)).await.must(what)?;
        same_bytes(what, &read(storage, &blob).await?, &bytes)?;
        let meta = storage.head(&blob).await.must("the head of a moved blob")?;
        ensure!(meta.class == Some(warm.clone()), "{what} left the class {:?}", meta.class);
        ensure!(meta.size == 5_000, "{what} left {} bytes", meta.size);
    }
    let listed = list(storage, "p-moved").await?;
    ensure!(listed.len() == 2, "{} blobs are listed, not 2", listed.len());
    let class_of = |blob| listed.iter().find(|meta| meta.id == blob).and_then(|m| m.class.clone());
    ensure!(class_of(blob.clone()) == Some(warm), "the list tells another class than the head");
    let untouched = class_of(other);
    ensure!(untouched == Some(StorageClass::STANDARD), "another blob moved to {untouched:?}");
    let nothing = archive.reclass(&id("absent"), &to(&deep)).await;
    fails_as("moving nothing", nothing, "NotFound", |error| error.is_not_found())?;
    let refusal = Some("the suite says no".to_owned());
    let refused = archive.reclass(&blob, &PutAttributes { refusal, ..to(&deep) }).await;
    fails_as("moving with a refusal", refused, "InvalidOption", |error| {
        matches!(error, BlobError::InvalidOption { .. })
    })?;

    archive.reclass(&blob, &to(&deep)).await.must("a change to an archive class")?;
    let archived =
        |error: &BlobError| matches!(error, BlobError::Archived { id, .. } if *id == blob);
    let got = storage.get(&blob, ReadRange::Full).await;
    fails_as("reading a blob moved to an archive", got, "Archived", archived)?;
    let standard = to(&StorageClass::STANDARD);
    let cold = archive.reclass(&blob, &standard).await;
    fails_as("moving a cold blob", cold, "Archived", archived)?;
    archive.reclass(&blob, &to(&deep)).await.must("moving a cold blob to where it is")?;
    archive.thaw(&blob, &ThawRequest { tier: Tier::Bulk, days: 3 }).await.must("a thaw")?;
    if !fresh.advance(super::archive::DAY * 2 + std::time::Duration::from_secs(60)) {
        return Ok(());
    }
    archive.reclass(&blob, &standard).await.must("moving a thawed blob")?;
    fresh.advance(super::archive::DAY * 10);
    same_bytes("reading it for good", &read(storage, &blob).await?, &bytes)?;
    let state = archive.read_state(&blob).await.must("the state of it")?;
    ensure!(state == ReadState::Ready, "the state of a blob moved back is {state:?}");
    let options = PutOptions { attributes: to(&deep), ..PutOptions::default() };
    storage.put(&blob, bytes.into(), &options).await.must("a put after all that")?;
    Ok(())
}
