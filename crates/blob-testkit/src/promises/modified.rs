//! A put may say when the blob was written, or is refused before it writes.

use blob_core::{BlobError, Payload, PutOptions, Timestamp};

use super::{Fresh, Must, Verdict, ensure, id, list, writable};

pub(super) async fn a_time_that_is_told_is_kept_or_refused(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let blob = id("written-long-ago");
    let told = Timestamp::from_nanos(1_500_000_000_123_456_000);
    let options = PutOptions { modified: Some(told), ..PutOptions::default() };
    match storage.put(&blob, Payload::from("x"), &options).await {
        Ok(_) => {
            let meta = storage.head(&blob).await.must("a head of a blob with a time of its own")?;
            ensure!(meta.modified == told, "a head tells {:?}, not the time told", meta.modified);
            let listed = list(storage, "written-long-ago").await?;
            let times: Vec<_> = listed.iter().map(|meta| meta.modified).collect();
            ensure!(times == [told], "a list tells {times:?}, not the time told");
        }
        Err(BlobError::InvalidOption { option, .. }) => {
            ensure!(option == PutOptions::MODIFIED, "the refusal names {option:?}");
            let listed = list(storage, "written-long-ago").await?;
            ensure!(listed.is_empty(), "a put that was refused wrote a blob");
        }
        Err(error) => ensure!(false, "a put that tells a time fails otherwise: {error}"),
    }
    Ok(())
}
