//! Every repository that Kopia wrote is listed as Kopia lists it.
//!
//! Here and not among the tests of the program: a repository is opened once for all three lists,
//! and deriving the key is what takes the time.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use clap::FromArgMatches;
use kopia_fixtures::Unpacked;
use kopia_format::local_config::LocalConfig;
use serde_json::{Value, json};

use super::{App, Cli, Command, definition, manifest, repository, snapshot};
use crate::{
    compose::{Client, ClientOptions},
    connect::backends,
};

/// These do not open; the tests of the program say how they fail.
const CLOSED: [&str; 12] = [
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

/// An index is gone, and with it what Kopia listed before the damage was done.
const POORER: [&str; 1] = ["damaged-index-missing"];

fn parsed(line: &str) -> Cli {
    let words = std::iter::once("kopia-lite").chain(line.split_whitespace());
    Cli::from_arg_matches(&definition().get_matches_from(words)).unwrap()
}

/// One of Kopia's outputs, where the fixture has it.
fn theirs(fixture: &Unpacked, file: &str) -> Option<Value> {
    kopia_fixtures::folder(&fixture.name).join(file).exists().then(|| fixture.output(file))
}

/// The connection that Kopia had when the fixture was made.
fn connection(fixture: &Unpacked) -> LocalConfig {
    let status = theirs(fixture, "status.json").unwrap_or_default();
    let mut storage = status["storage"]["config"].clone();
    storage["path"] = fixture.path().to_str().unwrap().into();
    let config = json!({
        "storage": {"type": "filesystem", "config": storage},
        "caching": {},
        "hostname": "host",
        "username": "user",
        "enableActions": false,
        "formatBlobCacheDuration": 900_000_000_000_i64,
    });
    LocalConfig::parse(config.to_string().as_bytes()).unwrap()
}

/// A status without what depends on the machine and the connection file.
fn portable(mut status: Value) -> Value {
    let fields = status.as_object_mut().unwrap();
    fields.shift_remove("configFile");
    fields.shift_remove("volume");
    status["clientOptions"].as_object_mut().unwrap().shift_remove("description");
    status["storage"]["config"]["path"] = Value::Null;
    status
}

/// Go prints maps sorted; what is compared as text must be so on both sides.
fn labels_sorted(mut list: Value) -> Value {
    for entry in list.as_array_mut().unwrap() {
        entry["labels"].sort_all_objects();
    }
    list
}

async fn differences(name: &str) -> anyhow::Result<Vec<String>> {
    let fixture = kopia_fixtures::repo(name);
    let connection = connection(&fixture);
    let backend = backends::open(connection.storage.as_ref().unwrap()).await?;
    let options = ClientOptions::of_connection(&connection, "unused".as_ref())?;
    let client = Client::open(backend, &fixture.password().into(), options).await?;
    let repo = &client.repo;

    let cli = parsed("snapshot list --all --incomplete --show-identical --json");
    let Command::Snapshot(snapshot::Command::List(list)) = cli.command else { unreachable!() };
    let snapshots = Value::from(list.listed(repo).await?);
    let cli = parsed("manifest list --json");
    let Command::Manifest(manifest::Command::List(list)) = cli.command else { unreachable!() };
    let manifests = list.found(repo).await?.iter().map(manifest::as_json).collect();
    let app = App::new(cli.globals);
    let status = repository::status::as_json(&app, &connection, &client).await?;

    let mut wrong = Vec::new();
    let same: fn(Value) -> Value = |value| value;
    for (file, ours, comparable) in [
        ("snapshot-list.json", snapshots, same),
        ("manifest-list.json", manifests, labels_sorted),
        ("status.json", status, portable),
    ] {
        let Some(theirs) = theirs(&fixture, file) else { continue };
        // As text, since the order of fields counts, too.
        let (ours, theirs) = (comparable(ours).to_string(), comparable(theirs).to_string());
        if ours != theirs {
            wrong.push(format!("{name}: {file}:\n ours {ours}\ntheirs {theirs}"));
        }
    }
    Ok(wrong)
}

#[test]
fn every_repository_that_kopia_wrote_is_listed_as_kopia_lists_it() {
    let mut names = kopia_fixtures::names();
    names.retain(|name| !CLOSED.contains(&&**name) && !POORER.contains(&&**name));
    assert!(names.len() > 90, "{}", names.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = runtime.block_on(differences(name));
                    let found = found.unwrap_or_else(|error| vec![format!("{name}: {error:#}")]);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
