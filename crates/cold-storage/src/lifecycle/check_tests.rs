//! What each kind of rule does to a repository.

use super::*;

const OURS: &str = "<ID>kopia-lite-packs:r/p</ID>";

fn repository() -> Repository {
    Repository {
        owner: Owner::new("r/"),
        tags: Vec::new(),
        short_pack: Some(1000),
        maintenance_days: 1,
        retention_days: Some(365),
    }
}

/// Codes of one rule's findings, with the first letter of their level before them.
fn codes_of(rule: &str, minimum: Option<&str>, repository: &Repository) -> Vec<String> {
    let found = findings(rule, minimum, repository);
    let level = |it: &Finding| format!("{:?}", it.level)[..1].to_owned();
    found.iter().map(|it| format!("{} {}", level(it), it.code)).collect()
}

fn findings(rules: &str, minimum: Option<&str>, repository: &Repository) -> Vec<Finding> {
    let rules = rules.replace("</ID>", "</ID><Status>Enabled</Status>");
    let text = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    let document = Document::parse(text.as_bytes()).unwrap();
    check(&document, minimum, repository, PriceTable::built_in())
}

fn codes(rule: &str) -> Vec<String> {
    codes_of(&format!("<Rule><ID>x</ID>{rule}</Rule>"), None, &repository())
}

fn filter(inside: &str) -> String {
    format!("<Filter>{inside}</Filter>")
}

fn begins(prefix: &str) -> String {
    filter(&format!("<Prefix>{prefix}</Prefix>"))
}

/// Packs of at least so many bytes.
fn packs(size: u64) -> String {
    let size = format!("<ObjectSizeGreaterThan>{}</ObjectSizeGreaterThan>", size - 1);
    filter(&format!("<And><Prefix>r/p</Prefix>{size}</And>"))
}

fn to(class: &str, days: u32) -> String {
    format!("<Transition><Days>{days}</Days><StorageClass>{class}</StorageClass></Transition>")
}

const EXPIRE: &str = "<Expiration><Days>30</Days></Expiration>";

#[test]
fn only_long_packs_may_be_archived() {
    let none: [&str; 0] = [];
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        assert_eq!(codes(&(packs(1000) + &to(class, 14))), none, "{class}");
        assert_eq!(codes(&(packs(999) + &to(class, 14))), ["W short-packs"]);
        let all = codes(&(begins("r/p") + &to(class, 14)));
        assert_eq!(all, ["W short-packs", "N small-stay"], "{class}");
        for other in
            ["r/q", "r/x", "r/n", "r/m", "r/l", "r/s", "r/kopia.", "r/.storageconfig", "r/kopia.r"]
        {
            assert_eq!(codes(&(begins(other) + &to(class, 14))), ["E cold-metadata"], "{other}");
        }
        for wide in ["", "r", "r/"] {
            let found = codes(&(begins(wide) + &to(class, 14)));
            assert_eq!(found, ["E cold-metadata", "W short-packs", "N small-stay"], "{wide:?}");
        }
        assert_eq!(codes(&(begins("r/_log_") + &to(class, 14))), ["W cold-logs"]);
        // The old form, and the empty one.
        assert_eq!(
            codes(&("<Prefix>r/q</Prefix>".to_owned() + &to(class, 14))),
            ["E cold-metadata"]
        );
        assert!(codes(&("<Filter/>".to_owned() + &to(class, 14)))[0].starts_with("E cold"));
        assert!(codes(&to(class, 14))[0].starts_with("E cold"));
    }
}

#[test]
fn what_lies_elsewhere_is_nobodys_business() {
    let none: [&str; 0] = [];
    for elsewhere in ["s/", "r2/", "r/photos/", "r/zebra", "rr", "r/snapshots/"] {
        assert_eq!(codes(&(begins(elsewhere) + &to("GLACIER", 0) + EXPIRE)), none, "{elsewhere}");
    }
}

