//! `storage-config lifecycle`: show, diff, install. What rules mean is `cold_storage::lifecycle`'s.
//!
//! A bucket has one document for everybody, and the storage cannot tell whether it changed since it
//! was read. So it is read again right before it is written and right after, and only our rule in
//! it ever changes.

use std::time::Duration;

use anyhow::{Context, bail};
use blob_core::{BlobError, BlobId, PutPolicy, Retry, StorageClass};
use clap::{Args, Subcommand};
use cold_storage::{
    PriceTable,
    lifecycle::{
        self, Action, Changed, Document, Finding, KINDS, Level, Owner, Plan, Reach, Repository,
        Rule, Tag, When, is_data_pack,
    },
};
use s3_backend::{Lifecycle, S3Storage};
use serde_json::{Value, json};
use storageconfig::StorageConfig;

use super::{
    App,
    app::Access,
    storage_config::{bare, print_difference},
};
use crate::{
    compose::ClientOptions,
    connect::{backends, config},
    exit::{Exit, Failure},
    ui::{json::JsonFlags, size, text},
};

/// Kopia's full maintenance runs once a day unless told otherwise.
const MAINTENANCE_DAYS: u64 = 1;
/// How often a request is made that fails for a passing reason.
const ATTEMPTS: u32 = 5;
/// The longest wait that a storage may ask for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The verbs of `storage-config lifecycle`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the bucket's rules, and what each does to this repository.
    Show(Show),
    /// Say what `install` would change.
    Diff(Diff),
    /// Make the rule that moves long data packs, and leave all other rules as they are.
    Install(Install),
}

impl Command {
    /// May the verb be cut anywhere?
    pub fn only_reads(&self) -> bool {
        !matches!(self, Self::Install(_))
    }

    /// Runs the verb.
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        match self {
            Self::Show(show) => show.run(app).await,
            Self::Diff(diff) => diff.run(app).await,
            Self::Install(install) => install.run(app).await,
        }
    }
}

/// The bucket of the connection, as it is.
struct Bucket {
    storage: S3Storage,
    /// Its rules, if it has any.
    rules: Option<Lifecycle>,
    document: Document,
    /// `.storageconfig`, or why it can't be read.
    config: anyhow::Result<StorageConfig>,
    repository: Repository,
}

impl Bucket {
    async fn open(app: &App) -> anyhow::Result<Self> {
        let connection = app.connection()?;
        let backend = backends::open(config::storage_of(&connection, &app.config_file)?).await?;
        let Some(storage) = backend.bucket.clone() else {
            let name = &backend.storage.info().name;
            let message = format!("{name}: only S3 has lifecycle rules");
            return Err(Failure::new(Exit::Failed, message).into());
        };
        let options = ClientOptions { connected: true, ..ClientOptions::default() };
        let config = storageconfig::load(&*bare(backend, options).await?).await;
        let config = config.map(|loaded| loaded.config).map_err(anyhow::Error::from);
        let rules = read(&storage).await?;
        let repository = Repository {
            owner: Owner::new(storage.prefix()),
            tags: config.as_ref().map_or_else(|_| Vec::new(), tags_of),
            short_pack: None,
            maintenance_days: MAINTENANCE_DAYS,
            retention_days: None,
        };
        let document = document_of(rules.as_ref())?;
        Ok(Self { storage, rules, document, config, repository })
    }

    fn minimum(&self) -> Option<&str> {
        self.rules.as_ref()?.minimum.as_deref()
    }

    /// What there is to say about a document of this bucket.
    fn check(&self, document: &Document) -> Vec<Finding> {
        lifecycle::check(document, self.minimum(), &self.repository, PriceTable::built_in())
    }

    /// The class that `.storageconfig` names for all data packs.
    fn class_of_packs(&self) -> anyhow::Result<StorageClass> {
        let config = match &self.config {
            Ok(config) => config,
            Err(error) => bail!("{error:#}; say where packs go with --to CLASS"),
        };
        let mut classes: Vec<_> =
            config.explain_prefix("p").into_iter().map(|it| it.storage_class).collect();
        classes.dedup();
        match classes.as_slice() {
            [Some(class)] if *class != *StorageClass::STANDARD.as_str() => {
                Ok(StorageClass::new(class))
            }
            _ => bail!(
                ".storageconfig names no one class but STANDARD for data packs (p); say where they \
                 go with --to CLASS"
            ),
        }
    }
}

/// The tags that blobs are written with.
fn tags_of(config: &StorageConfig) -> Vec<Tag> {
    let ids = KINDS.iter().filter_map(|kind| BlobId::new(kind.begin).ok());
    let tags = ids.flat_map(|id| config.attributes(&id, 0).tags);
    tags.map(|(key, value)| Tag { key, value }).collect()
}

