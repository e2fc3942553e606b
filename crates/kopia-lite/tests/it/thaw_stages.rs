//! Restores in stages, where the stages have to agree with one another.

use std::{path::Path, time::Duration};

use s3_testkit::{ArchiveAccess, Fault, Kind};
use serde_json::Value;

use crate::{
    env::files,
    thaw::{begun, ended, frozen, packs, thaws, until},
};

#[test]
fn a_listing_that_calls_a_refused_pack_readable_is_not_believed() {
    let (s3, source, id) = frozen("INTELLIGENT_TIERING");
    // No object sinks here, the bucket says, when the plan is made; then all do.
    let stall = Fault::stall(Duration::from_millis(1500)).on(Kind::Get).keys("r/p").times(4);
    s3.server.faults().push(stall);
    let out = s3.text("out");
    let line = format!("restore {id} {out} --thaw=bulk --yes --poll-interval=50ms --json");
    let child = begun(&s3, &line);
    until("the first read", || s3.server.requests().gets("r/p") > 0);
    for key in packs(&s3) {
        s3.server.objects().set_archive_access(&key, Some(ArchiveAccess::Archive));
    }
    until("the thaw", || thaws(&s3) == 4);
    assert!(s3.server.requests().gets("r/p") <= 8, "{}", s3.server.requests().gets("r/p"));
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(files(&s3.path("out")), files(Path::new(&source)));
}

#[test]
fn what_must_stay_stays_in_later_stages_too() {
    let (s3, _, id) = frozen("GLACIER");
    // One pack is readable at once, so there are two stages.
    let warm = s3.ok(&format!("thaw plan {id}/more/1.bin --ids-only"));
    s3.server.objects().set_class(&format!("r/{}", warm.trim()), "STANDARD");
    // The pack of this file is thawed all the same, for another one.
    s3.write("out/a.txt", "mine");
    let out = s3.text("out");
    let line = "--yes --poll-interval=50ms --json --ignore-errors --overwrite-files=false";
    let child = begun(&s3, &format!("restore {id} {out} --thaw=bulk {line}"));
    until("the warm file", || s3.path("out/more/1.bin").exists());
    until("the requests", || thaws(&s3) == 3);
    s3.server.clock().advance(Duration::from_secs(12 * 3600));
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(fs_err::read_to_string(s3.path("out/a.txt")).unwrap(), "mine");
    let value: Value = serde_json::from_str(&run.stdout).unwrap();
    let failures = value["ignoredErrors"].as_array().unwrap();
    let paths: Vec<_> = failures.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!((&value["files"], paths), (&4.into(), vec!["a.txt"]), "{value}");
    assert!(s3.path("out/sub/b.bin").exists());
}
