//! From a connection file to a storage: paths, identity, password, backends.

pub mod identity;
pub mod password;
pub mod paths;
