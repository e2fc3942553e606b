//! A few seeds, one of them twice. `cargo xtask sim` runs a thousand, and the mistakes.

use std::sync::Arc;

use repo_sim::{Plant, Template, run};

#[test]
fn a_seed_finds_nothing_wrong_and_is_the_same_every_time() {
    let template = Arc::new(Template::new().expect("there is room for a key"));
    let first = run(4, &template, None).expect("it begins");
    assert_eq!(first.wrong, None, "{}", first.trace.join("\n"));
    let again = run(4, &template, None).expect("it begins");
    // Of requests that are made at once any may be the first to fail: which blob is no matter.
    let steps = |trace: &[String]| -> Vec<String> {
        trace.iter().map(|line| line.split(" of ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(steps(&first.trace), steps(&again.trace));
}

#[test]
fn a_snapshot_that_is_not_walked_is_found() {
    let template = Arc::new(Template::new().expect("there is room for a key"));
    let found = (0..5).find_map(|seed| {
        run(seed, &template, Some(Plant::SkippedSnapshot)).expect("it begins").wrong
    });
    assert!(found.is_some(), "five seeds find nothing");
}
