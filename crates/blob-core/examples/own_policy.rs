//! Another policy in place of `.storageconfig`: by the kind of a blob and by its length.
//!
//! Packs of file data of 12 MiB and more go to an archive, shorter ones where reading costs
//! little, and all that a client needs for its daily work stays in the default class. The backend and
//! the application know nothing of it.
//!
//! Run it with `cargo run -p blob-core --example own_policy`; its tests run with those of the crate.

use std::sync::Arc;

use blob_core::{
    BlobId, MemoryStorage, Payload, PutAttributes, PutOptions, PutPolicy, StorageClass,
    StorageStack,
    layers::{WithPolicy, kind},
};

/// Maintenance joins packs that are shorter with others: they should not be frozen.
const LONG_BYTES: u64 = 12 << 20;

/// Archives what is long and seldom read.
#[derive(Debug)]
struct ByKindAndLength;

impl PutPolicy for ByKindAndLength {
    fn attributes(&self, id: &BlobId, length: u64) -> PutAttributes {
        let class = match (kind(id.as_str()), length) {
            ("p", LONG_BYTES..) => Some(StorageClass::DEEP_ARCHIVE),
            ("p", _) => Some(StorageClass::STANDARD_IA),
            _ => None,
        };
        PutAttributes { class, ..PutAttributes::default() }
    }
}

/// Writes one blob of each sort and gives the classes that they landed in.
async fn classes() -> Result<Vec<(String, u64, String)>, Box<dyn std::error::Error>> {
    let memory = MemoryStorage::new();
    let storage = StorageStack::over(Arc::new(memory))
        .layer(WithPolicy::new(Arc::new(ByKindAndLength)))
        .build();
    let mut all = Vec::new();
    for (name, length) in [
        ("p01", 13 << 20),
        ("p02", 4096),
        ("q03", 13 << 20),
        ("xn0_4", 100),
        ("kopia.repository", 9),
    ] {
        let id = BlobId::new(name)?;
        storage.put(&id, Payload::from(vec![0; length]), &PutOptions::default()).await?;
        let meta = storage.head(&id).await?;
        let class = meta.class.map_or_else(|| "none".to_owned(), |class| class.to_string());
        all.push((name.to_owned(), meta.size, class));
    }
    Ok(all)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, size, class) in classes().await? {
        println!("{name:<18} {size:>10} bytes  {class}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn kind_and_length_decide() {
        let classes = super::classes().await.expect("memory takes everything");
        let classes: Vec<_> = classes.iter().map(|(_, _, class)| class.as_str()).collect();
        assert_eq!(classes, ["DEEP_ARCHIVE", "STANDARD_IA", "STANDARD", "STANDARD", "STANDARD"]);
    }
}
