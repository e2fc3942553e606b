//! What a policy refuses to write is not written.

use blob_core::{BlobError, Payload, PutAttributes, PutOptions};

use super::{Fresh, Verdict, ensure, fails_as, id, list, writable};

pub(super) async fn attributes_that_are_refused_write_nothing(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let refusal = Some("not by the suite".to_owned());
    let attributes = PutAttributes { refusal, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    let put = storage.put(&id("refused"), Payload::from(&b"x"[..]), &options).await;
    fails_as(
        "a put with refused attributes",
        put,
        "InvalidOption with the reason",
        |error| matches!(error, BlobError::InvalidOption { reason, .. } if reason.contains("not by")),
    )?;
    ensure!(list(storage, "").await?.is_empty(), "a refused put wrote a blob");
    Ok(())
}
