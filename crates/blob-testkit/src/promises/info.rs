//! A storage says what it is, and always the same.

use super::{Fresh, Verdict, ensure};

pub(super) async fn it_says_what_it_is(fresh: &Fresh) -> Verdict {
    let info = fresh.storage().info();
    ensure!(!info.name.is_empty(), "the storage has no name for people");
    ensure!(!info.kind.is_empty(), "the storage does not say of what kind it is");
    ensure!(info.concurrency > 0, "the storage says that it handles no request well");
    ensure!(info == fresh.storage().info(), "the storage says something else when asked again");
    Ok(())
}
