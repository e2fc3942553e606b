//! A put that must be new fails where the blob exists, atomically.

use blob_core::BlobError;

use super::{
    Failure, Fresh, Must, Verdict, ensure, fails_as, id, pattern, put_new, read, same_bytes, skip,
    writable,
};

pub(super) async fn a_put_that_must_be_new_never_replaces(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let (blob, first) = (id("new-or-nothing"), pattern(1, 1000));
    match put_new(storage, &blob, &first).await {
        Err(BlobError::Unsupported { .. }) => return Err(skip("the storage has no such put")),
        other => other.must("a put of a new blob that must be new")?,
    };
    for second in [pattern(2, 1000), pattern(3, 1), first.clone()] {
        let again = put_new(storage, &blob, &second).await;
        fails_as(
            "a put of an existing blob that must be new",
            again,
            "AlreadyExists",
            |error| matches!(error, BlobError::AlreadyExists { id } if *id == blob),
        )?;
    }
    same_bytes("reading the first of them", &read(storage, &blob).await?, &first)?;
    storage.delete(&blob).await.must("a delete")?;
    put_new(storage, &blob, &first).await.must("a put that must be new, after a delete")?;
    Ok(())
}

pub(super) async fn of_many_puts_that_must_be_new_one_wins(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    for round in 0..8 {
        let blob = id(&format!("race-number-{round}-for-a-blob"));
        let bodies: Vec<_> = (0..16).map(|n| pattern(n + 1, 100 + n as usize)).collect();
        let puts = bodies.iter().map(|bytes| put_new(storage, &blob, bytes));
        let results = futures::future::join_all(puts).await;
        let mut winners = Vec::new();
        for (bytes, result) in bodies.iter().zip(results) {
            match result {
                Ok(_) => winners.push(bytes),
                Err(BlobError::AlreadyExists { .. }) => {}
                Err(BlobError::Unsupported { .. }) => {
                    return Err(skip("the storage has no such put"));
                }
                Err(error) => {
                    return Err(Failure::Broken(format!("a put that lost the race: {error:?}")));
                }
            }
        }
        ensure!(winners.len() == 1, "{} puts that must be new were Ok at once", winners.len());
        same_bytes("reading the winner", &read(storage, &blob).await?, winners[0])?;
    }
    Ok(())
}
