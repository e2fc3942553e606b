//! A few seeds, one of them twice. `cargo xtask sim` runs a thousand, and the mistakes.

use std::sync::Arc;

use repo_sim::{Plant, Template, run};

#[test]
fn a_seed_finds_nothing_wrong_and_is_the_same_every_time() {
    let template = Arc::new(Template::new().expect("there is room for a key"));
    let first = run(4, &template, None).expect("it begins");
    assert_eq!(first.wrong, None, "{}", first.trace.join("\n"));
    let again = run(4, &template, None).expect("it begins");
    // Who does what and when, to the millisecond. Names that are drawn by chance are not: requests
    // that are made at once draw in any order.
    let steps = |trace: &[String]| -> Vec<Vec<String>> {
        let step = |line: &String| line.split_whitespace().take(5).map(str::to_owned).collect();
        trace.iter().map(step).collect()
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
