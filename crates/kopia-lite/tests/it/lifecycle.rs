//! `storage-config lifecycle show | diff | install`: what the bucket's document was before and is
//! after.

use s3_testkit::{Effect, Fault, Kind};
use serde_json::Value;

use crate::env::{S3Env, TestEnv, keys};

/// Rules of somebody else, with what rusoto's types would lose, and no harm to `r/`.
const FOREIGN: &str = "<?xml version=\"1.0\"?>\n<LifecycleConfiguration xmlns=\"http://s3.\
    amazonaws.com/doc/2006-03-01/\">\n  <!-- by hand -->\n  <Rule><ID>theirs</ID><Filter><And>\
    <Prefix>logs/</Prefix><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan>\
    <ObjectSizeLessThan>64000</ObjectSizeLessThan></And></Filter><Status>Enabled</Status>\
    <Expiration><Days>30</Days></Expiration><OfTomorrow/></Rule>\n\
    \t<Rule><ID>old form</ID><Prefix>b/</Prefix><Status>Disabled</Status></Rule>\n\
    </LifecycleConfiguration>\n";
const OURS: &str = "<Rule><ID>kopia-lite-packs:r/p</ID><Filter><And><Prefix>r/p</Prefix>\
    <ObjectSizeGreaterThan>12582911</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status>\
    <Transition><Days>14</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition></Rule>";
const INSTALL: &str = "storage-config lifecycle install --to DEEP_ARCHIVE";

fn with_rules(document: &str) -> S3Env {
    let s3 = S3Env::new();
    s3.create("");
    s3.server.objects().set_lifecycle(Some(document.to_owned().into()));
    s3
}

fn stored(s3: &S3Env) -> String {
    let document = s3.server.objects().lifecycle();
    document.map_or(String::new(), |document| String::from_utf8(document.to_vec()).unwrap())
}

fn rule(id: &str, prefix: &str, action: &str) -> String {
    format!(
        "<LifecycleConfiguration><Rule><ID>{id}</ID><Filter><Prefix>{prefix}</Prefix></Filter>\
         <Status>Enabled</Status>{action}</Rule></LifecycleConfiguration>"
    )
}

#[test]
fn install_adds_one_rule_and_keeps_every_other_byte() {
    let s3 = with_rules(FOREIGN);
    s3.server.objects().set_lifecycle_minimum("varies_by_storage_class");
    let shown = s3.ok(&format!("{INSTALL} -n"));
    assert_eq!(stored(&s3), FOREIGN, "a dry run writes nothing");
    let out = s3.ok(&format!("{INSTALL} --yes"));
    assert_eq!(out, shown);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..2],
        ["  rule \"theirs\" stays as it is", "  rule \"old form\" stays as it is"]
    );
    assert!(lines.contains(&"+     <StorageClass>DEEP_ARCHIVE</StorageClass>"), "{out}");
    assert!(lines[2..].iter().all(|line| line.starts_with("+ ")), "{out}");
    let wanted = FOREIGN.replace("\n</Life", &format!("\n\t{OURS}\n</Life"));
    assert_eq!(stored(&s3), wanted);
    let minimum = s3.server.objects().lifecycle_minimum();
    assert_eq!(minimum.as_deref(), Some("varies_by_storage_class"), "it is sent back");
    assert_eq!(s3.ok("storage-config lifecycle show --raw"), wanted);
}

#[test]
fn installing_twice_changes_nothing_and_remove_gives_back_what_was_there() {
    let s3 = with_rules(FOREIGN);
    s3.ok(&format!("{INSTALL} -y"));
    let (once, puts) = (stored(&s3), s3.server.requests().count(Kind::Bucket, ""));
    let again = s3.line(&format!("{INSTALL} -y"));
    assert!(again.code == 0 && again.stderr.contains("No change."), "{again:#?}");
    assert_eq!(stored(&s3), once);
    let asked = s3.server.requests().count(Kind::Bucket, "") - puts;
    assert_eq!(asked, 1, "the rules are read, and not written");
    // Another plan takes its place.
    s3.ok(&format!("{INSTALL} -y --days 30 --min-size 1MiB"));
    let changed = once.replace("<Days>14<", "<Days>30<").replace("12582911", "1048575");
    assert_eq!(stored(&s3), changed);
    let out = s3.ok("storage-config lifecycle install --remove -y");
    assert!(out.lines().any(|line| line == "- <Rule>"), "{out}");
    assert_eq!(stored(&s3), FOREIGN);
    assert!(s3.line("storage-config lifecycle install --remove -y").stderr.contains("No change."));
}

