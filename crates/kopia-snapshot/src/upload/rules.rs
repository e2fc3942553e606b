//! What the policies and ignore files say about a folder while it is uploaded.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use kopia_format::{compress::Compressor, policy::Policy};

use super::{UploadOptions, detail::Details, file::FileStyle};
use crate::{
    error::{Result, SnapshotError},
    policy::{
        compress,
        ignore::{
            CACHE_DIR_SIGNATURE, CACHE_DIR_TAG, Candidate, IgnoreContext, Verdict, is_cache_dir,
        },
        tree::PolicyTree,
    },
    source::{EntryKind, ListedEntry, Names, go_error, go_path_error},
};

/// An ignore file that is longer is cut: no rule file of a person is.
const IGNORE_FILE_BYTES_MAX: u64 = 16 << 20;

/// The rules of one folder.
#[derive(Debug, Clone)]
pub(crate) struct FolderRules {
    policy: PolicyTree,
    ignore: Arc<IgnoreContext>,
    compressors: Compressors,
}

/// The compressors that a policy names, looked up once a folder.
#[derive(Debug, Clone, Copy)]
struct Compressors {
    metadata: Option<Compressor>,
}

/// An entry that the rules leave out.
pub(crate) struct Excluded {
    /// Path below the source.
    pub path: String,
    pub size: u64,
    pub folder: bool,
    /// How many of the folder's entries were kept before it.
    pub kept_before: usize,
    /// Where the rule stands, where a rule left it out; once for each entry.
    pub by: Option<String>,
}

/// A folder that was listed under its rules.
pub(crate) struct Opened {
    pub rules: FolderRules,
    pub entries: Vec<ListedEntry>,
    pub excluded: Vec<Excluded>,
}

fn compressor(name: Option<&str>) -> Result<Option<Compressor>> {
    let name = name.unwrap_or_default();
    Compressor::by_name(name).map_err(|source| SnapshotError::Policy {
        target: "compression".to_owned(),
        reason: source.to_string(),
    })
}

impl FolderRules {
    /// The rules of the snapshot's root.
    ///
    /// # Errors
    /// The policy names a compressor that can't be written.
    pub fn root(policy: PolicyTree) -> Result<Self> {
        let compressors = Compressors::of(policy.effective())?;
        // A compressor that can't be written would fail every file: better to fail before the walk.
        compressor(Some(policy.effective().compression.compressor_name.as_str()))?;
        Ok(Self { policy, ignore: IgnoreContext::outermost(), compressors })
    }

    fn effective(&self) -> &Policy {
        self.policy.effective()
    }

    /// The rules of an entry, before its own ignore files are known.
    pub fn child(&self, name: &str) -> Self {
        let policy = self.policy.child(name.as_bytes());
        let compressors = if policy.defined().is_some() {
            Compressors::of(policy.effective()).unwrap_or(self.compressors)
        } else {
            self.compressors
        };
        Self { policy, ignore: self.ignore.clone(), compressors }
    }

    /// The actions of the policy of exactly this folder.
    pub fn actions(&self) -> Option<kopia_format::policy::Actions> {
        let actions = &self.policy.defined()?.actions;
        let any = actions.before_folder.is_some() || actions.after_folder.is_some();
        any.then(|| actions.clone())
    }

    /// Has the policy of this folder, or of one below, actions for its folder?
    pub fn has_actions(&self) -> bool {
        self.policy.has_folder_actions()
    }

    pub fn metadata_compressor(&self) -> Option<Compressor> {
        self.compressors.metadata
    }

    pub fn ignores_file_errors(&self) -> bool {
        self.effective().error_handling.ignore_file_errors.unwrap_or(false)
    }

    pub fn ignores_folder_errors(&self) -> bool {
        self.effective().error_handling.ignore_directory_errors.unwrap_or(false)
    }

    pub fn ignores_unknown_types(&self) -> bool {
        self.effective().error_handling.ignore_unknown_types.unwrap_or(true)
    }

    /// How much is said of the folder and of what is in it.
    pub fn details(&self, options: &UploadOptions) -> Details {
        Details::of(self.effective(), options)
    }

    /// How a file of this name and size is stored. These are the file's own rules, not its
    /// folder's.
    pub fn file_style(&self, name: &str, size: u64) -> FileStyle {
        let policy = self.effective();
        let named = compress::file_compressor(policy, name.as_bytes(), size);
        FileStyle {
            compressor: compressor(named).unwrap_or(None),
            metadata_compressor: self.compressors.metadata,
            splitter: compress::splitter(policy).map(str::to_owned),
            parallel_above: policy
                .upload
                .parallel_upload_above_size
                .and_then(|size| u64::try_from(size).ok()),
        }
    }

