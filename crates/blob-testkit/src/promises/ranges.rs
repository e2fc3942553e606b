//! Exact: a get gives exactly the bytes asked for or fails; never fewer.

use blob_core::{BlobError, ReadRange};

use super::{Fresh, Must, Verdict, fails_as, id, pattern, put, same_bytes, writable};

const SIZE: u64 = 10_000;

pub(super) async fn a_range_gives_exactly_its_bytes_or_fails(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let (blob, bytes) = (id("ranges"), pattern(7, 10_000));
    put(storage, &blob, &bytes).await?;
    let part = |offset, length| ReadRange::Bytes { offset, length };
    let exact = [
        (part(0, SIZE), 0..SIZE),
        (part(0, 1), 0..1),
        (part(SIZE - 1, 1), SIZE - 1..SIZE),
        (part(1234, 5678), 1234..6912),
        (part(1, SIZE - 1), 1..SIZE),
        (part(0, 0), 0..0),
        (part(17, 0), 0..0),
        (part(SIZE, 0), 0..0),
        (part(SIZE + 1, 0), 0..0),
        (ReadRange::Suffix(0), 0..0),
        (ReadRange::Suffix(1), SIZE - 1..SIZE),
        (ReadRange::Suffix(4321), SIZE - 4321..SIZE),
        (ReadRange::Suffix(SIZE), 0..SIZE),
        (ReadRange::Suffix(SIZE + 1), 0..SIZE),
        (ReadRange::Suffix(u64::MAX), 0..SIZE),
        (ReadRange::Full, 0..SIZE),
    ];
    for (range, expected) in exact {
        let what = format!("reading {range:?} of {SIZE} bytes");
        let got = storage.get(&blob, range).await.must(&what)?;
        let expected = &bytes[expected.start as usize..expected.end as usize];
        same_bytes(what, &got, expected)?;
    }
    let beyond = [
        part(0, SIZE + 1),
        part(SIZE - 1, 2),
        part(SIZE, 1),
        part(SIZE + 1, 1),
        part(5, u64::MAX),
        part(u64::MAX, 1),
    ];
    for range in beyond {
        let what = format!("reading {range:?} of {SIZE} bytes");
        fails_as(
            what,
            storage.get(&blob, range).await,
            "InvalidRange of this blob",
            |error| matches!(error, BlobError::InvalidRange { id, .. } if *id == blob),
        )?;
    }
    Ok(())
}
