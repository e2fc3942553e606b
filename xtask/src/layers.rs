//! Crates know only crates of a lower rank.
//!
//! Each crate states its rank in `[package.metadata.layer]`. An edge to an equal or higher rank
//! fails; so does a crate of the middle that knows a backend or a policy (those are the app's to
//! choose), and a ranked crate that links a testkit. Dev-dependencies are free, façades have no
//! rank. See docs/adr/0001-crates-by-rank.md.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::{steps::Outcome, workspace::Workspace};

/// Backends and policies: only the app puts them together.
const RANK_OF_ADAPTERS: u64 = 1;
/// The app.
const RANK_OF_APP: u64 = 4;

/// A crate as this check sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    rank: Option<u64>,
    facade: bool,
    knows: Vec<String>,
}

/// Checks every edge between crates of the workspace.
pub fn check(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let nodes: BTreeMap<String, Node> = workspace
        .members()
        .map(|package| {
            let edges = package.dependencies.iter();
            let edges = edges.filter(|it| it.path.is_some() && it.kind.as_deref() != Some("dev"));
            let knows = edges.map(|dependency| dependency.name.clone()).collect();
            let node = Node { rank: package.rank(), facade: package.is_facade(), knows };
            (package.name.clone(), node)
        })
        .collect();
    let wrong = wrong_edges(&nodes);
    ensure!(wrong.is_empty(), "these dependencies are not allowed:\n{}", wrong.join("\n"));
    let edges: usize = nodes.values().map(|node| node.knows.len()).sum();
    let ranked = nodes.values().filter(|node| node.rank.is_some()).count();
    Ok(Outcome::Done(format!("{ranked} ranked crates, {edges} edges, all down")))
}

fn wrong_edges(nodes: &BTreeMap<String, Node>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, node) in nodes {
        let Some(rank) = node.rank else { continue };
        for to in &node.knows {
            let Some(target) = nodes.get(to).filter(|target| !target.facade) else { continue };
            let reason = match target.rank {
                None => "which has no rank: tests only".to_owned(),
                Some(other) if other >= rank => format!("rank {other}: not below"),
                Some(RANK_OF_ADAPTERS) if rank != RANK_OF_APP => {
                    "an adapter: only the app chooses one".to_owned()
                }
                Some(_) => continue,
            };
            wrong.push(format!("  {from} (rank {rank}) -> {to} ({reason})"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_up_sideways_to_adapters_and_to_testkits_are_found() {
        let node = |rank, knows: &[&str]| Node {
            rank,
            facade: false,
            knows: knows.iter().map(ToString::to_string).collect(),
        };
        let nodes = BTreeMap::from([
            ("core".to_owned(), node(Some(0), &[])),
            ("s3".to_owned(), node(Some(1), &["core", "policy"])),
            ("policy".to_owned(), node(Some(1), &["core", "repo"])),
            ("repo".to_owned(), node(Some(2), &["core", "s3", "testkit"])),
            ("testkit".to_owned(), node(None, &["app"])),
            ("app".to_owned(), node(Some(4), &["core", "s3", "policy", "repo"])),
        ]);
        let wrong = wrong_edges(&nodes);
        let found = ["policy", "repo", "repo", "s3"].map(|from| format!("  {from} ("));
        assert_eq!(wrong.len(), found.len(), "{wrong:?}");
        for (line, begin) in wrong.iter().zip(found) {
            assert!(line.starts_with(&begin), "{line}");
        }
    }
}
