//! Passwords in the keyring of the desktop, where Kopia keeps and finds them too.
//!
//! The entry's attributes are Kopia's: `service` names the connection file, `username` the system's
//! user (docs/format/02-format-blob.md §12). libsecret's own program `secret-tool` talks to the
//! keyring; the password goes to it by a pipe and never stands on a command line.

use std::{
    io::{self, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::Context;
use kopia_format::local_config::keyring_service;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::identity;
use crate::exit::{Exit, Failure};

const TOOL: &str = "secret-tool";

/// The password that the keyring has for a connection.
///
/// # Errors
/// There is no keyring, or it does not open.
pub fn get(config_file: &Path) -> anyhow::Result<Option<SecretString>> {
    let found = run("lookup", None, config_file, None)?;
    let password = Zeroizing::new(found.stdout);
    if found.status.success() && !password.is_empty() {
        let text = std::str::from_utf8(&password).context("the keyring's password is not UTF-8")?;
        return Ok(Some(text.into()));
    }
    said(&found.stderr).map_or(Ok(None), Err)
}

/// Keeps the password for a connection.
///
/// # Errors
/// There is no keyring, or it does not open.
pub fn set(config_file: &Path, password: &SecretString) -> anyhow::Result<()> {
    let label = format!(
        "--label=Password for '{}' on '{}'",
        identity::default_username(),
        service(config_file)
    );
    let stored = run("store", Some(&label), config_file, Some(password))?;
    if stored.status.success() {
        return Ok(());
    }
    Err(said(&stored.stderr).unwrap_or_else(|| failed(&stored.status.to_string())))
}

/// Forgets the password of a connection; none kept is fine.
///
/// # Errors
/// There is no keyring, or it does not open.
pub fn forget(config_file: &Path) -> anyhow::Result<()> {
    let cleared = run("clear", None, config_file, None)?;
    said(&cleared.stderr).map_or(Ok(()), Err)
}

fn service(config_file: &Path) -> String {
    keyring_service(&config_file.to_string_lossy())
}

fn run(
    verb: &str,
    label: Option<&str>,
    config_file: &Path,
    password: Option<&SecretString>,
) -> anyhow::Result<Output> {
    let mut command = Command::new(TOOL);
    command.arg(verb).args(label);
    command.args(["service", &service(config_file)]);
    command.args(["username", &identity::default_username()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("secret-tool is not installed (package libsecret-tools)"),
        _ => failed(&format!("secret-tool: {error}")),
    })?;
    if let (Some(mut stdin), Some(password)) = (child.stdin.take(), password) {
        stdin.write_all(password.expose_secret().as_bytes()).context("writing to secret-tool")?;
    }
    child.wait_with_output().context("reading from secret-tool")
}

/// What the tool complains of: it says nothing where there is only no such password.
fn said(stderr: &[u8]) -> Option<anyhow::Error> {
    let text = String::from_utf8_lossy(stderr);
    Some(text.trim()).filter(|text| !text.is_empty()).map(failed)
}

fn failed(reason: &str) -> anyhow::Error {
    let message = format!(
        "the keyring can't be used: {reason}; unlock it, or go without it by --no-use-keyring"
    );
    Failure::new(Exit::Password, message).into()
}
