//! The command lines of README and guide, run page by page as they stand there.
//!
//! Each page has a home of its own, and a bucket `my-backups` on an S3 server. What a page can't mean
//! literally is said here: what its placeholders stand for, which lines end with another code than
//! 0, and which can't be run at all, with the reason.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use kopia_fixtures::skip;
use s3_testkit::{TestServer, TestServerOptions};

use crate::{
    docs::{calls, workspace},
    env::{PASSWORD, Run, TestEnv, noise},
    shell,
};

/// What there is before the first line of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// An empty bucket.
    Bucket,
    /// Repositories in the bucket and on a disk, connected, with snapshots of `~/Documents`.
    Repository,
    /// The same, with every pack in DEEP_ARCHIVE.
    Archived,
}

/// A page and what is special about it.
struct Page {
    path: &'static str,
    start: Start,
    /// Lines, by a part of them, that end with another code than 0.
    codes: &'static [(&'static str, i32)],
    /// Lines, by a part of them, that can't be run, and why.
    left: &'static [(&'static str, &'static str)],
}

const PAGES: &[Page] = &[
    Page { path: "README.md", start: Start::Repository, codes: &[], left: &[] },
    Page {
        path: "docs/guide/first-backup-to-s3.md",
        start: Start::Bucket,
        // The page creates it without and then, once more, with a file of classes.
        codes: &[("--storage-config=my-classes.json", 1)],
        left: &[
            ("--endpoint=s3.example.net", "a service that there isn't"),
            ("--endpoint=127.0.0.1:9000", "a service that there isn't"),
        ],
    },
    Page {
        path: "docs/guide/from-cron-or-systemd.md",
        start: Start::Repository,
        codes: &[],
        left: &[],
    },
    Page {
        path: "docs/guide/moving-from-kopia-and-back.md",
        start: Start::Repository,
        codes: &[],
        left: &[],
    },
    Page {
        path: "docs/guide/maintenance.md",
        start: Start::Repository,
        codes: &[
            // Nothing is old enough to be deleted.
            ("logs show | grep", 1),
            // It is the task of backup@server by then.
            ("15 3 * * *", 1),
        ],
        left: &[],
    },
    Page { path: "docs/guide/policies.md", start: Start::Repository, codes: &[], left: &[] },
    Page {
        path: "docs/guide/restoring.md",
        start: Start::Repository,
        codes: &[],
        left: &[("Do it in one go:", "what a refusal prints")],
    },
    Page { path: "docs/guide/storage-classes.md", start: Start::Repository, codes: &[], left: &[] },
    Page {
        path: "docs/guide/archived-packs.md",
        start: Start::Archived, // Days have passed for the server alone, and maintenance minds clocks that differ.
        codes: &[("kopia maintenance run --full", 1)],
        left: &[],
    },
    Page { path: "docs/guide/permissions.md", start: Start::Repository, codes: &[], left: &[] },
    Page { path: "docs/guide/exit-codes.md", start: Start::Repository, codes: &[], left: &[] },
];

/// The steps of a page: what is typed into a shell, each whole.
fn steps(text: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut lines = text.lines().peekable();
    let (mut is_fenced, mut is_session) = (false, false);
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            is_session = false;
            continue;
        }
        if !is_fenced && !line.starts_with("    ") {
            is_session = false;
            continue;
        }
        let line = line.trim();
        // What follows in such a block is what was printed.
        is_session |= line.starts_with("$ ");
        if is_session && !line.starts_with("$ ") {
            continue;
        }
        let mut step = line.trim_start_matches("$ ").trim_start_matches("ExecStart=").to_owned();
        if step.contains("<<'END'") {
            for line in lines.by_ref() {
                step += &format!("\n{}", line.trim());
                if line.trim() == "END" {
                    break;
                }
            }
        }
        // A line that ends so, a pipe, and a text in quotes go on in the next line.
        while step.ends_with(['\\', '|']) || without_comment(&step).matches('\'').count() % 2 == 1 {
            let Some(next) = lines.next() else { break };
            step = match step.strip_suffix('\\') {
                Some(begun) => format!("{begun}{}", next.trim()),
                None => format!("{step}\n{}", next.trim()),
            };
        }
        let is_typed =
            ["kopia ", "cat ", "echo ", "mkdir "].iter().any(|word| step.starts_with(word));
        if is_typed || step.lines().any(|line| !calls(line).is_empty()) {
            steps.push(step);
        }
    }
    steps
}

fn without_comment(step: &str) -> &str {
    step.split(" #").next().unwrap_or_default().trim_end()
}

/// The home and the bucket of a page.
struct World {
    env: TestEnv,
    server: TestServer,
}

