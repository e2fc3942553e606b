//! `storage-config`: show, check, set, explain; `apply` and `lifecycle` have files of their own.

use std::path::PathBuf;

use anyhow::{Context, bail};
use blob_core::DynStorage;
use clap::{Args, Subcommand};
use serde_json::json;
use storageconfig::{BlobKind, Edit, Explanation, FILE_NAME, Loaded, Report, StorageConfig};

use super::{App, apply::Apply, lifecycle, repository::s3_flags::S3Flags};
use crate::{
    compose::{ClientBuilder, ClientOptions},
    connect::{
        backends::{self, Backend},
        config,
    },
    exit::{Exit, Failure},
    ui::{finding, json::JsonFlags, text},
};

/// The verbs of `storage-config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the file as it is, and as it is read.
    Show(Show),
    /// Check a file, or the bucket's.
    Check(Check),
    /// Upload or change the bucket's file.
    Set(Box<Set>),
    /// Say which entry decides about a blob, and why.
    Explain(Explain),
    /// Rules of the bucket that move blobs to another class later, by age and size.
    #[command(subcommand)]
    Lifecycle(lifecycle::Command),
    /// Move blobs that are there to the class that the file names.
    Apply(Apply),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Set(_) | Self::Apply(_) => false,
            Self::Lifecycle(command) => command.only_reads(),
            Self::Show(_) | Self::Check(_) | Self::Explain(_) => true,
        }
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Show(show) => show.run(app).await,
            Self::Check(check) => check.run(app).await,
            Self::Set(set) => set.run(app).await,
            Self::Explain(explain) => explain.run(app).await,
            Self::Lifecycle(command) => command.run(app).await,
            Self::Apply(apply) => apply.run(app).await,
        }
    }
}

/// The storage of the connection, without a policy: the file is read and written below it.
async fn storage(app: &App) -> anyhow::Result<DynStorage> {
    let connection = app.connection()?;
    let backend = backends::open(config::storage_of(&connection, &app.config_file)?).await?;
    bare(backend, ClientOptions { connected: true, ..ClientOptions::default() }).await
}

pub(super) async fn bare(backend: Backend, options: ClientOptions) -> anyhow::Result<DynStorage> {
    if !backend.has_storage_config {
        bail!("{} keeps no {FILE_NAME}: only S3 does", backend.storage.info().name);
    }
    Ok(ClientBuilder::over(backend).options(options).no_policy().stack().await?.bare)
}

/// Uploads a file for a repository that does not exist yet. The same file there already is fine.
///
/// # Errors
/// The file is refused, or another one is there.
pub async fn upload_new(backend: &Backend, text: &[u8], force: bool) -> anyhow::Result<()> {
    let storage = bare(backend.clone(), ClientOptions::default()).await?;
    check_upload(text, force)?;
    let before = read_lenient(&storage).await?;
    if before.as_deref() == Some(text) {
        return Ok(());
    }
    if before.is_some() {
        bail!("{FILE_NAME} exists already and is another; see kopia-lite storage-config set");
    }
    storageconfig::store(&*storage, text.to_vec(), None).await?;
    Ok(())
}

