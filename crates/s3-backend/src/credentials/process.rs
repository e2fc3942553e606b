//! Keys from a program: `credential_process` of a profile.
//!
//! The command is split into words as a shell splits them, and run without one. It prints JSON with
//! `Version` 1, `AccessKeyId`, `SecretAccessKey` and perhaps `SessionToken` and `Expiration`; what
//! it says on stderr goes to the terminal, since that is where it may ask for a code. Source:
//! "Process credential provider", AWS SDKs and Tools Reference Guide.

use std::{process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::process::Command;

use super::Secret;
use super::lease::Lease;

/// Some ask a person for a code.
const WITHIN: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: Secret,
    #[serde(default)]
    session_token: Option<Secret>,
    #[serde(default)]
    expiration: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// It does not start, fails, or prints something else. Nothing of what it prints is repeated.
pub(super) async fn run(command: &str) -> Result<Lease, String> {
    let words = shlex::split(command).ok_or("credential_process has an open quote")?;
    let [program, arguments @ ..] = &words[..] else {
        return Err("credential_process is empty".into());
    };
    let about = |reason: String| format!("credential_process {program}: {reason}");
    let running = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| about(error.to_string()))?;
    let ended = tokio::time::timeout(WITHIN, running.wait_with_output()).await;
    let ended =
        ended.map_err(|_| about(format!("it has not ended after {} s", WITHIN.as_secs())))?;
    let ended = ended.map_err(|error| about(error.to_string()))?;
    if !ended.status.success() {
        return Err(about(ended.status.to_string()));
    }
    read(&ended.stdout).map_err(about)
}

fn read(printed: &[u8]) -> Result<Lease, String> {
    // serde's own words quote the input, which holds the secret
    let printed: Printed = serde_json::from_slice(printed).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("it did not print the JSON that is asked for (line {line}, column {column})")
    })?;
    if printed.version != 1 {
        return Err(format!("its JSON is of version {}, known is 1", printed.version));
    }
    let Printed { access_key_id, secret_access_key, session_token, expiration, .. } = printed;
    Lease::of(access_key_id, secret_access_key, session_token, expiration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;
    use kopia_fixtures::hostile::Target;

    #[test]
    fn a_program_may_print_any_bytes() {
        let json = br#"{"Version":1,"AccessKeyId":"a b","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-01-02T03:04:05+01:00"}"#;
        let read = |bytes: &[u8]| read(bytes).is_ok();
        Target::new("credential_process", read, [json.to_vec()], crate::MEMORY).attack();
    }

    #[tokio::test]
    async fn a_programs_keys_are_read_and_its_words_are_split_as_a_shell_does() {
        let json = r#"{"Version":1,"AccessKeyId":"a b","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-01-02T03:04:05+01:00"}"#;
        let lease = run(&format!("printf %s '{json}'")).await.unwrap();
        assert_eq!(lease.credentials.access_key_id, "a b");
        assert_eq!(lease.credentials.session_token, Some("t".into()));
        assert_eq!(lease.until, time::parse_iso("2026-01-02T02:04:05Z"));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_without_what_was_printed() {
        let secret = r#"printf %s '{"Version":1,"SecretAccessKey":"hunter2"}'"#;
        let cases = [
            (secret, "did not print the JSON"),
            ("false", "exit status: 1"),
            ("/no/such/program x", "No such file"),
            ("", "is empty"),
            ("a 'b", "open quote"),
            (r#"printf %s '{"Version":2,"AccessKeyId":"a","SecretAccessKey":"s"}'"#, "version 2"),
        ];
        for (command, told) in cases {
            let error = run(command).await.unwrap_err();
            assert!(error.contains(told) && !error.contains("hunter2"), "{command}: {error}");
        }
    }
}
