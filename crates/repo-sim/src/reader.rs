//! A client that reads, by what it looked up a while ago.
//!
//! What a client knows of the index is up to 15 minutes old (docs/format/04 §8), and a pack that
//! contents have moved out of stays for an hour at least. So whoever looks up where a content is and
//! reads it within the hour finds it there, whatever maintenance does meanwhile.

use std::time::Duration;

use blob_core::{BlobId, ReadRange};
use kopia_repo::IndexEntry;
use kopia_snapshot::manifests;

use crate::{check, machine::Machine};

const MINUTE: Duration = Duration::from_secs(60);

/// Reads until time is up.
pub async fn read(mut machine: Machine) {
    loop {
        machine.wait(20 * MINUTE, 8 * 60 * MINUTE).await;
        if machine.world.is_over() {
            return;
        }
        let found = look_up(&mut machine).await;
        machine.wait(Duration::ZERO, 50 * MINUTE).await;
        for entry in found {
            let range = ReadRange::Bytes {
                offset: entry.offset.into(),
                length: entry.packed_length.into(),
            };
            let Ok(id) = BlobId::new(&*entry.pack) else { continue };
            let storage: &dyn blob_core::BlobStorage = &machine.world.storage;
            if let Err(error) = storage.get(&id, range).await {
                let text =
                    format!("a reader that looked up {} less than an hour ago: {error}", entry.id);
                machine.world.fail(machine.host, text);
                return;
            }
        }
        machine.world.count("reads by old look-ups");
    }
}

/// Where all contents of one snapshot are.
async fn look_up(machine: &mut Machine) -> Vec<IndexEntry> {
    let connection = match machine.connect(usize::MAX).await {
        Ok(connection) => connection,
        Err((error, doomed)) => {
            machine.excuse("opening", &error, doomed);
            return Vec::new();
        }
    };
    let repo = &connection.repo;
    let looking = async {
        let all = manifests::find(repo, &[]).await?;
        let view = repo.index().await?;
        let Some(manifest) = machine.chance.pick(&all) else { return Ok(Vec::new()) };
        let Some(root) = &manifest.root_entry else { return Ok(Vec::new()) };
        // By the storage itself: it takes no time in which the index would be read again.
        let contents = check::contents_of(repo, root).await?;
        let mut found = Vec::new();
        for id in contents {
            found.extend(view.find(&id)?);
        }
        Ok::<_, kopia_snapshot::SnapshotError>(found)
    };
    match looking.await {
        Ok(found) => {
            machine.keep(connection);
            found
        }
        Err(error) => {
            // A snapshot that was deleted days ago, by an index that is as old.
            machine.excuse("looking up", &error, false);
            Vec::new()
        }
    }
}
