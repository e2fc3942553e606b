//! The elements of an XML document, with the bytes that each of them takes.
//!
//! A parser that gives places by line and column cannot be used to cut a document; this one gives
//! byte offsets. It reads what a lifecycle document can hold: elements, text, comments, CDATA and
//! the five entities, and refuses document types, with which an entity could be anything.
//! Attributes are passed over: none of them means anything there.

use std::ops::Range;

/// Deeper than any lifecycle document is nested.
const DEPTH_MAX: usize = 32;

/// An element with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Its name without a namespace.
    pub name: String,
    /// What stands before the name: `s3:`, or nothing.
    pub namespace: String,
    /// From its `<` to behind its last `>`.
    pub span: Range<usize>,
    /// Between its tags; `None` for `<Name/>`.
    pub inner: Option<Range<usize>>,
    /// The text directly in it, all pieces together.
    pub text: String,
    /// The elements directly in it.
    pub children: Vec<Element>,
}

/// Why a document can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The byte where reading ended.
    pub at: usize,
    pub reason: &'static str,
}

impl Element {
    /// The first element directly in it that has this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// A text that two elements share if they say the same: neither white space between elements
    /// nor the order of an element's children counts.
    pub fn canonical(&self) -> String {
        let mut inside: Vec<String> = self.children.iter().map(Self::canonical).collect();
        inside.sort_unstable();
        let text = match (self.name.as_str(), inside.is_empty()) {
            // Here white space is part of the value.
            ("Prefix" | "Key" | "Value", true) => self.text.as_str(),
            (_, true) => self.text.trim(),
            (_, false) => "",
        };
        format!("{}({text:?}{})", self.name, inside.concat())
    }
}

/// The root element of a document.
pub(super) fn root(document: &str) -> Result<Element, Malformed> {
    let mut scan = Scan { document, at: 0, open: Vec::new(), root: None };
    while scan.at < document.len() {
        scan.step()?;
    }
    match (scan.open.is_empty(), scan.root) {
        (false, _) => Err(Malformed { at: document.len(), reason: "it breaks off" }),
        (true, None) => Err(Malformed { at: document.len(), reason: "it has no root element" }),
        (true, Some(root)) => Ok(root),
    }
}

struct Scan<'a> {
    document: &'a str,
    at: usize,
    /// The open elements, the root first.
    open: Vec<Element>,
    root: Option<Element>,
}

