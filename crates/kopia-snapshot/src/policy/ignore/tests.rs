//! Ignore rules over a virtual tree, against `kopiaignore/cases.json`: snapshots that Kopia made.

use std::collections::{BTreeMap, BTreeSet};

use kopia_format::snapshot::Source;
use serde_json::Value;

use super::*;
use crate::policy::resolve::StoredPolicy;
use crate::policy::tree::PolicyTree;

/// A tree in memory.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Link(String),
    Folder(BTreeMap<String, Node>),
}

impl Node {
    fn folder_at(&mut self, path: &str) -> &mut BTreeMap<String, Node> {
        let mut node = self;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Folder(children) = node else { panic!("{path}: no folder") };
            let empty = || Node::Folder(BTreeMap::new());
            node = children.entry(name.to_owned()).or_insert_with(empty);
        }
        let Node::Folder(children) = node else { panic!("{path}: no folder") };
        children
    }

    fn put(&mut self, path: &str, node: Node) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.folder_at(folder).insert(name.to_owned(), node);
    }
}

fn tree_of(all: &Value, case: &Value) -> Node {
    let mut tree = Node::Folder(BTreeMap::new());
    for path in all["baseFiles"].as_array().unwrap() {
        tree.put(path.as_str().unwrap(), Node::File(Vec::new()));
    }
    for path in all["baseDirs"].as_array().unwrap() {
        tree.folder_at(path.as_str().unwrap());
    }
    for (path, text) in case["files"].as_object().unwrap() {
        tree.put(path, Node::File(text.as_str().unwrap().as_bytes().to_vec()));
    }
    for (path, target) in case["links"].as_object().into_iter().flatten() {
        tree.put(path, Node::Link(target.as_str().unwrap().to_owned()));
    }
    tree
}

fn policies_of(case: &Value) -> PolicyTree {
    let source = Source::new("h", "u", "/src");
    let global = Policy::default_global();
    let mut stored = vec![StoredPolicy::new(Source::global(), global)];
    for (folder, policy) in case["policies"].as_object().into_iter().flatten() {
        let path = if folder.is_empty() { "/src".to_owned() } else { format!("/src/{folder}") };
        let policy = serde_json::from_value(policy.clone()).unwrap();
        stored.push(StoredPolicy::new(Source::new("h", "u", path), policy));
    }
    PolicyTree::for_source(&source, &stored)
}

/// The bytes of an ignore file, through a link in the same folder.
fn ignore_file(folder: &BTreeMap<String, Node>, name: &str) -> Result<Option<Vec<u8>>, String> {
    match folder.get(name) {
        Some(Node::File(bytes)) => Ok(Some(bytes.clone())),
        Some(Node::Link(target)) => match folder.get(target) {
            Some(Node::File(bytes)) => Ok(Some(bytes.clone())),
            _ => Err("no such file or directory".to_owned()),
        },
        _ => Ok(None),
    }
}

/// Walks as an uploader does and collects what is included.
fn walk(
    folder: &BTreeMap<String, Node>,
    path: &str,
    above: &Arc<IgnoreContext>,
    policies: &PolicyTree,
    included: &mut BTreeSet<String>,
) -> Result<(), String> {
    if let Some(Node::File(tag)) = folder.get(CACHE_DIR_TAG)
        && is_cache_dir(policies.effective(), tag)
    {
        return Ok(());
    }
    let defined = policies.defined().map(|policy| &**policy);
    let mut files = Vec::new();
    for name in above.ignore_file_names(defined) {
        if let Some(bytes) = ignore_file(folder, name)? {
            files.push((name.clone(), bytes));
        }
    }
    let context = above
        .enter(path.as_bytes(), defined, &files)
        .map_err(|error| error.pattern_error().to_string())?;
    for (name, node) in folder {
        let path = format!("{path}/{name}");
        let size = match node {
            Node::File(bytes) => bytes.len(),
            Node::Link(target) => target.len(),
            Node::Folder(_) => 0,
        };
        let candidate = Candidate {
            path: path.as_bytes(),
            is_dir: matches!(node, Node::Folder(_)),
            size: size as u64,
            device: 1,
            folder_device: 1,
        };
        if context.decide(&candidate).verdict != Verdict::Include {
            continue;
        }
        if let Node::Folder(children) = node {
            included.insert(format!("{}/", &path[1..]));
            walk(children, &path, &context, &policies.child(name.as_bytes()), included)?;
        } else {
            included.insert(path[1..].to_owned());
        }
    }
    Ok(())
}

#[test]
fn every_snapshot_that_kopia_made_has_the_same_entries() {
    let file = kopia_fixtures::folder("kopiaignore").join("cases.json");
    let all: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = all["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let tree = tree_of(&all, case);
        let Node::Folder(top) = &tree else { unreachable!() };
        let mut included = BTreeSet::new();
        let result = walk(top, "", &IgnoreContext::outermost(), &policies_of(case), &mut included);
        if let Some(error) = case.get("error") {
            let text = error.as_str().unwrap().strip_prefix("upload error: ").unwrap();
            assert_eq!(result.unwrap_err(), text, "{name}");
            continue;
        }
        result.unwrap();
        let expected: BTreeSet<String> = case["included"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap().to_owned())
            .collect();
        let missing: Vec<_> = expected.difference(&included).collect();
        let extra: Vec<_> = included.difference(&expected).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{name}: -{missing:?} +{extra:?}");
    }
    assert!(cases.len() > 180);
}

