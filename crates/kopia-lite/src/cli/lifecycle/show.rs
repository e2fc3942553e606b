//! `storage-config lifecycle show`: rules in words.

use clap::Args;
use cold_storage::lifecycle::{self, Action, Finding, Level, Rule, When};
use serde_json::json;

use super::bucket::Bucket;
use crate::{
    cli::App,
    exit::Exit,
    ui::{json::JsonFlags, text},
};

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
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
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
pub fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    let rule = finding.rule.as_deref().unwrap_or("(without an ID)");
    let fix = finding.fix.as_ref().map_or(String::new(), |fix| format!(" ({fix})"));
    format!("{level} {}: rule {rule:?} {}{fix}", finding.code, finding.message)
}

#[cfg(test)]
mod tests {
    use cold_storage::lifecycle::Document;

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
