//! Restore of backups, and verification of what lies in a collection.
//!
//! A restore runs in this order:
//!
//! 1. *Plan* ([`plan`]): for each keyspace the files to apply, oldest layer first, and which of
//!    them must be rewritten because they hold versions after the target time. Pure.
//! 2. *Preflight*: names that are taken, an engine that is not empty, an unexpected head, too little
//!    room on the disk.
//! 3. *Fetch* into the staging folder, and verify the bytes (length, CRC32, BLAKE3) before RocksDB
//!    opens any of them.
//! 4. *Ingest* each layer into a hidden keyspace, by links, as the files are. The copied files of a fast
//!    full go in together, in the order of their list.
//! 5. *Publish* all keyspaces in one commit, with the clock past the newest version and the
//!    threshold at the oldest time at which reads are true.
//!
//! A crash at any point leaves either nothing visible or everything. The same restore run again
//! goes on after the last layer that each keyspace has, with the files of the next one that were
//! fetched whole: they are kept in the staging folder until the restore is published or abandoned. It
//! takes the layers that it was begun with, though the chain was compacted since; where retention took
//! one of those, it gives up what it brought and begins anew.
//!
//! ```no_run
//! # async fn example(engine: icecore_engine::Engine) -> Result<(), icecore_restore::Error> {
//! use icecore_archive::{Collection, StoreOptions};
//! use icecore_restore::{RestoreOptions, restore};
//!
//! let collection = Collection::open(&"file:///backups".parse()?, StoreOptions::default()).await?;
//! let report = restore(&engine, &collection, &RestoreOptions::default()).await?;
//! println!("{} keyspaces as of {}", report.keyspaces.len(), report.target);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod error;
mod fetch;
pub mod inplace;
mod options;
mod pinned;
pub mod plan;
mod report;
mod run;
mod space;
mod verify;
mod work;

pub use error::{Error, Result};
pub use options::{BeforePublish, History, RestoreOptions};
pub use plan::{PlannedRestore, RestorePlan, owner_of};
pub use report::{RestoreReport, RestoredKeyspace};
pub use run::{dry_run, plan_restore, restore, restore_planned};
pub use space::check_space;
pub use verify::{
    Depth, ParseSampleError, Sample, VerifiedLayer, VerifiedState, VerifyOptions, VerifyReport,
    verify,
};
pub use work::{DryRun, Requests, Rewrite};
