//! One page of ListObjectsV2, read in one pass (AWS' API reference of that call).

use std::collections::BTreeMap;

use blob_core::{ReadState, Timestamp};

use crate::{
    time,
    wire::{Node, Nodes},
};

/// One object.
#[derive(Debug, Default, PartialEq)]
pub struct Entry {
    pub key: String,
    pub size: u64,
    pub modified: Timestamp,
    pub class: Option<String>,
    /// What `<RestoreStatus>` says, where it is there.
    pub restore: Option<ReadState>,
}

/// One page.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The first of the folders below, by its whole key with the slash at its end.
    pub folder: Option<String>,
    /// How to ask for the next page; `None` = this is the last.
    pub next: Option<String>,
}

/// Why a page can't be used.
#[derive(Debug, PartialEq)]
pub enum Unreadable {
    /// It is an `<Error>`, with these fields.
    Refused(BTreeMap<String, String>),
    /// It is not what it should be.
    Malformed(String),
}

/// The values read so far.
#[derive(Default)]
struct Reading {
    /// The names of the open elements.
    open: Vec<String>,
    text: String,
    /// Text fields of the page itself, or of an `<Error>`.
    fields: BTreeMap<String, String>,
    object: BTreeMap<String, String>,
    restore: BTreeMap<String, String>,
    objects: Vec<Object>,
    folder: Option<String>,
}

struct Object {
    fields: BTreeMap<String, String>,
    restore: Option<ReadState>,
}

/// Reads a page.
pub fn parse(document: &[u8]) -> Result<Page, Unreadable> {
    let mut reading = Reading::default();
    let mut root = None;
    for node in Nodes::new(document) {
        match node.map_err(Unreadable::Malformed)? {
            Node::Open(name) => {
                root.get_or_insert_with(|| name.clone());
                reading.text.clear();
                reading.open.push(name);
            }
            Node::Text(text) => reading.text.push_str(&text),
            Node::Close => reading.close()?,
        }
    }
    match root.as_deref() {
        Some("ListBucketResult") => reading.into_page(),
        Some("Error") => Err(Unreadable::Refused(reading.fields)),
        Some(other) => Err(malformed(format!("its root is <{other}>"))),
        None => Err(malformed("it has no root element")),
    }
}

impl Reading {
    fn close(&mut self) -> Result<(), Unreadable> {
        let Some(name) = self.open.pop() else { return Ok(()) };
        let text = std::mem::take(&mut self.text);
        let above: Vec<&str> = self.open.iter().skip(1).map(String::as_str).collect();
        match (above.as_slice(), name.as_str()) {
            ([], "Contents") if !self.open.is_empty() => {
                let restore = std::mem::take(&mut self.restore);
                let restore = if restore.is_empty() { None } else { Some(restored(&restore)?) };
                self.objects.push(Object { fields: std::mem::take(&mut self.object), restore });
            }
            ([], _) => {
                self.fields.insert(name, text);
            }
            (["CommonPrefixes"], "Prefix") => {
                self.folder.get_or_insert(text);
            }
            (["Contents"], _) => {
                self.object.insert(name, text);
            }
            (["Contents", "RestoreStatus"], _) => {
                self.restore.insert(name, text);
            }
            _ => {}
        }
        Ok(())
    }

    fn into_page(mut self) -> Result<Page, Unreadable> {
        let more = match self.fields.get("IsTruncated").map(|text| text.trim()) {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(malformed("it does not say whether it is the last page")),
        };
        let token = self.fields.remove("NextContinuationToken").filter(|token| !token.is_empty());
        if more && token.is_none() {
            return Err(malformed("there are more pages, but it does not say how to get them"));
        }
        let encoded = self.fields.get("EncodingType").is_some_and(|kind| kind.trim() == "url");
        let entries = self.objects.into_iter().map(|object| object.into_entry(encoded));
        let entries = entries.collect::<Result<_, _>>()?;
        let folder = match self.folder {
            Some(folder) if encoded => Some(decode(&folder)?),
            folder => folder,
        };
        Ok(Page { entries, folder, next: token.filter(|_| more) })
    }
}

impl Object {
    fn into_entry(mut self, encoded: bool) -> Result<Entry, Unreadable> {
        let mut field = |name| self.fields.remove(name);
        let missing = |name: &str| malformed(format!("an object has no {name}"));
        let key = field("Key").ok_or_else(|| missing("Key"))?;
        let key = if encoded { decode(&key)? } else { key };
        let size = field("Size").and_then(|text| text.trim().parse().ok());
        let modified = field("LastModified").and_then(|text| time::parse_iso(&text));
        Ok(Entry {
            key,
            size: size.ok_or_else(|| missing("Size"))?,
            modified: modified.ok_or_else(|| missing("LastModified"))?,
            class: field("StorageClass"),
            restore: self.restore,
        })
    }
}

