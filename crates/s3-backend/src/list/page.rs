//! One page of ListObjectsV2 or ListObjectVersions, read in one pass (AWS' API reference of these
//! calls).

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
    /// The listing names an algorithm of a checksum that S3 keeps.
    pub has_checksum: bool,
    /// The version, where versions are listed.
    pub version: Option<String>,
    /// It is a delete marker.
    pub deleted: bool,
}

/// One page.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The folders below, by their whole keys with the slash at the end.
    pub folders: Vec<String>,
    /// How to ask for the next page; `None` = this is the last.
    pub next: Option<String>,
}

/// Where the next page of a listing of versions begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub key: String,
    pub version: String,
}

/// One page of a listing of versions.
#[derive(Debug, Default, PartialEq)]
pub struct VersionsPage {
    /// Versions and delete markers, in the order of the document.
    pub entries: Vec<Entry>,
    /// How to ask for the next page; `None` = this is the last.
    pub next: Option<Token>,
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
    folders: Vec<String>,
}

struct Object {
    fields: BTreeMap<String, String>,
    restore: Option<ReadState>,
    deleted: bool,
}

/// Reads a page.
pub fn parse(document: &[u8]) -> Result<Page, Unreadable> {
    Reading::of(document, "ListBucketResult")?.into_page()
}

/// Reads a page of versions.
pub fn parse_versions(document: &[u8]) -> Result<VersionsPage, Unreadable> {
    Reading::of(document, "ListVersionsResult")?.into_versions()
}

