//! Which contents and manifests exist in a Kopia repository, and how one is read or added safely.
