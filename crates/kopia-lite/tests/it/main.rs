//! The program as its users meet it: commands, texts, JSON, exit codes.
//!
//! One binary, so that it links once. Each test has a home of its own ([`env::TestEnv`]); S3 is a
//! server inside this process. What a test expects of texts and JSON was printed by Kopia 0.23.1.
#![allow(clippy::unwrap_used)]

mod actions;
mod apply;
mod bad_blobs;
mod bad_storage;
mod batch;
mod blobs;
mod cache;
mod checks;
mod classes;
mod client;
mod cold;
mod cold_walk;
mod connection;
mod connection_changes;
mod contents;
mod cuts;
mod damaged_index;
mod dangerous;
mod denied;
mod diff;
mod docs;
mod env;
mod estimate;
mod find;
mod fix;
mod fixtures;
mod full_disk;
mod grammar;
mod history;
mod index_recover;
mod interrupt;
mod keyring;
mod kill;
mod lifecycle;
mod logs;
mod maintenance;
mod maintenance_run;
mod memory;
mod modern;
mod policy;
mod policy_exchange;
mod ransom;
mod repair;
mod repository;
mod restore;
mod s3;
mod scripts;
mod secrets;
mod snapshot;
mod storage_class;
mod storage_config;
mod survival;
mod sync_to;
mod thaw;
mod thaw_batch;
mod thaw_faults;
mod thaw_stages;
mod verify_subset;
