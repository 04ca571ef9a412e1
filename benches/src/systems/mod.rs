//! The systems under test, behind one interface.
//!
//! A figure is written once against [`Store`] and taken of any two systems. To add a peer: implement
//! both traits in a file of its own, and name it in [`peers`].

mod icecore;
mod rocks;

use std::path::Path;

use icecore_engine::Options;

pub use self::icecore::{Icecore, IcecoreStore, KEYSPACE};
pub use self::rocks::{
    RawRocksDb, RocksFamily, database_options, family_options, open_rocks, put_rocks,
};
use crate::data::Row;
use crate::error::Result;

/// A kind of store.
pub trait System {
    /// Its name, as printed.
    fn name(&self) -> &'static str;

    /// Makes an empty store in `dir`, which does not exist yet, with settings equal to these.
    ///
    /// # Errors
    /// The system's own.
    fn create(&self, dir: &Path, options: &Options) -> Result<Box<dyn Store>>;
}

/// An open store of rows.
pub trait Store {
    /// Writes one row; synced, it survives a power failure.
    ///
    /// # Errors
    /// The system's own.
    fn put(&self, row: &Row, sync: bool) -> Result<()>;

    /// Writes rows together.
    ///
    /// # Errors
    /// The system's own.
    fn put_batch(&self, rows: &[Row], sync: bool) -> Result<()>;

    /// The value of a key, as memory of the caller's.
    ///
    /// # Errors
    /// The system's own.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Reads all rows in key order.
    ///
    /// # Errors
    /// The system's own.
    fn scan(&self, hands_out: HandsOut) -> Result<Totals>;

    /// Brings the store to its settled state: memtables written, everything compacted.
    ///
    /// # Errors
    /// The system's own.
    fn settle(&self) -> Result<()>;
}

/// In what form a scan hands out its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandsOut {
    /// Borrowed until the next step: the fastest form of each system.
    Borrowed,
    /// Memory of the caller's: the convenient form.
    Owned,
}

/// What a scan saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Totals {
    /// Counts a row, and keeps the compiler from leaving out the reading of it.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let (key, value) = std::hint::black_box((key, value));
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }
}

/// Who ours is compared with in the `core` suite.
#[must_use]
pub fn peers() -> Vec<Box<dyn System>> {
    vec![Box::new(RawRocksDb)]
}
