//! A few seeds. `cargo xtask sim` runs many, and every mistake.

use std::sync::Arc;

use repo_sim::{Plant, Template, run};

#[test]
fn a_seed_finds_nothing_wrong() {
    let template = Arc::new(Template::new().expect("there is room for a key"));
    let outcome = run(4, &template, None).expect("it begins");
    assert_eq!(outcome.wrong, None, "{}", outcome.trace.join("\n"));
    for task in ["snapshot-gc", "full-rewrite-contents", "full-drop-deleted-content"] {
        assert!(outcome.tally.contains_key(task), "{task} never ran: {:?}", outcome.tally);
    }
}

#[test]
fn a_snapshot_that_is_not_walked_is_found() {
    let template = Arc::new(Template::new().expect("there is room for a key"));
    let found = (0..5).find_map(|seed| {
        run(seed, &template, Some(Plant::SkippedSnapshot)).expect("it begins").wrong
    });
    assert!(found.is_some(), "five seeds find nothing");
}