impl World {
    fn new(start: Start) -> Self {
        let options = TestServerOptions {
            bucket: "my-backups".into(),
            check_region: false,
            versioning: true,
            ..TestServerOptions::default()
        };
        let server = TestServer::start_blocking(options).unwrap();
        let env = TestEnv::new()
            .with("AWS_ACCESS_KEY_ID", "test")
            .with("AWS_SECRET_ACCESS_KEY", "test-secret-key")
            .with("AWS_ENDPOINT_URL_S3", server.endpoint());
        env.write("home/Documents/note.txt", "hello\n");
        env.write("home/Documents/letters/may.txt", "Dear\n");
        env.write("home/Documents/invoice-1.pdf", noise(1, 5000));
        env.write("home/Documents/a.raw", noise(2, 300_000));
        env.write(
            "my-classes.json",
            r#"{"blobOptions": [{"prefix": "p", "storageClass": "STANDARD_IA"}, {"prefix": "s", "storageClass": "STANDARD"}]}"#,
        );
        env.write("password", PASSWORD);
        let pass = env.write("bin/pass", format!("#!/bin/sh\necho {PASSWORD}\n"));
        fs_err::set_permissions(&pass, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let world = Self { env, server };
        if start != Start::Bucket {
            world.prepare();
        }
        if start == Start::Archived {
            world.archive();
        }
        world
    }

    fn prepare(&self) {
        let disk = self.env.text("disk/repository");
        let place = "--bucket=my-backups --prefix=laptop/";
        let create = format!("repository create s3 {place}");
        self.ok(&format!("kopia-lite {create} && kopia-lite snapshot create ~/Documents"));
        self.env.write("home/Documents/letters/june.txt", "Dear\n");
        self.ok("kopia-lite snapshot create ~/Documents");
        for more in [
            format!("-P disk repository create filesystem --path={disk}"),
            format!("--config-file=work.config repository connect s3 {place}"),
        ] {
            self.ok(&format!("kopia-lite {more}"));
        }
    }

    /// Lets a lifecycle rule do its work.
    fn archive(&self) {
        let objects = self.server.objects();
        for key in objects.keys("").iter().filter(|key| key.contains("/p")) {
            objects.set_class(key, "DEEP_ARCHIVE");
        }
    }

    fn ok(&self, script: &str) -> String {
        let run = shell::run(&self.env, script);
        assert_eq!(run.code, 0, "{script}\n{run:#?}");
        run.stdout
    }

    /// What the step means here.
    fn meant(&self, step: &str) -> String {
        let mut step = step.to_owned();
        // From cron, and from a unit of systemd.
        if step.starts_with(|first: char| first.is_ascii_digit()) {
            step = step.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
        }
        for (word, value) in [
            ("/usr/local/bin/", ""),
            ("/tmp/", &*self.env.text("tmp/")),
            ("/mnt/disk/", &self.env.text("disk/")),
            ("/etc/kopia-lite/password", &self.env.text("password")),
            ("'/home/me/", &format!("'{}/", self.env.text("home"))),
            (" /home ", &format!(" {} ", self.env.text("home"))),
            ("--bucket=…", "--bucket=my-backups"),
            ("--prefix=…", "--prefix=laptop/"),
            ("s3 --bucket=my-backups --max", "s3 --bucket=my-backups --prefix=laptop/ --max"),
            ("2026-11-24T13:00:00Z", &self.now()),
            ("ROOT…", "~/Documents@latest"),
            ("[ID]", ""),
        ] {
            step = (step + " ").replace(word, value).trim_end().to_owned();
        }
        step = with_words(&step, |word| match word {
            "ID" | "ID2" => Some(self.snapshot(true)),
            "ID1" => Some(self.snapshot(false)),
            word if word.starts_with("t-2026") => Some(self.thaw()),
            _ => None,
        });
        assert!(!step.contains('…'), "what does it stand for? {step}");
        answered(&step)
    }

    /// The newest snapshot of the documents, or the oldest.
    fn snapshot(&self, is_newest: bool) -> String {
        let list = self.env.json("snapshot list --all --json --show-identical");
        let list = list.as_array().unwrap();
        let found = if is_newest { list.last() } else { list.first() };
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn thaw(&self) -> String {
        self.env.json("thaw list --json")[0]["thawID"].as_str().unwrap().to_owned()
    }

    fn now(&self) -> String {
        self.ok("date -u +%Y-%m-%dT%H:%M:%SZ").trim().to_owned()
    }

    /// Runs a step. Two days pass after each request for a thaw.
    fn run(&self, step: &str) -> Run {
        let waits = step.contains("--thaw=") || step.contains("thaw wait");
        if !waits {
            return shell::run(&self.env, step);
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let asked = || self.server.requests().restores("");
                let mut seen = asked();
                let mut is_first = true;
                while !is_over.load(Relaxed) {
                    thread::sleep(Duration::from_millis(200));
                    let now = asked();
                    if now > seen || is_first && step.contains("thaw wait") {
                        self.server.clock().advance(Duration::from_secs(49 * 3600));
                        is_first = false;
                    }
                    seen = now;
                }
            });
            let run = shell::run(&self.env, step);
            is_over.store(true, Relaxed);
            run
        })
    }
}

