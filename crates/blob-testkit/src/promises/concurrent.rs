//! Atomic: a reader sees a blob whole or not at all, whatever the writers do at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use blob_core::ReadRange;
use bytes::Bytes;

use super::{Fresh, Must, Verdict, ensure, id, list, pattern, put, put_many, writable};

const WRITERS: usize = 4;
const ROUNDS: usize = 12;

/// One of the bodies of the test: its first byte says which, and so all the others.
fn body(n: usize) -> Bytes {
    let mut bytes = pattern(n as u64, 50_000 + 997 * n).to_vec();
    bytes[0] = n as u8;
    bytes.into()
}

pub(super) async fn a_reader_sees_no_torn_blob(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let blob = id("p-torn-0123456789abcdef0123456789abcdef");
    let bodies: Vec<_> = (0..WRITERS * ROUNDS).map(body).collect();
    put(storage, &blob, &bodies[0]).await?;
    let written = AtomicBool::new(false);
    let writers = futures::future::try_join_all((0..WRITERS).map(|writer| {
        let (blob, bodies) = (&blob, &bodies);
        async move {
            for round in 0..ROUNDS {
                put(storage, blob, &bodies[writer * ROUNDS + round]).await?;
            }
            Ok(())
        }
    }));
    let writers = async {
        let all = writers.await;
        written.store(true, Ordering::Relaxed);
        all.map(|_| ())
    };
    let readers = futures::future::try_join_all((0..3).map(|_| async {
        let mut reads = 0;
        while reads == 0 || !written.load(Ordering::Relaxed) {
            let got = storage.get(&blob, ReadRange::Full).await.must("a get during puts")?;
            let whole = got.first().is_some_and(|&n| bodies.get(usize::from(n)) == Some(&got));
            ensure!(whole, "a reader saw a torn blob of {} bytes", got.len());
            let size = storage.head(&blob).await.must("a head during puts")?.size;
            let known = bodies.iter().any(|body| body.len() as u64 == size);
            ensure!(known, "a head during puts told {size} bytes, which nobody wrote");
            let listed = list(storage, "p-torn").await?.len();
            ensure!(listed == 1, "a blob that was being replaced was listed {listed} times");
            reads += 1;
            tokio::task::yield_now().await;
        }
        Ok(())
    }));
    futures::future::try_join(writers, readers).await.map(|_| ())
}

pub(super) async fn a_list_misses_no_blob_while_others_change(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let stays: Vec<_> =
        (0..40).map(|n| (id(&format!("q{n:032x}-stays")), pattern(n, 10))).collect();
    put_many(storage, &stays).await?;
    let changes = async {
        for n in 0..60u64 {
            let passing = id(&format!("q{:032x}-passes", n * 7));
            put(storage, &passing, &pattern(n, 10)).await?;
            storage.delete(&passing).await.must("a delete during lists")?;
        }
        Ok(())
    };
    let lists = async {
        for _ in 0..12 {
            let listed = list(storage, "q").await?;
            let found = listed.iter().filter(|meta| meta.id.as_str().ends_with("-stays")).count();
            ensure!(found == 40, "a list during changes gave {found} of 40 blobs that stay");
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    futures::future::try_join(changes, lists).await.map(|_| ())
}