fn document_of(rules: Option<&Lifecycle>) -> anyhow::Result<Document> {
    Ok(match rules {
        Some(rules) => Document::parse(&rules.document)?,
        None => Document::empty(),
    })
}

async fn read(storage: &S3Storage) -> anyhow::Result<Option<Lifecycle>> {
    patiently(async || storage.lifecycle().await)
        .await
        .context("cannot read the bucket's lifecycle rules (s3:GetLifecycleConfiguration)")
}

/// Makes a request again that failed for a passing reason: it goes by the layer that does so for
/// blobs.
async fn patiently<T>(call: impl AsyncFn() -> Result<T, BlobError>) -> Result<T, BlobError> {
    let mut pause = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) => match error.retry() {
                Retry::Never => return Err(error),
                Retry::Backoff => tokio::time::sleep(pause).await,
                Retry::After(asked) if asked > PATIENCE => return Err(error),
                Retry::After(asked) => tokio::time::sleep(asked.max(pause)).await,
            },
            done => return done,
        }
        pause *= 3;
    }
    call().await
}

/// List the bucket's rules, and what each does to this repository.
#[derive(Debug, Args)]
pub struct Show {
    /// Only the document, byte for byte.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Show {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let bucket = Bucket::open(app).await?;
        if self.raw {
            text::raw(bucket.rules.as_ref().map_or(&[][..], |rules| &rules.document));
            return Ok(Exit::Done);
        }
        let views = lifecycle::view(&bucket.document, &bucket.repository);
        let findings = bucket.check(&bucket.document);
        if self.json.json {
            self.json.print(&json!({
                "exists": bucket.rules.is_some(),
                "defaultMinimumObjectSize": bucket.minimum(),
                "rules": views,
                "findings": findings,
            }));
            return Ok(Exit::Done);
        }
        if let Err(error) = &bucket.config {
            app.warn(format!("{error:#}"));
        }
        if views.is_empty() {
            text::line("none: blobs stay in the class that they were written with");
        }
        for (index, view) in views.iter().enumerate() {
            print_rule(view);
            let own = findings.iter().filter(|finding| finding.index == index);
            own.for_each(|finding| text::line(format!("  {}", line(finding))));
        }
        Ok(Exit::Done)
    }
}

fn print_rule(view: &lifecycle::RuleView<'_>) {
    let rule = view.rule;
    let status = if rule.enabled { "enabled" } else { "disabled" };
    let ours = if view.ours { ", made by kopia-lite" } else { "" };
    text::line(format!("rule {:?} ({status}{ours}): {}", rule.name(), filter(rule)));
    rule.actions.iter().for_each(|action| text::line(format!("  {}", sentence(action))));
    text::line(match view.reaches.as_slice() {
        [] => "  reaches nothing of this repository".to_owned(),
        kinds => format!("  reaches {}", kinds.join(", ")),
    });
}

/// Which objects a rule is for.
fn filter(rule: &Rule) -> String {
    let filter = &rule.filter;
    let mut parts = vec![match filter.prefix.as_str() {
        "" => "all objects".to_owned(),
        prefix => format!("objects that begin with {prefix:?}"),
    }];
    parts.extend(filter.object_size_greater_than.map(|size| format!("over {size} bytes")));
    parts.extend(filter.object_size_less_than.map(|size| format!("under {size} bytes")));
    parts.extend(filter.tags.iter().map(|tag| format!("tagged {}={}", tag.key, tag.value)));
    parts.join(", ")
}

fn sentence(action: &Action) -> String {
    let at = |when: &When| match (when.days, &when.date) {
        (Some(days), _) => after(Some(days)),
        (None, Some(date)) => format!(" on {date}"),
        (None, None) => String::new(),
    };
    match action {
        Action::Move { when, storage_class } => {
            format!("moves them to {storage_class}{}", at(when))
        }
        Action::Delete { when } => format!("deletes them{}", at(when)),
        Action::DropDeleteMarkers => "removes delete markers that hide nothing".to_owned(),
        Action::MoveEarlierVersions { days, storage_class } => {
            format!("moves earlier versions to {storage_class}{}", after(*days))
        }
        Action::DeleteEarlierVersions { days } => {
            format!("deletes earlier versions{}", after(*days))
        }
        Action::AbortUploads { days } => format!("drops uploads that never ended{}", after(*days)),
    }
}

fn after(days: Option<u64>) -> String {
    match days {
        Some(1) => " after 1 day".to_owned(),
        Some(days) => format!(" after {days} days"),
        None => String::new(),
    }
}

