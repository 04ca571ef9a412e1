//! The MVCC keyspace on RocksDB.
//!
//! An [`Engine`] is one folder: a set of keyspaces, each a RocksDB column family whose keys carry
//! their commit timestamp, so that every version of every row stays readable until garbage
//! collection passes it. The engine gives the mechanisms (commit, read as of a time, history,
//! the time-bounded iterator, thresholds, sweep, ingest); when to collect garbage and what to
//! back up is policy, and lives in the crates above.
//!
//! ```
//! use icecore_engine::{Durability, Engine, Options};
//! use icecore_mvcc::KeyspaceSettings;
//!
//! # fn main() -> Result<(), icecore_engine::Error> {
//! # let dir = tempfile::tempdir().map_err(|e| icecore_engine::Error::io("create", "temporary folder", e))?;
//! let engine = Engine::open(dir.path().join("db"), &Options::default())?;
//! let accounts = engine.create_keyspace("bank.accounts", KeyspaceSettings::default())?;
//! accounts.put(b"alice", b"100", Durability::Sync)?;
//! let before = engine.snapshot();
//! accounts.put(b"alice", b"60", Durability::Sync)?;
//! assert_eq!(accounts.get(b"alice")?.as_deref(), Some(&b"60"[..]));
//! assert_eq!(accounts.get_at(&before, b"alice")?.as_deref(), Some(&b"100"[..]));
//! # drop(before);
//! engine.close()
//! # }
//! ```
//!
//! The contract of each part is at the head of its module; `docs/ARCHITECTURE.md` walks one
//! write through all of them.

mod catalog;
mod changes;
mod commit;
mod engine;
mod error;
mod feed;
mod folder;
mod gc;
mod housekeeper;
mod keyspace;
mod load;
mod meta;
mod options;
mod read;
mod rocks;
mod store;
mod system;
mod txn;

pub use catalog::SYSTEM_KEYSPACE;
pub use changes::{ChangeOptions, ChangePlan, ChangeSet, Changes, PlanTaken, Window};
pub use commit::{Batch, Durability, WRITE_REFUSAL_KIND, WriteRefusal};
pub use engine::Engine;
pub use error::{Error, Result};
pub use feed::{
    CatalogChange, CommittedTransaction, Feed, FeedChange, FeedOptions, FeedStart, ResumeToken,
};
pub use gc::{GcGuard, SweepBudget, SweepReport};
pub use keyspace::{Keyspace, KeyspaceStats};
pub use load::{
    BulkLoad, Capture, CapturedKeyspace, LiveFile, MergedRows, Publish, RestoreScope,
    RestoringKeyspace, Rewrite, SstCursor, SstFile, SstFiles, SstScratch, SstSummary, SstWriter,
};
pub use options::{Compression, Options};
pub use read::{
    Entry, EntryRef, PointReader, RowRef, Scan, ScanDirection, Snapshot, VersionRow, Versions,
};
pub use system::{RowChange, SystemRows};
pub use txn::{Isolation, Transaction, TransactionScan};
