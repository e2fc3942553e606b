//! Links in Markdown lead to a file that exists, and to a heading that is in it.
//!
//! Links to other hosts are left alone: whether they answer is not ours to say, and lint needs no
//! network. Headings become anchors as GitHub makes them.

use std::path::{Component, Path, PathBuf};

use crate::workspace;

/// Every link of a page that leads nowhere.
pub fn check(page: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = if file.is_empty() { page.to_owned() } else { resolve(page, file) };
        let full = workspace::root().join(&path);
        let at = format!("{}:{line}", page.display());
        if !full.exists() {
            wrong.push(format!("{at}: leads nowhere: {target}"));
        } else if !anchor.is_empty() && path.extension().is_some_and(|ext| ext == "md") {
            let there = std::fs::read_to_string(full).unwrap_or_default();
            if !anchors(&there).iter().any(|it| it == anchor) {
                wrong.push(format!("{at}: there is no such heading: {target}"));
            }
        }
    }
    wrong
}

fn resolve(page: &Path, file: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// Lines outside fenced and indented code, with their numbers and without inline code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let (mut out, mut fenced) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence {
            fenced = !fenced;
        }
        if !is_fence && !fenced && !line.starts_with("    ") {
            let outside = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            out.push((index + 1, outside));
        }
    }
    out
}

/// The targets of `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            if let Some(end) = line[at + 2..].find([')', ' ']) {
                out.push((number, line[at + 2..at + 2 + end].to_owned()));
            }
        }
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let is_target = |to: &str| !to.contains(' ') && to.contains(['/', '.', '#']);
        if let Some((name, target)) = definition
            && !name.contains(']')
            && is_target(target)
        {
            out.push((number, target.to_owned()));
        }
    }
    out
}

/// The anchors of a page's headings, repeated ones numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let title = line.trim_start_matches('#');
        if fenced || !line.starts_with('#') || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let slug = slug.to_lowercase();
        let again = out.iter().filter(|it| **it == slug).count();
        out.push(if again == 0 { slug } else { format!("{slug}-{again}") });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_prose_alone() {
        let text =
            "See [a](b.md#c) and [d](<e>) `[x](y)`.\n```\n[x](y)\n```\n    [x](y)\n[f]: g/h.md\n";
        let targets: Vec<_> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, ["b.md#c", "<e>", "g/h.md"]);
        assert_eq!(resolve(Path::new("docs/adr/1.md"), "../a/./b.md"), Path::new("docs/a/b.md"));
    }

    #[test]
    fn headings_become_githubs_anchors() {
        let text = "# Where is …?\n## `a` & B\n```\n# no\n```\n## `a` & B\n#no\n";
        assert_eq!(anchors(text), ["where-is-", "a--b", "a--b-1"]);
    }
}
