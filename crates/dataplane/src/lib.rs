//! How bytes cross cores and sockets in bounded memory.
//!
//! Small parts, each usable alone. A [`Budget`] of bytes is asked *before* memory is filled and
//! gets them back when the last user drops its [`Grant`]. A [`CpuPool`] runs work on as many
//! threads as there are cores, behind one queue, and is awaited. A [`Reorder`] window puts results
//! back into the order in which their tickets were drawn. A [`Recycler`] keeps memory that was used
//! for who fills the next. [`task::owned`] runs what must go on
//! though nobody polls it. [`limits`] names the capacity of every queue in one table.
//! [`CancellationToken`] ends a command.
//!
//! ```
//! use dataplane::{Budget, CpuPool};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (budget, cpu) = (Budget::new(64 << 20), CpuPool::new(2));
//! let grant = budget.acquire(1 << 20).await; // before the bytes are there
//! let bytes = vec![1_u8; 1 << 20];
//! let sum = cpu.run(move || bytes.iter().map(|b| u64::from(*b)).sum::<u64>()).await;
//! drop(grant);
//! assert_eq!(sum, 1 << 20);
//! assert_eq!(budget.used(), 0);
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod budget;
pub mod cpu;
pub mod limits;
pub mod recycle;
pub mod reorder;
pub mod task;

pub use budget::{Budget, Grant};
pub use cpu::CpuPool;
pub use recycle::Recycler;
pub use reorder::{Reorder, Ticket};
pub use tokio_util::sync::CancellationToken;