/// `error deletes-blobs: rule "x" deletes … (the way out)`.
fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    let rule = finding.rule.as_deref().unwrap_or("(without an ID)");
    let fix = finding.fix.as_ref().map_or(String::new(), |fix| format!(" ({fix})"));
    format!("{level} {}: rule {rule:?} {}{fix}", finding.code, finding.message)
}

/// What the rule is to do.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Where packs go; without it to the class that .storageconfig names for p.
    #[arg(long, value_name = "CLASS")]
    to: Option<String>,
    /// How old they are then. Maintenance has merged short ones by that time.
    #[arg(long, value_name = "N", default_value_t = 14,
        value_parser = clap::value_parser!(u32).range(0..=i64::from(i32::MAX)))]
    days: u32,
    /// Packs with fewer bytes stay; without it 60 % of the repository's maximum pack size, since
    /// maintenance rewrites those.
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    min_size: Option<u64>,
}

fn byte_count(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "it must be a number of bytes, such as 12MiB".to_owned())
}

impl Wanted {
    async fn plan(&self, app: &App, bucket: &mut Bucket) -> anyhow::Result<Plan> {
        let class = match &self.to {
            Some(class) => StorageClass::new(class),
            None => bucket.class_of_packs()?,
        };
        let min_size = match self.min_size {
            Some(size) => size,
            None => {
                let client = app.open(Access::Read).await.context(
                    "the maximum pack size stands in the repository; --min-size does without",
                )?;
                let max = u64::from(client.repo.format().max_pack_size);
                *bucket.repository.short_pack.insert(Plan::size_of_short_packs(max))
            }
        };
        let owner = bucket.repository.owner.clone();
        let storage = &bucket.storage;
        let strangers = patiently(async || storage.beside("p", is_data_pack).await).await?;
        let reach = Reach::beside(&owner, &strangers).map_err(|strangers| {
            let message = format!(
                "{strangers}. A lifecycle rule would move them, too: move them away, or the \
                 repository to a prefix of its own"
            );
            Failure::new(Exit::Failed, message).with_details(json!({"strangers": strangers.some}))
        })?;
        if reach == Reach::Digits {
            app.info(format!(
                "Other objects begin with {:?}, too, such as {:?}: sixteen rules leave them out.",
                format!("{}p", owner.prefix()),
                strangers[0]
            ));
        }
        Ok(Plan::new(owner, class, self.days, min_size, reach)?)
    }
}

/// What would change, and what there is to say about it.
struct Proposal {
    after: Document,
    findings: Vec<Finding>,
}

impl Proposal {
    fn of(bucket: &Bucket, after: Document) -> Self {
        Self { findings: bucket.check(&after), after }
    }

    fn is_change(&self, bucket: &Bucket) -> bool {
        self.after != bucket.document
    }

    /// What must not be installed unless forced; what must not be at all.
    fn refuse(&self, force: bool) -> anyhow::Result<()> {
        let of = |ours| move |it: &&Finding| it.level == Level::Error && it.ours == ours;
        let own: Vec<_> = self.findings.iter().filter(of(true)).map(line).collect();
        let others: Vec<_> = self.findings.iter().filter(of(false)).map(line).collect();
        let message = match (own.is_empty(), others.is_empty() || force) {
            (true, true) => return Ok(()),
            (false, _) => format!("nothing was changed: {}", own.join("; ")),
            (true, false) => format!(
                "nothing was changed, since another rule of the bucket destroys this repository or \
                 shuts it: {}. Change that rule first; --force installs beside it",
                others.join("; ")
            ),
        };
        let details = json!({"findings": self.findings});
        Err(Failure::new(Exit::Failed, message).with_details(details).into())
    }

    fn to_json(&self, bucket: &Bucket, installed: bool) -> Value {
        let owner = &bucket.repository.owner;
        json!({
            "changes": lifecycle::changes(&bucket.document, &self.after, owner),
            "findings": self.findings,
            "installed": installed,
        })
    }

    /// The rules that change line by line, the others by name.
    fn print(&self, bucket: &Bucket) -> anyhow::Result<()> {
        let changes = lifecycle::changes(&bucket.document, &self.after, &bucket.repository.owner);
        let (mut before, mut after) = (String::new(), String::new());
        for change in changes {
            if change.change == Changed::Keep {
                let name = change.rule.as_deref().unwrap_or("(without an ID)");
                let stays = format!("rule {name:?} stays as it is\n");
                before.push_str(&stays);
                after.push_str(&stays);
                continue;
            }
            let pretty = |text: Option<&String>| {
                text.map_or_else(|| Ok(String::new()), |text| lifecycle::pretty(text))
            };
            before.push_str(&pretty(change.before.as_ref())?);
            after.push_str(&pretty(change.after.as_ref())?);
        }
        print_difference(before.as_bytes(), after.as_bytes());
        Ok(())
    }
}

