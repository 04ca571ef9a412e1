//! Ours.

use std::path::Path;

use icecore_engine::{Batch, Durability, Engine, Keyspace, Options, ScanDirection};
use icecore_mvcc::{KeyRange, KeyspaceSettings};

use super::{HandsOut, Store, System, Totals};
use crate::data::Row;
use crate::error::Result;

/// The engine through its public interface, one keyspace.
#[derive(Debug, Clone, Copy)]
pub struct Icecore;

/// An engine with one keyspace.
#[derive(Debug)]
pub struct IcecoreStore {
    /// The keyspace.
    pub keyspace: Keyspace,
    /// Its engine.
    pub engine: Engine,
}

impl IcecoreStore {
    /// A new engine in `dir`.
    ///
    /// # Errors
    /// The engine's own.
    pub fn create(dir: &Path, options: &Options) -> Result<Self> {
        let engine = Engine::open(dir, options)?;
        let keyspace = engine.create_keyspace(KEYSPACE, KeyspaceSettings::default())?;
        Ok(Self { keyspace, engine })
    }

    /// An engine that [`IcecoreStore::create`] made, or a checkpoint of one.
    ///
    /// # Errors
    /// The engine's own.
    pub fn open(dir: &Path, options: &Options) -> Result<Self> {
        let engine = Engine::open(dir, options)?;
        let keyspace = engine.keyspace(KEYSPACE)?;
        Ok(Self { keyspace, engine })
    }
}

/// The keyspace of the rows.
pub const KEYSPACE: &str = "bench.rows";

impl System for Icecore {
    fn name(&self) -> &'static str {
        "icecore"
    }

    fn create(&self, dir: &Path, options: &Options) -> Result<Box<dyn Store>> {
        Ok(Box::new(IcecoreStore::create(dir, options)?))
    }
}

const fn durability(sync: bool) -> Durability {
    if sync {
        Durability::Sync
    } else {
        Durability::Buffered
    }
}

impl Store for IcecoreStore {
    fn put(&self, row: &Row, sync: bool) -> Result<()> {
        self.keyspace
            .put(&row.key[..], &row.value[..], durability(sync))?;
        Ok(())
    }

    fn put_batch(&self, rows: &[Row], sync: bool) -> Result<()> {
        let mut batch = Batch::new();
        for row in rows {
            batch.put(&self.keyspace, &row.key[..], &row.value[..]);
        }
        self.engine.commit(batch, durability(sync))?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.keyspace.get(key)?)
    }

    fn scan(&self, hands_out: HandsOut) -> Result<Totals> {
        let at = self.engine.snapshot();
        let mut scan = self
            .keyspace
            .scan(&at, &KeyRange::all(), ScanDirection::Forward)?;
        let mut totals = Totals::default();
        match hands_out {
            HandsOut::Borrowed => {
                while let Some(row) = scan.next_ref()? {
                    totals.add(row.key, row.value);
                }
            }
            HandsOut::Owned => {
                for row in scan {
                    let row = row?;
                    totals.add(&row.key, &row.value);
                }
            }
        }
        Ok(totals)
    }

    fn settle(&self) -> Result<()> {
        self.engine.flush()?;
        self.engine.compact(&self.keyspace)?;
        Ok(())
    }
}
