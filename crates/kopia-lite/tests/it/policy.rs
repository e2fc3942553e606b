//! `policy show | list | set | delete`.

use crate::env::{TestEnv, keys, masked};

#[test]
fn show_says_where_each_value_comes_from() {
    let env = TestEnv::with_repository();
    env.ok("policy set /data --keep-latest=7 --add-ignore=*.tmp --compression=zstd");
    let text = env.ok("policy show /data");
    for line in [
        "Policy for u@h:/data:",
        "  Latest snapshots:                        7   (defined for this target)",
        "  Hourly snapshots:                       48   inherited from (global)",
        "  Ignore rules:                                (defined for this target)",
        "    *.tmp",
        "  Read ignore rules from files:                inherited from (global)",
        "    .kopiaignore",
        "  Parallel upload above size:         2.1 GB   inherited from (global)",
        "  Compressor:                           zstd   (defined for this target)",
        "No actions defined.",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line:?} in\n{text}");
    }
    let json = env.json("policy show /data --json");
    assert_eq!(
        keys(&json),
        [
            "retention",
            "files",
            "errorHandling",
            "scheduling",
            "compression",
            "metadataCompression",
            "splitter",
            "actions",
            "osSnapshots",
            "logging",
            "upload"
        ]
    );
    assert_eq!(json["retention"]["keepLatest"], 7);
    assert_eq!(json["compression"]["compressorName"], "zstd");
    assert!(env.fails(1, "policy show").contains("must pass either '--global' or a list"));
}

#[test]
fn set_says_each_change_and_changes_nothing_else() {
    let env = TestEnv::with_repository();
    let before = env.json("policy show --global --json");
    let said = env.says(
        "policy set --global --keep-latest=3 --add-ignore=b --add-ignore=a --max-file-size=10MB \
         --no-auto-maintenance",
    );
    assert_eq!(
        said,
        "Setting policy for (global)\n \
         - setting \"number of latest backups to keep\" to 3.\n \
         - setting \"maximum file size\" to 10000000.\n \
         - adding \"b\" to \"ignore rules\"\n \
         - adding \"a\" to \"ignore rules\"\n"
    );
    let mut after = env.json("policy show --global --json");
    assert_eq!(after["files"]["ignore"], serde_json::json!(["a", "b"]));
    assert!(after.get("noParent").is_none(), "{after}");
    after["files"] = before["files"].clone();
    after["retention"]["keepLatest"] = before["retention"]["keepLatest"].clone();
    assert_eq!(after, before);
    let said = env.says("policy set --global --keep-latest=inherit --clear-ignore");
    assert!(said.contains("resetting \"number of latest backups to keep\" to a default"), "{said}");
    assert!(said.contains("removing all from \"ignore rules\""), "{said}");
}

#[test]
fn set_takes_every_group() {
    let env = TestEnv::with_repository();
    env.ok("policy set /p --one-file-system=true --ignore-cache-dirs=false --add-dot-ignore=.x \
         --compression-min-size=10 --compression-max-size=100 --add-only-compress=.txt \
         --metadata-compression=none --ignore-file-errors=true --ignore-dir-errors=true \
         --max-parallel-file-reads=3 --parallel-upload-above-size-mib=100 --splitter=FIXED-1M");
    env.ok("policy set /p --snapshot-interval=1h --snapshot-time=12:00,1:30 --run-missed=false");
    let json = env.json("policy list --json");
    let own = json.as_array().unwrap().iter().find(|it| it["target"]["path"] == "/p").unwrap();
    assert_eq!(keys(own)[..2], ["id", "target"]);
    assert_eq!(own["files"]["oneFileSystem"], true);
    assert_eq!(own["compression"]["onlyCompress"], serde_json::json!([".txt"]));
    assert_eq!(own["metadataCompression"]["compressorName"], "none");
    assert_eq!(own["upload"]["parallelUploadAboveSize"], 100 << 20);
    assert_eq!(own["splitter"]["algorithm"], "FIXED-1M");
    assert_eq!(own["scheduling"]["intervalSeconds"], 3600);
    assert_eq!(own["scheduling"]["timeOfDay"][0], serde_json::json!({"hour": 1, "min": 30}));
    assert!(own.get("noParent").is_none());
    env.ok("policy set /p --inherit=false");
    let json = env.json("policy list --json");
    let own = json.as_array().unwrap().iter().find(|it| it["target"]["path"] == "/p").unwrap();
    assert_eq!(own["noParent"], true);
    let list = masked(&env.ok("policy list"));
    assert_eq!(list, "ID (global)\nID u@h:/p\n");
}

