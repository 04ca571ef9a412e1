//! Garbage-collection policy: how long versions are kept, and what holds them longer.
//!
//! The engine has the mechanism: a threshold for each keyspace that only rises, a compaction filter
//! and a sweep that remove what no read at or above it can see. This crate decides how far it rises:
//!
//! threshold = min(now − TTL, every applicable protected timestamp, the oldest live reader)
//!
//! | concept | where |
//! |---|---|
//! | hold versions of some keyspaces from a time on | [`ProtectedTimestamps`], [`Record`] |
//! | hold what a consumer of changes has yet to see | [`Consumer`] |
//! | the rule | [`policy`] |
//! | one round: raise, sweep, purge, trim | [`collect`] |
//! | rounds in the background of a server | [`Worker`] |
//! | what stands where, and what holds it back | [`status`](fn@status) |
//!
//! ```
//! use icecore_engine::{Durability, Engine, Options};
//! use icecore_gc::{GcOptions, ProtectRequest, ProtectedTimestamps, Target, collect};
//! use icecore_mvcc::KeyspaceSettings;
//! # use std::time::Duration;
//!
//! # fn main() -> Result<(), icecore_gc::Error> {
//! # let dir = tempfile::tempdir().map_err(|e| icecore_engine::Error::io("create", "temporary folder", e))?;
//! let engine = Engine::open(dir.path().join("db"), &Options::default())?;
//! let accounts = engine.create_keyspace("bank.accounts", KeyspaceSettings::default())?;
//! let before = accounts.put(b"alice", b"100", Durability::Sync)?;
//! let protected = ProtectedTimestamps::new(&engine);
//! let record = protected.protect(ProtectRequest::new(before, Target::All, "audit of march"))?;
//! accounts.put(b"alice", b"60", Durability::Sync)?;
//!
//! // Even with no TTL at all, the record holds.
//! let now = GcOptions { ttl_override: Some(Duration::ZERO), ..GcOptions::default() };
//! collect(&engine, &now)?;
//! let then = engine.snapshot_at(before)?;
//! assert_eq!(accounts.get_at(&then, b"alice")?.as_deref(), Some(&b"100"[..]));
//! drop(then);
//!
//! protected.release(&record.id)?;
//! collect(&engine, &now)?;
//! let then = engine.snapshot_at(before)?;
//! assert!(accounts.get_at(&then, b"alice").is_err(), "collected");
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod consumer;
mod error;
mod exchange;
mod holder;
mod ledger;
mod limits;
mod options;
pub mod policy;
mod protect;
mod record;
mod releases;
mod report;
mod round;
mod status;
mod survey;
mod target;
mod upkeep;
mod worker;

pub use consumer::{Consumer, ConsumerOptions};
pub use error::{Error, Result};
pub use exchange::Exchange;
pub use holder::Holder;
pub use limits::{Breach, Limits, OnBreach};
pub use options::{GcOptions, WorkerOptions};
pub use policy::HeldBy;
pub use protect::ProtectedTimestamps;
pub use record::{MAX_OWNER_BYTES, ProtectRequest, Purpose, Record, RecordId};
pub use releases::Release;
pub use report::{GcReport, KeyspaceGcReport};
pub use round::collect;
pub use status::{GcStatus, KeyspaceGcStatus, RecordStatus, status};
pub use target::{Span, Target};
pub use worker::{Worker, WorkerStatus};