#[test]
fn deleting_by_age_is_an_error_wherever_it_reaches_a_blob() {
    for prefix in ["", "r/", "r/p", "r/q", "r/x", "r/p0", "r/kopia.", "r/.storageconfig", "r/s"] {
        assert_eq!(codes(&(begins(prefix) + EXPIRE)), ["E deletes-blobs"], "{prefix:?}");
    }
    assert_eq!(codes(&(begins("r/_log_") + EXPIRE)), ["N deletes-logs"]);
    let date = "<Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>";
    let found =
        findings(&format!("<Rule><ID>x</ID>{}{date}</Rule>", begins("")), None, &repository());
    let message = &found[0].message;
    assert!(
        message.contains("p, q, x, n, m, l, s, kopia., .storageconfig on 2030-01-01:"),
        "{message}"
    );
    assert_eq!(found[0].fix.as_deref(), Some("let it begin with something else than \"r/\""));
}

#[test]
fn what_only_clears_away_is_safe() {
    let none: [&str; 0] = [];
    for safe in [
        "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
         </AbortIncompleteMultipartUpload>",
        "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
        "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays>\
         <StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>",
    ] {
        assert_eq!(codes(&(begins("") + safe)), none, "{safe}");
    }
}

#[test]
fn sizes_spare_what_is_always_small() {
    let large =
        |mib: u64| filter(&format!("<ObjectSizeGreaterThan>{}</ObjectSizeGreaterThan>", mib << 20));
    let rule = |mib| format!("<Rule><ID>x</ID>{}{EXPIRE}</Rule>", large(mib));
    let message = |mib| findings(&rule(mib), None, &repository())[0].message.clone();
    assert!(message(1).starts_with("deletes p, q, x, n, m, l after 30 days"), "{}", message(1));
    assert!(message(0).contains("kopia."), "{}", message(0));
    let none = "<And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan>\
                <ObjectSizeLessThan>10</ObjectSizeLessThan></And>";
    assert!(codes(&(filter(none) + EXPIRE)).is_empty(), "no size is above 9 and below 10");
}

#[test]
fn tags_that_nobody_sets_make_a_warning_of_an_error() {
    let tagged = filter("<Tag><Key>a</Key><Value>b</Value></Tag>") + EXPIRE;
    assert_eq!(codes(&tagged), ["W deletes-blobs"]);
    let with = |value: &str| {
        let tags = vec![Tag { key: "a".into(), value: value.into() }];
        codes_of(
            &format!("<Rule><ID>x</ID>{tagged}</Rule>"),
            None,
            &Repository { tags, ..repository() },
        )
    };
    assert_eq!(with("b"), ["E deletes-blobs"], ".storageconfig sets it");
    assert_eq!(with("c"), ["W deletes-blobs"]);
}

#[test]
fn thawed_copies_go_with_an_expiration() {
    let archives = format!("<Rule><ID>a</ID>{}{}</Rule>", packs(1000), to("GLACIER", 14));
    let expires = format!("<Rule><ID>b</ID>{}{EXPIRE}</Rule>", begins("r/"));
    let both = codes_of(&(archives.clone() + &expires), None, &repository());
    assert_eq!(both, ["E deletes-blobs", "E cuts-copies"]);
    let readable = archives.replace("GLACIER", "GLACIER_IR");
    let both = codes_of(&(readable + &expires), None, &repository());
    assert_eq!(both, ["N under-128-kb", "E deletes-blobs"]);
}

#[test]
fn ages_and_bills_are_warned_of() {
    assert_eq!(codes(&(packs(1000) + &to("GLACIER", 1))), ["W too-young"]);
    let kept = |retention_days| {
        let rule = format!("<Rule><ID>x</ID>{}{}</Rule>", packs(1000), to("DEEP_ARCHIVE", 2));
        codes_of(&rule, None, &Repository { retention_days, ..repository() })
    };
    assert!(kept(Some(180)).is_empty());
    assert_eq!(kept(Some(179)), ["W early-deletion"]);
    assert_eq!(kept(None), ["N early-deletion"]);
    let large = packs(128 << 10);
    for class in ["STANDARD_IA", "ONEZONE_IA"] {
        assert_eq!(codes(&(large.clone() + &to(class, 29))), ["W under-30-days"]);
        assert!(codes(&(large.clone() + &to(class, 30))).is_empty());
        assert_eq!(codes(&(packs(1000) + &to(class, 30))), ["N under-128-kb"]);
    }
    assert!(codes(&(large.clone() + &to("GLACIER_IR", 0))).is_empty());
    assert!(codes(&(large + &to("INTELLIGENT_TIERING", 0))).is_empty());
    assert_eq!(codes(&(begins("r/q") + &to("GLACIER_IR", 1))), ["N churn"]);
    assert!(codes(&(begins("r/q") + &to("INTELLIGENT_TIERING", 1))).is_empty());
}

