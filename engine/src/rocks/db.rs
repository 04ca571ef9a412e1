//! The database handle and column-family handles that keep it alive.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, MultiThreaded, WriteBatch,
    WriteOptions,
};

use super::settings::{CfKind, RocksSettings};
use crate::error::{Error, Result};

pub(crate) type Inner = DBWithThreadMode<MultiThreaded>;

/// An open RocksDB database.
pub(crate) struct Db {
    pub(super) inner: Inner,
    read_only: bool,
    synced: WriteOptions,
    buffered: WriteOptions,
}

/// A column family, with the database it belongs to kept open.
///
/// Fields drop in order: the handle goes before the database.
#[derive(Clone)]
pub(crate) struct Cf {
    handle: Arc<BoundColumnFamily<'static>>,
    db: Arc<Db>,
}

impl Db {
    /// Opens for writing; `families` must name every column family of an existing database.
    pub(crate) fn open(
        path: &Path,
        settings: &RocksSettings,
        families: Vec<(String, CfKind)>,
    ) -> Result<Arc<Self>> {
        let descriptors = Self::descriptors(settings, families);
        let inner = Inner::open_cf_descriptors(&settings.database(), path, descriptors)
            .map_err(Error::rocks("open the database"))?;
        Ok(Self::opened(inner, false))
    }

    /// Opens without ever writing. No other process may write meanwhile.
    pub(crate) fn open_read_only(
        path: &Path,
        settings: &RocksSettings,
        families: Vec<(String, CfKind)>,
    ) -> Result<Arc<Self>> {
        let descriptors = Self::descriptors(settings, families);
        let inner =
            Inner::open_cf_descriptors_read_only(&settings.database(), path, descriptors, false)
                .map_err(Error::rocks("open the database read-only"))?;
        Ok(Self::opened(inner, true))
    }

    fn opened(inner: Inner, read_only: bool) -> Arc<Self> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Arc::new(Self {
            inner,
            read_only,
            synced,
            buffered: WriteOptions::default(),
        })
    }

    fn descriptors(
        settings: &RocksSettings,
        families: Vec<(String, CfKind)>,
    ) -> Vec<ColumnFamilyDescriptor> {
        families
            .into_iter()
            .map(|(name, kind)| ColumnFamilyDescriptor::new(name, settings.family(&kind)))
            .collect()
    }

    /// Names of the column families of the database at `path`.
    pub(crate) fn families(path: &Path) -> Result<Vec<String>> {
        Inner::list_cf(&rocksdb::Options::default(), path)
            .map_err(Error::rocks("list the column families"))
    }

    /// The column family called `name`, if it is open.
    pub(crate) fn family(self: &Arc<Self>, name: &str) -> Option<Cf> {
        let handle = self.inner.cf_handle(name)?;
        // SAFETY: the handle is valid while the database is open. `Cf` holds an `Arc` of the
        // database beside it, and drops the handle first, so 'static is never outlived.
        let handle: Arc<BoundColumnFamily<'static>> = unsafe { std::mem::transmute(handle) };
        Some(Cf {
            handle,
            db: Arc::clone(self),
        })
    }

    /// Creates a column family.
    pub(crate) fn create_family(
        self: &Arc<Self>,
        name: &str,
        settings: &RocksSettings,
        kind: &CfKind,
    ) -> Result<Cf> {
        self.inner
            .create_cf(name, &settings.family(kind))
            .map_err(Error::rocks("create a column family"))?;
        self.family(name).ok_or_else(|| {
            Error::corrupt(format!("column family {name} vanished after its creation"))
        })
    }

    /// Drops a column family; its files go when the last handle and iterator are dropped.
    pub(crate) fn drop_family(&self, name: &str) -> Result<()> {
        self.inner
            .drop_cf(name)
            .map_err(Error::rocks("drop a column family"))
    }

    /// The wrapper's handle, for calls that need no lifetime tricks.
    pub(crate) fn raw(&self) -> &Inner {
        &self.inner
    }
}

impl Cf {
    /// The database of this column family.
    pub(crate) fn db(&self) -> &Inner {
        &self.db.inner
    }

    /// The handle in the form that the wrapper's calls take.
    pub(crate) fn handle(&self) -> &Arc<BoundColumnFamily<'static>> {
        &self.handle
    }

    /// Whether the database never changes.
    pub(super) fn is_read_only(&self) -> bool {
        self.db.read_only
    }

    /// Writes a batch to the database, of whatever column families; with `sync` it is on disk then.
    pub(crate) fn write(&self, batch: WriteBatch, sync: bool, action: &'static str) -> Result<()> {
        let options = if sync {
            &self.db.synced
        } else {
            &self.db.buffered
        };
        self.db()
            .write_opt(batch, options)
            .map_err(Error::rocks(action))
    }

    /// Writes the memtable to SST files.
    pub(crate) fn flush(&self, action: &'static str) -> Result<()> {
        self.db()
            .flush_cf(&self.handle)
            .map_err(Error::rocks(action))
    }

    /// The stored value of exactly this key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db()
            .get_cf(&self.handle, key)
            .map_err(Error::rocks("read a record"))
    }

    /// An integer property of this column family; 0 where RocksDB has none.
    pub(crate) fn property(&self, name: &str) -> u64 {
        self.db()
            .property_int_value_cf(&self.handle, name)
            .ok()
            .flatten()
            .unwrap_or(0)
    }
}
