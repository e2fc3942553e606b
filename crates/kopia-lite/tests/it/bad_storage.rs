//! A storage that refuses, stalls or lies: the exit code, the words, and that nothing was changed.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use s3_testkit::{Fault, Kind};

use crate::env::{S3Env, files};

/// All objects of the server and their bytes.
fn objects(s3: &S3Env) -> Vec<(String, Vec<u8>)> {
    let objects = s3.server.objects();
    let keys = objects.keys("");
    keys.into_iter()
        .map(|key| {
            let bytes = objects.get(&key).unwrap().bytes.to_vec();
            (key, bytes)
        })
        .collect()
}

fn with_snapshot() -> (S3Env, String) {
    let s3 = S3Env::new();
    s3.create("");
    let source = s3.plant();
    s3.ok(&format!("snapshot create {source}"));
    let id = s3.newest();
    (s3, id)
}

#[test]
fn refusals_that_no_retry_helps_name_themselves_and_the_way_out() {
    let (s3, id) = with_snapshot();
    let before = objects(&s3);
    let lines = [
        "snapshot list".to_owned(),
        format!("restore {id} {}", s3.text("out")),
        format!("snapshot create {}", s3.text("src")),
        format!("repository connect s3 {}", s3.flags()),
    ];
    let connection = s3.config();
    for (fault, code, wanted) in [
        (Fault::expired_token(), 13, vec!["ExpiredToken", "the keys have expired: connect again"]),
        (Fault::clock_skewed(), 1, vec!["set the clock of this machine"]),
        (Fault::access_denied(), 13, vec!["AccessDenied"]),
        (Fault::error(404, "NoSuchBucket"), 10, vec!["test-bucket"]),
    ] {
        s3.server.faults().push(fault.always());
        for line in &lines {
            let begun = Instant::now();
            let text = s3.fails(code, line);
            for wanted in &wanted {
                assert!(text.contains(wanted), "{line} lacks {wanted:?}: {text}");
            }
            assert!(!text.contains("panicked"), "{text}");
            assert!(begun.elapsed().as_secs() < 5, "{line}: {:?}", begun.elapsed());
        }
        s3.server.faults().clear();
        assert!(objects(&s3) == before);
        assert!(!s3.path("out").exists());
    }
    assert_eq!(s3.config(), connection, "a connection that failed leaves the one before");
}

#[test]
fn what_passes_is_waited_for() {
    let (s3, id) = with_snapshot();
    for (fault, requests) in [
        (Fault::slow_down(), 3),
        (Fault::internal_error(), 3),
        (Fault::html(502), 3),
        (Fault::cut_body(1), 3),
        (Fault::drop_connection(), 3),
    ] {
        let name = format!("{fault:?}");
        s3.ok("cache clear");
        s3.server.requests().clear();
        s3.server.faults().push(fault.always());
        let mut command = s3.command(["show", &format!("{id}/a.txt")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while s3.server.requests().all().len() < requests {
            assert!(begun.elapsed() < Duration::from_secs(30), "{name}: no other try");
            std::thread::sleep(Duration::from_millis(5));
        }
        s3.server.faults().clear();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(output.stdout, b"hello\n", "{name}");
    }
}

#[test]
fn answers_that_break_off_cost_another_request_and_no_byte() {
    let (s3, id) = with_snapshot();
    let mut config = s3.config();
    config["caching"] = serde_json::json!({});
    std::fs::write(s3.config_file(), config.to_string()).unwrap();
    for fault in [
        Fault::cut_body(1000).on(Kind::Get).keys("r/p"),
        Fault::cut_body(40).on(Kind::Get).keys("r/q"),
        Fault::short_body(200).on(Kind::List),
        Fault::cut_body(100).on(Kind::Get).keys("r/x"),
        Fault::error_in_ok("InternalError").on(Kind::List),
        Fault::error_in_ok("InternalError").on(Kind::Get).keys("r/p"),
        Fault::empty_ok().on(Kind::List),
        Fault::slow_down(),
    ] {
        let name = format!("{fault:?}");
        s3.server.faults().push(fault.times(1));
        let out = s3.text("out");
        let run = s3.line(&format!("restore {id} {out}"));
        assert_eq!(run.code, 0, "{name}: {run:#?}");
        assert_eq!(files(&s3.path("out")), files(&s3.path("src")), "{name}");
        std::fs::remove_dir_all(out).unwrap();
        s3.server.faults().clear();
    }
    // Puts whose answers go wrong: whole afterwards, for whoever reads all of it.
    for (number, fault) in [
        Fault::lost_answer().on(Kind::Put).keys("r/p"),
        Fault::error_in_ok("InternalError").on(Kind::Put).keys("r/x"),
        Fault::empty_ok().on(Kind::Put).keys("r/p"),
        Fault::drop_connection().on(Kind::Put),
    ]
    .into_iter()
    .enumerate()
    {
        s3.write("src/new", number.to_string().repeat(1000));
        s3.server.faults().push(fault);
        s3.ok(&format!("snapshot create {}", s3.text("src")));
        s3.server.faults().clear();
    }
    s3.ok("content verify --full");
}
