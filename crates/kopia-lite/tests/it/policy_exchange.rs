//! `policy export | import | edit`.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::env::{Run, TestEnv, keys, masked};

/// Runs a command with `input` at its stdin.
fn with_input(command: &mut Command, input: &str) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn with_policies() -> TestEnv {
    let env = TestEnv::with_repository();
    env.ok("policy set /data --keep-latest=7 --add-ignore=<*.tmp>");
    env.ok("policy set @h --keep-annual=9");
    env
}

#[test]
fn what_is_exported_can_be_imported() {
    let env = with_policies();
    let all = env.ok("policy export");
    let value: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(keys(&value), ["(global)", "@h", "u@h:/data"]);
    // What Kopia 0.23.1 writes.
    let data = concat!(
        r#"{"u@h:/data":{"retention":{"keepLatest":7},"files":{"ignore":["\u003c*.tmp\u003e"]},"#,
        r#""errorHandling":{},"scheduling":{},"compression":{},"metadataCompression":{},"#,
        r#""splitter":{},"actions":{},"osSnapshots":{"volumeShadowCopy":{}},"#,
        r#""logging":{"directories":{},"entries":{}},"upload":{}}}"#,
    );
    assert_eq!(env.ok("policy export /data"), format!("{data}\n"));
    assert!(env.ok("policy export @h --json-indent").starts_with("{\n  \"@h\": {\n    \"ret"));
    env.ok("policy delete /data");
    env.ok("policy delete @h");
    let mut import = env.command(["policy", "import"]);
    let run = with_input(&mut import, &all);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    assert_eq!(env.ok("policy export"), all);
}

#[test]
fn a_file_is_written_over_only_if_that_is_asked_for() {
    let env = with_policies();
    assert_eq!(env.says("policy export --to-file=p.json"), "");
    let file = env.path("p.json");
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs_err::write(&file, "x".repeat(10_000)).unwrap();
    assert_eq!(
        env.fails(1, "policy export --to-file=p.json"),
        "ERROR p.json: file already exists and overwrite flag is not set\n"
    );
    env.ok("policy export --to-file=p.json --overwrite");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), env.ok("policy export"));
    assert_eq!(
        env.fails(1, "policy export --overwrite"),
        "ERROR overwrite was passed but no file path was given\n"
    );
    assert_eq!(
        env.fails(1, "policy export /none"),
        "ERROR can't get defined policy for \"u@h:/none\": policy not found\n"
    );
    assert!(env.fails(1, "policy export --global /data").contains("must pass either '--global'"));
}

