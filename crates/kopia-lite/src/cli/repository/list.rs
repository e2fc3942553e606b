//! `repository list`: the connections of this user, each a profile.

use std::path::Path;

use clap::Args;
use kopia_format::local_config::LocalConfig;
use serde_json::{Value, json};

use crate::{
    cli::App,
    connect::{config, paths},
    exit::Exit,
    ui::{json::JsonFlags, text},
};

/// List the connections in Kopia's config folder; `-P NAME` takes one.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    json: JsonFlags,
}

/// One connection file.
struct Profile {
    name: String,
    file: std::path::PathBuf,
    connection: anyhow::Result<LocalConfig>,
}

impl List {
    pub(super) fn run(self, app: &App) -> anyhow::Result<Exit> {
        let profiles = profiles(&paths::config_folder())?;
        if self.json.json {
            self.json.print_list(profiles.iter().map(|profile| profile.json(app)));
            return Ok(Exit::Done);
        }
        if profiles.is_empty() {
            app.info(format!("no connections in {}", paths::config_folder().display()));
        }
        let width = profiles.iter().map(|profile| profile.name.len()).max().unwrap_or_default();
        for profile in &profiles {
            let mark = if profile.file == app.config_file { '*' } else { ' ' };
            let said = match &profile.connection {
                Ok(connection) => {
                    let (who, place) = (who(connection), place(connection));
                    let readonly = if connection.readonly { ", read-only" } else { "" };
                    format!("{place} as {who}{readonly}")
                }
                Err(error) => format!("{error:#}"),
            };
            text::line(format!("{mark} {:width$}  {said}", profile.name));
        }
        Ok(Exit::Done)
    }
}

impl Profile {
    fn json(&self, app: &App) -> Value {
        let mut value = json!({
            "profile": self.name,
            "configFile": self.file,
            "current": self.file == app.config_file,
        });
        match &self.connection {
            Ok(connection) => {
                value["storage"] = place(connection).into();
                value["owner"] = who(connection).into();
                value["description"] = connection.description.clone().into();
                value["readonly"] = connection.readonly.into();
            }
            Err(error) => value["error"] = format!("{error:#}").into(),
        }
        value
    }
}

/// The connection files of a folder by name; none where there is no folder.
fn profiles(folder: &Path) -> anyhow::Result<Vec<Profile>> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let file = entry?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(name) = name.strip_suffix(".config").filter(|name| !name.is_empty()) else {
            continue;
        };
        let (name, connection) = (name.to_owned(), config::load(&file));
        all.push(Profile { name, file, connection });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Where the repository is, without secrets.
fn place(connection: &LocalConfig) -> String {
    let Some(storage) = connection.storage.as_ref().filter(|_| connection.api_server.is_none())
    else {
        return "a Kopia server".to_owned();
    };
    let text = |name: &str| storage.config.get(name).and_then(Value::as_str).unwrap_or_default();
    match storage.kind.as_str() {
        "s3" => {
            let endpoint = match text("endpoint") {
                "" | "s3.amazonaws.com" => String::new(),
                other => format!(" at {other}"),
            };
            format!("s3://{}/{}{endpoint}", text("bucket"), text("prefix"))
        }
        "filesystem" => text("path").to_owned(),
        other => other.to_owned(),
    }
}

fn who(connection: &LocalConfig) -> String {
    format!("{}@{}", connection.username, connection.hostname)
}
