//! `kopia.repository`: what a repository is made of, sealed with a key from the password.
//!
//! [`FormatBlob`] is the outer, readable document; [`RepositoryFormat`] is what lies sealed in it:
//! the random keys, the names of the algorithms and the parameters. How a repository behaves
//! follows from single fields ([`RepositoryFormat::epochs_enabled`] and its like), never from the
//! version, because repositories can be upgraded halfway. Format: `docs/format/02-format-blob.md`.

mod epoch_parameters;
mod features;
mod format;
mod outer;
mod pack_copy;
mod upgrade_lock;

pub use epoch_parameters::EpochParameters;
pub use features::{IfNotUnderstood, RequiredFeature, SUPPORTED_FEATURES, Warning};
pub use format::{
    DEFAULT_SPLITTER, FormatOptions, MAX_PACK_SIZE_RANGE, RepositoryFormat, VERSION_DEFAULT,
};
pub use outer::{FORMAT_BLOB_ID, FORMAT_ENCRYPTION, FormatBlob, UNIQUE_ID_LEN};
pub(crate) use outer::{open_payload, seal_payload};
pub use pack_copy::{
    RECOVERY_CHUNK_LEN, pack_copy, recover_from_head, recover_from_pack, recover_from_tail,
};
pub use upgrade_lock::{BACKUP_BLOB_PREFIX, UpgradeLock};
