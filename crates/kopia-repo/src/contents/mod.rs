//! Contents: hash-named pieces of data, kept in packs.
//!
//! Reading: look up, fetch the slice of the pack, open, decompress ([`read`]). Writing: hash, look
//! up, compress and seal on one core, then append in the order of asking ([`write`]); packs go up
//! in parallel ([`pack`]), long ones from a file ([`spill`]); one index blob makes them visible
//! ([`flush`]); a marker guards them until then ([`session`]). Format: docs/format/03.

pub(crate) mod flush;
pub(crate) mod pack;
pub(crate) mod pending;
pub(crate) mod read;
pub(crate) mod session;
pub(crate) mod spill;
pub(crate) mod write;
