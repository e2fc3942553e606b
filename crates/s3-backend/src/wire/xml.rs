//! XML as S3 writes it, read by a pull parser in one pass that always ends.
//!
//! rusoto's own deserialisers loop for ever on XML that breaks off; what is read here ends with an
//! error instead. Names of elements come without their namespace.

use std::collections::BTreeMap;

use xml::{EventReader, ParserConfig, reader::XmlEvent};

/// Deeper than any answer of S3 is nested. The parser below looks through all open elements at each
/// one that opens, so a deep document would take it for ever.
const DEPTH_MAX: usize = 100;

/// One step through a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// `<Name>`.
    Open(String),
    /// Text between tags.
    Text(String),
    /// `</Name>`.
    Close,
}

/// A document, step by step. Ends after the root is closed, or with an error.
pub(crate) struct Nodes<'a> {
    reader: Option<EventReader<&'a [u8]>>,
    depth: usize,
    closed: bool,
}

impl<'a> Nodes<'a> {
    pub fn new(document: &'a [u8]) -> Self {
        let config = ParserConfig::new().cdata_to_characters(true);
        let document = before_entities(document);
        let reader = Some(EventReader::new_with_config(document, config));
        Self { reader, depth: 0, closed: false }
    }
}

impl Iterator for Nodes<'_> {
    type Item = Result<Node, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let node = match self.reader.as_mut()?.next() {
                Ok(XmlEvent::StartElement { .. }) if self.closed => {
                    self.reader = None; // this parser would take any number of roots
                    Err("it has a second root element".to_owned())
                }
                Ok(XmlEvent::StartElement { .. }) if self.depth == DEPTH_MAX => {
                    self.reader = None;
                    Err(format!("it is nested more than {DEPTH_MAX} deep"))
                }
                Ok(XmlEvent::StartElement { name, .. }) => {
                    self.depth += 1;
                    Ok(Node::Open(name.local_name))
                }
                Ok(XmlEvent::EndElement { .. }) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.closed = self.depth == 0;
                    Ok(Node::Close)
                }
                Ok(XmlEvent::Characters(text) | XmlEvent::Whitespace(text)) => Ok(Node::Text(text)),
                Ok(XmlEvent::EndDocument) => {
                    self.reader = None;
                    return None;
                }
                Ok(_) => continue,
                Err(error) => {
                    self.reader = None; // the parser may repeat its error for ever
                    Err(error.to_string())
                }
            };
            return Some(node);
        }
    }
}

/// The document up to where it declares entities of its own, which S3 never does: a few of them,
/// each said many times, would be read as gigabytes. A zero byte ends it too; in UTF-8 there is
/// none, and in UTF-16, which the parser reads, the declaration would look different.
fn before_entities(document: &[u8]) -> &[u8] {
    let mark = b"<!ENTITY";
    let end = document.windows(mark.len()).position(|window| window == mark || window[0] == 0);
    &document[..end.unwrap_or(document.len())]
}

/// The root's name, if the document is well-formed to its end.
pub(super) fn root(document: &[u8]) -> Result<String, String> {
    let mut root = None;
    for node in Nodes::new(document) {
        if let Node::Open(name) = node? {
            root.get_or_insert(name);
        }
    }
    root.ok_or_else(|| "it has no root element".into())
}

/// The children of `<Error>` that hold text; `None` if the document is none of that kind. What was
/// read before the document broke off counts. S3 Control wraps it in `<ErrorResponse>`.
pub(crate) fn error_fields(document: &[u8]) -> Option<BTreeMap<String, String>> {
    let children = match Children::of(document, 1) {
        Children { root: Some(root), .. } if root == "ErrorResponse" => Children::of(document, 2),
        children => children,
    };
    let is_error = children.above.as_deref() == Some("Error") && !children.texts.is_empty();
    is_error.then_some(children.texts)
}

/// The root's name and the texts of its children, of a whole document.
pub(crate) fn text_fields(document: &[u8]) -> Result<(String, BTreeMap<String, String>), String> {
    let Children { root, texts, end, .. } = Children::of(document, 1);
    end?;
    Ok((root.ok_or("it has no root element")?, texts))
}

/// What stands at one depth: directly below the root, or one deeper.
struct Children {
    root: Option<String>,
    /// The first element that children could be of.
    above: Option<String>,
    texts: BTreeMap<String, String>,
    /// Why the document broke off.
    end: Result<(), String>,
}