#[test]
fn import_takes_targets_and_deletes_others() {
    let env = with_policies();
    env.write("p.json", r#"{"u@h:/data":{"retention":{"keepLatest":1}},"@x":{}}"#);
    env.says("policy import --from-file=p.json /data");
    assert_eq!(env.json("policy show /data --json")["retention"]["keepLatest"], 1);
    assert_eq!(masked(&env.ok("policy list")), "ID (global)\nID @h\nID u@h:/data\n");
    let before = env.ok("policy list");
    assert_eq!(
        env.says("policy import --from-file=p.json --delete-other-policies -n"),
        "Would set policy for @x.\nWould set policy for u@h:/data.\n\
         Would remove policy for (global).\nWould remove policy for @h.\n"
    );
    assert_eq!(env.ok("policy list"), before);
    assert_eq!(env.says("policy import --from-file=p.json --delete-other-policies"), "");
    assert_eq!(masked(&env.ok("policy list")), "ID @x\nID u@h:/data\n");
}

#[test]
fn what_is_no_policy_is_refused_and_nothing_is_written() {
    let env = with_policies();
    let before = env.ok("policy list");
    for (text, wanted) in [
        ("", "ERROR unable to decode policy file as valid json: "),
        ("{\"@h\":[]}", "ERROR unable to decode policy file as valid json: "),
        ("{\"@h\":{},\"z@\":{}}", "ERROR unable to parse source info: \"z@\": "),
        (
            "{\"@h\":{},\"@z\":{\"files\":{\"newer\":1}}}",
            "ERROR unable to decode policy file as valid json: unknown field \"files.newer\" in \
             the policy of @z; add --allow-unknown-fields",
        ),
        (
            "{\"@h\":{},\"u@h:/z\":{\"upload\":{\"maxParallelSnapshots\":2}}}",
            "ERROR can't save policy for u@h:/z: ",
        ),
    ] {
        env.write("p.json", text);
        let said = env.fails(1, "policy import --from-file=p.json");
        assert!(said.starts_with(wanted), "{text}: {said}");
        assert_eq!(env.ok("policy list"), before, "{text}");
    }
    assert!(env.fails(1, "policy import --from-file=none").contains("unable to read policy file"));
    env.write("p.json", "{\"@z\":{\"files\":{\"newer\":1}}}");
    env.says("policy import --from-file=p.json --allow-unknown-fields");
    assert!(env.ok("policy export @z").contains(r#""files":{"newer":1}"#));
}

/// A home whose editor is this script.
fn with_editor(env: TestEnv, script: &str) -> TestEnv {
    let file = env.write("editor.sh", format!("#!/bin/sh\n{script}\n"));
    fs_err::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    env.with("EDITOR", file)
}

fn edit(env: &TestEnv, flag: &str, answer: &str) -> Run {
    let words = ["policy", "edit", "/data", flag];
    with_input(&mut env.command(words.iter().filter(|word| !word.is_empty())), answer)
}

#[test]
fn a_changed_policy_is_shown_and_saved_if_that_is_agreed_to() {
    let env = with_editor(with_policies(), "cp $1 shown; sed -i 's/: 7/: 6/' $1");
    let keeps = || env.json("policy show /data --json")["retention"]["keepLatest"].clone();
    let run = edit(&env, "", "n\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, "Save updated policy? (y/N) "));
    assert!(
        run.stderr.starts_with(
            "Editing policy for u@h:/data using external editor...\n\
             Updated policy for u@h:/data\n{\n  \"retention\": {\n    \"keepLatest\": 6\n  },\n"
        ),
        "{run:#?}"
    );
    assert!(run.stderr.ends_with("}\n\n"), "{run:#?}");
    assert_eq!(keeps(), 7);
    let shown = fs_err::read_to_string(env.path("shown")).unwrap();
    assert!(shown.starts_with("\n# The policy of 'u@h:/data'\n"), "{shown}");
    assert_eq!(edit(&env, "", "").code, 0);
    let run = edit(&env, "-n", "y\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert!(run.stderr.ends_with("Would save policy for u@h:/data.\n"), "{run:#?}");
    assert_eq!(keeps(), 7);
    assert_eq!(edit(&env, "", "Yes\n").code, 0);
    assert_eq!(keeps(), 6);
    let said = "Editing policy for u@h:/data using external editor...\n\
                Policy for u@h:/data unchanged\n";
    let run = edit(&env, "", "y\n");
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", said));
}

#[test]
fn what_is_no_policy_is_edited_again() {
    let script = "test -e once && echo '{\"retention\":{\"keepLatest\":2}}' >$1 && exit; \
                  touch once; echo '{\"x\":1}' >$1";
    let env = with_editor(with_policies(), script);
    let run = edit(&env, "", "n\n");
    assert_eq!((run.code, run.stdout.as_str()), (1, "Reopen editor to fix? (Y/n) "));
    assert!(run.stderr.contains("unknown field \"x\""), "{run:#?}");
    fs_err::remove_file(env.path("once")).unwrap();
    // Nobody answers.
    assert_eq!(edit(&env, "", "").code, 1);
    fs_err::remove_file(env.path("once")).unwrap();
    let run = edit(&env, "", "\ny\n");
    assert_eq!(run.stdout, "Reopen editor to fix? (Y/n) Save updated policy? (y/N) ");
    let policy = env.json("policy export /data");
    assert_eq!(policy["u@h:/data"]["retention"], json!({"keepLatest": 2}));
}

#[test]
fn without_an_editor_or_when_it_fails_nothing_is_changed() {
    let env = with_policies().with("EDITOR", "");
    let said = env.fails(1, "policy edit --global");
    assert!(said.contains("there is none: name an editor in VISUAL or EDITOR"), "{said}");
    let env = env.with("EDITOR", "/no/editor");
    assert!(env.fails(1, "policy edit --global").contains("can't run the editor \"/no/editor\""));
    let env = env.with("VISUAL", "false");
    let said = env.fails(1, "policy edit --global");
    assert!(said.contains("the editor \"false\" failed (exit status: 1)"), "{said}");
}
