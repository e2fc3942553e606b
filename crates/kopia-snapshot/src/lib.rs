//! How a tree becomes a Kopia snapshot, and a snapshot a tree.
