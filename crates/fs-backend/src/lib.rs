//! How a folder keeps blobs: Kopia's sharded layout, atomic and fsynced.
