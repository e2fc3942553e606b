//! Rules and changes of rules, as data for whoever prints them.

use serde::Serialize;

use super::{
    check::Repository,
    document::{Document, DocumentError, Rule},
    rules::Owner,
    scan::{self, Element},
};

/// A rule with what it is to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView<'a> {
    /// What it says.
    #[serde(flatten)]
    pub rule: &'a Rule,
    /// Is it one of ours?
    pub ours: bool,
    /// How the IDs of the blobs begin that it can reach.
    pub reaches: Vec<&'static str>,
}

/// What becomes of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Changed {
    /// It stays as it is, byte for byte.
    Keep,
    /// It is new.
    Add,
    /// It says something else.
    Change,
    /// It goes.
    Remove,
}

/// A rule before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What becomes of it.
    pub change: Changed,
    /// Its ID, if it has one.
    pub rule: Option<String>,
    /// Its text before, if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its text after, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// All rules of a document, in their order.
pub fn view<'a>(document: &'a Document, repository: &Repository) -> Vec<RuleView<'a>> {
    let of = |rule| RuleView {
        rule,
        ours: repository.owner.owns(rule),
        reaches: repository.reached(rule).kinds.iter().map(|kind| kind.begin).collect(),
    };
    document.rules().iter().map(of).collect()
}

/// What becomes of each rule: those of `after` in their order, then those that go. Only the owner's
/// rules can change.
pub fn changes(before: &Document, after: &Document, owner: &Owner) -> Vec<Change> {
    let own = |document: &'_ Document, id: &Option<String>| {
        let found = document.rules().iter().find(|rule| owner.owns(rule) && rule.id == *id);
        found.map(|rule| document.rule_text(rule).to_owned())
    };
    let of = |rule: &Rule| {
        let text = after.rule_text(rule).to_owned();
        let old = if owner.owns(rule) { own(before, &rule.id) } else { Some(text.clone()) };
        let change = match &old {
            None => Changed::Add,
            Some(old) if *old == text => Changed::Keep,
            Some(_) => Changed::Change,
        };
        Change { change, rule: rule.id.clone(), before: old, after: Some(text) }
    };
    let gone =
        before.rules().iter().filter(|rule| owner.owns(rule) && own(after, &rule.id).is_none());
    let gone = gone.map(|rule| {
        let before = Some(before.rule_text(rule).to_owned());
        Change { change: Changed::Remove, rule: rule.id.clone(), before, after: None }
    });
    after.rules().iter().map(of).chain(gone).collect()
}

/// A rule's text with a line for each element: for eyes, and to be compared line by line.
///
/// # Errors
/// [`DocumentError::Malformed`]: it is not the text of a rule.
pub fn pretty(rule: &str) -> Result<String, DocumentError> {
    let root = scan::root(rule)
        .map_err(|scan::Malformed { at, reason }| DocumentError::Malformed { at, reason })?;
    let mut out = String::new();
    write(&root, 0, &mut out);
    Ok(out)
}

fn write(element: &Element, depth: usize, out: &mut String) {
    let (indent, name) = ("  ".repeat(depth), &element.name);
    if !element.children.is_empty() {
        out.push_str(&format!("{indent}<{name}>\n"));
        element.children.iter().for_each(|child| write(child, depth + 1, out));
        out.push_str(&format!("{indent}</{name}>\n"));
    } else {
        let text = scan::encode(&element.text).unwrap_or_else(|| element.text.clone());
        out.push_str(&format!("{indent}<{name}>{text}</{name}>\n"));
    }
}

#[cfg(test)]
mod tests {
    use blob_core::StorageClass;

    use super::*;
    use crate::lifecycle::{Plan, Reach};

    #[test]
    fn changes_name_what_comes_stays_and_goes() {
        let text = "<LifecycleConfiguration><Rule><ID>a</ID></Rule></LifecycleConfiguration>";
        let before = Document::parse(text.as_bytes()).unwrap();
        let owner = Owner::new("r/");
        let plan =
            |days, reach| Plan::new(owner.clone(), StorageClass::GLACIER, days, 9, reach).unwrap();
        let of = |before: &Document, after: &Document| {
            let all = changes(before, after, &owner);
            all.into_iter().map(|it| (it.change, it.rule.unwrap())).collect::<Vec<_>>()
        };
        let one = before.with(&plan(14, Reach::All)).unwrap();
        let id = |text: &str| text.to_owned();
        let ours = "kopia-lite-packs:r/p";
        assert_eq!(of(&before, &one), [(Changed::Keep, id("a")), (Changed::Add, id(ours))]);
        let later = one.with(&plan(15, Reach::All)).unwrap();
        assert_eq!(of(&one, &later), [(Changed::Keep, id("a")), (Changed::Change, id(ours))]);
        let many = one.with(&plan(14, Reach::Digits)).unwrap();
        let all = of(&one, &many);
        assert_eq!((all.len(), &all[17]), (18, &(Changed::Remove, id(ours))));
        assert_eq!(of(&one, &one), [(Changed::Keep, id("a")), (Changed::Keep, id(ours))]);
    }

    #[test]
    fn a_rule_is_shown_with_a_line_for_each_element() {
        let text = "<s:Rule xmlns:s='x'> <s:ID>a&amp;b</s:ID><s:Filter/><s:And><s:Prefix>p</s:Prefix>\
                    </s:And></s:Rule>";
        let lines = "<Rule>\n  <ID>a&amp;b</ID>\n  <Filter></Filter>\n  <And>\n    \
                     <Prefix>p</Prefix>\n  </And>\n</Rule>\n";
        assert_eq!(pretty(text).unwrap(), lines);
        assert!(pretty("<Rule>").is_err());
    }
}
