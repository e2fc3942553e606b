//! XML as S3 writes it, read by a pull parser in one pass that always ends.
//!
//! rusoto's own deserialisers loop for ever on XML that breaks off; what is read here ends with an
//! error instead. Names of elements come without their namespace.

use std::collections::BTreeMap;

use xml::{EventReader, ParserConfig, reader::XmlEvent};

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
/// read before the document broke off counts.
pub(super) fn error_fields(document: &[u8]) -> Option<BTreeMap<String, String>> {
    let (mut path, mut text, mut fields) = (Vec::new(), String::new(), BTreeMap::new());
    for node in Nodes::new(document).map_while(Result::ok) {
        match node {
            Node::Open(name) => {
                if path.is_empty() && name != "Error" {
                    return None;
                }
                path.push(name);
                text.clear();
            }
            Node::Text(part) => text.push_str(&part),
            Node::Close => {
                if let (2, Some(name)) = (path.len(), path.pop()) {
                    fields.insert(name, std::mem::take(&mut text));
                }
            }
        }
    }
    Some(fields).filter(|fields| !fields.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_with_and_without_a_namespace() {
        let body = br#"<?xml version="1.0"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Code>NoSuchKey</Code><Message>a &amp; b</Message><Deep><X>1</X></Deep></Error>"#;
        let fields = error_fields(body).unwrap();
        assert_eq!((fields["Code"].as_str(), fields["Message"].as_str()), ("NoSuchKey", "a & b"));
        assert_eq!(error_fields(b"<html><Code>x</Code></html>"), None);
        assert_eq!(error_fields(b"Bad gateway"), None);
        assert_eq!(error_fields(b""), None);
        assert_eq!(error_fields(b"<Error><Code>SlowDown</Code><Mess").unwrap()["Code"], "SlowDown");
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
