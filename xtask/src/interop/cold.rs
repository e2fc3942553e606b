//! Archived packs on an independent server: Kopia and kopia-lite beside each other.
//!
//! The server must know archive classes and restore requests. moto (from PyPI) does, with deviations:
//! copies never go away, a second request is always taken, listings do not tell the restore status.
//! Its state machine is told to let a copy be made in two steps, so that waiting is seen.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use anyhow::{Context, ensure};

use super::forest::Forest;
use crate::{
    programs::Client,
    server::{ACCESS_KEY, SECRET_KEY},
    tree::{self, Leave},
};

/// A bucket that is made for it.
const BUCKET: &str = "interop-archive";

/// Runs it for both archive classes; says what was seen.
pub fn run(kopia: &Client, ours: &Client, endpoint: &str, folder: &Path) -> anyhow::Result<()> {
    let made = call(endpoint, "PUT", &format!("/{BUCKET}"), "")?;
    println!("bucket {BUCKET} at {endpoint}: {made}");
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let folder = folder.join(class);
        Course { kopia, ours, endpoint, class, folder: &folder }
            .run()
            .with_context(|| format!("packs in {class}"))?;
    }
    Ok(())
}

struct Course<'a> {
    kopia: &'a Client,
    ours: &'a Client,
    endpoint: &'a str,
    class: &'a str,
    folder: &'a Path,
}

impl Course<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let (kopia, ours) = (self.kopia, self.ours);
        fs::create_dir_all(self.folder)?;
        let forest = Forest::plant(&self.folder.join("forest"))?;
        self.create()?;
        let first = forest.plain.path.clone();
        let of_kopia = kopia.snapshot(&first, &[])?;
        let of_ours = ours.snapshot(&first, &[])?;
        ensure!(of_kopia.root == of_ours.root, "the roots differ");
        // While every pack is cold: both open, list, verify; neither restores.
        for client in [kopia, ours] {
            client.run(&["snapshot", "list", "--all"])?;
            client.run(&["snapshot", "verify"])?;
        }
        let target = self.folder.join("refused");
        let restore = ["restore", &of_kopia.id, text(&target)?];
        let refused = ours.command(&restore).output()?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(refused.status.code() == Some(4), "it ended with {}: {said}", refused.status);
        ensure!(!target.exists(), "something was written");
        println!("{}: refused while cold: {}", self.class, said.lines().next().unwrap_or(""));
        let no = self.folder.join("no");
        let by_kopia = kopia.command(&["restore", &of_kopia.id, text(&no)?]).output()?;
        ensure!(!by_kopia.status.success(), "Kopia restored what is cold");
        // Two looks at each pack until its copy is there.
        let machine = "/moto-api/state-manager/set-transition";
        let steps = r#"{"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": 2}}"#;
        let is_moto = call(self.endpoint, "POST", machine, steps)?.contains(" 20");
        println!("{}: is it moto, whose copies take two looks? {is_moto}", self.class);
        println!("{}", ours.run(&["thaw", "plan", &of_kopia.id])?);
        let thawed = self.folder.join("thawed");
        let thaw = ["--thaw=bulk", "--max-cost=1", "--poll-interval=200ms", "--json"];
        let value = ours.json(&[&["restore", &of_kopia.id, text(&thawed)?], &thaw[..]].concat())?;
        same(&first, &thawed)?;
        let (planned, counted) = (&value["bill"]["planned"], &value["bill"]["counted"]);
        println!("{}: planned {planned}\n{}: counted {counted}", self.class, self.class);
        ensure!(planned["thaws"] == counted["thaws"], "other thaws than were planned");
        ensure!(planned["gets"] == counted["gets"], "other reads than were planned");
        // And after our thaw Kopia restores as if nothing had been.
        let by_kopia = self.folder.join("by-kopia");
        kopia.restore(&of_kopia.id, &by_kopia)?;
        same(&first, &by_kopia)?;
        println!("{}: both restored it after the thaw", self.class);
        Ok(())
    }

    fn create(&self) -> anyhow::Result<()> {
        let config = self.folder.join("config.json");
        let entries =
            format!(r#"{{"blobOptions": [{{"prefix": "p", "storageClass": "{}"}}]}}"#, self.class);
        fs::write(&config, entries)?;
        let place = [
            format!("--bucket={BUCKET}"),
            format!("--prefix={}/", self.class),
            format!("--endpoint={}", self.endpoint),
            "--disable-tls".to_owned(),
            format!("--access-key={ACCESS_KEY}"),
            format!("--secret-access-key={SECRET_KEY}"),
            "--override-hostname=h".to_owned(),
            "--override-username=u".to_owned(),
        ];
        let mut create = vec!["repository", "create", "s3"];
        let upload = format!("--storage-config={}", config.display());
        create.push(&upload);
        create.extend(place.iter().map(String::as_str));
        self.ours.run(&create)?;
        let mut connect = vec!["repository", "connect", "s3"];
        connect.extend(place.iter().map(String::as_str));
        self.kopia.run(&connect)?;
        Ok(())
    }
}

fn same(source: &Path, target: &Path) -> anyhow::Result<()> {
    let result = tree::compare(source, target, Leave { folder_times: true })?;
    let differences = result.differences.join("\n");
    ensure!(differences.is_empty(), "the restored tree differs:\n{differences}");
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path is not UTF-8")
}

/// One request without signature; gives the status line.
fn call(endpoint: &str, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let mut stream =
        TcpStream::connect(endpoint).with_context(|| format!("no server listens at {endpoint}"))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {endpoint}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