impl<'a> Scan<'a> {
    fn wrong<T>(&self, reason: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, reason })
    }

    /// The text from `from` up to `mark`, and moves behind the mark.
    fn until(&mut self, from: usize, mark: &str) -> Result<&'a str, Malformed> {
        let rest = self.document.get(from..).unwrap_or_default();
        let Some(length) = rest.find(mark) else { return self.wrong("it breaks off") };
        self.at = from + length + mark.len();
        Ok(&rest[..length])
    }

    fn step(&mut self) -> Result<(), Malformed> {
        let rest = &self.document[self.at..];
        let text = rest.find('<').unwrap_or(rest.len());
        if text > 0 {
            self.text(&rest[..text])?;
            self.at += text;
        } else if rest.starts_with("<?") {
            self.until(self.at + 2, "?>")?;
        } else if rest.starts_with("<!--") {
            self.until(self.at + 4, "-->")?;
        } else if rest.starts_with("<![CDATA[") {
            let text = self.until(self.at + 9, "]]>")?;
            match self.open.last_mut() {
                Some(element) => element.text.push_str(text),
                None => return self.wrong("there is text outside of the root element"),
            }
        } else if rest.starts_with("<!") {
            return self.wrong("it declares a document type");
        } else if rest.starts_with("</") {
            self.close()?;
        } else {
            self.open()?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        match self.open.last_mut() {
            Some(element) => match decode(text) {
                Some(text) => element.text.push_str(&text),
                None => return self.wrong("an entity is not known"),
            },
            None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
            None => return self.wrong("there is text outside of the root element"),
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Malformed> {
        let begin = self.at;
        let tag = tag_length(&self.document[begin..]);
        let Some(length) = tag else { return self.wrong("a tag breaks off") };
        let tag = &self.document[begin + 1..begin + length - 1];
        let (tag, is_empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
        let (namespace, local) = match name.split_once(':') {
            Some((namespace, local)) => (format!("{namespace}:"), local),
            None => (String::new(), name),
        };
        let is_name = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
        if !local.starts_with(|c: char| c.is_alphabetic() || c == '_') || !name.chars().all(is_name)
        {
            return self.wrong("a tag has no name");
        }
        if self.open.is_empty() && self.root.is_some() {
            return self.wrong("it has a second root element");
        }
        if self.open.len() == DEPTH_MAX {
            return self.wrong("it is nested too deep");
        }
        let end = begin + length;
        let element = Element {
            name: local.to_owned(),
            namespace,
            span: begin..end,
            inner: (!is_empty).then_some(end..end),
            text: String::new(),
            children: Vec::new(),
        };
        self.at = end;
        match is_empty {
            true => self.put(element),
            false => self.open.push(element),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let begin = self.at;
        let name = self.until(begin + 2, ">")?.trim_end();
        let Some(mut element) = self.open.pop() else {
            return self.wrong("an end tag has no begin");
        };
        if name.strip_prefix(&element.namespace) != Some(&element.name) {
            return self.wrong("an end tag has another name than its begin");
        }
        element.span.end = self.at;
        if let Some(inner) = &mut element.inner {
            inner.end = begin;
        }
        self.put(element);
        Ok(())
    }

    fn put(&mut self, element: Element) {
        match self.open.last_mut() {
            Some(above) => above.children.push(element),
            None => self.root = Some(element),
        }
    }
}

/// The length of the tag that `text` begins with. A `>` in an attribute's value does not end it.
fn tag_length(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'<') => return None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// `text` with the entities of XML resolved; `None` if one is not of XML itself.
fn decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) = after.split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = entity.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// `text` as it stands in a document; `None` if no document of XML 1.0 can hold it.
pub(super) fn encode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(char))),
            '\u{fffe}' | '\u{ffff}' => return None,
            char if char < ' ' => return None,
            char => out.push(char),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_their_bytes() {
        let text = "\u{feff}<?xml version='1.0'?>\n<!-- <no/> --><s:A xmlns:s=\"a>b\" >\n <s:B>x &amp; \
                    <![CDATA[<y>]]>&#x7a;</s:B ><C/></s:A>\n";
        let root = root(text).unwrap();
        assert_eq!((&*root.name, &*root.namespace), ("A", "s:"));
        assert!(text[root.span.clone()].starts_with("<s:A xmlns"));
        assert!(text[root.span.clone()].ends_with("</s:A>"));
        assert_eq!(&text[root.inner.clone().unwrap()][..3], "\n <");
        let [b, c] = &root.children[..] else { panic!("{root:?}") };
        assert_eq!((&*b.text, &text[c.span.clone()], &c.inner), ("x & <y>z", "<C/>", &None));
        assert!(text[b.span.clone()].starts_with("<s:B>") && text[b.span.clone()].ends_with('>'));
    }

    #[test]
    fn what_is_no_whole_document_is_refused() {
        let deep = "<a>".repeat(100_000);
        for text in [
            "",
            " ",
            "x",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "</a>",
            "<a",
            "<a b='>",
            "< a/>",
            "<a>&no;</a>",
            "<a>&#1114112;</a>",
            "<a>&amp</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a/>",
            "<a><!--</a>",
            "<a><![CDATA[</a>",
            "<a><b</a>",
            "<s:a></a>",
            "<![CDATA[x]]><a/>",
            &deep,
        ] {
            assert!(root(text).is_err(), "{:?}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn texts_are_written_so_that_they_are_read_back() {
        for text in ["a&b<c>\"d'", " x ", "ü\t\n", "]]>"] {
            let document = format!("<a>{}</a>", encode(text).unwrap());
            assert_eq!(root(&document).unwrap().text, text);
        }
        assert_eq!((encode("\u{1}"), encode("\u{ffff}")), (None, None));
    }

    #[test]
    fn two_forms_of_the_same_are_equal() {
        let of = |text: &str| root(text).unwrap().canonical();
        let one = of("<R><ID>a</ID><Filter/><X><Days>1</Days></X></R>");
        assert_eq!(one, of("<n:R>\n<X><Days> 1 </Days></X><Filter></Filter><ID>a</ID></n:R>"));
        assert_ne!(one, of("<R><ID>a</ID><Filter/><X><Days>2</Days></X></R>"));
        assert_ne!(of("<R><Prefix>a</Prefix></R>"), of("<R><Prefix> a</Prefix></R>"));
        assert_ne!(of("<R><A>1</A><B>2</B></R>"), of("<R><A>2</A><B>1</B></R>"));
    }
}
