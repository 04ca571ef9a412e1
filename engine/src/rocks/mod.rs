//! RocksDB as the rest of the engine sees it: a database handle, column families and iterators
//! that own what they borrow, and the options of each kind of column family.
//!
//! All `unsafe` of the project lives in this folder, and all of it extends a lifetime that an
//! owned reference count makes true.

mod db;
mod iter;
mod settings;
mod sst;

pub(crate) use db::{Cf, Db};
pub(crate) use iter::RawIter;
pub(crate) use settings::{CfKind, RocksSettings};
pub(crate) use sst::RawSstWriter;
