//! An S3 server for tests: real protocol, storage classes, a clock to move, faults to order.
//!
//! [`TestServer::start`] runs it inside the test process; the program `s3-testkit` runs the same
//! server for other programs. The protocol (routing, XML, Signature Version 4) is the crate s3s;
//! this crate adds what backup programs meet in practice:
//!
//! - [`objects`]: objects in memory, with class, thaw, lock and all headers they were put with;
//! - [`classes`]: archive classes that are cold until a RestoreObject is done by the [`clock`];
//! - jobs of Batch Operations that thaw what a manifest lists, below `/v20180820/jobs`;
//! - [`cut`]: a client that dies at one of its writes;
//! - [`faults`]: errors, lost answers, cut bodies and lists, ordered per kind of request and key;
//! - [`log`]: every request, to assert how often what was asked;
//! - [`Issuer`]: temporary keys, as containers, instances, roles and Identity Center get them.
//!
//! ```
//! use s3_testkit::{Fault, Kind, TestServer, TestServerOptions};
//!
//! let server = TestServer::start_blocking(TestServerOptions::default())?;
//! server.objects().put_with_class("p1", "a pack", "DEEP_ARCHIVE");
//! server.faults().push(Fault::slow_down().on(Kind::Get).keys("p").times(2));
//! println!("point a client at {}", server.endpoint());
//! assert_eq!(server.requests().gets("p"), 0);
//! # Ok::<(), s3_testkit::StartError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod admin;
pub mod classes;
pub mod clock;
pub mod cut;
pub mod faults;
mod issuer;
mod jobs;
pub mod log;
pub mod objects;
mod options;
pub mod request;
mod server;
mod service;
mod text;
mod tls;
mod tree;
mod versions;
mod wire;

pub use access::Action;
pub use classes::{ArchiveAccess, Restoring, Tier};
pub use clock::Clock;
pub use cut::Cut;
pub use faults::{Effect, Fault, Faults};
pub use issuer::Issuer;
pub use jobs::JOB_PREPARES;
pub use log::{RequestLog, RequestRecord};
pub use objects::{ObjectLock, Objects, StoredObject};
pub use options::{Credentials, TestServerOptions, TlsIdentity};
pub use request::{Kind, Target};
pub use server::{StartError, TestServer};
pub use tls::TEST_CA_PEM;
