//! `policy import`: policies that `policy export` of either client wrote.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::{policy::Policy, snapshot::Source};
use kopia_repo::Repository;
use kopia_snapshot::policies;

use super::Targets;
use crate::{
    cli::{App, app::Access, snapshot},
    exit::Exit,
};

/// Take policies from a file or from stdin, as `policy export` writes them.
#[derive(Debug, Args)]
pub struct Import {
    #[command(flatten)]
    targets: Targets,
    /// The file to read; without it stdin.
    #[arg(long, value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new())]
    from_file: Option<std::ffi::OsString>,
    /// Take policies with keys that Kopia 0.23.1 doesn't know; they are kept.
    #[arg(long)]
    allow_unknown_fields: bool,
    /// Delete all policies but those that are imported.
    #[arg(long)]
    delete_other_policies: bool,
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What an import will do.
struct Plan {
    /// Policies to save.
    save: Vec<(Source, Policy)>,
    /// Targets whose policies go.
    delete: Vec<Source>,
}

impl Import {
    pub async fn run(self, app: &App) -> anyhow::Result<Exit> {
        let client = app.open(if self.dry_run { Access::Read } else { Access::Write }).await?;
        let file = self.from_file.as_ref().filter(|file| !file.is_empty());
        let data = read(app, file.map(AsRef::as_ref)).await?;
        let given =
            Policy::parse_exported(&data).context("unable to decode policy file as valid json")?;
        let plan = self.plan(&client.repo, given).await?;
        if self.dry_run {
            for (target, _) in &plan.save {
                app.info(format!("Would set policy for {target}."));
            }
            for target in &plan.delete {
                app.info(format!("Would remove policy for {target}."));
            }
            return Ok(Exit::Done);
        }
        let writer = client.repo.writer()?;
        for (target, policy) in &plan.save {
            let saved = policies::save(&writer, target, policy).await;
            saved.with_context(|| format!("can't save policy for {target}"))?;
        }
        for target in &plan.delete {
            let deleted = policies::delete(&writer, target).await;
            deleted.with_context(|| format!("can't delete policy for {target}"))?;
        }
        app.flush(&writer).await?;
        Ok(Exit::Done)
    }

    /// Makes the plan. Everything is looked at before anything is written.
    async fn plan(
        &self,
        repo: &Repository,
        given: BTreeMap<String, Policy>,
    ) -> anyhow::Result<Plan> {
        let wanted = match self.targets.are_given() {
            true => Some(self.targets.resolve(repo).await?),
            false => None,
        };
        let mut save = Vec::new();
        for (text, policy) in given {
            if let (false, Some(key)) = (self.allow_unknown_fields, policy.unknown_keys().first()) {
                bail!(
                    "unable to decode policy file as valid json: unknown field {key:?} in the \
                     policy of {text}; add --allow-unknown-fields to take it nevertheless"
                );
            }
            let target = snapshot::parse_source(repo, &text)
                .with_context(|| format!("unable to parse source info: {text:?}"))?;
            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&target)) {
                continue;
            }
            policies::check(&target, &policy)
                .with_context(|| format!("can't save policy for {target}"))?;
            save.push((target, policy));
        }
        let mut delete = Vec::new();
        if self.delete_other_policies {
            let others = policies::all(repo).await?.into_iter().map(|stored| stored.target);
            delete.extend(others.filter(|it| save.iter().all(|(target, _)| target != it)));
            delete.dedup();
        }
        Ok(Plan { save, delete })
    }
}

/// Reads what is to be imported, until a signal comes: nothing is written yet.
async fn read(app: &App, file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    if let Some(file) = file {
        let read = std::fs::read(file);
        return read.with_context(|| format!("unable to read policy file {}", file.display()));
    }
    // Off the async threads: whoever writes may take his time.
    let read = tokio::task::spawn_blocking(|| {
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut data).map(|_| data)
    });
    app.unless_stopped(async { read.await?.context("unable to read policies from stdin") }).await
}
