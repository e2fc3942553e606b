//! Cold blobs: what reading them says, and the way back.

use std::time::Duration;

use blob_core::{
    Archive, BlobError, BlobStorage, ReadRange, ReadState, StorageClass, ThawOutcome, ThawRequest,
    Tier,
};
use s3_testkit::{ArchiveAccess, Fault, Kind};

use crate::support::{id, list, server, storage};

const HOUR: Duration = Duration::from_secs(3600);
const THAW: ThawRequest = ThawRequest { tier: Tier::Bulk, days: 2 };

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_blob_is_archived_until_it_is_thawed_and_again_afterwards() {
    let server = server().await;
    server.objects().put_with_class("p1", "cold", "DEEP_ARCHIVE");
    let (storage, p1) = (storage(&server), id("p1"));
    let get = || storage.get(&p1, ReadRange::Bytes { offset: 0, length: 2 });
    let archived = |error: BlobError| match error {
        BlobError::Archived { class, state, .. } => (class.unwrap(), state),
        other => panic!("{other:?}"),
    };

    assert_eq!(archived(get().await.unwrap_err()), (StorageClass::DEEP_ARCHIVE, ReadState::Cold));
    assert_eq!(storage.read_state(&p1).await.unwrap(), ReadState::Cold);
    assert_eq!(storage.thaw(&p1, &THAW).await.unwrap(), ThawOutcome::Started);
    assert_eq!(storage.thaw(&p1, &THAW).await.unwrap(), ThawOutcome::AlreadyRunning);
    assert_eq!(storage.read_state(&p1).await.unwrap(), ReadState::Thawing);
    let thawing = (StorageClass::DEEP_ARCHIVE, ReadState::Thawing);
    assert_eq!(archived(get().await.unwrap_err()), thawing);
    let listed = list(&storage, "p").await.unwrap();
    assert_eq!(listed[0].state, Some(ReadState::Thawing));

    server.clock().advance(49 * HOUR);
    assert_eq!(get().await.unwrap(), &b"co"[..]);
    let state = storage.read_state(&p1).await.unwrap();
    assert!(matches!(state, ReadState::Thawed { until: Some(_) }), "{state:?}");
    assert_eq!(list(&storage, "p").await.unwrap()[0].state, Some(state));
    assert_eq!(storage.thaw(&p1, &THAW).await.unwrap(), ThawOutcome::Extended);

    server.clock().advance(24 * 5 * HOUR);
    assert_eq!(storage.read_state(&p1).await.unwrap(), ReadState::Cold);
    assert!(matches!(get().await, Err(BlobError::Archived { .. })));
    let class = storage.head(&p1).await.unwrap().class;
    assert_eq!(class, Some(StorageClass::DEEP_ARCHIVE), "a thaw never changes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thaw_that_cannot_be_is_told_by_its_reason() {
    let server = server().await;
    server.objects().put("hot", "x");
    server.objects().put_with_class("deep", "x", "DEEP_ARCHIVE");
    server.objects().put_with_class("glacier", "x", "GLACIER");
    let storage = storage(&server);
    let fast = ThawRequest { tier: Tier::Expedited, days: 1 };
    assert_eq!(storage.thaw(&id("hot"), &THAW).await.unwrap(), ThawOutcome::NotCold);
    let error = storage.thaw(&id("deep"), &fast).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    let error = storage.thaw(&id("nothing"), &THAW).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let never = ThawRequest { tier: Tier::Bulk, days: 0 };
    let error = storage.thaw(&id("deep"), &never).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    server.faults().push(Fault::no_expedited_capacity().on(Kind::Restore));
    let error = storage.thaw(&id("glacier"), &fast).await.unwrap_err();
    assert!(matches!(error, BlobError::TierUnavailable { .. }), "{error:?}");
    assert_eq!(error.retry(), blob_core::Retry::Never, "another tier is another price");
}

#[tokio::test(flavor = "multi_thread")]
async fn glacier_instant_retrieval_is_not_cold() {
    let server = server().await;
    server.objects().put_with_class("p1", "hot", "GLACIER_IR");
    let storage = storage(&server);
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"hot"[..]);
    assert_eq!(storage.read_state(&id("p1")).await.unwrap(), ReadState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_tier_of_intelligent_tiering_is_cold_and_comes_back_for_good() {
    let server = server().await;
    server.objects().put_with_class("p1", "tiered", "INTELLIGENT_TIERING");
    server.objects().set_archive_access("p1", Some(ArchiveAccess::Archive));
    let (storage, p1) = (storage(&server), id("p1"));
    assert_eq!(storage.read_state(&p1).await.unwrap(), ReadState::Cold);
    let error = storage.get(&p1, ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Archived { .. }), "{error:?}");
    assert_eq!(storage.thaw(&p1, &THAW).await.unwrap(), ThawOutcome::Started);
    server.clock().advance(24 * HOUR);
    assert_eq!(storage.get(&p1, ReadRange::Full).await.unwrap(), &b"tiered"[..]);
    assert_eq!(storage.thaw(&p1, &THAW).await.unwrap(), ThawOutcome::NotCold);
}
