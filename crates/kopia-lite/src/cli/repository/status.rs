//! `repository status`.

use clap::Args;
use futures::TryStreamExt;
use kopia_format::{
    epoch::PREFIX_MARKER, format_blob::RepositoryFormat, local_config::LocalConfig,
    time::duration_text, token::RepositoryToken,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use crate::{
    cli::{App, app::Access},
    compose::Client,
    connect::{config, password},
    exit::Exit,
    ui::{json::JsonFlags, size, text},
};

/// Show the connection and the repository.
#[derive(Debug, Args)]
pub struct Status {
    /// Show what connects another machine to this repository.
    #[arg(short = 't', long)]
    reconnect_token: bool,
    /// The same with the password in it.
    #[arg(short = 's', long)]
    reconnect_token_with_password: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Status {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let connection = app.connection()?;
        let client = app.open(Access::Verify).await?;
        if self.json.json {
            self.json.print(&as_json(app, &connection, &client).await?);
            return Ok(Exit::Done);
        }
        print_connection(app, &connection, &client).await?;
        print_format(&client).await?;
        print_storage_config(&client);
        if self.reconnect_token {
            self.print_token(app, &connection).await?;
        }
        Ok(Exit::Done)
    }

    async fn print_token(&self, app: &App, connection: &LocalConfig) -> anyhow::Result<()> {
        let storage = config::storage_of(connection, &app.config_file)?.clone();
        let password = match self.reconnect_token_with_password {
            true => {
                let password = app.password(password::Purpose::Open).await?;
                Some(password.expose_secret().to_owned().into())
            }
            false => None,
        };
        let has_password = password.is_some();
        let token = RepositoryToken { storage, password }.encode();
        let token = token.as_str();
        text::line(format!(
            "\nTo reconnect to the repository use:\n\n\
             $ kopia repository connect from-config --token {token}\n"
        ));
        if has_password {
            text::line(
                "NOTICE: The token printed above can be trivially decoded to reveal the \
                 repository password. Do not store it in an unsecured place.",
            );
        }
        Ok(())
    }
}

fn kind_of(connection: &LocalConfig) -> &str {
    connection.storage.as_ref().map_or("", |storage| &storage.kind)
}

/// Fields of a storage's options that are nobody's business.
const SECRETS: [&str; 4] = ["secretAccessKey", "sessionToken", "password", "key"];

/// The storage's options with every secret masked.
fn scrubbed(connection: &LocalConfig) -> Map<String, Value> {
    let mut config =
        connection.storage.as_ref().map(|storage| storage.config.clone()).unwrap_or_default();
    for name in SECRETS {
        if let Some(Value::String(secret)) = config.get_mut(name)
            && !secret.is_empty()
        {
            *secret = "*".repeat(secret.chars().count());
        }
    }
    config
}

async fn volume(client: &Client) -> anyhow::Result<Option<blob_core::VolumeCapacity>> {
    match client.bare.volume() {
        Some(volume) => Ok(Some(volume.capacity().await?)),
        None => Ok(None),
    }
}

/// The status in Kopia's fields.
pub(in crate::cli) async fn as_json(
    app: &App,
    connection: &LocalConfig,
    client: &Client,
) -> anyhow::Result<Value> {
    let repo = &client.repo;
    let mut options = json!({"hostname": repo.hostname(), "username": repo.username()});
    let extra: [(&str, Value, bool); 4] = [
        ("readonly", connection.readonly.into(), connection.readonly),
        ("description", connection.description.clone().into(), !connection.description.is_empty()),
        ("enableActions", connection.enable_actions.into(), true),
        (
            "formatBlobCacheDuration",
            connection.format_blob_cache_duration.into(),
            connection.format_blob_cache_duration != 0,
        ),
    ];
    for (name, value, present) in extra {
        if present {
            options[name] = value;
        }
    }
    let mut status = json!({
        "configFile": app.config_file.display().to_string(),
        "uniqueIDHex": hex::encode(repo.unique_id()),
        "clientOptions": options,
        "storage": {
            "type": kind_of(connection),
            "config": scrubbed(connection),
        },
    });
    if let Some(volume) = volume(client).await? {
        status["volume"] = json!({"capacity": volume.capacity, "available": volume.available});
    }
    let format = repo.format();
    status["contentFormat"] = scrubbed_format(&format);
    status["objectFormat"] = json!({"splitter": format.splitter});
    status["blobRetention"] = serde_json::to_value(&*repo.blob_config())?;
    Ok(status)
}

/// The format's parameters without its keys, in Kopia's order.
fn scrubbed_format(format: &RepositoryFormat) -> Value {
    let payload: Value = serde_json::from_slice(&format.to_payload()).unwrap_or_default();
    let mut all = payload.get("format").cloned().unwrap_or_default();
    if let Value::Object(fields) = &mut all {
        for name in ["secret", "masterKey", "splitter", "upgradeLock", "requiredFeatures"] {
            fields.shift_remove(name);
        }
    }
    all
}

async fn print_connection(
    app: &App,
    connection: &LocalConfig,
    client: &Client,
) -> anyhow::Result<()> {
    let row = |name: &str, value: &str| text::line(format!("{name:<20} {value}"));
    row("Config file:", &app.config_file.display().to_string());
    text::line("");
    row("Description:", &connection.description);
    row("Hostname:", client.repo.hostname());
    row("Username:", client.repo.username());
    row("Read-only:", &connection.readonly.to_string());
    let refresh = connection.format_blob_cache_duration;
    let refresh = if refresh > 0 { duration_text(refresh) } else { "disabled".to_owned() };
    row("Format blob cache:", &refresh);
    text::line("");
    row("Storage type:", kind_of(connection));
    match volume(client).await? {
        Some(volume) => {
            row("Storage capacity:", &size::bytes(volume.capacity));
            row("Storage available:", &size::bytes(volume.available));
        }
        None => row("Storage capacity:", "unbounded"),
    }
    let config = kopia_format::json::to_vec_indent(&scrubbed(connection));
    let config = String::from_utf8_lossy(&config).replace('\n', &format!("\n{:21}", ""));
    row("Storage config:", &config);
    text::line("");
    Ok(())
}

/// The epoch that index blobs are written in: the greatest with a marker.
async fn write_epoch(client: &Client) -> anyhow::Result<u64> {
    let mut markers = client.repo.storage().list(PREFIX_MARKER);
    let mut newest = 0;
    while let Some(marker) = markers.try_next().await? {
        let number = marker.id.as_str().strip_prefix(PREFIX_MARKER).and_then(|n| n.parse().ok());
        newest = newest.max(number.unwrap_or(0));
    }
    Ok(newest)
}

async fn print_format(client: &Client) -> anyhow::Result<()> {
    let row = |name: &str, value: &str| text::line(format!("{name:<20} {value}"));
    let (repo, format) = (&client.repo, client.repo.format());
    row("Unique ID:", &hex::encode(repo.unique_id()));
    row("Hash:", &format.hash);
    row("Encryption:", &format.encryption);
    row("Splitter:", &format.splitter);
    row("Format version:", &format.version.to_string());
    row("Content compression:", &(format.index_version >= 2).to_string());
    row("Password changes:", &format.enable_password_change.to_string());
    row("Max pack length:", &size::bytes(format.max_pack_size.into()));
    row("Index Format:", &format!("v{}", format.index_version));
    if !format.epochs_enabled() {
        row("Epoch Manager:", "disabled");
    } else {
        text::line("");
        row("Epoch Manager:", "enabled");
        text::line(format!("Current Epoch: {}", write_epoch(client).await?));
        let epochs = &format.epoch;
        let span = |span: std::time::Duration| {
            duration_text(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
        };
        text::line(format!(
            "\nEpoch refresh frequency: {}\n\
             Epoch advance on:        {} blobs or {}, minimum {}\n\
             Epoch cleanup margin:    {}\n\
             Epoch range-compaction every: {} epochs",
            span(epochs.refresh_frequency),
            epochs.advance_on_count,
            size::bytes(epochs.advance_on_size),
            span(epochs.min_epoch_duration),
            span(epochs.cleanup_safety_margin),
            epochs.full_checkpoint_frequency,
        ));
    }
    let retention = repo.blob_config();
    if retention.is_retention_enabled() {
        let mode = retention.retention_mode.clone().unwrap_or_default();
        let period = i64::try_from(retention.retention_period.as_nanos()).unwrap_or(i64::MAX);
        text::line(format!(
            "\nBlob retention mode:     {mode}\nBlob retention period:   {}",
            duration_text(period)
        ));
    }
    Ok(())
}

fn print_storage_config(client: &Client) {
    let Some(loaded) = &client.storage_config else { return };
    let said = match &loaded.text {
        None => "none: every blob goes to STANDARD".to_owned(),
        Some(_) => format!("{} entries", loaded.config.entries().len()),
    };
    text::line(format!("\n{:<20} {said}", ".storageconfig:"));
}
