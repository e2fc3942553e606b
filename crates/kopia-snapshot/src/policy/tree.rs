//! Which policy holds for which folder while uploading.
//!
//! The top of a source has the merged policy. A folder below that has a policy of its own has that
//! one *as it is stored*: it replaces what holds above, unset values included, so that they fall
//! back to what Kopia does without any setting. All other folders have what holds above them.
//! Facts: `docs/format/07-upload-restore.md` §4.

use std::collections::HashMap;
use std::sync::Arc;

use kopia_format::policy::Policy;
use kopia_format::snapshot::Source;

use super::resolve::{self, StoredPolicy};

/// The policy of a folder, and the way to those below it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PolicyTree {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    policy: Arc<Policy>,
    defined: bool,
    /// Here or below are actions for a folder.
    acts: bool,
    children: HashMap<Vec<u8>, Arc<Node>>,
}

impl PolicyTree {
    /// A tree where one policy holds everywhere.
    #[must_use]
    pub fn uniform(policy: Policy) -> Self {
        Self::build(policy, [])
    }

    /// A tree of the policy of the top, and those of folders below (paths relative to the top, with
    /// slashes between names). Of two for the same folder the later counts.
    #[must_use]
    pub fn build(top: Policy, below: impl IntoIterator<Item = (String, Policy)>) -> Self {
        let mut growing = Growing { policy: Some(Arc::new(top)), children: HashMap::new() };
        for (path, policy) in below {
            let mut folder = &mut growing;
            for name in path.split('/') {
                folder = folder.children.entry(name.as_bytes().to_vec()).or_default();
            }
            folder.policy = Some(Arc::new(policy));
        }
        let default = Arc::new(Policy::default_global());
        Self { node: growing.finish(&default) }
    }

    /// The tree for uploading `source`: its effective policy at the top, and the stored policies of
    /// the same user and host on folders below it. `stored` are all policies, oldest first.
    #[must_use]
    pub fn for_source(source: &Source, stored: &[StoredPolicy]) -> Self {
        let effective = resolve::effective(source, stored).policy;
        let same_user = |policy: &&StoredPolicy| {
            policy.target.host == source.host && policy.target.user_name == source.user_name
        };
        let below = stored.iter().filter(same_user).filter_map(|policy| {
            let path = relative_path(&source.path, &policy.target.path)?;
            Some((path, policy.policy.clone()))
        });
        Self::build(effective, below)
    }

    /// The policy that holds here.
    #[must_use]
    pub fn effective(&self) -> &Arc<Policy> {
        &self.node.policy
    }

    /// The policy of exactly this folder. The top always has one.
    #[must_use]
    pub fn defined(&self) -> Option<&Arc<Policy>> {
        self.node.defined.then_some(&self.node.policy)
    }

    /// Has the policy of this folder, or of one below it, actions to run before or after its folder?
    #[must_use]
    pub fn has_folder_actions(&self) -> bool {
        self.node.acts
    }

    /// What holds for an entry of this folder.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> PolicyTree {
        if let Some(node) = self.node.children.get(name) {
            return Self { node: Arc::clone(node) };
        }
        if self.node.children.is_empty() && !self.node.defined {
            return self.clone();
        }
        let policy = Arc::clone(&self.node.policy);
        Self {
            node: Arc::new(Node { policy, defined: false, acts: false, children: HashMap::new() }),
        }
    }
}

/// A node while the tree is being built.
#[derive(Default)]
struct Growing {
    policy: Option<Arc<Policy>>,
    children: HashMap<Vec<u8>, Growing>,
}

impl Growing {
    fn finish(self, above: &Arc<Policy>) -> Arc<Node> {
        let defined = self.policy.is_some();
        let policy = self.policy.unwrap_or_else(|| Arc::clone(above));
        let children: HashMap<_, _> =
            self.children.into_iter().map(|(name, child)| (name, child.finish(&policy))).collect();
        let actions = &policy.actions;
        let own = defined && (actions.before_folder.is_some() || actions.after_folder.is_some());
        let acts = own || children.values().any(|child: &Arc<Node>| child.acts);
        Arc::new(Node { policy, defined, acts, children })
    }
}

/// Where `child` lies below `parent`, with slashes; `None` if it does not. Paths may be those of
/// Windows.
fn relative_path(parent: &str, child: &str) -> Option<String> {
    let windows = resolve::has_volume(parent);
    let parent = parent.strip_suffix('/').unwrap_or(parent);
    let parent = parent.strip_suffix('\\').unwrap_or(parent);
    let rest = child.strip_prefix(parent)?.strip_prefix(['/', '\\'])?;
    if rest.is_empty() {
        return None;
    }
    Some(if windows { rest.replace('\\', "/") } else { rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_format::policy::{Compression, Files};

    fn with_compressor(name: &str) -> Policy {
        let compression =
            Compression { compressor_name: name.to_owned(), ..Compression::default() };
        Policy { compression, ..Policy::default() }
    }

    fn stored(path: &str, policy: Policy) -> StoredPolicy {
        StoredPolicy::new(Source::new("h", "u", path), policy)
    }

    fn compressor(tree: &PolicyTree) -> &str {
        &tree.effective().compression.compressor_name
    }

    #[test]
    fn a_folders_own_policy_replaces_what_holds_above() {
        let files = Files { max_file_size: 5, ..Files::default() };
        let policies = [
            stored("/src", with_compressor("zstd")),
            stored("/src/a/b", Policy { files, ..Policy::default() }),
            stored("/src/a/b", with_compressor("s2-default")),
            stored("/srcx/c", with_compressor("pgzip")),
            StoredPolicy::new(Source::new("h", "other", "/src/a"), with_compressor("x")),
        ];
        let top = PolicyTree::for_source(&Source::new("h", "u", "/src"), &policies);
        assert_eq!(compressor(&top), "zstd");
        assert_eq!(top.effective().retention.keep_daily, Some(7));
        assert!(top.defined().is_some());
        let a = top.child(b"a");
        assert_eq!(compressor(&a), "zstd");
        assert!(a.defined().is_none());
        let b = a.child(b"b");
        assert_eq!(compressor(&b), "s2-default");
        assert_eq!(b.effective().files.max_file_size, 0);
        assert_eq!(b.effective().retention.keep_daily, None);
        assert!(b.defined().is_some());
        let file = b.child(b"file");
        assert_eq!(compressor(&file), "s2-default");
        assert!(file.defined().is_none());
        assert!(file.child(b"deeper").defined().is_none());
    }

    #[test]
    fn paths_below_are_found_on_every_system() {
        let relative = |parent, child| relative_path(parent, child);
        assert_eq!(relative("/", "/a/b"), Some("a/b".to_owned()));
        assert_eq!(relative("/a", "/a/b"), Some("b".to_owned()));
        assert_eq!(relative("/a", "/ab"), None);
        assert_eq!(relative("/a", "/a"), None);
        assert_eq!(relative("C:\\", "C:\\a\\b"), Some("a/b".to_owned()));
    }
}