fn candidate(path: &str) -> Candidate<'_> {
    Candidate { path: path.as_bytes(), is_dir: false, size: 1, device: 1, folder_device: 1 }
}

#[test]
fn an_entry_is_counted_once_per_context_that_ignores_it() {
    let files = |text: &str| vec![(".kopiaignore".to_owned(), text.as_bytes().to_vec())];
    let top = IgnoreContext::outermost().enter(b"", None, &files("*.bak\n")).unwrap();
    let sub = top.enter(b"/sub", None, &files("!keep.bak\n")).unwrap();
    let decide = |path| sub.decide(&candidate(path));
    let ignored = Decision { verdict: Verdict::Ignored, times_excluded: 2 };
    assert_eq!(decide("/sub/a.bak"), ignored);
    let kept = Decision { verdict: Verdict::Include, times_excluded: 1 };
    assert_eq!(decide("/sub/keep.bak"), kept);
    assert_eq!(decide("/sub/a").times_excluded, 0);
}

#[test]
fn sizes_and_devices_leave_out_without_counting() {
    let policy = |files| Policy { files, ..Policy::default() };
    let top = policy(Files { max_file_size: 10, one_file_system: Some(true), ..Files::default() });
    let top = IgnoreContext::outermost().enter(b"", Some(&top), &[]).unwrap();
    let large = Candidate { size: 11, ..candidate("/f") };
    assert_eq!(top.decide(&large).verdict, Verdict::TooLarge);
    assert_eq!(top.decide(&Candidate { is_dir: true, ..large }).verdict, Verdict::Include);
    let mount = Candidate { device: 2, ..candidate("/mnt") };
    assert_eq!(top.decide(&mount).verdict, Verdict::OtherFileSystem);
    // The limit of size is inherited by a folder with a policy of its own, the other is not.
    let sub = top.enter(b"/sub", Some(&Policy::default()), &[]).unwrap();
    assert_eq!(sub.decide(&large).verdict, Verdict::TooLarge);
    assert_eq!(sub.decide(&mount).verdict, Verdict::Include);
}

#[test]
fn errors_have_the_words_that_kopia_stores() {
    let file = vec![(".kopiaignore".to_owned(), b"[a\n".to_vec())];
    let error = IgnoreContext::outermost().enter(b"/x", None, &file).unwrap_err();
    let wanted = "unable to parse ignore file .kopiaignore: unable to parse ignore entry [a: \
                  invalid pattern \"[a\": unterminated sequence, expected ']'";
    assert_eq!(error.to_string(), wanted);
    let files = Files { ignore: vec!["a\\".to_owned()], ..Files::default() };
    let policy = Policy { files, ..Policy::default() };
    let error = IgnoreContext::outermost().enter(b"/x", Some(&policy), &[]).unwrap_err();
    assert!(error.to_string().starts_with("unable to parse ignore entry ./x: invalid pattern"));
}

#[test]
fn a_line_too_long_ends_the_file() {
    let long = "x".repeat(MAX_LINE);
    let text = format!("a\r\n# c\n \t\nb\n{}\nc\n{long}\nd\n", &long[1..]);
    let lines: Vec<_> = rule_lines(text.as_bytes()).map(<[u8]>::len).collect();
    assert_eq!(lines, [1, 1, MAX_LINE - 1, 1]);
}

#[test]
fn the_rule_that_leaves_an_entry_out_is_told_by_its_place() {
    let policy = |rules: &[&str]| {
        let files = Files {
            ignore: rules.iter().map(|&rule| rule.to_owned()).collect(),
            ignore_dot_files: vec![".kopiaignore".to_owned()],
            ..Files::default()
        };
        Policy { files, ..Policy::default() }
    };
    let file = |text: &str| [(".kopiaignore".to_owned(), text.as_bytes().to_vec())];
    let outermost = IgnoreContext::outermost();
    let top = outermost.enter(b"", Some(&policy(&["*.tmp"])), &file("*.log\n!keep.log\n")).unwrap();
    let sub = top.enter(b"/sub", Some(&policy(&["x"])), &file("!y.tmp\n*.bin\n")).unwrap();
    let by = |context: &'static str, path: &str| {
        let context = if context == "top" { &top } else { &sub };
        let path = path.as_bytes();
        let entry = Candidate { path, is_dir: false, size: 1, device: 0, folder_device: 0 };
        let by = context.left_out_by(&entry).map(str::to_owned);
        assert_eq!(by.is_some(), context.decide(&entry).verdict == Verdict::Ignored);
        by
    };
    assert_eq!(by("top", "/a.tmp").as_deref(), Some("the policy"));
    assert_eq!(by("top", "/a.log").as_deref(), Some(".kopiaignore"));
    assert_eq!(by("top", "/keep.log"), None);
    assert_eq!(by("sub", "/sub/x").as_deref(), Some("the policy of sub"));
    assert_eq!(by("sub", "/sub/a.bin").as_deref(), Some("sub/.kopiaignore"));
    assert_eq!(by("sub", "/sub/a.tmp").as_deref(), Some("the policy"));
    assert_eq!(by("sub", "/sub/y.tmp"), None);
}
