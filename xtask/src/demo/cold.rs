//! The demo's second act: packs go to Deep Archive and come back.
//!
//! The server's clock is moved, so that two days pass at once. What the client says it planned and
//! counted is held against the server's own counts.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Demo, PREFIX};
use crate::{
    steps::Outcome,
    tree::{self, Leave},
};

pub(super) const TWO_DAYS: u64 = 2 * 24 * 60 * 60;
/// The requests for copies take seconds.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(60);

impl Demo {
    /// Every pack of file data goes where it is cheap to keep and dear to read.
    pub(super) fn freeze(&mut self) -> anyhow::Result<Outcome> {
        self.server.move_to_class(&format!("{PREFIX}p"), "DEEP_ARCHIVE")?;
        println!("{}", self.client.run(&["blob", "stats", "--prefix=p"])?);
        // What needs no file data works as before.
        self.client.run(&["snapshot", "verify"])?;
        let packs = self.packs()?.len();
        Ok(Outcome::Done(format!("{packs} packs; verify reads none of them")))
    }

    /// A plain restore says what it would take, and writes nothing.
    pub(super) fn refuse(&mut self) -> anyhow::Result<Outcome> {
        let id = &self.made.last().context("a snapshot was made")?.id;
        println!("{}", self.client.run(&["thaw", "plan", id])?);
        let target = self.folder.join("thawed");
        let target_text = target.to_str().context("the path is not UTF-8")?;
        let output = self.client.command(&["restore", id, target_text]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{said}");
        ensure!(output.status.code() == Some(4), "it ended with {}: {said}", output.status);
        ensure!(!target.exists(), "something was written");
        Ok(Outcome::Done("exit code 4, nothing written".to_owned()))
    }

    /// One command asks, waits and restores; the bill is what was planned.
    pub(super) fn thaw_and_restore(&mut self) -> anyhow::Result<Outcome> {
        let id = &self.made.last().context("a snapshot was made")?.id;
        let target = self.folder.join("thawed");
        let target_text = target.to_str().context("the path is not UTF-8")?;
        self.server.forget_traffic()?;
        let thaw = ["--thaw=bulk", "--max-cost=1", "--poll-interval=200ms", "--json"];
        let restore = [&["restore", id, target_text], &thaw[..]].concat();
        let mut command = self.client.command(&restore);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let asked = Instant::now();
        while self.packs()?.iter().any(|pack| pack.restore_ready.is_none()) {
            ensure!(asked.elapsed() < REQUESTS_TIMEOUT, "the packs were not asked for");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.server.advance_clock(TWO_DAYS)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "it ended with {}: {said}", output.status);
        let value: Value = serde_json::from_slice(&output.stdout).context("no JSON")?;
        let (planned, counted) = (&value["bill"]["planned"], &value["bill"]["counted"]);
        println!("  {:<22} {:>16} {:>16}", "", "planned", "counted");
        for key in ["thaws", "thawedBytes", "copyByteDays", "gets", "bytesRead"] {
            let count = |side: &Value| side[key].as_u64().unwrap_or_default();
            println!("  {key:<22} {:>16} {:>16}", count(planned), count(counted));
        }
        for key in ["requests", "retrieval", "copyStorage", "gets", "transferOut", "total"] {
            let cost = |side: &Value| side["cost"][key].as_str().unwrap_or("").to_owned();
            println!("  USD {key:<18} {:>16} {:>16}", cost(planned), cost(counted));
        }
        ensure!(planned == counted, "the bill is not what was planned");
        let restores = self.server.traffic()?.requests.get("restore").copied().unwrap_or(0);
        ensure!(counted["thaws"] == restores, "the server counted {restores} requests");
        let result = tree::compare(&self.source, &target, Leave { folder_times: false })?;
        let differences = result.differences.join("\n");
        ensure!(differences.is_empty(), "the restored tree differs:\n{differences}");
        let (files, total) = (result.files, counted["cost"]["total"].as_str().unwrap_or("?"));
        Ok(Outcome::Done(format!("{files} files equal, for {total} USD as planned")))
    }

    fn packs(&self) -> anyhow::Result<Vec<crate::server::Object>> {
        let objects = self.server.objects(PREFIX)?.into_iter();
        Ok(objects.filter(|object| object.key.starts_with('p')).collect())
    }
}
