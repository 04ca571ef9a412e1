//! Reading a backup where it lies, without restoring it.
//!
//! A [`BackupReader`] reads a chain's manifests and plans as a restore to the same time would. Reads then
//! show what reads of the restored keyspace would show as of that time, and fetch only files whose
//! spans hold the keys asked for:
//!
//! - [`BackupKeyspace::get`] looks into the files that may hold the key, newest first, and stops at the first
//!   version that no other file can surpass;
//! - [`BackupKeyspace::scan`] merges the files by key and fetches each when the scan comes to its span, so
//!   that a scan that is not gone on with has fetched no more than it needed;
//! - [`BackupKeyspace::versions`] stops where all older versions are unreadable.
//!
//! The files that a fast full copied of a keyspace count only together, so that they are fetched and opened as one.
//!
//! Whole files are fetched, not blocks of them: a hash over all of a file is what tells that its bytes are
//! those that were backed up, and RocksDB opens no byte that was not compared with it. Files are kept in a
//! cache within a budget: see [`CacheOptions`].
//!
//! ```no_run
//! # async fn example() -> Result<(), icecore_restore::Error> {
//! use icecore_archive::{Collection, StoreOptions};
//! use icecore_restore::inplace::{BackupReader, CacheOptions, ReadOptions};
//!
//! let collection = Collection::open(&"s3://bucket/backups".parse()?, StoreOptions::default()).await?;
//! let options = ReadOptions::new(CacheOptions::new("/var/cache/icecore"));
//! let backup = BackupReader::open(&collection, &options).await?;
//! let accounts = backup.keyspace("bank.accounts")?;
//! if let Some(entry) = accounts.get(b"alice").await? {
//!     println!("as of {}: written {}", backup.target(), entry.ts);
//! }
//! # Ok(())
//! # }
//! ```

mod cache;
mod merge;
mod read;
mod scan;
mod session;
mod unit;

use std::path::PathBuf;
use std::sync::Arc;

use icecore_archive::{BackupSelector, Collection, ContentHash, FullPath, LayerPath, Manifest};
use icecore_mvcc::{KeyspaceName, NamePattern, Timestamp};

use crate::error::Result;
use crate::options::RestoreOptions;
use crate::plan::{PlannedRestore, RestorePlan, plan};
use crate::run::read_chain;
use cache::FileCache;
pub use read::BackupKeyspace;
pub use scan::BackupScan;

/// Files kept on disk by default: 1 GiB.
pub const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Where fetched files are kept, and how many.
///
/// Files are named by the hash of their content, so all collections and processes can share a folder. Each
/// is verified against its manifest when it is fetched and again by every reader that takes it out of the
/// cache; one that differs is removed and fetched anew. What was not used for longest goes first. Files that
/// a reader has open come on top of the budget: a scan has about as many as there are layers.
///
/// Files of encrypted collections are not kept: they would lie there in clear. Nor is anything on a
/// file system without hard links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// The folder; made where there is none, readable by its owner only.
    pub dir: PathBuf,
    /// Bytes of files that may be kept; 0 keeps none once they are read. Default: 1 GiB.
    pub budget_bytes: u64,
}

impl CacheOptions {
    /// A cache in that folder with the default budget.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            budget_bytes: DEFAULT_CACHE_BYTES,
        }
    }
}

/// Settings of reads in place. Plain data: change fields, then open.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Which backup. Default: the latest full and its incrementals.
    pub from: BackupSelector,
    /// The time to read; default: the chain's end.
    pub as_of: Option<Timestamp>,
    /// Refuse a chain whose newest manifest has another hash.
    pub expect_head: Option<ContentHash>,
    /// Where files are kept.
    pub cache: CacheOptions,
}

impl ReadOptions {
    /// The end of the latest backup, with files kept there.
    pub fn new(cache: CacheOptions) -> Self {
        Self {
            from: BackupSelector::Latest,
            as_of: None,
            expect_head: None,
            cache,
        }
    }
}

/// A backup that is read in place. Cheap to clone.
#[derive(Clone)]
pub struct BackupReader(Arc<Inner>);

struct Inner {
    full: FullPath,
    manifests: Vec<Manifest>,
    target: Timestamp,
    files: FileCache,
}

impl BackupReader {
    /// Opens a backup as of a time: its index and manifests are read, and no data file.
    ///
    /// # Errors
    /// Those of choosing layers and reading manifests, as in a restore;
    /// [`Error::UnexpectedHead`](crate::Error::UnexpectedHead); [`Error::Engine`](crate::Error::Engine) when
    /// the cache folder cannot be used.
    pub async fn open(collection: &Collection, options: &ReadOptions) -> Result<Self> {
        let reading = RestoreOptions {
            from: options.from.clone(),
            as_of: options.as_of,
            expect_head: options.expect_head,
            ..RestoreOptions::default()
        };
        let (full, manifests, target) = read_chain(collection, &reading).await?;
        let files = FileCache::open(collection, &options.cache).await?;
        Ok(Self(Arc::new(Inner {
            full,
            manifests,
            target,
            files,
        })))
    }

    /// The time that is read.
    #[must_use]
    pub fn target(&self) -> Timestamp {
        self.0.target
    }

    /// The full backup that the chain begins with.
    #[must_use]
    pub fn full(&self) -> &FullPath {
        &self.0.full
    }

    /// The layers that are read, in order.
    pub fn layers(&self) -> impl Iterator<Item = &LayerPath> {
        self.0.manifests.iter().map(|manifest| &manifest.layer)
    }

    /// The keyspaces that a restore would bring, as planned for it.
    ///
    /// # Errors
    /// As in a restore: a keyspace whose history or beginning is missing is an error for all.
    pub fn keyspaces(&self) -> Result<Vec<PlannedRestore>> {
        Ok(self.plan(Vec::new())?.keyspaces)
    }

    /// A keyspace, by its name at the time that is read. No data file is fetched.
    ///
    /// # Errors
    /// [`Error::NothingMatches`](crate::Error::NothingMatches) where there is none, and those of planning
    /// its restore.
    pub fn keyspace(&self, name: &str) -> Result<BackupKeyspace> {
        let valid = KeyspaceName::parse(name).map_err(icecore_engine::Error::from)?;
        let pattern = NamePattern::parse(valid.as_str()).map_err(icecore_engine::Error::from)?;
        let mut planned = self.plan(vec![pattern.clone()])?.keyspaces;
        // One name is one keyspace; a pattern that selects none is an error of the plan.
        let planned = planned.pop().ok_or_else(|| crate::Error::NothingMatches {
            pattern: pattern.to_string(),
            target: self.0.target,
            available: "none".to_owned(),
        })?;
        Ok(BackupKeyspace::new(self.clone(), planned))
    }

    fn plan(&self, keyspaces: Vec<NamePattern>) -> Result<RestorePlan> {
        let options = RestoreOptions {
            keyspaces,
            ..RestoreOptions::default()
        };
        plan(&self.0.full, &self.0.manifests, self.0.target, &options)
    }
}
