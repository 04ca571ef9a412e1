//! Full and incremental backups of an engine into a collection.
//!
//! A backup runs in this order, and each step is there because the next one relies on it:
//!
//! 1. *Plan* ([`plan`]): which keyspaces, and from which time each. Pure.
//! 2. *Protect*: a protected timestamp holds the history that the backup reads, or the backup
//!    fails with both times; nothing is written then.
//! 3. *Sync the log*: everything at or below the end time is durable in the source first. A
//!    source that crashed back behind its own backup would fork from it.
//! 4. *Export and upload*: key ranges in parallel, as SST files that a restore ingests as they
//!    are, through a bounded staging folder. A *fast* full ([`Mode`]) copies the live files of the
//!    source instead, as of one moment, which comes before all else.
//! 5. *Check* what was stored, then write the *manifest*: the layer exists from here on.
//! 6. *Hand over* the protection: the record moves to the new end of the chain, so that the next
//!    incremental finds its window whole however short the GC TTL is.
//!
//! Long ones run as [`jobs`], which survive their process. Those of [`schedule`]s begin as time passes.
//!
//! ```no_run
//! # async fn example(engine: icecore_engine::Engine) -> Result<(), icecore_backup::Error> {
//! use icecore_archive::{BackupSelector, Collection, StoreOptions};
//! use icecore_backup::{BackupOptions, backup};
//!
//! let collection = Collection::create_or_open(&"file:///backups".parse()?, StoreOptions::default()).await?;
//! let full = backup(&engine, &collection, &BackupOptions::default()).await?;
//! let onto = BackupOptions { onto: Some(BackupSelector::Latest), ..BackupOptions::default() };
//! let incremental = backup(&engine, &collection, &onto).await?;
//! println!("{} then {}", full.layer, incremental.layer);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod background;
pub mod compact;
mod error;
mod export;
mod fast;
mod files;
pub mod jobs;
mod mode;
mod options;
pub mod plan;
mod prints;
mod protection;
mod report;
pub mod retain;
mod run;
pub mod schedule;
mod window;

pub use compact::{CompactOptions, CompactReport, compact, plan_compaction};
pub use error::{Error, Result};
pub use mode::{FAST_FROM_BYTES, Method, Mode};
pub use options::{BackupOptions, Fingerprints, OnGcGap};
pub use plan::{BackupPlan, PlannedKeyspace};
pub use protection::chain_owner;
pub use report::{BackupReport, KeyspaceReport};
pub use retain::{ExpireOptions, ExpireReport, expire};
pub use run::{backup, dry_run};
