//! The shared files of AWS' tools, `~/.aws/config` and `~/.aws/credentials`, as far as credentials
//! need them.
//!
//! Sections in brackets, `key = value` lines, comments at the line's start (`#`, `;`) or after a
//! value and a space. Indented lines belong to the key above (`s3 =` has some) and are passed over.
//! Source: "Shared config and credentials files", AWS SDKs and Tools Reference Guide.

use std::collections::BTreeMap;

/// One section's values by lower-case key.
pub(super) type Section = BTreeMap<String, String>;

/// A file's sections by the text in their brackets, blanks folded.
#[derive(Debug, Default)]
pub(super) struct Ini(BTreeMap<String, Section>);

impl Ini {
    /// Reads a file. A section that comes twice is one, its later values win.
    ///
    /// # Errors
    /// The line that makes no sense, counted from 1.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut sections = BTreeMap::<String, Section>::new();
        let mut current = None;
        for (number, line) in (1_usize..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let bare = line.trim();
            if bare.is_empty() || bare.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = bare.strip_prefix('[') {
                let (name, _) = rest.split_once(']').ok_or(number)?;
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                sections.entry(name.clone()).or_default();
                current = Some(name);
            } else if line.starts_with([' ', '\t']) {
                // a value of its own under the key above
            } else {
                let (key, value) = bare.split_once('=').ok_or(number)?;
                let section = current.as_ref().and_then(|name| sections.get_mut(name));
                let value = uncommented(value).to_owned();
                section.ok_or(number)?.insert(key.trim().to_ascii_lowercase(), value);
            }
        }
        Ok(Self(sections))
    }

    /// The values of one section.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.0.get(name)
    }
}

fn uncommented(value: &str) -> &str {
    let ends = [" #", " ;", "\t#", "\t;"];
    let end = ends.iter().filter_map(|mark| value.find(mark)).min().unwrap_or(value.len());
    value[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::Target;

    #[test]
    fn a_file_may_hold_any_bytes() {
        let text = "# a comment\n[default]\nAWS_Access_Key_ID = AK #mine\ns3 =\n  max = 20\n\
                    [profile   two words ]\na = b=c;d\n[default]\nregion = x\n";
        let read = |bytes: &[u8]| Ini::parse(&String::from_utf8_lossy(bytes)).is_ok();
        Target::new("shared file", read, [text.into()], crate::MEMORY).attack();
    }

    #[test]
    fn sections_keys_comments_and_nested_values() {
        let text = "\u{feff}# a comment\n[default]\nAWS_Access_Key_ID = AK #mine\n; another\n\
                    s3 =\n  max_concurrent_requests = 20\nregion=eu-west-1\n\
                    [profile   two words ]\na = b=c;d\n[default]\nregion = x\n";
        let ini = Ini::parse(text).unwrap();
        let default = ini.section("default").unwrap();
        assert_eq!(default["aws_access_key_id"], "AK");
        assert_eq!(default["region"], "x");
        assert_eq!(default["s3"], "");
        assert!(!default.contains_key("max_concurrent_requests"));
        assert_eq!(ini.section("profile two words").unwrap()["a"], "b=c;d");
        assert!(ini.section("other").is_none());
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert_eq!(Ini::parse("[a]\nkey\n").unwrap_err(), 2);
        assert_eq!(Ini::parse("[a\n").unwrap_err(), 1);
        assert_eq!(Ini::parse("key = value before any section\n").unwrap_err(), 1);
    }
}
