//! Every command line of README and docs is one that the program takes.

use std::path::{Path, PathBuf};

use kopia_fixtures::skip;
use kopia_lite::cli::{definition, normalise};

/// The folder of the workspace, where this crate is in one.
pub fn workspace() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    folder.join("docs/guide").is_dir().then(|| folder.to_owned())
}

fn pages(workspace: &Path) -> Vec<PathBuf> {
    let mut all = vec![workspace.join("README.md")];
    for folder in ["docs", "docs/guide"] {
        let entries = std::fs::read_dir(workspace.join(folder)).unwrap();
        all.extend(entries.map(|entry| entry.unwrap().path()));
    }
    for entry in std::fs::read_dir(workspace.join("crates")).unwrap() {
        all.push(entry.unwrap().path().join("README.md"));
    }
    // The map shows no command lines.
    all.retain(|path| path.file_name() != Some("architecture.md".as_ref()));
    all.retain(|path| path.extension().is_some_and(|it| it == "md") && path.is_file());
    all.sort();
    all
}

/// The lines of code blocks, those that go on behind a `\` in one.
fn code(text: &str) -> Vec<String> {
    let (mut lines, mut is_fenced, mut begun) = (Vec::new(), false, String::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        if !is_fenced && !line.starts_with("    ") && begun.is_empty() {
            continue;
        }
        match line.trim().strip_suffix('\\') {
            Some(more) => begun = format!("{begun}{more} "),
            None => lines.push(std::mem::take(&mut begun) + line.trim()),
        }
    }
    lines
}

/// The calls of the program in a line of a shell.
pub fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().replace("$(", " ( ").replace(')', " ) ");
    let mut all = Vec::new();
    for part in line.split(['|', ';', '(', ')']).flat_map(|part| part.split("&&")) {
        let mut words =
            part.split_whitespace().map(|word| word.trim_matches('\'').trim_matches('"'));
        let is_ours = |word: &str| word == "kopia-lite" || word.ends_with("/kopia-lite");
        if part.trim_start().starts_with("cargo") || !words.by_ref().any(is_ours) {
            continue;
        }
        let words = words.filter(|word| *word != "…");
        let words =
            words.take_while(|word| !word.starts_with(['>', '<']) && !word.starts_with("2>"));
        all.push(std::iter::once("kopia-lite").chain(words).map(str::to_owned).collect());
    }
    all
}

#[test]
fn every_command_line_of_the_docs_is_taken() {
    let Some(workspace) = workspace() else {
        skip("docs::every_command_line_of_the_docs_is_taken", "the docs are not beside this crate");
        return;
    };
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages(&workspace) {
        let text = std::fs::read_to_string(&page).unwrap();
        for words in code(&text).iter().flat_map(|line| calls(line)) {
            // Text with blanks in quotes comes apart; it is one argument all the same.
            seen += 1;
            let args = normalise(&definition(), words.iter().map(Into::into));
            if let Err(error) = definition().try_get_matches_from(args)
                && error.use_stderr()
            {
                let first = error.to_string().lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}: {}: {first}", page.display(), words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "only {seen} command lines were found");
}

#[test]
fn a_line_of_a_shell_is_taken_apart() {
    let line = "FOO=1 kopia-lite snapshot list | jq . && kopia-lite show X > file # words";
    let found: Vec<_> = calls(line).iter().map(|words| words.join(" ")).collect();
    assert_eq!(found, ["kopia-lite snapshot list", "kopia-lite show X"]);
    assert_eq!(
        calls("17 2 * * *  /usr/bin/kopia-lite blob list")[0].join(" "),
        "kopia-lite blob list"
    );
    let nested = calls("kopia-lite restore $(kopia-lite snapshot list --json) /tmp");
    assert_eq!(nested[1].join(" "), "kopia-lite snapshot list --json");
    assert!(calls("cargo run -p kopia-lite").is_empty());
}