#[test]
fn set_refuses_what_cannot_be() {
    let env = TestEnv::with_repository();
    for (flags, wanted) in [
        ("--compression=bogus", "unsupported compressor: bogus"),
        ("--splitter=bogus", "is no splitter"),
        ("--keep-latest=x", "can't parse the number of latest backups to keep"),
        ("--max-file-size=x", "can't parse the \"maximum file size\""),
        ("--snapshot-time=25:00", "must be HH:mm"),
        ("--manual --snapshot-interval=1h", "cannot set manual field when scheduling"),
        ("--ignore-file-errors=maybe", "is not true, false or inherit"),
        ("--max-parallel-snapshots=2", "can't be set on a path"),
        ("--snapshot-time-crontab=61_*_*_*_*", "cron expression: \"61_*_*_*_*\""),
        ("--snapshot-time-crontab=@daily;nonsense", "\"nonsense\": it has 1 fields and needs 5"),
        ("--keep-latest= --compression= --max-file-size= --one-file-system=", "no changes"),
        ("", "no changes specified"),
    ] {
        let text = env.fails(1, &format!("policy set /p {flags}"));
        assert!(text.contains(wanted), "{flags}: {text}");
    }
    assert_eq!(masked(&env.ok("policy list")), "ID (global)\n");
}

#[test]
fn manual_can_be_taken_back() {
    let env = TestEnv::with_repository();
    let schedule = |flags: &str| {
        env.ok(&format!("policy set /p {flags}"));
        env.json("policy show /p --json")["scheduling"].to_string()
    };
    assert!(schedule("--manual").contains("\"manual\":true"));
    // Kopia would take this for a wish to have no `manual`.
    assert!(schedule("--add-ignore=x").contains("\"manual\":true"));
    assert!(!schedule("--no-manual").contains("manual"));
    assert!(schedule("--manual").contains("\"manual\":true"));
    let text = schedule("--snapshot-time-crontab=@daily");
    assert!(text.contains("\"cron\":[\"@daily\"]") && !text.contains("manual"), "{text}");
    assert!(!schedule("--snapshot-time-crontab=inherit").contains("cron"));
}

#[test]
fn delete_forgets_a_policy() {
    let env = TestEnv::with_repository();
    env.ok("policy set u@h --keep-annual=9");
    env.ok("policy set @h --keep-annual=8");
    assert!(env.ok("policy show u@h").contains("  Annual snapshots:                        9 "));
    assert!(env.ok("policy show @h").contains("  Annual snapshots:                        8 "));
    assert_eq!(env.says("policy delete u@h -n"), "Would remove policy for u@h.\n");
    assert_eq!(env.says("policy delete u@h"), "Removing policy on \"u@h\"...\n");
    assert!(env.says("policy delete u@h").contains("There is no policy for u@h."));
    assert!(env.ok("policy show u@h").contains("  Annual snapshots:                        8 "));
}

