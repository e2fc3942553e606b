//! The clients that are compared: how each of them is told to do the same work.
//!
//! The same compression everywhere: none, or zstd at its fastest level. Kopia's maintenance, which
//! would run within some of the steps, is left out, for kopia-lite does none.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    place::Place,
    programs::{Client, PASSWORD},
    server::{ACCESS_KEY, SECRET_KEY},
};

/// Which program it is, and so how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    KopiaLite,
    Kopia,
    Restic,
    Rustic,
}

/// Their names in `--against`; a client of ours can be set against another build of it.
const TOOLS: &[(&str, Tool)] = &[
    ("kopia", Tool::Kopia),
    ("restic", Tool::Restic),
    ("rustic", Tool::Rustic),
    ("kopia-lite", Tool::KopiaLite),
];

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    None,
    ZstdFastest,
}

/// Their names on the command line.
pub const POLICIES: &[(&str, Policy)] =
    &[("none", Policy::None), ("zstd-fastest", Policy::ZstdFastest)];

/// Reads `NAME=PATH`.
pub fn parse_against(text: &str) -> anyhow::Result<(Tool, &'static str, PathBuf)> {
    let (name, path) = text.split_once('=').context("--against takes NAME=PATH")?;
    let Some((_, tool)) = TOOLS.iter().find(|(it, _)| *it == name) else {
        let names: Vec<_> = TOOLS.iter().map(|(name, _)| *name).collect();
        bail!("--against {name}: there are {}", names.join(", "));
    };
    let shown = match tool {
        Tool::Kopia => "Kopia",
        Tool::Restic => "restic",
        Tool::Rustic => "rustic",
        Tool::KopiaLite => "other",
    };
    Ok((*tool, shown, path.into()))
}

/// A client that takes part.
#[derive(Debug, Clone)]
pub struct Contender {
    pub tool: Tool,
    pub client: Client,
}

/// A repository as one client of one run sees it.
#[derive(Debug)]
pub struct Session<'a> {
    tool: Tool,
    pub client: Client,
    place: &'a Place<'a>,
    policy: Policy,
    home: PathBuf,
}

impl Contender {
    /// Finds out whether the program runs, and its version.
    pub fn new(
        tool: Tool,
        name: &'static str,
        program: &Path,
        home: &Path,
    ) -> anyhow::Result<Self> {
        let ask = if tool == Tool::Restic { "version" } else { "--version" };
        Ok(Self { tool, client: Client::asked(name, program, home.join(name), ask)? })
    }

    /// A session in a new home below `folder`, not connected yet.
    pub fn session<'a>(
        &self,
        place: &'a Place<'a>,
        policy: Policy,
        home: PathBuf,
    ) -> anyhow::Result<Session<'a>> {
        let client = self.client.at_home(home.clone())?;
        Ok(Session { tool: self.tool, client, place, policy, home })
    }
}

