//! Which entries of a folder are left out.
//!
//! Every folder that has a policy of its own or an ignore file opens a context; the others share
//! the one above. A decision starts with that of the context above and then goes through the rules
//! of this one: plain rules may only ignore, negated ones only take in again. Nothing here reads a
//! disk: texts of ignore files come in. Facts: `docs/format/07-upload-restore.md` §3.

use std::sync::Arc;

use kopia_format::policy::{Files, Policy};

use super::wildcard::{PathChars, Pattern, PatternError};

/// The file that marks a folder as a cache.
pub const CACHE_DIR_TAG: &str = "CACHEDIR.TAG";

/// What that file starts with.
pub const CACHE_DIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A longer line, its end included, silently ends an ignore file.
const MAX_LINE: usize = 64 * 1024;

/// Whether a folder whose regular file [`CACHE_DIR_TAG`] starts with these bytes is stored as an
/// empty folder (and counted as excluded).
#[must_use]
pub fn is_cache_dir(policy: &Policy, tag: &[u8]) -> bool {
    policy.files.ignore_cache_dirs.unwrap_or(true) && tag.starts_with(CACHE_DIR_SIGNATURE)
}

/// Why the rules of a folder cannot be used; the folder becomes a failed entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A rule of the folder's own policy.
    #[error("unable to parse ignore entry {folder}: {source}")]
    InPolicy {
        /// The folder, as `.` or `./sub`.
        folder: String,
        /// What is wrong with the rule.
        source: PatternError,
    },
    /// A line of an ignore file.
    #[error("unable to parse ignore file {file}: unable to parse ignore entry {line}: {source}")]
    InFile {
        /// Name of the file.
        file: String,
        /// The line.
        line: String,
        /// What is wrong with it.
        source: PatternError,
    },
}

impl IgnoreError {
    /// What is wrong with the rule, without saying where it stands.
    #[must_use]
    pub fn pattern_error(&self) -> &PatternError {
        match self {
            Self::InPolicy { source, .. } | Self::InFile { source, .. } => source,
        }
    }
}

/// What is known of an entry before it is looked at closely.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Path from the top of the source: `/name`, `/folder/name`.
    pub path: &'a [u8],
    /// Is a folder.
    pub is_dir: bool,
    /// Bytes of a file or of a link's target.
    pub size: u64,
    /// The device that it lies on.
    pub device: u64,
    /// The device of the folder that it is in.
    pub folder_device: u64,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is stored, and if not, why.
    pub verdict: Verdict,
    /// How often Kopia counts the entry as excluded: once per context that finds it ignored, even
    /// if a deeper one takes it in again.
    pub times_excluded: u32,
}

/// Whether an entry is stored, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Include,
    /// A rule leaves it out.
    Ignored,
    /// It is larger than the policy allows.
    TooLarge,
    /// It lies on another file system than its folder.
    OtherFileSystem,
}

/// The rules that hold in a folder.
#[derive(Debug, Clone)]
pub struct IgnoreContext {
    above: Option<Arc<IgnoreContext>>,
    file_names: Vec<String>,
    rules: Vec<Pattern>,
    /// Where the rules stand: the number of the first one, and the policy's folder or the file.
    origins: Vec<(usize, String)>,
    max_file_size: u64,
    one_file_system: bool,
}

impl IgnoreContext {
    /// What holds above the top of a source: no rules.
    #[must_use]
    pub fn outermost() -> Arc<Self> {
        Arc::new(Self {
            above: None,
            file_names: Vec::new(),
            rules: Vec::new(),
            origins: Vec::new(),
            max_file_size: 0,
            one_file_system: false,
        })
    }

    /// Names of the ignore files to read in a folder: those of its own policy, if it has one, else
    /// those of the folder above.
    #[must_use]
    pub fn ignore_file_names<'a>(&'a self, policy: Option<&'a Policy>) -> &'a [String] {
        policy.map_or(&self.file_names, |policy| &policy.files.ignore_dot_files)
    }

