//! RocksDB as the rest of the engine sees it: a database handle, column families and iterators
//! that own what they borrow, and the options of each kind of column family.
//!
//! All `unsafe` of the project lives in this folder. It extends lifetimes that an owned reference
//! count makes true, and calls RocksDB's C interface where the wrapper does not (`live.rs`).

mod db;
mod iter;
mod live;
mod settings;
mod sst;

pub(crate) use db::{Cf, Db};
pub(crate) use iter::RawIter;
pub(crate) use live::FileInfo;
pub(crate) use settings::{CfKind, RocksSettings};
pub(crate) use sst::RawSstWriter;
