//! A password that is given with a command: itself, in a file, or as what a program prints.
//!
//! White space around it is not part of it, as with Kopia's flag and variable.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Where a command is told to take the password from. The first one that is given counts.
#[derive(Debug, Clone, Args)]
pub struct GivenPassword {
    /// Repository password.
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = "KOPIA_PASSWORD",
        hide_env_values = true
    )]
    password: Option<SecretString>,

    /// File that holds the repository password.
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "PATH",
        env = "KOPIA_LITE_PASSWORD_FILE"
    )]
    password_file: Option<PathBuf>,

    /// Command that prints the repository password; run by sh.
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "COMMAND",
        env = "KOPIA_LITE_PASSWORD_COMMAND"
    )]
    password_command: Option<String>,
}

/// What an error names when none of them is given.
pub const SOURCES: &str = "--password, KOPIA_PASSWORD, --password-file and --password-command";

impl GivenPassword {
    /// The password, if there is one. May wait for a program.
    ///
    /// # Errors
    /// The file can't be read, the program fails, or there is nothing in what they say.
    pub fn get(&self) -> anyhow::Result<Option<SecretString>> {
        let given = self.password.as_ref().map(|given| given.expose_secret().trim());
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            return Ok(Some(given.into()));
        }
        let (text, source) = match (&self.password_file, &self.password_command) {
            (Some(file), _) => {
                let text = Zeroizing::new(fs_err::read_to_string(file).context("--password-file")?);
                (text, format!("the password file {}", file.display()))
            }
            (None, Some(command)) => (run(command)?, "what --password-command prints".to_owned()),
            (None, None) => return Ok(None),
        };
        match text.trim() {
            "" => bail!("{source} holds no password"),
            password => Ok(Some(password.into())),
        }
    }
}

/// What a command prints. It may ask on the terminal; its stderr is the user's.
fn run(command: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut program = Command::new("sh");
    let program = program.arg("-c").arg(command).stderr(std::process::Stdio::inherit());
    let output = program.output().context("--password-command cannot be run")?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        bail!("--password-command ended with {}", output.status);
    }
    let text =
        std::str::from_utf8(&printed).context("what --password-command prints is no text")?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(password: &str, file: Option<PathBuf>, command: Option<&str>) -> GivenPassword {
        let password = Some(password).filter(|password| !password.is_empty()).map(Into::into);
        GivenPassword {
            password,
            password_file: file,
            password_command: command.map(str::to_owned),
        }
    }

    fn text(given: &GivenPassword) -> Option<String> {
        given.get().unwrap().map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_source_counts_and_white_space_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs_err::write(&file, "of the file\n").unwrap();
        let command = Some("echo ' of the command '");
        assert_eq!(text(&given(" itself\n", Some(file.clone()), command)).unwrap(), "itself");
        assert_eq!(text(&given(" ", Some(file), command)).unwrap(), "of the file");
        assert_eq!(text(&given("", None, command)).unwrap(), "of the command");
        assert_eq!(text(&given("", None, None)), None);
    }

    #[test]
    fn a_source_that_says_nothing_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let error = |given: &GivenPassword| format!("{:#}", given.get().unwrap_err());
        assert!(error(&given("", Some(file.clone()), None)).contains("password"), "missing");
        fs_err::write(&file, " \n").unwrap();
        let empty = error(&given("", Some(file.clone()), None));
        assert_eq!(empty, format!("the password file {} holds no password", file.display()));
        assert!(error(&given("", None, Some("exit 3"))).contains("ended with exit status: 3"));
        assert!(error(&given("", None, Some("true"))).contains("holds no password"));
    }
}