impl Session<'_> {
    /// Where it may leave files.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Creates the repository.
    pub fn create(&self) -> Command {
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {
                self.kopia(&["repository", "create"], &self.place.args())
            }
            Tool::Restic => self.restic(&["init"]),
            // Level 0 means that nothing is compressed.
            Tool::Rustic => self.command(&match self.policy {
                Policy::None => ["init", "--set-compression=0"],
                Policy::ZstdFastest => ["init", "--set-compression=1"],
            }),
        }
    }

    /// What is set once in a new repository and belongs to no step.
    pub fn settle(&self) -> Option<Command> {
        let compression = match self.policy {
            Policy::None => "--compression=none",
            Policy::ZstdFastest => "--compression=zstd-fastest",
        };
        let is_kopia = matches!(self.tool, Tool::Kopia | Tool::KopiaLite);
        is_kopia.then(|| self.kopia(&["policy", "set", "--global", compression], &[]))
    }

    /// Connects a new home to the repository, where a client knows of such.
    pub fn connect(&self) -> Option<Command> {
        let is_kopia = matches!(self.tool, Tool::Kopia | Tool::KopiaLite);
        is_kopia.then(|| self.kopia(&["repository", "connect"], &self.place.args()))
    }

    /// Snapshots a folder.
    pub fn snapshot(&self, source: &str) -> Command {
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {
                self.kopia(&["snapshot", "create", "--json", "--no-progress", source], &[])
            }
            Tool::Restic => self.restic(&["backup", "--quiet", source]),
            Tool::Rustic => self.command(&["backup", "--no-progress", source]),
        }
    }

    /// The snapshot that was made, from what was printed.
    pub fn made(&self, output: &str) -> anyhow::Result<String> {
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {
                let value: Value = serde_json::from_str(output)?;
                Ok(value["id"].as_str().context("no snapshot is named")?.to_owned())
            }
            Tool::Restic | Tool::Rustic => Ok("latest".to_owned()),
        }
    }

    /// Restores a snapshot, or a folder in it.
    pub fn restore(&self, id: &str, source: &str, inner: Option<&str>, target: &str) -> Command {
        let inner = inner.map_or(String::new(), |inner| format!("/{inner}"));
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {
                let what = format!("{id}{inner}");
                self.kopia(&["restore", "--no-progress", &what, target], &[])
            }
            Tool::Restic => {
                let what = format!("{id}:{source}{inner}");
                self.restic(&["restore", "--quiet", &what, "--target", target])
            }
            Tool::Rustic => {
                let what = format!("{id}:{source}{inner}");
                self.command(&["restore", "--no-progress", &what, target])
            }
        }
    }

    /// Reads all data of all snapshots and checks it.
    pub fn verify(&self) -> Command {
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {
                let args = ["snapshot", "verify", "--verify-files-percent=100", "--no-progress"];
                self.kopia(&args, &[])
            }
            Tool::Restic => self.restic(&["check", "--read-data", "--quiet"]),
            Tool::Rustic => self.command(&["check", "--read-data", "--no-progress"]),
        }
    }

    fn kopia(&self, args: &[&str], more: &[String]) -> Command {
        let mut command = self.command(args);
        command.args(more);
        if self.tool == Tool::Kopia {
            command.arg("--no-auto-maintenance");
        }
        command
    }

    fn restic(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.env(
            "RESTIC_COMPRESSION",
            match self.policy {
                Policy::None => "off",
                // Its `auto` is a higher level.
                Policy::ZstdFastest => "fastest",
            },
        );
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.client.command(args);
        match self.tool {
            Tool::Kopia | Tool::KopiaLite => {}
            Tool::Restic => {
                let repository = match self.place {
                    Place::Folder(path) => path.display().to_string(),
                    Place::S3(server, prefix) => {
                        let (endpoint, bucket) = (&server.endpoint, &server.bucket);
                        format!("s3:http://{endpoint}/{bucket}/{}", prefix.trim_end_matches('/'))
                    }
                };
                command.env("RESTIC_REPOSITORY", repository).env("RESTIC_PASSWORD", PASSWORD);
                command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY);
                command.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
            }
            Tool::Rustic => {
                command.env("RUSTIC_PASSWORD", PASSWORD);
                match self.place {
                    Place::Folder(path) => {
                        command.env("RUSTIC_REPOSITORY", path);
                    }
                    Place::S3(server, prefix) => {
                        command.env("RUSTIC_REPOSITORY", "opendal:s3");
                        for (name, value) in [
                            ("ENDPOINT", format!("http://{}", server.endpoint)),
                            ("BUCKET", server.bucket.clone()),
                            ("ROOT", format!("/{prefix}")),
                            ("REGION", "us-east-1".to_owned()),
                            ("ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
                            ("SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
                        ] {
                            command.env(format!("OPENDAL_{name}"), value);
                        }
                    }
                }
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_with_its_program() {
        let read = |text| parse_against(text).map_err(|error| error.to_string());
        assert_eq!(read("kopia=/bin/k=1"), Ok((Tool::Kopia, "Kopia", "/bin/k=1".into())));
        assert_eq!(read("restic=r"), Ok((Tool::Restic, "restic", "r".into())));
        assert!(read("kopia").is_err());
        let unknown = read("borg=b").expect_err("nobody speaks to it");
        assert!(unknown.contains("rustic"), "{unknown}");
    }
}