impl Reading {
    fn of(document: &[u8], wanted: &str) -> Result<Self, Unreadable> {
        let mut reading = Self::default();
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
            Some(root) if root == wanted => Ok(reading),
            Some("Error") => Err(Unreadable::Refused(reading.fields)),
            Some(other) => Err(malformed(format!("its root is <{other}>"))),
            None => Err(malformed("it has no root element")),
        }
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let Some(name) = self.open.pop() else { return Ok(()) };
        let text = std::mem::take(&mut self.text);
        let above: Vec<&str> = self.open.iter().skip(1).map(String::as_str).collect();
        match (above.as_slice(), name.as_str()) {
            ([], "Contents" | "Version" | "DeleteMarker") if !self.open.is_empty() => {
                let restore = std::mem::take(&mut self.restore);
                let restore = if restore.is_empty() { None } else { Some(restored(&restore)?) };
                let fields = std::mem::take(&mut self.object);
                self.objects.push(Object { fields, restore, deleted: name == "DeleteMarker" });
            }
            ([], _) => {
                self.fields.insert(name, text);
            }
            (["CommonPrefixes"], "Prefix") => self.folders.push(text),
            (["Contents" | "Version" | "DeleteMarker"], _) => {
                self.object.insert(name, text);
            }
            (["Contents" | "Version", "RestoreStatus"], _) => {
                self.restore.insert(name, text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Are there more pages?
    fn more(&self) -> Result<bool, Unreadable> {
        match self.fields.get("IsTruncated").map(|text| text.trim()) {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(malformed("it does not say whether it is the last page")),
        }
    }

    /// How to get the next page, taken from a field that must be there.
    fn next(&mut self, name: &str) -> Result<String, Unreadable> {
        let text = self.fields.remove(name).filter(|text| !text.is_empty());
        text.ok_or_else(|| malformed("there are more pages, but it does not say how to get them"))
    }

    fn is_encoded(&self) -> bool {
        self.fields.get("EncodingType").is_some_and(|kind| kind.trim() == "url")
    }

    fn into_versions(mut self) -> Result<VersionsPage, Unreadable> {
        let (more, encoded) = (self.more()?, self.is_encoded());
        let next = match more {
            true => {
                let key = self.next("NextKeyMarker")?;
                let key = if encoded { decode(&key)? } else { key };
                let version = self.fields.remove("NextVersionIdMarker").unwrap_or_default();
                Some(Token { key, version })
            }
            false => None,
        };
        let entries = self.objects.into_iter().map(|object| object.into_entry(encoded));
        Ok(VersionsPage { entries: entries.collect::<Result<_, _>>()?, next })
    }

    fn into_page(mut self) -> Result<Page, Unreadable> {
        let (more, encoded) = (self.more()?, self.is_encoded());
        let next = if more { Some(self.next("NextContinuationToken")?) } else { None };
        let entries = self.objects.into_iter().map(|object| object.into_entry(encoded));
        let entries = entries.collect::<Result<_, _>>()?;
        let folders = match encoded {
            true => self.folders.iter().map(|folder| decode(folder)).collect::<Result<_, _>>()?,
            false => self.folders,
        };
        Ok(Page { entries, folders, next })
    }
}

impl Object {
    fn into_entry(mut self, encoded: bool) -> Result<Entry, Unreadable> {
        let mut field = |name| self.fields.remove(name);
        let missing = |name: &str| malformed(format!("an object has no {name}"));
        let key = field("Key").ok_or_else(|| missing("Key"))?;
        let key = if encoded { decode(&key)? } else { key };
        let size = match self.deleted {
            true => Some(0),
            false => field("Size").and_then(|text| text.trim().parse().ok()),
        };
        let modified = field("LastModified").and_then(|text| time::parse_iso(&text));
        Ok(Entry {
            key,
            size: size.ok_or_else(|| missing("Size"))?,
            modified: modified.ok_or_else(|| missing("LastModified"))?,
            class: field("StorageClass"),
            restore: self.restore,
            has_checksum: field("ChecksumAlgorithm").is_some(),
            version: field("VersionId"),
            deleted: self.deleted,
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
            has_checksum: false,
            ..Entry::default()
        };
        let second = Entry { key: "pre/p2".into(), modified, ..Entry::default() };
        let (folders, next) = (vec!["pre/sub/".into()], Some("t+/=".into()));
        assert_eq!(page, Page { entries: vec![first, second], folders, next });
    }

    #[test]
    fn a_page_takes_any_bytes() {
        let read = |bytes: &[u8]| parse(bytes).is_ok();
        let page = PAGE.as_bytes().to_vec();
        Target::new("listing", read, [page], crate::MEMORY).attack();
    }

    const VERSIONS: &str = r#"<ListVersionsResult><EncodingType>url</EncodingType>
  <Name>b</Name><IsTruncated>true</IsTruncated><NextKeyMarker>p%2Fc+d</NextKeyMarker>
  <NextVersionIdMarker>v9</NextVersionIdMarker>
  <DeleteMarker><Key>p%2Fa</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest>
    <LastModified>1994-11-06T08:49:38Z</LastModified></DeleteMarker>
  <Version><Key>p%2Fa</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest>
    <LastModified>1994-11-06T08:49:37Z</LastModified><Size>7</Size>
    <StorageClass>GLACIER</StorageClass><RestoreStatus>
    <IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Version>
</ListVersionsResult>"#;

    #[test]
    fn versions_and_delete_markers_are_read_in_their_order() {
        let page = parse_versions(VERSIONS.as_bytes()).unwrap();
        let modified = Timestamp::from_secs(784_111_777);
        let version = |name: &str| Some(name.to_owned());
        let marker = Entry {
            key: "p/a".into(),
            modified: Timestamp::from_secs(784_111_778),
            version: version("v3"),
            deleted: true,
            ..Entry::default()
        };
        let first = Entry {
            key: "p/a".into(),
            size: 7,
            modified,
            class: Some("GLACIER".into()),
            restore: Some(ReadState::Thawing),
            has_checksum: false,
            version: version("v1"),
            deleted: false,
        };
        let next = Some(Token { key: "p/c d".into(), version: "v9".into() });
        assert_eq!(page, VersionsPage { entries: vec![marker, first], next });
        assert!(parse(VERSIONS.as_bytes()).is_err() && parse_versions(PAGE.as_bytes()).is_err());
    }

    #[test]
    fn a_page_of_versions_takes_any_bytes() {
        let read = |bytes: &[u8]| parse_versions(bytes).is_ok();
        let page = VERSIONS.as_bytes().to_vec();
        Target::new("listing of versions", read, [page], crate::MEMORY).attack();
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
