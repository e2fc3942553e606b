//! Thaws by a job of S3 Batch Operations: the whole way against the test server.

use std::{path::Path, time::Duration};

use s3_testkit::{Fault, JOB_PREPARES, Kind};
use serde_json::Value;

use crate::{
    env::files,
    thaw::{frozen, packs, thaws},
};

const ROLE: &str = "arn:aws:iam::111122223333:role/thaw";

#[test]
fn a_job_asks_for_all_packs_and_the_thaw_is_waited_for_as_any_other() {
    let (s3, source, id) = frozen("DEEP_ARCHIVE");
    let line = format!("thaw start {id} --batch --role-arn={ROLE} --tier=bulk --days=2");
    s3.fails(6, &line);
    s3.fails(2, &format!("thaw start {id} --batch --yes"));
    let flags = s3.flags();
    s3.ok(&format!("repository connect s3 {flags} --readonly"));
    s3.fails(1, &format!("{line} --yes"));
    s3.fails(1, &format!("thaw start {id} --yes"));
    assert!(s3.server.objects().keys("kopia-lite-thaws/").is_empty());
    s3.ok(&format!("repository connect s3 {flags} --override-hostname=h --override-username=u"));
    let started = s3.json(&format!("{line} --yes --json"));
    assert_eq!(started["requested"], 4);
    let job = started["job"]["id"].as_str().unwrap().to_owned();
    let key = started["manifest"]["key"].as_str().unwrap().to_owned();
    let manifest = s3.server.objects().get(&key).unwrap();
    let manifest = String::from_utf8(manifest.bytes.to_vec()).unwrap();
    let mut lines: Vec<_> = manifest.lines().map(str::to_owned).collect();
    lines.sort();
    let bucket = s3.server.bucket();
    let wanted: Vec<_> = packs(&s3).iter().map(|key| format!("{bucket},{key}")).collect();
    assert_eq!(lines, wanted, "a line for each pack, and no line of headers");
    let run = s3.line("thaw status --json");
    assert_eq!(run.code, 5, "the job has asked for nothing yet: {run:?}");
    s3.server.clock().advance(JOB_PREPARES);
    let run = s3.line("thaw status --json");
    assert_eq!(run.code, 5, "{run:?}");
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&status["job"]["id"], &status["job"]["state"]), (&job.into(), &"Complete".into()));
    assert_eq!(status["job"]["succeeded"], 4);
    assert_eq!(status["remaining"], 4, "a job that is complete has thawed nothing yet");
    assert_eq!(s3.server.requests().restores("r/p"), 0, "the job asks, not the client");
    s3.server.clock().advance(Duration::from_secs(48 * 3600));
    s3.ok("thaw wait");
    s3.ok(&format!("restore {id} {}", s3.text("out")));
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
}

#[test]
fn packs_that_the_job_could_not_ask_for_are_named() {
    let (s3, _, id) = frozen("GLACIER");
    s3.ok(&format!("thaw start {id} --batch --role-arn={ROLE} --tier=bulk --yes"));
    // One of them is gone before the job begins.
    let gone = packs(&s3).remove(0);
    s3.server.objects().remove(&gone);
    s3.server.clock().advance(JOB_PREPARES);
    let text = s3.line("thaw status").stdout;
    assert!(text.contains("3 of 4 packs asked for, 1 failed"), "{text}");
    assert!(text.contains(&gone), "{text}");
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let text = s3.fails(3, "thaw wait");
    assert!(text.contains("1 packs are archived and nobody thaws them"), "{text}");
}

#[test]
fn without_the_right_to_create_jobs_there_are_the_manifest_and_the_command() {
    let (s3, _, id) = frozen("GLACIER");
    let line = format!("thaw start {id} --batch --role-arn={ROLE} --tier=standard --yes");
    s3.server.faults().push(Fault::access_denied().on(Kind::Batch).times(1));
    let run = s3.line(&line);
    assert_eq!(run.code, 13, "{run:#?}");
    assert!(run.stdout.starts_with("aws s3control create-job"), "{run:#?}");
    assert!(run.stdout.contains("111122223333") && run.stdout.contains(ROLE), "{run:#?}");
    assert!(run.stderr.contains("s3:CreateJob and iam:PassRole"), "{run:#?}");
    let manifests = s3.server.objects().keys("kopia-lite-thaws/");
    assert_eq!(manifests.len(), 1, "the manifest is there");
    assert_eq!(thaws(&s3), 0);
    // Not even the manifest may be written: it lies on this machine.
    s3.server.deny(s3_testkit::Action::Put, "kopia-lite-thaws/");
    let run = s3.line(&line);
    assert_eq!(run.code, 13, "{run:#?}");
    let file = run.stdout.split_whitespace().nth(3).unwrap();
    assert_eq!(fs_err::read_to_string(file).unwrap().lines().count(), 4);
    assert!(run.stdout.contains("aws s3control create-job"), "{run:#?}");
    // A manifest can be had without any right.
    s3.ok(&format!("thaw plan {id} --tier=bulk --manifest=m.csv"));
    assert_eq!(fs_err::read_to_string(s3.path("m.csv")).unwrap().lines().count(), 4);
    let text = s3.fails(1, &line.replace("standard", "expedited"));
    assert!(text.contains("no expedited tier"), "{text}");
}

#[test]
fn a_job_that_could_not_be_noted_or_has_nothing_to_do_is_not_created() {
    let (s3, _, id) = frozen("GLACIER");
    let line = format!("thaw start {id} --batch --role-arn={ROLE} --tier=bulk --yes");
    let text = s3.fails(2, &format!("{line} --fallback-tier=standard"));
    assert!(text.contains("--fallback-tier"), "{text}");
    // A file stands where the folder of journals belongs.
    let folder = format!("{}.thaws", s3.config_file().display());
    fs_err::write(&folder, "").unwrap();
    s3.fails(1, &line);
    fs_err::remove_file(&folder).unwrap();
    // All have copies, whose ends a job can't move.
    s3.ok(&format!("thaw start {id} --tier=bulk --days=1 --yes"));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = s3.line(&format!("{line} --extend --days=9"));
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("4 packs have copies"), "{run:#?}");
    assert!(run.stderr.contains("Nothing to ask for: all can be read."), "{run:#?}");
    assert_eq!(s3.server.requests().of(Kind::Batch, "").len(), 0);
    assert_eq!(s3.server.objects().keys("kopia-lite-thaws/").len(), 0);
}
