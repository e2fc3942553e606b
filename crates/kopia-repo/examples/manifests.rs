//! Opens a repository in a folder, prints its manifests and, if a file is named, writes it as an
//! object: `cargo run --example manifests -- FOLDER PASSWORD [FILE]`.

use std::{error::Error, sync::Arc};

use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_repo::{ObjectOptions, OpenOptions, Repository};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(password)) = (arguments.next(), arguments.next()) else {
        return Err("usage: manifests FOLDER PASSWORD [FILE]".into());
    };
    let storage = Arc::new(FilesystemStorage::open(FilesystemOptions::at(folder)).await?);
    let repository = Repository::open(storage, &password.into(), OpenOptions::default()).await?;
    for manifest in repository.manifests().all().await? {
        println!("{} {} {:?}", manifest.id, manifest.modified, manifest.labels);
    }
    if let Some(file) = arguments.next() {
        let writer = repository.writer()?;
        let bytes = std::fs::read(&file)?;
        let options = ObjectOptions { description: format!("FILE:{file}"), ..Default::default() };
        let object = writer.write_object(bytes.into(), options).await?;
        let report = writer.flush().await?;
        println!("{file} is object {object}; {report:?}");
    }
    Ok(())
}