fn restored(status: &BTreeMap<String, String>) -> Result<ReadState, Unreadable> {
    match status.get("IsRestoreInProgress").map(|text| text.trim()) {
        Some("true") => Ok(ReadState::Thawing),
        Some("false") => {
            let until = status.get("RestoreExpiryDate").and_then(|text| time::parse_iso(text));
            Ok(ReadState::Thawed { until })
        }
        _ => Err(malformed("an object's RestoreStatus says nothing")),
    }
}

/// The encoding of HTML forms, which S3 means by `encoding-type=url`: `%XX`, and `+` for a space.
fn decode(text: &str) -> Result<String, Unreadable> {
    let wrong = || malformed(format!("a key is not encoded as it should be: {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                (high * 16 + low) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn malformed(reason: impl Into<String>) -> Unreadable {
    Unreadable::Malformed(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::Target;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>b</Name><Prefix>pre%2F</Prefix><Delimiter>%2F</Delimiter><EncodingType>url</EncodingType>
  <IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken>
  <Contents><Key>pre%2Fa+b%2B%C3%BC</Key><LastModified>1994-11-06T08:49:37.000Z</LastModified>
    <ETag>&quot;x&quot;</ETag><Size>12</Size><Owner><ID>Key</ID></Owner>
    <StorageClass>GLACIER</StorageClass>
    <RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>
      <RestoreExpiryDate>1994-11-06T08:49:37Z</RestoreExpiryDate></RestoreStatus></Contents>
  <Contents><Key>pre%2Fp2</Key><LastModified>1994-11-06T08:49:37Z</LastModified><Size>0</Size>
    </Contents>
  <CommonPrefixes><Prefix>pre%2Fsub%2F</Prefix></CommonPrefixes>
</ListBucketResult>"#;

    #[test]
    fn a_page_is_read_with_all_it_tells() {
        let page = parse(PAGE.as_bytes()).unwrap();
        let modified = Timestamp::from_secs(784_111_777);
        let restored = ReadState::Thawed { until: Some(modified) };
        let first = Entry {
            key: "pre/a b+ü".into(),
            size: 12,
            modified,
            class: Some("GLACIER".into()),
            restore: Some(restored),
        };
        let second = Entry { key: "pre/p2".into(), modified, ..Entry::default() };
        let (folder, next) = (Some("pre/sub/".into()), Some("t+/=".into()));
        assert_eq!(page, Page { entries: vec![first, second], folder, next });
    }

    #[test]
    fn a_page_takes_any_bytes() {
        let read = |bytes: &[u8]| parse(bytes).is_ok();
        let page = PAGE.as_bytes().to_vec();
        Target::new("listing", read, [page], crate::MEMORY).attack();
    }

    #[test]
    fn a_page_cut_anywhere_is_no_page() {
        for end in 0..PAGE.len() {
            let cut = parse(&PAGE.as_bytes()[..end]);
            assert!(matches!(cut, Err(Unreadable::Malformed(_))), "cut at {end}: {cut:?}");
        }
    }

    #[test]
    fn what_is_not_a_whole_listing_is_never_an_empty_one() {
        let refused = parse(b"<Error><Code>SlowDown</Code></Error>").unwrap_err();
        assert!(matches!(refused, Unreadable::Refused(fields) if fields["Code"] == "SlowDown"));
        let wrong = [
            "",
            "<ListBucketResult/>",
            "<html><body>hello</body></html>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key></Contents>\
             </ListBucketResult>",
        ];
        for text in wrong {
            let read = parse(text.as_bytes());
            assert!(matches!(read, Err(Unreadable::Malformed(_))), "{text}: {read:?}");
        }
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(parse(empty.as_bytes()).unwrap(), Page::default());
    }

    #[test]
    fn keys_are_decoded_only_where_the_answer_says_that_they_are_encoded() {
        let raw = PAGE.replace("<EncodingType>url</EncodingType>", "");
        assert_eq!(parse(raw.as_bytes()).unwrap().entries[1].key, "pre%2Fp2");
        assert!(decode("%").is_err() && decode("%zz").is_err() && decode("%ff").is_err());
    }
}
