//! x
mod canned;
mod garbled;
mod redirects;
