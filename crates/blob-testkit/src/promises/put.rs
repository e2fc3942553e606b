//! Read after write: what was put is what is read.

use blob_core::{Payload, PutOptions};
use bytes::Bytes;

use super::{Fresh, Must, Verdict, ensure, id, pattern, read, same_bytes, writable};

pub(super) async fn a_blob_reads_back_as_it_was_put(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    for (seed, length) in [(1, 1), (2, 15), (3, 4096), (4, 65_537), (5, 1_000_003)] {
        let bytes = pattern(seed, length);
        let mut payload = Payload::new();
        // Uneven pieces, as a pack has them: a piece of nothing, a small one, the rest.
        payload.push(Bytes::new());
        payload.push(bytes.slice(..length / 3));
        payload.push(bytes.slice(length / 3..));
        let blob = id(&format!("put-{length}"));
        let options = PutOptions { content_type: Some("text/plain"), ..PutOptions::default() };
        let receipt = storage.put(&blob, payload, &options).await.must("a put in three pieces")?;
        same_bytes(format!("reading {blob}"), &read(storage, &blob).await?, &bytes)?;
        let meta = storage.head(&blob).await.must("a head after a put")?;
        if let Some(modified) = receipt.modified {
            let apart = meta.modified.secs().abs_diff(modified.secs());
            ensure!(apart <= 1, "the receipt's time and the head's are {apart} s apart");
        }
    }
    Ok(())
}