#[test]
fn a_bucket_without_rules_gets_the_first_and_loses_the_last() {
    let s3 = S3Env::new();
    s3.create("");
    assert!(s3.ok("storage-config lifecycle show").starts_with("none: "));
    assert_eq!(s3.ok("storage-config lifecycle show --raw"), "");
    s3.put_config(r#"{"blobOptions":[{"prefix":"p","storageClass":"DEEP_ARCHIVE"}]}"#);
    let json = s3.json("storage-config lifecycle install --yes --json");
    assert_eq!(keys(&json), ["changes", "findings", "installed"]);
    assert_eq!((&json["installed"], &json["changes"][0]["change"]), (&true.into(), &"add".into()));
    assert_eq!(json["changes"][0]["after"], OURS);
    assert_eq!(json["findings"][0]["code"], "early-deletion");
    assert!(stored(&s3).contains(OURS), "the class is that of .storageconfig");
    let show = s3.json("storage-config lifecycle show --json");
    assert_eq!(keys(&show), ["exists", "defaultMinimumObjectSize", "rules", "findings"]);
    assert_eq!(show["defaultMinimumObjectSize"], "all_storage_classes_128K");
    let rule = &show["rules"][0];
    assert_eq!(keys(rule), ["id", "enabled", "filter", "actions", "ours", "reaches"]);
    assert_eq!((&rule["ours"], &rule["reaches"]), (&true.into(), &serde_json::json!(["p"])));
    s3.ok("storage-config lifecycle install --remove -y");
    assert_eq!(s3.server.objects().lifecycle(), None);
}

#[test]
fn a_rule_that_expires_blobs_is_an_error_and_stops_install() {
    let expire = rule("tidy", "", "<Expiration><Days>30</Days></Expiration>");
    let s3 = with_rules(&expire);
    let text = s3.ok("storage-config lifecycle show");
    assert!(
        text.contains("rule \"tidy\" (enabled): all objects\n  deletes them after 30 days"),
        "{text}"
    );
    assert!(text.contains("  error deletes-blobs: rule \"tidy\" deletes p, q, x"), "{text}");
    let diff = s3.line("storage-config lifecycle diff --to DEEP_ARCHIVE");
    assert!(diff.code == 1 && diff.stdout.contains("error cuts-copies"), "{diff:#?}");
    let text = s3.fails(1, &format!("{INSTALL} -y"));
    assert!(text.contains("destroys this repository") && text.contains("--force"), "{text}");
    assert_eq!(stored(&s3), expire);
    let error = s3.json_error(1, &format!("{INSTALL} -y --json"));
    assert_eq!(error["details"]["findings"][0]["code"], "deletes-blobs");
    s3.ok(&format!("{INSTALL} -y --force"));
    assert!(stored(&s3).contains(OURS));
    s3.ok("storage-config lifecycle install --remove -y");
    assert_eq!(stored(&s3), expire, "taking our rule away makes nothing worse");
}

#[test]
fn a_rule_that_archives_indexes_is_an_error_even_when_the_repository_is_shut_by_it() {
    let action = "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>";
    let s3 = with_rules(&rule("cheap", "r/", action));
    let objects = s3.server.objects();
    for key in objects.keys("r/") {
        objects.set_class(&key, "GLACIER");
    }
    objects.put_with_class("r/.storageconfig", "{}", "GLACIER");
    let run = s3.line("storage-config lifecycle show");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("error cold-metadata: rule \"cheap\" moves q, x"), "{run:#?}");
    assert!(run.stderr.contains(".storageconfig"), "{run:#?}");
    let text = s3.fails(1, &format!("{INSTALL} -y --min-size 12MiB"));
    assert!(text.contains("cold-metadata"), "{text}");
}