/// `step` with some of its words replaced.
fn with_words(step: &str, by: impl Fn(&str) -> Option<String>) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut out = String::new();
    let mut rest = step;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let end = if end == 0 { first.len_utf8() } else { end };
        let (word, after) = rest.split_at(end);
        out += &by(word).unwrap_or_else(|| word.to_owned());
        rest = after;
    }
    out
}

/// The step with the answer that somebody at a terminal would give, and without long waits.
fn answered(step: &str) -> String {
    let asks = |line: &str| {
        ["--thaw=", "thaw start", "storage-config apply", "lifecycle install"]
            .iter()
            .any(|words| line.contains(words))
    };
    let answers =
        |line: &str| [" -n", " -y", "--yes", "--max-cost", "&&"].iter().any(|it| line.contains(it));
    let lines = step.lines().map(|line| {
        let mut line = without_comment(line).to_owned();
        if asks(&line) && !answers(&line) {
            line += " --yes";
        }
        let line = line.replace("&& kopia-lite thaw wait", "--yes && kopia-lite thaw wait");
        let line = line.replace("thaw wait", "thaw wait --poll-interval=100ms");
        line.replace("--thaw=bulk", "--thaw=bulk --poll-interval=100ms")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn run(path: &str) {
    let Some(workspace) = workspace() else {
        skip(&format!("docs_run::{path}"), "the docs are not beside this crate");
        return;
    };
    let page = PAGES.iter().find(|page| page.path == path).unwrap();
    let text = fs_err::read_to_string(workspace.join(path)).unwrap();
    let (world, mut used) = (World::new(page.start), Vec::new());
    let needs_jq = steps(&text).iter().any(|step| step.contains("jq "));
    if needs_jq && shell::run(&world.env, "command -v jq").code != 0 {
        skip(&format!("docs_run::{path}"), "there is no jq, which lines of this page pipe into");
        return;
    }
    let mut wrong = Vec::new();
    for step in steps(&text) {
        if let Some((part, _)) = page.left.iter().find(|(part, _)| step.contains(part)) {
            used.push(*part);
            continue;
        }
        let mut wanted = 0;
        if let Some((part, code)) = page.codes.iter().find(|(part, _)| step.contains(part)) {
            used.push(*part);
            wanted = *code;
        }
        let meant = world.meant(&step);
        let run = world.run(&meant);
        if run.code != wanted {
            wrong.push(format!(
                "{step}\nas {meant}\nends with {}, not {wanted}: {run:#?}",
                run.code
            ));
        }
        if step.contains("lifecycle install --to") {
            world.archive();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = page.codes.iter().map(|it| it.0).chain(page.left.iter().map(|it| it.0));
    let unused: Vec<_> = all.filter(|part| !used.contains(part)).collect();
    assert!(unused.is_empty(), "no line of {path} has {unused:?}");
}

#[test]
fn no_page_with_command_lines_is_left_out() {
    let Some(workspace) = workspace() else {
        skip("docs_run::no_page_with_command_lines_is_left_out", "the docs are not here");
        return;
    };
    for entry in fs_err::read_dir(workspace.join("docs/guide")).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("docs/guide/{}", path.file_name().unwrap().to_str().unwrap());
        let count = steps(&fs_err::read_to_string(&path).unwrap()).len();
        assert_eq!(count > 0, PAGES.iter().any(|page| page.path == name), "{name}: {count}");
    }
}

#[test]
fn readme() {
    run("README.md");
}

#[test]
fn first_backup() {
    run("docs/guide/first-backup-to-s3.md");
}

#[test]
fn from_cron_or_systemd() {
    run("docs/guide/from-cron-or-systemd.md");
}

#[test]
fn moving() {
    run("docs/guide/moving-from-kopia-and-back.md");
}

#[test]
fn maintenance() {
    run("docs/guide/maintenance.md");
}

#[test]
fn policies() {
    run("docs/guide/policies.md");
}

#[test]
fn restoring() {
    run("docs/guide/restoring.md");
}

#[test]
fn storage_classes() {
    run("docs/guide/storage-classes.md");
}

#[test]
fn archived_packs() {
    run("docs/guide/archived-packs.md");
}

#[test]
fn permissions() {
    run("docs/guide/permissions.md");
}

#[test]
fn exit_codes() {
    run("docs/guide/exit-codes.md");
}
