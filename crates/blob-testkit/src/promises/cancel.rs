//! Cancel-safe: a put dropped half way leaves the blob as it was or as it should be.

use std::time::Duration;

use blob_core::{Payload, PutOptions};

use super::{Fresh, Verdict, ensure, id, list, pattern, put, read, writable};

pub(super) async fn a_cancelled_put_leaves_the_blob_old_or_new(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    for micros in [0, 1, 20, 100, 500, 2_000, 10_000] {
        let blob = id(&format!("p-cancelled-after-{micros}-microseconds"));
        let (old, new) = (pattern(1, 300_000), pattern(2, 400_000));
        put(storage, &blob, &old).await?;
        let options = PutOptions::default();
        let putting = storage.put(&blob, Payload::from(new.clone()), &options);
        // Dropped at the end of the time, wherever it was.
        _ = tokio::time::timeout(Duration::from_micros(micros), putting).await;
        for _ in 0..5 {
            let got = read(storage, &blob).await?;
            let sound = got == old || got == new;
            ensure!(sound, "after a cancelled put the blob has {} strange bytes", got.len());
            let listed = list(storage, "p-cancelled").await?;
            let times = listed.iter().filter(|meta| meta.id == blob).count();
            ensure!(times == 1, "after a cancelled put the blob is listed {times} times");
            let strange = listed.iter().find(|meta| !meta.id.as_str().ends_with("microseconds"));
            ensure!(strange.is_none(), "a cancelled put left {strange:?} in the list");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(())
}