#[test]
fn objects_of_others_make_the_rules_narrow_or_impossible() {
    let s3 = with_rules(FOREIGN);
    let objects = s3.server.objects();
    objects.put("r/photos/1.jpg", "x");
    let run = s3.line(&format!("{INSTALL} -y"));
    assert!(run.code == 0 && run.stderr.contains("such as \"r/photos/\": sixteen"), "{run:#?}");
    let narrow = stored(&s3);
    assert_eq!(narrow.matches("<ID>kopia-lite-packs:r/p").count(), 16);
    assert!(narrow.contains("<Prefix>r/pf</Prefix>") && !narrow.contains("<Prefix>r/p</Prefix>"));
    for (key, shown) in [("r/pa/x", "r/pa/"), ("r/p1.txt", "r/p1.txt")] {
        objects.put(key, "x");
        let error = s3.json_error(1, &format!("{INSTALL} -y --days 9 --json"));
        assert_eq!(error["details"]["strangers"], serde_json::json!([shown]));
        assert_eq!(stored(&s3), narrow);
        objects.remove(key);
    }
    objects.remove("r/photos/1.jpg");
    s3.ok(&format!("{INSTALL} -y"));
    assert_eq!(stored(&s3).matches("<ID>kopia-lite-packs:r/p").count(), 1);
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let s3 = with_rules(FOREIGN);
    let error = s3.json_error(6, &format!("{INSTALL} --json"));
    assert_eq!(error["kind"], "limit");
    assert_eq!(stored(&s3), FOREIGN);
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    let s3 = with_rules(FOREIGN);
    let text = s3.fails(1, "storage-config lifecycle install -y");
    assert!(text.contains("--to CLASS"), "{text}");
    let text = s3.fails(1, "storage-config lifecycle install -y --to STANDARD --force");
    assert!(text.contains("no-target") && text.contains("STANDARD_IA"), "{text}");
    assert!(s3.fails(2, &format!("{INSTALL} --days x")).contains("--days"));
    assert_eq!(stored(&s3), FOREIGN);
    // With a size nothing is opened, so no password is needed.
    let S3Env { env, server, .. } = s3;
    let env = env.with("KOPIA_PASSWORD", "wrong");
    assert!(env.fails(12, &format!("{INSTALL} -y")).contains("wrong password"));
    env.ok(&format!("{INSTALL} -y --min-size 12MiB"));
    let mut config = env.config();
    config["readonly"] = true.into();
    fs_err::write(env.config_file(), config.to_string()).unwrap();
    assert!(env.fails(1, "storage-config lifecycle install --remove -y").contains("read-only"));
    drop(server);
}

#[test]
fn a_filesystem_has_no_rules() {
    let env = TestEnv::with_repository();
    for verb in ["show", "diff --to GLACIER", "install -y --to GLACIER"] {
        let text = env.fails(1, &format!("storage-config lifecycle {verb}"));
        assert!(text.contains("only S3 has lifecycle rules"), "{text}");
    }
}

/// What somebody else did at the same time, as the server's answer to one of our requests.
fn answer(document: &str) -> Fault {
    let body = document.to_owned().into_bytes();
    let (status, headers) = (200, vec![("content-type".to_owned(), "application/xml".to_owned())]);
    Fault::new(Effect::Answer { status, headers, body: body.into() }).on(Kind::Bucket)
}

#[test]
fn a_change_at_the_same_time_is_noticed() {
    let s3 = with_rules(FOREIGN);
    let other = rule("new", "z/", "<Expiration><Days>1</Days></Expiration>");
    // The rules are read, read again, written, and read again.
    s3.server.faults().push(answer(&other).skip(1));
    let text = s3.fails(1, &format!("{INSTALL} -y --min-size 9"));
    assert!(text.contains("meanwhile; nothing was changed"), "{text}");
    assert_eq!(stored(&s3), FOREIGN);
    s3.server.faults().push(answer(&other).skip(3));
    let text = s3.fails(1, &format!("{INSTALL} -y --min-size 9"));
    assert!(text.contains("were written, and are others now"), "{text}");
    assert_ne!(stored(&s3), FOREIGN);
    // In another form they are the same.
    let reformed = stored(&s3).replace("><", "> <");
    s3.ok("storage-config lifecycle install --remove -y");
    s3.server.faults().push(answer(&reformed).skip(3));
    s3.ok(&format!("{INSTALL} -y --min-size 9"));
}

#[test]
fn a_passing_error_is_tried_again() {
    let s3 = with_rules(FOREIGN);
    for fault in [Fault::slow_down(), Fault::drop_connection(), Fault::error_in_ok("InternalError")]
    {
        s3.server.faults().push(fault.on(Kind::Bucket).times(2));
        let shown: Value = s3.json("storage-config lifecycle show --json");
        assert_eq!(shown["rules"].as_array().unwrap().len(), 2);
    }
    s3.server.faults().push(Fault::access_denied().on(Kind::Bucket));
    let text = s3.fails(13, "storage-config lifecycle show");
    assert!(text.contains("s3:GetLifecycleConfiguration"), "{text}");
}