    /// The context of a folder below. `folder` is its path from the top of the source (empty for
    /// the top itself, else `/sub`), `policy` the one defined exactly there, `ignore_files` name
    /// and bytes of those of [`ignore_file_names`](Self::ignore_file_names) that exist, in that
    /// order.
    ///
    /// # Errors
    ///
    /// [`IgnoreError`] for a rule that is no pattern.
    pub fn enter(
        self: &Arc<Self>,
        folder: &[u8],
        policy: Option<&Policy>,
        ignore_files: &[(String, Vec<u8>)],
    ) -> Result<Arc<Self>, IgnoreError> {
        if policy.is_none() && ignore_files.is_empty() {
            return Ok(Arc::clone(self));
        }
        let folder = String::from_utf8_lossy(folder);
        let mut context = Self {
            above: Some(Arc::clone(self)),
            file_names: self.ignore_file_names(policy).to_vec(),
            rules: Vec::new(),
            origins: Vec::new(),
            max_file_size: self.max_file_size,
            one_file_system: self.one_file_system,
        };
        if let Some(policy) = policy {
            context.take_policy(&policy.files, &folder)?;
        }
        for (name, bytes) in ignore_files {
            context.take_file(&folder, name, bytes)?;
        }
        Ok(Arc::new(context))
    }

    fn take_policy(&mut self, files: &Files, folder: &str) -> Result<(), IgnoreError> {
        if let Ok(limit @ 1..) = u64::try_from(files.max_file_size) {
            self.max_file_size = limit;
        } else if files.max_file_size < 0 {
            self.max_file_size = 0;
        }
        // Not inherited: a policy that says nothing of it says no.
        self.one_file_system = files.one_file_system.unwrap_or(false);
        let place = if folder.is_empty() { "the policy" } else { "the policy of " };
        self.origins.push((self.rules.len(), format!("{place}{}", folder.trim_start_matches('/'))));
        for rule in &files.ignore {
            let pattern = Pattern::new(rule.as_bytes(), folder)
                .map_err(|source| IgnoreError::InPolicy { folder: format!(".{folder}"), source })?;
            self.rules.push(pattern);
        }
        Ok(())
    }

    fn take_file(&mut self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), IgnoreError> {
        let file = format!("{folder}/{name}");
        self.origins.push((self.rules.len(), file.trim_start_matches('/').to_owned()));
        for line in rule_lines(bytes) {
            let pattern = Pattern::new(line, folder).map_err(|source| IgnoreError::InFile {
                file: name.to_owned(),
                line: String::from_utf8_lossy(line).into_owned(),
                source,
            })?;
            self.rules.push(pattern);
        }
        Ok(())
    }

    /// What becomes of an entry of the folder.
    #[must_use]
    pub fn decide(&self, entry: &Candidate<'_>) -> Decision {
        let mut times_excluded = 0;
        let ignored = self.ignored(&PathChars::new(entry.path), entry.is_dir, &mut times_excluded);
        let too_large = self.max_file_size > 0 && !entry.is_dir && entry.size > self.max_file_size;
        let verdict = if ignored {
            Verdict::Ignored
        } else if too_large {
            Verdict::TooLarge
        } else if self.one_file_system && entry.device != entry.folder_device {
            Verdict::OtherFileSystem
        } else {
            Verdict::Include
        };
        Decision { verdict, times_excluded }
    }

    /// Where the rule stands that leaves an entry of the folder out: `the policy`, `the policy of
    /// folder`, or the path of an ignore file from the top of the source. `None` where no rule does.
    #[must_use]
    pub fn left_out_by(&self, entry: &Candidate<'_>) -> Option<&str> {
        let path = PathChars::new(entry.path);
        let mut by = None;
        for context in self.outside_in() {
            for (number, rule) in context.rules.iter().enumerate() {
                if by.is_some() == rule.is_negated() {
                    let origin = context.origins.iter().rfind(|(first, _)| *first <= number);
                    by = match rule.ignores(&path, entry.is_dir) {
                        true => by.or(origin),
                        false => None,
                    };
                }
            }
        }
        by.map(|(_, origin)| origin.as_str())
    }

    /// The contexts from the outermost inwards, without recursion: trees may be deep.
    fn outside_in(&self) -> impl Iterator<Item = &Self> {
        let mut chain = vec![self];
        while let Some(above) = chain[chain.len() - 1].above.as_deref() {
            chain.push(above);
        }
        chain.into_iter().rev()
    }

    fn ignored(&self, path: &PathChars, is_dir: bool, times: &mut u32) -> bool {
        let mut ignored = false;
        for context in self.outside_in() {
            for rule in &context.rules {
                if ignored == rule.is_negated() {
                    ignored = rule.ignores(path, is_dir);
                }
            }
            *times += u32::from(ignored);
        }
        ignored
    }
}

/// The lines of an ignore file that hold rules.
fn rule_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fits = |line: &&[u8]| line.len() < MAX_LINE;
    bytes
        .split(|&byte| byte == b'\n')
        .take_while(fits)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.starts_with(b"#") && !is_blank(line))
}

fn is_blank(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests;
