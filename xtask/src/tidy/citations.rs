//! What comments and pages cite is there: documents, their sections, files of a crate.
//!
//! Code says where a fact comes from as `docs/format/03-contents-packs.md §5.2`, or by the number
//! alone (`docs/format/03 §5.2`); a citation may run over the end of a line. Pages name files as
//! `src/…` after the name of a crate, or without it in a crate's own README.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::workspace;

const FORMAT: &str = "docs/format/";

/// The documents of `docs/format`, with the numbers of their sections.
pub struct Documents(BTreeMap<String, Vec<String>>);

impl Documents {
    /// Reads them.
    pub fn read(files: &[PathBuf]) -> Self {
        let documents = files.iter().filter(|path| path.starts_with(FORMAT));
        Self(documents.filter_map(|path| document(path)).collect())
    }

    /// What the file `name` cites and is not there.
    pub fn check(&self, name: &str, text: &str) -> Vec<String> {
        let text = unwrapped(text);
        let mut wrong = Vec::new();
        for (at, _) in text.match_indices(FORMAT) {
            let cited = &text[at + FORMAT.len()..];
            let end = cited.find(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c));
            let (file, rest) = cited.split_at(end.unwrap_or(cited.len()));
            let file = file.trim_end_matches('.');
            if file.is_empty() {
                continue; // The folder itself.
            }
            let Some(sections) = self.sections(file) else {
                wrong.push(format!("{name}: cites a document that is not there: {FORMAT}{file}"));
                continue;
            };
            let missing = cited_sections(rest).into_iter().filter(|it| !sections.contains(it));
            wrong.extend(missing.map(|it| format!("{name}: {FORMAT}{file} has no section {it}")));
        }
        wrong
    }

    /// The sections of a document by its file name or its number.
    fn sections(&self, file: &str) -> Option<&Vec<String>> {
        let by_number = || {
            let is_number = file.len() == 2 && file.bytes().all(|byte| byte.is_ascii_digit());
            let mut all = self.0.iter().filter(|(it, _)| is_number && it.starts_with(file));
            all.next().map(|(_, sections)| sections)
        };
        self.0.get(file).or_else(by_number)
    }
}

fn document(path: &Path) -> Option<(String, Vec<String>)> {
    let name = path.strip_prefix(FORMAT).ok()?.to_str()?.to_owned();
    let text = fs::read_to_string(workspace::root().join(path)).ok()?;
    Some((name, numbers(&text)))
}

/// `1.` and `3.2` of the headings `## 1. One` and `### 3.2 Two`, without dots at the end.
fn numbers(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with("##"));
    let words = headings.filter_map(|line| line.trim_start_matches('#').split_whitespace().next());
    let numbers = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    numbers.map(|word| word.trim_end_matches('.').to_owned()).collect()
}

/// The text with its comments as one line each.
fn unwrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches(['/', '!', '#']);
        out.push_str(line.trim());
        out.push(' ');
    }
    out
}

/// The numbers in `§1`, `§3.2 and §3.3`, `§6.5, §6.6`, straight after a citation.
fn cited_sections(mut rest: &str) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let next = rest.trim_start_matches(['`', ',', ' ']);
        let next = next.strip_prefix("and ").or_else(|| next.strip_prefix("to ")).unwrap_or(next);
        let Some(number) = next.strip_prefix('§') else { return out };
        let number = number.trim_start_matches('§').trim_start();
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        out.push(number[..end].trim_end_matches('.').to_owned());
        rest = &number[end..];
    }
}

/// Files of crates that a page names and that are not there.
pub fn check_files(page: &Path, text: &str) -> Vec<String> {
    let own = page.strip_prefix("crates").ok().and_then(|path| path.components().next());
    let own = own.map(|folder| Path::new("crates").join(folder));
    let mut wrong = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut folder = own.clone();
        for code in line.split('`').skip(1).step_by(2) {
            let crate_folder = Path::new("crates").join(code);
            if !code.contains('/') && workspace::root().join(&crate_folder).is_dir() {
                folder = Some(crate_folder);
            } else if let Some(folder) = folder.as_ref().filter(|_| code.starts_with("src/"))
                && !code.contains(['*', '…', ' '])
                && !workspace::root().join(folder).join(code).exists()
            {
                let at = format!("{}:{}", page.display(), index + 1);
                wrong.push(format!("{at}: {} has no {code}", folder.display()));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_are_not_there_are_found() {
        let text = "# 03 – Packs\n## 5. Layout\n### 5.1 Postamble\n## Notes\n";
        assert_eq!(numbers(text), ["5", "5.1"]);
        let documents = Documents(BTreeMap::from([("03-packs.md".to_owned(), numbers(text))]));
        let cite = |rest: &str| documents.check("a.rs", &format!("//! See {FORMAT}{rest}\n"));
        for good in ["03-packs.md", "03 §5.", "03-packs.md` §5 and §5.1: x", "03\n//! §5.1, then"]
        {
            assert_eq!(cite(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["04-more.md", "03-other.md", "03 §6", "03-packs.md §5, §5.2", "03\n//! §1"]
        {
            assert_eq!(cite(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn files_that_are_not_there_are_found() {
        let page = Path::new("docs/a.md");
        let there = "| `blob-core` `src/lib.rs`, `src/layers/` |";
        assert_eq!(check_files(page, there), Vec::<String>::new());
        assert_eq!(check_files(page, "| `blob-core` | `src/nothing.rs` |").len(), 1);
        assert_eq!(check_files(Path::new("crates/blob-core/README.md"), "`src/no/`").len(), 1);
    }
}