impl Children {
    fn of(document: &[u8], depth: usize) -> Self {
        let (root, above) = (None, None);
        let mut found = Self { root, above, texts: BTreeMap::new(), end: Ok(()) };
        let (mut path, mut text) = (Vec::new(), String::new());
        for node in Nodes::new(document) {
            match node {
                Ok(Node::Open(name)) => {
                    found.root.get_or_insert_with(|| name.clone());
                    if path.len() + 1 == depth {
                        found.above.get_or_insert_with(|| name.clone());
                    }
                    path.push(name);
                    text.clear();
                }
                Ok(Node::Text(part)) => text.push_str(&part),
                Ok(Node::Close) => {
                    let is_child = path.len() == depth + 1;
                    if let (true, Some(name)) = (is_child, path.pop()) {
                        found.texts.insert(name, std::mem::take(&mut text));
                    }
                }
                Err(reason) => found.end = Err(reason),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::{Target, peak_of};

    #[test]
    fn a_document_nested_without_end_is_refused_at_once() {
        let deep = "<a>".repeat(1_000_000);
        let error = root(deep.as_bytes()).unwrap_err();
        assert_eq!(error, "it is nested more than 100 deep");
        assert_eq!(error_fields(deep.as_bytes()), None);
        let fields = error_fields(format!("<Error><Code>x</Code>{deep}").as_bytes());
        assert_eq!(fields.unwrap()["Code"], "x");
    }

    #[test]
    fn entities_of_its_own_blow_up_no_document() {
        let mut laughs = "<!DOCTYPE a [<!ENTITY l0 \"haha\">".to_owned();
        for level in 1..12 {
            let inner = format!("&l{};", level - 1).repeat(10);
            laughs.push_str(&format!("<!ENTITY l{level} \"{inner}\">"));
        }
        laughs.push_str("]><Error><Code>&l11;</Code></Error>");
        let wide = format!(
            "<!DOCTYPE a [<!ENTITY l \"{}\">]><Error><Code>{}",
            "x".repeat(9_000),
            "&l;".repeat(9_000)
        );
        let utf_16 = wide.encode_utf16().flat_map(u16::to_be_bytes);
        let utf_16 = [0xfe, 0xff].into_iter().chain(utf_16).collect();
        for document in [laughs.into_bytes(), wide.into_bytes(), utf_16] {
            let (fields, peak) = peak_of(|| error_fields(&document));
            assert_eq!(fields, None);
            assert!(root(&document).is_err());
            assert!(peak < 64 * document.len() + (64 << 10), "{peak} for {}", document.len());
        }
    }

    #[test]
    fn an_error_takes_any_bytes() {
        let read = |bytes: &[u8]| {
            error_fields(bytes).is_some_and(|fields| !fields.is_empty()) && root(bytes).is_ok()
        };
        let body = br#"<?xml version="1.0"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Code>NoSuchKey</Code><Message>a &amp; b</Message><Deep><X>1</X></Deep></Error>"#;
        Target::new("error of S3", read, [body.to_vec()], crate::MEMORY).attack();
    }

    #[test]
    fn an_error_is_read_with_and_without_a_namespace() {
        let body = br#"<?xml version="1.0"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Code>NoSuchKey</Code><Message>a &amp; b</Message><Deep><X>1</X></Deep></Error>"#;
        let fields = error_fields(body).unwrap();
        assert_eq!((fields["Code"].as_str(), fields["Message"].as_str()), ("NoSuchKey", "a & b"));
        let wrapped =
            b"<ErrorResponse><Error><Code>AccessDenied</Code></Error><RequestId>r</RequestId>";
        let fields = error_fields(wrapped).unwrap();
        assert_eq!((fields["Code"].as_str(), fields.len()), ("AccessDenied", 1));
        assert_eq!(error_fields(b"<ErrorResponse><X><Code>1</Code></X></ErrorResponse>"), None);
        assert_eq!(error_fields(b"<html><Code>x</Code></html>"), None);
        assert_eq!(error_fields(b"Bad gateway"), None);
        assert_eq!(error_fields(b""), None);
        assert_eq!(error_fields(b"<Error><Code>SlowDown</Code><Mess").unwrap()["Code"], "SlowDown");
    }

    #[test]
    fn the_texts_below_the_root_have_their_own_names() {
        let body = b"<A><Status>Enabled</Status><Deep><X>1</X></Deep><Y/></A>";
        let (root, fields) = text_fields(body).unwrap();
        assert_eq!((root.as_str(), fields["Status"].as_str()), ("A", "Enabled"));
        assert!(!fields.contains_key("X"));
        assert!(text_fields(b"<A><Status>Enabled</Status>").is_err() && text_fields(b"").is_err());
    }

    #[test]
    fn a_document_cut_anywhere_ends_with_an_error() {
        let whole = b"<A><B>text</B><C/></A>";
        assert_eq!(root(whole).unwrap(), "A");
        for end in 0..whole.len() {
            assert!(root(&whole[..end]).is_err(), "cut at {end}");
        }
        for wrong in [&b"<A><B></A></B>"[..], b"plain", b"<A>&nope;</A>", b"<A/><B/>", b"\xff\xfe"]
        {
            assert!(root(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
