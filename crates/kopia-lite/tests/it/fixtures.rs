//! Repositories that Kopia wrote, whole and damaged, and the exit codes that they give.
//!
//! That all are listed as Kopia lists them is tested inside the library, in `src/cli/fixtures.rs`.

use crate::env::TestEnv;

/// A connection to the fixture's folder, as Kopia wrote it when the fixture was made.
pub fn connected(fixture: &kopia_fixtures::Unpacked) -> TestEnv {
    let env = TestEnv::new().with("KOPIA_PASSWORD", fixture.password());
    let storage = serde_json::json!({
        "path": fixture.path(), "fileMode": 384, "dirMode": 448, "dirShards": null,
    });
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

#[test]
fn those_that_do_not_open_say_why_and_end_with_the_right_code() {
    for (name, code, wanted) in [
        ("damaged-format-flipped", 12, "wrong password, or blob kopia.repository is damaged"),
        ("damaged-format-lost", 10, "blob kopia.repository is missing"),
        ("damaged-format-truncated", 20, "blob kopia.repository is damaged"),
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
fn those_with_a_damaged_index_are_read_and_not_written() {
    for name in ["damaged-index-flipped", "damaged-index-truncated"] {
        let fixture = kopia_fixtures::repo(name);
        let env = connected(&fixture);
        for (code, line) in [(3, "snapshot list"), (20, "policy set --global --keep-latest=9")] {
            let text = env.fails(code, line);
            assert!(text.contains("index blob xn0_"), "{name}: {text}");
        }
    }
}

#[test]
fn a_restore_from_a_damaged_pack_is_exit_20() {
    let fixture = kopia_fixtures::repo("damaged-flip");
    let env = connected(&fixture);
    let id = env.newest();
    let out = env.text("out");
    let text = env.fails(20, &format!("restore {id} {out}"));
    assert!(text.contains("is damaged, in pack p"), "{text}");
    let run = env.line(&format!("restore {id} {out} --ignore-errors --json"));
    assert_eq!(run.code, 0, "{run:#?}");
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let pack = report["ignoredErrors"][0]["blob"].as_str().unwrap();
    assert!(text.contains(pack), "{report}");
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
        let named = run.stderr.lines().filter(|line| line.contains("Pack\t{\"packID\":\"p"));
        assert_eq!(named.count(), usize::from(code == 20), "{name}: {run:#?}");
    }
}
