//! A storage on a disk tells the disk's size.

use super::{Fresh, Must, Verdict, ensure, skip};

pub(super) async fn a_disk_tells_its_size(fresh: &Fresh) -> Verdict {
    let Some(volume) = fresh.storage().volume() else {
        return Err(skip("the storage is no disk"));
    };
    let size = volume.capacity().await.must("asking the disk's capacity")?;
    ensure!(size.capacity > 0, "the disk has no bytes");
    ensure!(size.available <= size.capacity, "more is free than there is: {size:?}");
    Ok(())
}
