//! A small XML document as a tree, for requests whose form is checked element by element.

use xml::{EventReader, reader::XmlEvent};

/// An element, with the text that stands directly in it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub name: String,
    pub namespace: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document. It is a test's own, so nothing limits its depth.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        let mut open = vec![Self::default()];
        for event in EventReader::new(document) {
            match event.map_err(|error| error.to_string())? {
                XmlEvent::StartElement { name, .. } => open.push(Self {
                    name: name.local_name,
                    namespace: name.namespace.unwrap_or_default(),
                    ..Self::default()
                }),
                XmlEvent::Characters(text) | XmlEvent::CData(text) => {
                    if let Some(inner) = open.last_mut() {
                        inner.text.push_str(&text);
                    }
                }
                XmlEvent::EndElement { .. } => {
                    if let (Some(done), Some(outer)) = (open.pop(), open.last_mut()) {
                        outer.children.push(done);
                    }
                }
                _ => {}
            }
        }
        let root = open.pop().and_then(|mut document| document.children.pop());
        root.ok_or_else(|| "it has no root element".into())
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// Are the children some of these, in this order, none of them twice?
    pub fn has_only(&self, names: &[&str]) -> bool {
        let mut rest = names.iter();
        self.children.iter().all(|child| rest.any(|name| child.name == *name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_tree_whose_order_can_be_checked() {
        let root = Element::parse(b"<a xmlns=\"n\"><b>1</b><c><d>2 &amp; 3</d></c></a>").unwrap();
        assert_eq!((root.name.as_str(), root.namespace.as_str()), ("a", "n"));
        assert_eq!(root.child("c").unwrap().text_of("d"), Some("2 & 3"));
        assert!(root.has_only(&["b", "x", "c"]));
        assert!(!root.has_only(&["c", "b"]) && !root.has_only(&["b"]));
        assert!(Element::parse(b"<a><b></a>").is_err() && Element::parse(b"").is_err());
    }
}
