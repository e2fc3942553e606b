//! Where Kopia keeps its connection files, caches and logs on this machine (docs/format/02-format-blob.md
//! §11).

use std::{
    env,
    path::{Path, PathBuf},
};

use sha2_hex::prefix_of_sha256;

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of connection files: `$XDG_CONFIG_HOME/kopia` or `~/.config/kopia` on Linux.
pub fn config_folder() -> PathBuf {
    let base = if cfg!(target_os = "macos") {
        home().join("Library/Application Support")
    } else if cfg!(windows) {
        from_env("APPDATA").unwrap_or_else(home)
    } else {
        from_env("XDG_CONFIG_HOME").unwrap_or_else(|| home().join(".config"))
    };
    base.join("kopia")
}

/// The folder of caches: `$XDG_CACHE_HOME/kopia` or `~/.cache/kopia` on Linux.
pub fn cache_folder() -> PathBuf {
    let base = if cfg!(target_os = "macos") {
        home().join("Library/Caches")
    } else if cfg!(windows) {
        from_env("LOCALAPPDATA").unwrap_or_else(home)
    } else {
        from_env("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"))
    };
    base.join("kopia")
}

/// The folder of log files: that of caches, but on macOS.
pub fn log_folder() -> PathBuf {
    match cfg!(target_os = "macos") {
        true => home().join("Library/Logs/kopia"),
        false => cache_folder(),
    }
}

/// The connection file that `--config-file` names: a bare name lies in [`config_folder`], anything
/// else is a path.
pub fn config_file(name: &Path) -> PathBuf {
    let is_bare = name.components().count() == 1 && name.file_name() == Some(name.as_os_str());
    if is_bare { config_folder().join(name) } else { name.to_owned() }
}

/// The cache folder that a new connection gets: it depends on the repository and on the connection
/// file's path.
pub fn default_cache_directory(unique_id: &[u8], config_file: &Path) -> PathBuf {
    let mut key = unique_id.to_vec();
    key.extend_from_slice(config_file.to_string_lossy().as_bytes());
    cache_folder().join(prefix_of_sha256(&key))
}

/// `path` as seen from the folder of `config_file`, as Kopia writes cache folders; absolute where
/// there is no way.
pub fn relative_to_config(path: &Path, config_file: &Path) -> PathBuf {
    let Some(base) = config_file.parent() else { return path.to_owned() };
    if path.is_absolute() != base.is_absolute() {
        return path.to_owned();
    }
    let (from, to): (Vec<_>, Vec<_>) = (base.components().collect(), path.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut relative: PathBuf = std::iter::repeat_n("..", from.len() - common).collect();
    relative.extend(&to[common..]);
    if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
}

/// A path without `.` and `..`, by its text alone: links are not followed, as Go's `filepath.Clean`
/// does.
pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match (part, out.components().next_back()) {
            // Above the root is the root.
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                out.pop();
            }
            (other, _) => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// `path` with the home folder for a `~` before its first slash.
pub fn with_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// `path` made absolute against the current folder, and cleaned.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    Ok(clean(&std::path::absolute(path)?))
}

mod sha2_hex {
    //! The one hash that a path needs.
    use sha2::{Digest, Sha256};

    /// The first 16 hexadecimal digits of the SHA-256 of `bytes`.
    pub fn prefix_of_sha256(bytes: &[u8]) -> String {
        hex::encode(&Sha256::digest(bytes)[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_config_folder() {
        assert_eq!(config_file(Path::new("work.config")), config_folder().join("work.config"));
        assert_eq!(config_file(Path::new("./work.config")), Path::new("./work.config"));
        assert_eq!(config_file(Path::new("/etc/k.config")), Path::new("/etc/k.config"));
    }

    #[test]
    fn cache_folders_are_written_relative_to_the_connection_file() {
        let file = Path::new("/home/u/.config/kopia/repository.config");
        let cache = Path::new("/home/u/.cache/kopia/1234");
        assert_eq!(relative_to_config(cache, file), Path::new("../../.cache/kopia/1234"));
        assert_eq!(relative_to_config(Path::new("/home/u/.config/kopia"), file), Path::new("."));
    }

    #[test]
    fn cleaning_follows_the_text_and_not_the_links() {
        assert_eq!(clean(Path::new("/a/./b/../c//d/")), Path::new("/a/c/d"));
        assert_eq!(clean(Path::new("/../x")), Path::new("/x"));
        assert_eq!(clean(Path::new("a/../../../x")), Path::new("../../x"));
    }
}
