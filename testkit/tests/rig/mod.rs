//! An engine with one keyspace, a collection, and short words for what is done with them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use icecore_archive::{BackupSelector, Collection, CollectionUri, LayerPath, StoreOptions};
use icecore_backup::{BackupOptions, BackupReport, backup};
use icecore_engine::{Batch, Durability, Engine, Keyspace, Options, ScanDirection};
use icecore_gc::{ProtectedTimestamps, Record};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyRange, KeyspaceSettings, ManualClock, Timestamp};
use icecore_restore::{RestoreOptions, RestoreReport, restore};
use icecore_testkit::faults::{Fuse, hasty};
use icecore_testkit::scratch;
use tempfile::TempDir;
