//! Who takes a snapshot: user and host, as Kopia names them.

use std::env;

/// The host that was given, or this one.
pub fn hostname(given: &str) -> String {
    if given.is_empty() { default_hostname() } else { given.to_owned() }
}

/// The user that was given, or this one.
pub fn username(given: &str) -> String {
    if given.is_empty() { default_username() } else { given.to_owned() }
}

/// The machine's name up to its first dot, in lower case.
pub fn default_hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    if first.is_empty() { "nohost".to_owned() } else { first.to_owned() }
}

/// The user that the process runs as, by the user database; the environment where that has no such
/// user.
pub fn default_username() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    let by_database = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    let by_environment = || env::var("USER").ok().filter(|name| !name.is_empty());
    by_database.or_else(by_environment).unwrap_or_else(|| "nobody".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_neither_capitals_nor_a_domain() {
        let host = default_hostname();
        assert_eq!(host, host.to_lowercase());
        assert!(!host.contains('.') && !host.is_empty());
        assert!(!default_username().is_empty());
    }
}
