//! Prints the manifests of a repository and, if a file is named, writes it as an object.
//!
//! `cargo run -p kopia-repo --example manifests -- FOLDER PASSWORD [FILE]`. Without arguments it
//! makes a repository in memory and writes a line into that.

use std::{error::Error, sync::Arc};

use blob_core::{DynStorage, MemoryStorage};
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_repo::{CreateOptions, ObjectOptions, OpenOptions, Repository};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (storage, password, object): (DynStorage, _, Option<(&str, Vec<u8>)>) = match arguments[..]
    {
        [] => {
            let storage: DynStorage = Arc::new(MemoryStorage::new());
            let create = CreateOptions::default();
            Repository::create(storage.clone(), &"a password".into(), create).await?;
            (storage, "a password", Some(("a line", b"some data\n".to_vec())))
        }
        [folder, password, ref file @ ..] => {
            let storage = FilesystemStorage::open(FilesystemOptions::at(folder)).await?;
            let object = match file.first() {
                Some(file) => Some((*file, std::fs::read(file)?)),
                None => None,
            };
            (Arc::new(storage), password, object)
        }
        [_] => return Err("usage: manifests [FOLDER PASSWORD [FILE]]".into()),
    };
    let repository = Repository::open(storage, &password.into(), OpenOptions::default()).await?;
    for manifest in repository.manifests().all().await? {
        println!("{} {} {:?}", manifest.id, manifest.modified, manifest.labels);
    }
    if let Some((name, bytes)) = object {
        let writer = repository.writer()?;
        let options = ObjectOptions { description: format!("FILE:{name}"), ..Default::default() };
        let object = writer.write_object(bytes.into(), options).await?;
        let report = writer.flush().await?;
        println!("{name} is object {object}; {report:?}");
    }
    Ok(())
}
