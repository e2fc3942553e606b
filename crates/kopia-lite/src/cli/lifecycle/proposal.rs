//! A document to be installed: what it changes and what there is to say about it.

use cold_storage::lifecycle::{self, Changed, Document, Finding, Level};
use serde_json::{Value, json};

use super::{bucket::Bucket, show::line};
use crate::{
    cli::storage_config::print_difference,
    exit::{Exit, Failure},
    ui::text,
};

/// What would change, and what there is to say about it.
pub struct Proposal {
    /// The document.
    pub after: Document,
    /// What there is to say about it.
    pub findings: Vec<Finding>,
}

impl Proposal {
    /// Of a document for `bucket`.
    pub fn of(bucket: &Bucket, after: Document) -> Self {
        Self { findings: bucket.check(&after), after }
    }

    /// Is it another document?
    pub fn is_change(&self, bucket: &Bucket) -> bool {
        self.after != bucket.document
    }

    /// What must not be installed unless forced; what must not be at all.
    pub fn refuse(&self, force: bool) -> anyhow::Result<()> {
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

    /// As JSON.
    pub fn to_json(&self, bucket: &Bucket, installed: bool) -> Value {
        let owner = &bucket.repository.owner;
        json!({
            "changes": lifecycle::changes(&bucket.document, &self.after, owner),
            "findings": self.findings,
            "installed": installed,
        })
    }

    /// The rules that change line by line, the others by name.
    pub fn print(&self, bucket: &Bucket) -> anyhow::Result<()> {
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
        print_difference(before.as_bytes(), after.as_bytes(), text::line);
        Ok(())
    }
}
