//! Walks a program through a crash after each of its writes and looks at what is left.

use std::sync::Arc;

use blob_core::{BlobId, DynStorage, MemoryStorage, Payload, PutOptions, Result};
use blob_testkit::FaultyStorage;

/// The program: data first, then what points to it.
async fn program(storage: DynStorage) -> Result<()> {
    for name in ["p1", "p2", "index"] {
        let id = BlobId::new(name).expect("a valid ID");
        storage.put(&id, Payload::from("x"), &PutOptions::default()).await?;
    }
    Ok(())
}

fn main() {
    blob_testkit::block_on(async {
        for writes in 0..=3 {
            let memory = MemoryStorage::new();
            let storage = FaultyStorage::over(Arc::new(memory.clone()));
            storage.kill_after_writes(writes, false);
            let ended = program(storage).await;
            let left = memory.ids();
            println!(
                "{writes} writes, then a crash: {left:?} ({})",
                match &ended {
                    Ok(()) => "the program ended well".to_owned(),
                    Err(error) => error.to_string(),
                }
            );
            let index = left.iter().any(|id| id.as_str() == "index");
            assert!(!index || left.len() == 3, "an index must never point to nothing");
        }
    });
}
