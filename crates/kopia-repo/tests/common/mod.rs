//! What the tests of this crate share.
#![allow(dead_code)]

use std::{path::Path, sync::Arc};

use blob_core::DynStorage;
use fs_backend::{FilesystemOptions, FilesystemStorage};
use kopia_fixtures::Unpacked;
use kopia_repo::{OpenOptions, RepoError, Repository};
use secrecy::SecretString;

pub fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

pub async fn folder(path: &Path) -> DynStorage {
    let storage = FilesystemStorage::open(FilesystemOptions::at(path)).await;
    Arc::new(storage.expect("the folder is there"))
}

pub async fn open_fixture(fixture: &Unpacked) -> Result<Repository, RepoError> {
    let storage = folder(&fixture.path()).await;
    Repository::open(storage, &secret(fixture.password()), OpenOptions::default()).await
}

pub async fn open(name: &str) -> (Unpacked, Repository) {
    let fixture = kopia_fixtures::repo(name);
    let repository = open_fixture(&fixture).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    (fixture, repository)
}

/// Why the fixture `name` does not open.
pub async fn refusal(name: &str) -> RepoError {
    match open_fixture(&kopia_fixtures::repo(name)).await {
        Ok(_) => panic!("{name} opened"),
        Err(error) => error,
    }
}
