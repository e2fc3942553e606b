//! Lists the blobs of a folder (`cargo run -p fs-backend --example folder /path/to/repo`); without a
//! path, makes a folder and puts some blobs into it first.

use blob_core::{BlobId, BlobStorage, Payload, PutOptions};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use futures::TryStreamExt;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let storage = match std::env::args_os().nth(1) {
        Some(path) => FilesystemStorage::open(FilesystemOptions::at(path)).await?,
        None => {
            let options = FilesystemOptions::at(folder.path().join("repo"));
            let storage = FilesystemStorage::create(options, None).await?;
            for name in ["kopia.repository", "p0123456789abcdef0123456789abcdef-s1", "xe12"] {
                let id = BlobId::new(name)?;
                storage.put(&id, Payload::from("some bytes"), &PutOptions::default()).await?;
            }
            storage
        }
    };
    println!("{}", storage.info().name);
    let shards = storage.shards().await?;
    let mut blobs = storage.list("");
    while let Some(meta) = blobs.try_next().await? {
        let path = shards.path_of(&meta.id)?;
        println!("{:>10}  {}  in {}", meta.size, meta.id, path.display());
    }
    Ok(())
}
