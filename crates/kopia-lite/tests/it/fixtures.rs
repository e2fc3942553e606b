//! Repositories that Kopia wrote: our lists of them are Kopia's own.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;

use crate::env::TestEnv;

/// A connection to the fixture's folder, as Kopia wrote it when the fixture was made.
fn connected(fixture: &kopia_fixtures::Unpacked) -> TestEnv {
    let env = TestEnv::new().with("KOPIA_PASSWORD", fixture.password());
    let mut storage = match has(&fixture.name, "status.json") {
        true => fixture.output("status.json")["storage"]["config"].clone(),
        false => serde_json::json!({"fileMode": 384, "dirMode": 448, "dirShards": null}),
    };
    storage["path"] = fixture.path().to_str().unwrap().into();
    let config = serde_json::json!({
        "storage": {"type": "filesystem", "config": storage},
        "caching": {},
        "hostname": "host",
        "username": "user",
        "description": "d",
        "enableActions": false,
        "formatBlobCacheDuration": 900_000_000_000_i64,
    });
    env.write("config/kopia/repository.config", config.to_string());
    env
}

/// Both sides of a status without what depends on the machine.
fn portable(mut status: Value) -> Value {
    let fields = status.as_object_mut().unwrap();
    for name in ["configFile", "volume"] {
        fields.shift_remove(name);
    }
    status["clientOptions"]["description"] = Value::Null;
    status["storage"]["config"]["path"] = Value::Null;
    status
}

fn has(name: &str, file: &str) -> bool {
    kopia_fixtures::folder(name).join(file).exists()
}

/// Compares one fixture; gives what is different.
fn differences(name: &str) -> Vec<String> {
    let fixture = kopia_fixtures::repo(name);
    let env = connected(&fixture);
    // Many fixtures differ in a hash or a splitter alone.
    let is_one_of_many = name.starts_with("hash-") || name.starts_with("splitter-");
    let commands = [
        ("snapshot-list.json", "snapshot list --all --incomplete --show-identical --json", true),
        ("manifest-list.json", "manifest list --json", !is_one_of_many),
        ("status.json", "repository status --json", !is_one_of_many),
    ];
    let mut wrong = Vec::new();
    for (file, line, wanted) in commands {
        if !wanted || !has(name, file) {
            continue;
        }
        let run = env.line(line);
        let theirs = fixture.output(file);
        let ours: Value = match serde_json::from_str(&run.stdout) {
            Ok(value) if run.code == 0 => value,
            _ => {
                wrong.push(format!("{name}: {line}: {run:?}"));
                continue;
            }
        };
        let (ours, theirs) = match file {
            "status.json" => (portable(ours), portable(theirs)),
            "manifest-list.json" => (labels_sorted(ours), labels_sorted(theirs)),
            _ => (ours, theirs),
        };
        // As text, since the order of fields counts, too.
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        if ours != theirs {
            wrong.push(format!("{name}: {line}:\n ours {ours}\ntheirs {theirs}"));
        }
    }
    wrong
}

/// Go prints maps sorted; a value that is compared as text must be so on both sides.
fn labels_sorted(mut list: Value) -> Value {
    for entry in list.as_array_mut().unwrap() {
        entry["labels"].sort_all_objects();
    }
    list
}

#[test]
fn every_repository_that_kopia_wrote_is_listed_as_kopia_lists_it() {
    // These do not open; `those_that_do_not_open` below says how they fail.
    let closed = [
        "damaged-format-flipped",
        "damaged-format-lost",
        "damaged-format-lost-v1",
        "damaged-format-truncated",
        "damaged-index-extra-zero",
        "damaged-index-flipped",
        "damaged-index-truncated",
        "damaged-index-zero",
        "future-format",
        "required-feature",
        "upgrade-locked",
        "upgrade-locked-zone",
    ];
    // An index is gone, and with it what Kopia listed before the damage was done.
    let poorer = ["damaged-index-missing"];
    let mut names = kopia_fixtures::names();
    names.retain(|name| !closed.contains(&&**name) && !poorer.contains(&&**name));
    assert!(names.len() > 90, "{}", names.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = differences(name);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn those_that_do_not_open_say_why_and_end_with_the_right_code() {
    for (name, code, wanted) in [
        ("damaged-format-flipped", 12, "wrong password, or blob kopia.repository is damaged"),
        ("damaged-format-lost", 10, "blob kopia.repository is missing"),
        ("damaged-format-truncated", 20, "blob kopia.repository is damaged"),
        ("damaged-index-flipped", 20, "index blob xn0_"),
        ("damaged-index-truncated", 20, "index blob xn0_"),
        ("future-format", 1, "repository format version 4"),
        ("required-feature", 1, "required feature future-feature-1"),
        ("upgrade-locked", 11, "is locked for an upgrade by \"owner-1\""),
    ] {
        let fixture = kopia_fixtures::repo(name);
        let env = connected(&fixture);
        let text = env.fails(code, "snapshot list");
        assert!(text.contains(wanted), "{name}: {text}");
    }
    let fixture = kopia_fixtures::repo("upgrade-locked");
    let env = connected(&fixture);
    let env = env.with("KOPIA_REPO_UPGRADE_OWNER_ID", "owner-1");
    env.ok("snapshot list");
    let fixture = kopia_fixtures::repo("required-feature-warn");
    let env = connected(&fixture);
    let run = env.line("snapshot list");
    assert!(run.code == 0 && run.stderr.contains("no feature future-feature-2"), "{run:#?}");
}

#[test]
fn damage_is_found_by_verification_and_repaired_where_it_can_be() {
    for (name, code, wanted) in [
        ("damaged-missing-pack", 20, "\"missingPacks\":1"),
        ("damaged-truncated-pack", 20, "\"truncatedPacks\":1"),
        ("damaged-flip", 20, "\"corruptedPacks\":1"),
        ("damaged-flip-ecc", 0, "error correction repaired a damaged content"),
    ] {
        let fixture = kopia_fixtures::repo(name);
        let env = connected(&fixture);
        let run = env.line("content verify --full");
        assert_eq!(run.code, code, "{name}: {run:#?}");
        assert!(run.stderr.contains(wanted), "{name}: {run:#?}");
    }
}