#[test]
fn small_packs_stay_unless_the_bucket_or_the_rule_says_otherwise() {
    let rule = format!("<Rule><ID>x</ID>{}{}</Rule>", begins("r/p"), to("GLACIER_IR", 40));
    assert_eq!(codes_of(&rule, None, &repository()), ["N small-stay"]);
    let all = Some("all_storage_classes_128K");
    assert_eq!(codes_of(&rule, all, &repository()), ["N small-stay"]);
    assert_eq!(codes_of(&rule, Some(VARIES), &repository()), ["N under-128-kb"]);
}

#[test]
fn a_disabled_rule_is_only_noted() {
    let rule = |status: &str| {
        let text = format!(
            "<LifecycleConfiguration><Rule><ID>x</ID><Status>{status}</Status>{}{EXPIRE}</Rule>\
             </LifecycleConfiguration>",
            begins("")
        );
        let document = Document::parse(text.as_bytes()).unwrap();
        check(&document, None, &repository(), PriceTable::built_in())
    };
    let found = rule("Disabled");
    assert_eq!((found.len(), found[0].level, found[0].code), (1, Level::Note, "disabled"));
    assert!(found[0].message.ends_with("enabled, it would be: deletes-blobs"), "{found:?}");
    assert_eq!(rule("Enabled")[0].level, Level::Error);
}

#[test]
fn what_is_not_known_is_said() {
    let found = codes(&(begins("r/q") + "<Explode/>" + &to("OF_TOMORROW", 1)));
    assert_eq!(found, ["W unknown-class", "W unknown-element"]);
    let tomorrow = filter("<OfTomorrow>1</OfTomorrow>") + EXPIRE;
    assert_eq!(codes(&tomorrow), ["E deletes-blobs", "W unknown-element"]);
}

#[test]
fn our_own_rule_must_have_a_target() {
    let ours = |class: &str| {
        let rule = format!("<Rule>{OURS}{}{}</Rule>", packs(1 << 20), to(class, 31));
        let found = findings(&rule, None, &repository());
        assert!(
            found.iter().all(|it| it.ours && it.rule.as_deref() == Some("kopia-lite-packs:r/p"))
        );
        found.iter().map(|it| (it.level, it.code)).collect::<Vec<_>>()
    };
    for class in ["STANDARD", "REDUCED_REDUNDANCY", "OUTPOSTS"] {
        assert_eq!(ours(class), [(Level::Error, "no-target")], "{class}");
    }
    assert_eq!(ours("COLDLINE"), [(Level::Warning, "unknown-class")]);
    for (class, facts) in PriceTable::built_in().classes() {
        let is_target = facts.lifecycle_in(1).is_some();
        assert_eq!(ours(class.as_str()).is_empty(), is_target, "{class}");
    }
}

#[test]
fn a_repository_without_a_prefix_is_checked_like_any_other() {
    let root = Repository { owner: Owner::new(""), ..repository() };
    let of = |prefix: &str| {
        codes_of(&format!("<Rule><ID>x</ID>{}{EXPIRE}</Rule>", begins(prefix)), None, &root)
    };
    assert_eq!(of("p"), ["E deletes-blobs"]);
    assert_eq!(of("xn0_"), ["E deletes-blobs"]);
    assert!(of("photos/").is_empty() && of("logs/").is_empty());
}