/// The file's text, whether or not it can be understood: a broken one must be replaceable.
async fn read_lenient(storage: &DynStorage) -> anyhow::Result<Option<Vec<u8>>> {
    let id = blob_core::BlobId::new(FILE_NAME).context("the name of the file")?;
    match storage.get(&id, blob_core::ReadRange::Full).await {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what must not be uploaded unless forced; warns of the rest.
///
/// # Errors
/// What is refused, and why.
pub fn check_upload(text: &[u8], force: bool) -> anyhow::Result<()> {
    let report = Report::of(text);
    report.findings.iter().for_each(|one| text::warn(finding::line(one)));
    let unreadable = StorageConfig::parse(text).is_err();
    if unreadable || (report.refuses_upload() && !force) {
        let way_out = match unreadable {
            true => "no client would open the repository",
            false => "to upload it all the same, add --force (create: --force-storage-config)",
        };
        let message = format!("{FILE_NAME} was not uploaded; {way_out}");
        return Err(Failure::new(Exit::Failed, message).into());
    }
    Ok(())
}

/// Show the file as it is, and as it is read.
#[derive(Debug, Args)]
pub struct Show {
    /// Only the file, byte for byte.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let Loaded { config, text: file, findings } =
            storageconfig::load(&*storage(app).await?).await?;
        if self.raw {
            text::raw(&file.unwrap_or_default());
            return Ok(Exit::Done);
        }
        if self.json.json {
            let entries = config.entries().iter().map(
                |entry| json!({"prefix": entry.prefix(), "storageClass": entry.storage_class()}),
            );
            self.json.print(&json!({
                "exists": file.is_some(),
                "entries": entries.collect::<Vec<_>>(),
                "findings": findings,
            }));
            return Ok(Exit::Done);
        }
        let Some(file) = file else {
            text::line("none: every blob goes to STANDARD");
            return Ok(Exit::Done);
        };
        text::line(String::from_utf8_lossy(&file).trim_end());
        text::line("");
        print_explanations(&config.explain_kinds());
        findings.iter().for_each(|one| text::note(finding::line(one)));
        Ok(Exit::Done)
    }
}

fn print_explanations(all: &[Explanation]) {
    for one in all {
        let class = one.storage_class.as_deref().unwrap_or("(bucket default)");
        let contents = one.kind.map_or("", BlobKind::contents);
        text::line(format!("{:<24} {class:<24} {contents}", one.blob));
        for (name, value) in &one.options {
            text::line(format!("{:<24} {name}: {value}", ""));
        }
    }
}

/// Check a file, or the bucket's.
#[derive(Debug, Args)]
pub struct Check {
    /// A local file; without one, the bucket's.
    file: Option<PathBuf>,
    /// Exit with an error for warnings, too.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Check {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let (source, bytes) = match &self.file {
            Some(file) => (file.display().to_string(), Some(fs_err::read(file)?)),
            None => ("bucket".to_owned(), read_lenient(&storage(app).await?).await?),
        };
        let report = match &bytes {
            Some(bytes) => Report::of(bytes),
            None => Report { valid: true, findings: Vec::new() },
        };
        if self.json.json {
            let (valid, findings) = (report.valid, &report.findings);
            self.json.print(&json!({"source": source, "valid": valid, "findings": findings}));
        } else {
            report.findings.iter().for_each(|one| text::line(finding::line(one)));
            text::line(match (&bytes, report.valid) {
                (None, _) => "none: every blob goes to STANDARD",
                (Some(_), true) if report.refuses_upload() => "valid, but dangerous: see above",
                (Some(_), true) => "valid",
                (Some(_), false) => "not valid",
            });
        }
        let refused = !report.valid || report.refuses_upload();
        let failed = refused || (self.strict && report.has_warnings());
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }
}

/// Upload or change the bucket's file: that of the connection, or with `--bucket` and what belongs
/// to it another one.
#[derive(Debug, Args)]
#[command(mut_args(|arg| needs_bucket(arg)))]
pub struct Set {
    /// Upload this file as it is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["add", "default", "remove", "clear"])]
    file: Option<PathBuf>,
    /// Blobs whose ID begins with PREFIX go to CLASS.
    #[arg(long, value_name = "PREFIX=CLASS")]
    add: Vec<String>,
    /// All other blobs go to this class.
    #[arg(long, value_name = "CLASS")]
    default: Option<String>,
    /// Delete the entries of this prefix.
    #[arg(long, value_name = "PREFIX")]
    remove: Vec<String>,
    /// Delete every entry first.
    #[arg(long)]
    clear: bool,
    /// Only show what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Upload it even if it is refused, such as one that would archive more than data packs.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    storage: S3Flags,
}

