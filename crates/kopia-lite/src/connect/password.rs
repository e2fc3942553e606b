//! Where the password comes from, and where it is kept (docs/format/02-format-blob.md §12).
//!
//! Order: what is given with the command (`given_password`), then the keyring if it is to be used,
//! then the file beside the connection file, then the terminal. A new repository asks twice. Without
//! a terminal there is no question but an error that names what was tried.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use kopia_format::local_config::{decode_stored_password, encode_stored_password};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{given_password::SOURCES, keyring};
use crate::exit::{Exit, Failure};

/// Why the password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new repository gets it.
    Create,
    /// A repository is connected to; a stored one is not looked for.
    Connect,
    /// A repository that is connected is opened.
    Open,
    /// A repository that is connected gets a new one; only the terminal is asked.
    Change,
}

/// The file that keeps the password of a connection.
pub fn file(config_file: &Path) -> PathBuf {
    let mut name = config_file.as_os_str().to_owned();
    name.push(".kopia-password");
    name.into()
}

/// Finds the password for `purpose`: `given` with the command, or kept, or typed.
///
/// # Errors
/// No source has one, or the file beside the connection file is not base64.
pub fn find(
    given: Option<SecretString>,
    config_file: &Path,
    use_keyring: bool,
    purpose: Purpose,
) -> anyhow::Result<SecretString> {
    if let Some(given) = given {
        return Ok(given);
    }
    if purpose == Purpose::Open {
        let kept = if use_keyring { keyring::get(config_file)? } else { None };
        if let Some(found) = kept.map_or_else(|| stored(config_file), |kept| Ok(Some(kept)))? {
            return Ok(found);
        }
    }
    if !io::stdin().is_terminal() {
        let stored = match purpose {
            Purpose::Open => {
                let keyring = if use_keyring { ", the keyring" } else { "" };
                format!("{keyring}, the stored password {}", file(config_file).display())
            }
            Purpose::Create | Purpose::Connect | Purpose::Change => String::new(),
        };
        let tried = match purpose {
            Purpose::Change => "--new-password, KOPIA_NEW_PASSWORD",
            _ => SOURCES,
        };
        let message =
            format!("no password: tried {tried}{stored}, and there is no terminal to ask on");
        return Err(Failure::new(Exit::Password, message).into());
    }
    let question = match purpose {
        Purpose::Open | Purpose::Connect => return ask("Enter password to open repository: "),
        Purpose::Create => "Enter password to create new repository: ",
        Purpose::Change => "Enter new password: ",
    };
    loop {
        let first = ask(question)?;
        let second = ask("Re-enter password for verification: ")?;
        if first.expose_secret() == second.expose_secret() {
            return Ok(first);
        }
        crate::ui::text::note("Passwords don't match!");
    }
}

/// The password kept for a connection, if there is one.
fn stored(config_file: &Path) -> anyhow::Result<Option<SecretString>> {
    let path = file(config_file);
    let text = match fs_err::read(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let password = decode_stored_password(&text)
        .with_context(|| format!("{} is not a stored password", path.display()))?;
    Ok(Some(password.as_str().into()))
}

/// Is `password` the one that the file beside the connection file keeps?
pub fn is_stored(config_file: &Path, password: &SecretString) -> bool {
    // One that can't be read is none.
    let stored = stored(config_file).ok().flatten();
    stored.is_some_and(|stored| stored.expose_secret() == password.expose_secret())
}

/// Keeps `password` for a connection: in the keyring, or in a file readable by this user alone.
///
/// # Errors
/// The keyring can't be used, or the file cannot be written.
pub fn store(config_file: &Path, use_keyring: bool, password: &SecretString) -> anyhow::Result<()> {
    if use_keyring {
        keyring::set(config_file, password)?;
        // One that an earlier connection left would only be easier to read.
        return Ok(forget(config_file)?);
    }
    let folder = config_file.parent().unwrap_or(Path::new("."));
    // A temporary file is readable by this user alone from the beginning, whatever was there
    // before.
    let mut out = tempfile::NamedTempFile::new_in(folder)?;
    out.write_all(encode_stored_password(password.expose_secret()).as_bytes())?;
    out.as_file().sync_all()?;
    out.persist(file(config_file))?;
    Ok(())
}

/// Forgets the password of a connection; none kept is fine.
///
/// # Errors
/// The file cannot be deleted.
pub fn forget(config_file: &Path) -> io::Result<()> {
    match fs_err::remove_file(file(config_file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How the terminal was before a password was asked for.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Lets the terminal show again what is typed: also when a question was left without an answer.
pub fn show_typing() {
    let before = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Nobody could be told.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

fn hide_typing() -> io::Result<()> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    Ok(tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?)
}

/// Asks on the terminal, without showing what is typed. The question goes to stderr: stdout is for
/// results.
fn ask(question: &str) -> anyhow::Result<SecretString> {
    let stdin = io::stdin();
    for _ in 0..5 {
        eprint!("{question}");
        io::stderr().flush()?;
        hide_typing()?;
        let mut typed = String::new();
        let read = stdin.lock().read_line(&mut typed);
        show_typing();
        eprintln!();
        read?;
        let typed = Zeroizing::new(typed);
        let password = typed.trim_end_matches(['\n', '\r']);
        if !password.is_empty() {
            return Ok(password.into());
        }
    }
    Err(Failure::new(Exit::Password, "no password was typed").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_password_is_base64_without_a_newline_and_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("repository.config");
        store(&config, false, &"fixture".into()).unwrap();
        let path = folder.path().join("repository.config.kopia-password");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "Zml4dHVyZQ==");
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(find(None, &config, false, Purpose::Open).unwrap().expose_secret(), "fixture");
        assert!(is_stored(&config, &"fixture".into()) && !is_stored(&config, &"other".into()));
        forget(&config).unwrap();
        forget(&config).unwrap();
        assert!(!path.exists() && !is_stored(&config, &"fixture".into()));
    }

    #[test]
    fn a_given_password_beats_the_stored_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("c");
        store(&config, false, &"stored".into()).unwrap();
        let found = find(Some("given".into()), &config, false, Purpose::Open).unwrap();
        assert_eq!(found.expose_secret(), "given");
    }

    #[test]
    fn a_damaged_password_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("c");
        fs_err::write(file(&config), "no base64!").unwrap();
        let error = find(None, &config, false, Purpose::Open).unwrap_err();
        assert!(format!("{error:#}").contains("c.kopia-password"), "{error:#}");
    }
}
