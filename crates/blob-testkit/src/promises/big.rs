//! A blob of the size of Kopia's biggest packs, and a bit.

use blob_core::{Payload, PutOptions, ReadRange};

use super::{Fresh, Must, Verdict, ensure, id, pattern, read, same_bytes, writable};

const MIB: usize = 1 << 20;

pub(super) async fn a_blob_of_21_mib_is_kept_whole(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let bytes = pattern(21, 21 * MIB);
    let mut payload = Payload::new();
    for start in (0..bytes.len()).step_by(3 * MIB + 1) {
        payload.push(bytes.slice(start..bytes.len().min(start + 3 * MIB + 1)));
    }
    let blob = id("p-big-0123456789abcdef0123456789abcdef");
    storage.put(&blob, payload, &PutOptions::default()).await.must("a put of 21 MiB")?;
    same_bytes("reading 21 MiB", &read(storage, &blob).await?, &bytes)?;
    for (offset, length) in [(0, 5 * MIB), (7 * MIB - 3, 9 * MIB + 5), (21 * MIB - 1, 1)] {
        let range = ReadRange::Bytes { offset: offset as u64, length: length as u64 };
        let got = storage.get(&blob, range).await.must("a range of 21 MiB")?;
        same_bytes(format!("{range} of 21 MiB"), &got, &bytes[offset..offset + length])?;
    }
    let tail = storage.get(&blob, ReadRange::Suffix(1000)).await.must("the end of 21 MiB")?;
    same_bytes("the end of 21 MiB", &tail, &bytes[21 * MIB - 1000..])?;
    let size = storage.head(&blob).await.must("the head of 21 MiB")?.size;
    ensure!(size == bytes.len() as u64, "the head tells {size} bytes of 21 MiB");
    Ok(())
}