impl Set {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let storage = match &self.storage.bucket {
            Some(_) => {
                bare(backends::s3(self.storage.options()?)?, ClientOptions::default()).await?
            }
            None => storage(app).await?,
        };
        let before = read_lenient(&storage).await?;
        let after = self.wanted(before.as_deref())?;
        check_upload(&after, self.force)?;
        if before.as_deref() == Some(&*after) {
            app.info("No change.");
            return Ok(Exit::Done);
        }
        if self.dry_run {
            print_difference(before.as_deref().unwrap_or_default(), &after, |line| app.line(line));
            return Ok(Exit::Done);
        }
        storageconfig::store(&*storage, after, before.as_deref()).await?;
        app.info(format!(
            "Uploaded {FILE_NAME} to {}. It counts for what is written from now on, by every \
             client that connects after this.",
            storage.info().name
        ));
        Ok(Exit::Done)
    }

    fn wanted(&self, before: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
        if let Some(file) = &self.file {
            return Ok(fs_err::read(file)?);
        }
        let mut edits = Vec::new();
        if self.clear {
            edits.push(Edit::Clear);
        }
        edits.extend(self.remove.iter().cloned().map(Edit::Remove));
        for text in &self.add {
            edits.push(text.parse()?);
        }
        edits.extend(self.default.iter().cloned().map(Edit::Default));
        if edits.is_empty() {
            bail!("no change was asked for: give --file, --add, --default, --remove or --clear");
        }
        let config = match before {
            Some(text) => StorageConfig::parse(text)
                .with_context(|| format!("the bucket's {FILE_NAME}; replace it with --file"))?,
            None => StorageConfig::new(),
        };
        Ok(config.edited(&edits)?.to_bytes())
    }
}

/// Flags that name another storage than the connection's mean nothing without its bucket.
fn needs_bucket(arg: clap::Arg) -> clap::Arg {
    match arg.get_long() {
        Some("endpoint" | "region" | "prefix" | "disable-tls" | "disable-tls-verification")
        | Some("root-ca-pem-path") => arg.requires("bucket"),
        // The storage looks into the environment itself. Read here, variables would count as flags.
        Some("access-key" | "secret-access-key" | "session-token") => {
            arg.env(clap::builder::Resettable::Reset).requires("bucket")
        }
        _ => arg,
    }
}

/// Prints the lines that go and the lines that come.
pub(super) fn print_difference(before: &[u8], after: &[u8], print: impl Fn(String)) {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_start;
    let tails = old.iter().rev().zip(new.iter().rev()).take(rest);
    let same_end = tails.take_while(|(a, b)| a == b).count();
    new[..same_start].iter().for_each(|line| print(format!("  {line}")));
    old[same_start..old.len() - same_end].iter().for_each(|line| print(format!("- {line}")));
    new[same_start..new.len() - same_end].iter().for_each(|line| print(format!("+ {line}")));
    new[new.len() - same_end..].iter().for_each(|line| print(format!("  {line}")));
}

/// Say which entry decides about a blob, and why.
#[derive(Debug, Args)]
pub struct Explain {
    /// Blob IDs, or how they begin; none = every kind of blob.
    blobs: Vec<String>,
    /// Explain this local file instead of the bucket's.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlags,
}

impl Explain {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let config = match &self.file {
            Some(file) => StorageConfig::parse(&fs_err::read(file)?)
                .with_context(|| file.display().to_string())?,
            None => storageconfig::load(&*storage(app).await?).await?.config,
        };
        let all: Vec<_> = if self.blobs.is_empty() {
            config.explain_kinds()
        } else {
            self.blobs.iter().flat_map(|blob| config.explain_prefix(blob)).collect()
        };
        if self.json.json {
            self.json.print_list(&all);
            return Ok(Exit::Done);
        }
        for one in &all {
            let class = one.storage_class.as_deref().unwrap_or("(bucket default)");
            let entry = one.entry.map_or(String::new(), |entry| format!("entry {entry}: "));
            text::line(format!("{:<24} {class:<24} {entry}{}", one.blob, one.reason));
            one.warnings.iter().for_each(|warning| text::line(format!("{:<24} {warning}", "")));
        }
        Ok(Exit::Done)
    }
}
