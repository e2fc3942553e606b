//! `repository permissions`: the least that an S3 key has to be allowed.

use anyhow::Context;
use clap::{Args, ValueEnum};
use s3_backend::S3Options;
use serde_json::{Value, json};

use crate::{
    cli::App,
    connect::config,
    exit::{Exit, Failure},
    ui::text,
};

/// Print the least S3 policy for what a key is to do with the repository of the connection.
#[derive(Debug, Args)]
pub struct Permissions {
    /// What the key is for.
    #[arg(
        long = "for",
        value_enum,
        value_name = "WHAT",
        value_delimiter = ',',
        default_value = "snapshot,maintenance"
    )]
    uses: Vec<Use>,
    /// Blobs are locked: with a retention mode.
    #[arg(long)]
    object_lock: bool,
    /// Taken since every command has it: a policy is JSON anyway.
    #[arg(long, hide = true)]
    json: bool,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Use {
    /// Listing, restoring and verifying.
    Read,
    /// Taking snapshots.
    Snapshot,
    /// Maintenance.
    Maintenance,
    /// Thawing archived packs: it spends money.
    Thaw,
}

impl Permissions {
    pub(super) fn run(self, app: &App) -> anyhow::Result<Exit> {
        let connection = app.connection()?;
        let storage = config::storage_of(&connection, &app.config_file)?;
        if storage.kind != "s3" {
            let message = format!("{}: only S3 has policies of rights", storage.kind);
            return Err(Failure::new(Exit::Failed, message).into());
        }
        let options: S3Options = serde_json::from_value(Value::Object(storage.config.clone()))
            .context("the connection file's S3 options")?;
        let policy = self.policy(&options.bucket, &options.prefix, &options.region);
        let shown = kopia_format::json::to_vec_indent(&policy);
        text::line(String::from_utf8_lossy(&shown));
        Ok(Exit::Done)
    }

    fn policy(&self, bucket: &str, prefix: &str, region: &str) -> Value {
        let partition = match region {
            china if china.starts_with("cn-") => "aws-cn",
            government if government.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let arn = |key: &str| format!("arn:{partition}:s3:::{bucket}{key}");
        let mut actions = vec!["s3:GetObject"];
        if self.uses.iter().any(|it| matches!(it, Use::Snapshot | Use::Maintenance)) {
            actions.extend(["s3:PutObject", "s3:DeleteObject"]);
            if self.object_lock {
                actions.push("s3:PutObjectRetention");
            }
        }
        let mut statements = vec![
            json!({
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": arn(""),
                "Condition": {"StringLike": {"s3:prefix": format!("{prefix}*")}},
            }),
            json!({
                "Effect": "Allow",
                "Action": actions,
                "Resource": arn(&format!("/{prefix}*")),
            }),
        ];
        if self.uses.contains(&Use::Thaw) {
            statements.push(json!({
                "Effect": "Allow",
                "Action": "s3:RestoreObject",
                "Resource": arn(&format!("/{prefix}p*")),
            }));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }
}
