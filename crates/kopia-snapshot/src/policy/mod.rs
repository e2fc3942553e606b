//! What policies decide: which entries go into a snapshot, how they are compressed, what is kept.
//!
//! Everything here is pure: policies, texts of ignore files, names and sizes come in, decisions go
//! out. The results are those of Kopia including its quirks, since two clients that walk the same
//! tree with the same policies should arrive at the same objects. Facts:
//! `docs/format/07-upload-restore.md` §3 to §5.

pub mod compress;
pub mod ignore;
pub mod resolve;
pub mod retention;
pub mod tree;
pub mod wildcard;