#[test]
fn actions_are_set_said_shown_and_removed() {
    let env = TestEnv::with_repository();
    let script = env.write("act.sh", "#!/bin/sh\necho hi\n\nexit 0\n");
    let script = script.display();
    let set = |words: &[&str]| {
        let run = env.run([&["policy", "set", "/p", "--no-auto-maintenance"], words].concat());
        assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run:#?}");
        run.stderr
    };
    // What Kopia 0.23.1 says.
    assert_eq!(
        set(&["--before-folder-action=/bin/true", r#"--after-folder-action=x "a b" c"#]),
        "Setting policy for u@h:/p\n \
         - setting before-folder (essential) action command to \"/bin/true\" and timeout 5m0s\n \
         - setting after-folder (essential) action command to \"x\" with arguments \"a b\" \"c\" and \
         timeout 5m0s\n"
    );
    assert_eq!(
        set(&[
            &format!("--before-snapshot-root-action={script}"),
            "--persist-action-script",
            "--action-command-mode=async",
            "--action-command-timeout=90s",
        ]),
        format!(
            "Setting policy for u@h:/p\n \
             - setting before-snapshot-root (async) action script from file {script} (26 bytes) with \
             timeout 1m30s\n"
        )
    );
    let shown = env.ok("policy show /p");
    assert!(
        shown.contains(
            "Run command before snapshot root:              (defined for this target)\n  \
               Embedded script (stored in repository):\n    \
                 #!/bin/sh\n    echo hi\n    \n    exit 0\n  \
               Mode:                                async\n  \
               Timeout:                             1m30s\n\n\
             Run command before this folder:                (non-inheritable)\n  \
               Command:\n    /bin/true \n"
        ),
        "{shown}"
    );
    let actions = env.json("policy show /p --json")["actions"].to_string();
    assert_eq!(
        actions,
        "{\"beforeFolder\":{\"path\":\"/bin/true\",\"timeout\":300,\"mode\":\"essential\"},\
         \"afterFolder\":{\"path\":\"x\",\"args\":[\"a b\",\"c\"],\"timeout\":300,\
         \"mode\":\"essential\"},\
         \"beforeSnapshotRoot\":{\"script\":\"#!/bin/sh\\necho hi\\n\\nexit 0\\n\",\"timeout\":90,\
         \"mode\":\"async\"}}"
    );
    assert_eq!(
        set(&["--before-folder-action=", "--after-folder-action=none"]),
        "Setting policy for u@h:/p\n - removing before-folder action\n \
         - removing after-folder action\n"
    );
    let long = env.write("long.sh", "x".repeat(32_001));
    for (flag, wanted) in [
        (
            format!("--before-folder-action={}", long.display()),
            "too long: 32001, max allowed 32000",
        ),
        ("--before-folder-action=/no/script".into(), "unable to read script file /no/script"),
    ] {
        let said = env.fails(1, &format!("policy set /p --persist-action-script {flag}"));
        assert!(said.contains("invalid before-folder-action: ") && said.contains(wanted), "{said}");
    }
    let said = env.fails(1, "policy set /p --before-folder-action=a\"b");
    assert!(said.contains("error parsing before-folder command: bare \""), "{said}");
    env.fails(2, "policy set /p --action-command-mode=sometimes");
}

#[test]
fn log_details_and_shadow_copies_are_set() {
    let env = TestEnv::with_repository();
    assert_eq!(
        env.says(
            "policy set /p --log-dir-snapshotted=3 --log-dir-ignored=0 --log-entry-snapshotted=10 \
             --log-entry-ignored=1 --log-entry-cache-hit=2 --log-entry-cache-miss=inherit \
             --enable-volume-shadow-copy=when-available --no-auto-maintenance"
        ),
        "Setting policy for u@h:/p\n \
         - setting \"enable volume shadow copy\" to when-available.\n \
         - setting \"directory snapshotted detail\" to 3.\n \
         - setting \"directory ignored detail\" to 0.\n \
         - setting \"entry snapshotted detail\" to 10.\n \
         - setting \"entry ignored detail\" to 1.\n \
         - setting \"entry cache hit detail\" to 2.\n \
         - resetting \"entry cache miss detail\" to a default value inherited from parent.\n"
    );
    let policy = &env.json("policy export /p")["u@h:/p"];
    assert_eq!(policy["osSnapshots"]["volumeShadowCopy"]["enable"], 2);
    assert_eq!(
        policy["logging"].to_string(),
        "{\"directories\":{\"snapshotted\":3,\"ignored\":0},\
         \"entries\":{\"snapshotted\":10,\"ignored\":1,\"cacheHit\":2}}"
    );
    for value in ["11", "-1", "x", "default"] {
        assert!(
            env.fails(1, &format!("policy set /p --log-entry-ignored={value}"))
                .ends_with("ERROR entry ignored detail: must be >= 0 and <= 10 or \"inherit\"\n")
        );
    }
    env.ok("policy set /p --enable-volume-shadow-copy=inherit");
    assert!(env.ok("policy show /p").contains("Volume Shadow Copy:                  never   inh"));
}

#[test]
fn a_dry_run_says_the_changes_and_saves_none() {
    let env = TestEnv::with_repository();
    let before = env.ok("policy list --json");
    let said = env.says("policy set /p --keep-latest=3 -n");
    assert!(said.contains("setting \"number of latest backups to keep\" to 3."), "{said}");
    assert!(env.fails(1, "policy set /p --max-parallel-snapshots=3 -n").contains("can't save"));
    assert_eq!(env.ok("policy list --json"), before);
}
