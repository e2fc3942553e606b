//! From a connection file to a storage: paths, identity, password, backends.

pub mod backends;
pub mod base64;
pub mod config;
pub mod given_password;
pub mod identity;
pub mod keyring;
pub mod password;
pub mod paths;
