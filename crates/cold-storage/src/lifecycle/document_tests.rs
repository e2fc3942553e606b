//! Documents of AWS' guide and of odd forms, and our rule in all of them.

use blob_core::StorageClass;

use super::*;
use crate::lifecycle::Reach;

/// Documents that a bucket may have, most of them from the S3 User Guide's "Examples of S3
/// Lifecycle configurations".
const DOCUMENTS: &[&str] = &[
    // All of a bucket, old form of the prefix.
    "<LifecycleConfiguration><Rule><ID>old</ID><Prefix></Prefix><Status>Enabled</Status>\
     <Transition><Days>90</Days><StorageClass>STANDARD_IA</StorageClass></Transition></Rule>\
     </LifecycleConfiguration>",
    "<LifecycleConfiguration>\n  <Rule>\n    <ID>Archive and then delete rule</ID>\n    \
     <Filter>\n       <Prefix>projectdocs/</Prefix>\n    </Filter>\n    <Status>Enabled</Status>\n\
     \t<Transition>\n      <Days>365</Days>\n      <StorageClass>GLACIER</StorageClass>\n    \
     </Transition>\n    <Expiration>\n        <Days>3650</Days>\n    </Expiration>\n  </Rule>\n\
     </LifecycleConfiguration>\n",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!-- by hand -->\r\n\
     <LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\r\n\
     \x20 <!-- <Rule>no rule</Rule> -->\r\n  <Rule><ID>sizes &amp; tags</ID><Filter><And>\
     <Prefix>r/p</Prefix><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>c</Key><Value/></Tag>\
     <ObjectSizeGreaterThan>500</ObjectSizeGreaterThan>\
     <ObjectSizeLessThan>64000</ObjectSizeLessThan></And></Filter>\
     <Status>Disabled</Status><NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays>\
     <NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
     <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
     </AbortIncompleteMultipartUpload><Expiration><ExpiredObjectDeleteMarker>true\
     </ExpiredObjectDeleteMarker></Expiration></Rule>\r\n</LifecycleConfiguration>",
    "<s3:LifecycleConfiguration xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\"><s3:Rule>\
     <s3:ID>ns</s3:ID><s3:Filter/><s3:Status>Enabled</s3:Status><s3:NoncurrentVersionTransition>\
     <s3:NoncurrentDays>1</s3:NoncurrentDays><s3:StorageClass>GLACIER_IR</s3:StorageClass>\
     </s3:NoncurrentVersionTransition></s3:Rule></s3:LifecycleConfiguration>",
    "<LifecycleConfiguration xmlns='x>y'/>",
    "<LifecycleConfiguration>\n</LifecycleConfiguration>",
    // Things of tomorrow, and another repository's rule of ours.
    "<LifecycleConfiguration><Rule><ID>kopia-lite-packs:other/p</ID><Filter>\
     <OfTomorrow>1</OfTomorrow></Filter><Status>Enabled</Status><Explode/><Transition>\
     <Date>2030-01-01T00:00:00.000Z</Date><StorageClass>GLACIER</StorageClass></Transition></Rule>\
     <TransitionDefaultMinimumObjectSize>varies_by_storage_class\
     </TransitionDefaultMinimumObjectSize></LifecycleConfiguration>",
];

fn plan(days: u32, reach: Reach) -> Plan {
    Plan::new(Owner::new("r/"), StorageClass::DEEP_ARCHIVE, days, 100, reach).unwrap()
}

fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

/// The texts of all rules that are not ours.
fn foreign(document: &Document) -> Vec<&str> {
    let owner = Owner::new("r/");
    let foreign = document.rules().iter().filter(|rule| !owner.owns(rule));
    foreign.map(|rule| document.rule_text(rule)).collect()
}

#[test]
fn rules_say_what_the_guide_means() {
    let [old] = &parse(DOCUMENTS[0]).rules[..] else { panic!() };
    assert_eq!((old.name(), &*old.filter.prefix, old.enabled), ("old", "", true));
    let when = |days| When { days: Some(days), date: None };
    let to = |class: &str| class.to_owned();
    assert_eq!(old.actions, [Action::Move { when: when(90), storage_class: to("STANDARD_IA") }]);
    let [archive] = &parse(DOCUMENTS[1]).rules[..] else { panic!() };
    assert_eq!(archive.filter.prefix, "projectdocs/");
    assert_eq!(
        archive.actions,
        [
            Action::Move { when: when(365), storage_class: to("GLACIER") },
            Action::Delete { when: when(3650) }
        ]
    );
    let [tags] = &parse(DOCUMENTS[2]).rules[..] else { panic!("a comment is no rule") };
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let filter = Filter {
        prefix: "r/p".into(),
        tags: vec![tag("a", "b"), tag("c", "")],
        object_size_greater_than: Some(500),
        object_size_less_than: Some(64_000),
    };
    assert_eq!((tags.name(), tags.enabled, &tags.filter), ("sizes & tags", false, &filter));
    assert_eq!(
        tags.actions,
        [
            Action::DeleteEarlierVersions { days: Some(30) },
            Action::AbortUploads { days: Some(7) },
            Action::DropDeleteMarkers
        ]
    );
    let [spaced] = &parse(DOCUMENTS[3]).rules[..] else { panic!() };
    assert_eq!((spaced.name(), &spaced.filter), ("ns", &Filter::default()));
    let [tomorrow] = &parse(DOCUMENTS[6]).rules[..] else { panic!() };
    assert_eq!(tomorrow.unknown, ["OfTomorrow", "Explode"]);
    let date = When { days: None, date: Some("2030-01-01T00:00:00.000Z".into()) };
    assert_eq!(tomorrow.actions, [Action::Move { when: date, storage_class: to("GLACIER") }]);
    let json = serde_json::to_value(tags).unwrap();
    assert_eq!(json["filter"]["objectSizeGreaterThan"], 500);
    assert_eq!(
        json["actions"][0],
        serde_json::json!({"action": "delete-earlier-versions", "days": 30})
    );
    let json = serde_json::to_value(old).unwrap();
    assert_eq!(
        json["actions"][0],
        serde_json::json!({"action": "move", "days": 90, "storageClass": "STANDARD_IA"})
    );
}

