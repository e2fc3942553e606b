//! Where a repository lies: in a folder, or below a prefix on the S3 server.

use std::path::PathBuf;

use crate::server::Server;

/// Where a repository lies.
#[derive(Debug)]
pub enum Place<'a> {
    Folder(PathBuf),
    /// A prefix on the server.
    S3(&'a Server, String),
}

impl Place<'_> {
    /// The storage's name and flags, for `repository create` and `connect`.
    pub fn args(&self) -> Vec<String> {
        match self {
            Self::Folder(path) => {
                vec!["filesystem".to_owned(), format!("--path={}", path.display())]
            }
            Self::S3(server, prefix) => [vec!["s3".to_owned()], server.flags(prefix)].concat(),
        }
    }
}