/// Say what `install` would change.
#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    json: JsonFlags,
}

impl Diff {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let mut bucket = Bucket::open(app).await?;
        let plan = self.wanted.plan(app, &mut bucket).await?;
        let proposal = Proposal::of(&bucket, bucket.document.with(&plan)?);
        if self.json.json {
            self.json.print(&proposal.to_json(&bucket, false));
        } else {
            proposal.print(&bucket)?;
            proposal.findings.iter().for_each(|finding| text::line(line(finding)));
        }
        let failed = proposal.findings.iter().any(|finding| finding.level == Level::Error);
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }
}

/// Make the rule that moves long data packs, and leave all other rules as they are.
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    wanted: Wanted,
    /// Remove the rule instead.
    #[arg(long, conflicts_with_all = ["to", "min_size"])]
    remove: bool,
    /// Only show what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Install even beside a rule that destroys the repository or shuts it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    json: JsonFlags,
}

impl Install {
    async fn run(self, app: &App) -> anyhow::Result<Exit> {
        if !self.dry_run && app.connection()?.readonly {
            let message = "the connection is read-only; nothing was changed";
            return Err(Failure::new(Exit::Failed, message).into());
        }
        // Until it is written, nothing is changed that a signal could leave half done.
        let (bucket, proposal) = app.unless_stopped(self.propose(app)).await?;
        if !self.json.json {
            proposal.print(&bucket)?;
            proposal.findings.iter().for_each(|finding| text::warn(line(finding)));
        }
        // To take a rule away makes nothing worse.
        proposal.refuse(self.force || self.remove)?;
        let is_change = proposal.is_change(&bucket);
        let installs = is_change && !self.dry_run;
        if installs {
            let question = format!("Change the lifecycle rules of {}?", bucket.name());
            app.consent(self.yes, &question).await?;
            bucket.replace(&proposal.after).await?;
        }
        if self.json.json {
            self.json.print(&proposal.to_json(&bucket, installs));
        } else if installs {
            app.info("Done. The storage carries rules out once a day.");
        } else if !is_change {
            app.info("No change.");
        }
        Ok(Exit::Done)
    }

    async fn propose(&self, app: &App) -> anyhow::Result<(Bucket, Proposal)> {
        let mut bucket = Bucket::open(app).await?;
        let after = match self.remove {
            true => bucket.document.without(&bucket.repository.owner)?,
            false => {
                let plan = self.wanted.plan(app, &mut bucket).await?;
                bucket.document.with(&plan)?
            }
        };
        let proposal = Proposal::of(&bucket, after);
        Ok((bucket, proposal))
    }
}

impl Bucket {
    fn name(&self) -> String {
        use blob_core::BlobStorage;
        self.storage.info().name.clone()
    }

    /// Writes `after` in the place of what was read, unless somebody changed that, and makes sure
    /// that it is there.
    async fn replace(&self, after: &Document) -> anyhow::Result<()> {
        if read(&self.storage).await? != self.rules {
            bail!("somebody changed the lifecycle rules meanwhile; nothing was changed: try again");
        }
        let rules = Lifecycle {
            document: after.text().to_owned().into(),
            minimum: self.minimum().map(str::to_owned),
        };
        let (storage, is_empty) = (&self.storage, after.rules().is_empty());
        let write = patiently(async || match is_empty {
            true => storage.remove_lifecycle().await,
            false => storage.set_lifecycle(&rules).await,
        });
        write
            .await
            .context("cannot write the bucket's lifecycle rules (s3:PutLifecycleConfiguration)")?;
        let now = document_of(read(storage).await?.as_ref())?;
        if !now.same_rules(after) {
            bail!(
                "the lifecycle rules were written, and are others now: somebody else changed them \
                 at the same time, or the storage does not keep all that a rule says; see \
                 storage-config lifecycle show"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_sentence() {
        let text = "<LifecycleConfiguration><Rule><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key>\
            <Value>v</Value></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>\
            <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>\
            <Expiration><Date>2030-01-01</Date></Expiration><NoncurrentVersionExpiration>\
            <NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
            </LifecycleConfiguration>";
        let document = Document::parse(text.as_bytes()).unwrap();
        let rule = &document.rules()[0];
        assert_eq!(filter(rule), "objects that begin with \"a\", over 1 bytes, tagged k=v");
        let said: Vec<_> = rule.actions.iter().map(sentence).collect();
        assert_eq!(
            said,
            [
                "moves them to GLACIER after 1 day",
                "deletes them on 2030-01-01",
                "deletes earlier versions after 3 days"
            ]
        );
    }
}