#[test]
fn our_rule_comes_and_goes_and_no_other_byte_changes() {
    for text in DOCUMENTS {
        let before = parse(text);
        for reach in [Reach::All, Reach::Digits] {
            let with = before.with(&plan(14, reach)).unwrap();
            assert_eq!(foreign(&with), foreign(&before));
            let own = with.rules.len() - before.rules.len();
            assert_eq!(own, if reach == Reach::All { 1 } else { 16 }, "{text}");
            // Idempotent, and another plan takes its place.
            assert_eq!(with.with(&plan(14, reach)).unwrap().text, with.text);
            let other = with.with(&plan(30, Reach::All)).unwrap();
            assert_eq!(foreign(&other), foreign(&before));
            assert_eq!(other.rules.len(), before.rules.len() + 1);
            assert!(other.text.contains("30</") && !other.same_rules(&with));
            // And what is left without it is what was there.
            let without = other.without(plan(1, reach).owner()).unwrap();
            match before.root.inner {
                Some(_) => assert_eq!(without.text, *text),
                None => assert!(without.rules.is_empty()),
            }
        }
    }
}

#[test]
fn a_rule_of_ours_that_says_the_same_in_another_form_is_left_alone() {
    let ours = parse(DOCUMENTS[1]).with(&plan(14, Reach::All)).unwrap();
    let again = ours.text.replace("<Days>14</Days>", "\n  <Days>14</Days>\n");
    let again = parse(&again);
    assert_ne!(again.text, ours.text);
    assert!(again.same_rules(&ours));
    assert_eq!(again.with(&plan(14, Reach::All)).unwrap().text, again.text);
    let disabled = parse(&ours.text.replace("p</ID>", "p</ID><Status>Disabled</Status>"));
    assert!(!disabled.same_rules(&ours), "a second element is a difference");
}

#[test]
fn our_rule_keeps_its_place_among_others() {
    let two = "<LifecycleConfiguration>\n <Rule><ID>a</ID></Rule>\n <Rule><ID>b</ID></Rule>\n\
               </LifecycleConfiguration>";
    let with = parse(two).with(&plan(14, Reach::All)).unwrap();
    let moved = with.text.replace("<ID>b</ID>", "<ID>c</ID>");
    assert!(moved.contains("\n <Rule><ID>kopia-lite-packs:r/p</ID>"), "{moved}");
    let behind =
        moved.replace("</Rule>\n</Lifecycle", "</Rule>\n <Rule><ID>d</ID></Rule>\n</Lifecycle");
    let changed = parse(&behind).with(&plan(15, Reach::Digits)).unwrap();
    let ids: Vec<_> = changed.rules().iter().map(Rule::name).collect();
    assert_eq!((ids.len(), ids[1], ids[2], ids[18]), (19, "c", "kopia-lite-packs:r/p0", "d"));
    let back = changed.with(&plan(14, Reach::All)).unwrap();
    assert_eq!(back.text, behind);
}

#[test]
fn more_rules_than_s3_takes_are_refused() {
    let rules = |count: usize| {
        let rules: String = (0..count).map(|n| format!("<Rule><ID>{n}</ID></Rule>")).collect();
        parse(&format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"))
    };
    assert!(rules(999).with(&plan(14, Reach::All)).is_ok());
    let refused = rules(985).with(&plan(14, Reach::Digits)).unwrap_err();
    assert_eq!(refused, DocumentError::TooManyRules { count: 1001 });
}

#[test]
fn what_is_no_lifecycle_document_is_refused() {
    let refused = |bytes: &[u8]| Document::parse(bytes).unwrap_err().to_string();
    assert_eq!(refused(b"<Error/>"), "the lifecycle document is a <Error>");
    assert!(refused(b"").contains("no root element, at byte 0"));
    assert!(refused(b"<LifecycleConfiguration>").contains("breaks off"));
    assert!(refused(b"<LifecycleConfiguration>\xff").contains("not in UTF-8, at byte 24"));
}

/// Documents that were cut or damaged anywhere: no panic, and what can be read is kept.
#[test]
fn any_bytes_are_read_or_refused_and_foreign_rules_survive() {
    let (mut read, mut refused) = (0, 0);
    let mut attack = |bytes: &[u8]| match Document::parse(bytes) {
        Err(_) => refused += 1,
        Ok(document) => {
            read += 1;
            let with = document.with(&plan(14, Reach::All)).unwrap();
            assert_eq!(foreign(&with), foreign(&document));
            assert_eq!(with.with(&plan(14, Reach::All)).unwrap(), with);
        }
    };
    for text in DOCUMENTS {
        let whole = text.as_bytes();
        for at in 0..whole.len() {
            attack(&whole[..at]);
            attack(&[&whole[..at], &whole[at + 1..]].concat());
            for byte in [b'<', b'>', b'&', b'/', b'!', b'"', b' ', 0, 0xff] {
                let mut changed = whole.to_vec();
                changed[at] = byte;
                attack(&changed);
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}