    /// Reads the folder's ignore files, lists it, and leaves out what the rules leave out. Blocks.
    ///
    /// # Errors
    /// Kopia's text when the folder can't be listed or its rules can't be read.
    pub fn open(mut self, path: &Path, relative: &str, device: u64) -> Result<Opened, String> {
        let mut excluded = Vec::new();
        // What the listing shows not to be there is not looked for. Where there is none, what is told
        // of the folder is the same as if it were.
        let listed = Names::of(path);
        let may_hold = |name: &str| listed.as_ref().map_or(true, |names| names.may_hold(name));
        if may_hold(CACHE_DIR_TAG) && self.is_cache_folder(path) {
            let path = relative.to_owned();
            excluded.push(Excluded { path, size: 0, folder: true, kept_before: 0, by: None });
            return Ok(Opened { rules: self, entries: Vec::new(), excluded });
        }
        let below = if relative == "." { String::new() } else { format!("/{relative}") };
        let defined = self.policy.defined().cloned();
        let names = self.ignore.ignore_file_names(defined.as_deref()).to_vec();
        let mut files = Vec::new();
        for name in names.into_iter().filter(|name| may_hold(name)) {
            if let Some(bytes) = read_ignore_file(path, &name)? {
                files.push((name, bytes));
            }
        }
        self.ignore = self
            .ignore
            .enter(below.as_bytes(), defined.as_deref(), &files)
            .map_err(|error| error.to_string())?;
        let mut entries = listed?.stat()?;
        let mut kept = 0;
        entries.retain(|listed| {
            let left_out = excluded.len();
            let keeps = self.keeps(listed, &below, device, &mut excluded);
            excluded[left_out..].iter_mut().for_each(|it| it.kept_before = kept);
            kept += usize::from(keeps);
            keeps
        });
        Ok(Opened { rules: self, entries, excluded })
    }

    fn keeps(
        &self,
        listed: &ListedEntry,
        below: &str,
        folder_device: u64,
        excluded: &mut Vec<Excluded>,
    ) -> bool {
        let path = format!("{below}/{}", listed.name.to_string_lossy());
        let (size, device) = match &listed.entry {
            Ok(entry) => (entry.size, entry.device),
            Err(_) => (0, folder_device),
        };
        let is_dir = listed.listed_kind == EntryKind::Directory;
        let candidate = Candidate { path: path.as_bytes(), is_dir, size, device, folder_device };
        let decision = self.ignore.decide(&candidate);
        let mut by = match decision.verdict {
            Verdict::Ignored => self.ignore.left_out_by(&candidate).map(str::to_owned),
            _ => None,
        };
        for _ in 0..decision.times_excluded {
            let (path, by) = (path.trim_start_matches('/').to_owned(), by.take());
            excluded.push(Excluded { path, size, folder: is_dir, kept_before: 0, by });
        }
        decision.verdict == Verdict::Include
    }

    fn is_cache_folder(&self, path: &Path) -> bool {
        let tag = path.join(CACHE_DIR_TAG);
        let is_file = std::fs::symlink_metadata(&tag).is_ok_and(|found| found.is_file());
        let mut signature = vec![0; CACHE_DIR_SIGNATURE.len()];
        is_file
            && File::open(&tag).and_then(|mut file| file.read_exact(&mut signature)).is_ok()
            && is_cache_dir(self.effective(), &signature)
    }
}

impl Compressors {
    fn of(policy: &Policy) -> Result<Self> {
        Ok(Self { metadata: compressor(compress::metadata_compressor(policy))? })
    }
}

/// The bytes of a folder's ignore file; `None` if there is none. A link to a file is followed.
fn read_ignore_file(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let path = folder.join(name);
    let Ok(found) = std::fs::symlink_metadata(&path) else { return Ok(None) };
    let target = if found.is_symlink() {
        resolve_link(&path, name)?
    } else if found.is_file() {
        path
    } else {
        return Ok(None);
    };
    let cannot_open = |error: &io::Error| {
        let cause = go_path_error("open", &target, error);
        format!(
            "unable to parse ignore file {name}: unable to open ignore file: \
             unable to open local file: {cause}"
        )
    };
    let mut bytes = Vec::new();
    let file = File::open(&target).map_err(|error| cannot_open(&error))?;
    file.take(IGNORE_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| go_path_error("read", &target, &error))?;
    Ok(Some(bytes))
}

fn resolve_link(path: &Path, name: &str) -> Result<PathBuf, String> {
    match std::fs::canonicalize(path) {
        Ok(target) if target.is_file() => Ok(target),
        Ok(_) => Err(format!(
            "{name} does not eventually link to a file: Symlink does not link to a file"
        )),
        Err(error) => {
            let text = std::fs::read_link(path).unwrap_or_default();
            let missing = path.parent().unwrap_or(Path::new("/")).join(&text);
            Err(format!(
                "when resolving symlink {name} of type *localfs.filesystemSymlink, which points to \
                 {}: cannot resolve symlink for '\"{}\"': lstat {}: {}",
                text.display(),
                path.display(),
                missing.display(),
                go_error(&error)
            ))
        }
    }
}
