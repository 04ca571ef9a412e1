//! RocksDB itself, used as its documentation says, with the options that the engine gives it.

use std::path::Path;

use icecore_engine::{Compression, Options};
use icecore_mvcc::key;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBCompressionType,
    IteratorMode, ReadOptions, SliceTransform, WriteBatch, WriteOptions,
};

use super::{HandsOut, Store, System, Totals};
use crate::data::Row;
use crate::error::Result;

/// One plain RocksDB database: no versions, no index, whole-key bloom filters.
#[derive(Debug, Clone, Copy)]
pub struct RawRocksDb;

/// What the keys of a column family are, which decides its bloom filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RocksFamily {
    /// Plain user keys: filters of whole keys.
    Plain,
    /// The engine's stored keys: filters of their prefixes, as the engine makes them.
    Stored,
}

struct RocksStore {
    db: DB,
    buffered: WriteOptions,
    synced: WriteOptions,
    reads: ReadOptions,
}

/// The engine's database options.
#[must_use]
pub fn database_options(options: &Options) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.set_max_background_jobs(i32::try_from(options.background_threads).unwrap_or(i32::MAX));
    db.set_db_write_buffer_size(options.total_write_buffer_bytes);
    db.set_max_total_wal_size(options.max_wal_bytes);
    db.set_bytes_per_sync(1 << 20);
    db.set_wal_bytes_per_sync(1 << 20);
    db.set_stats_dump_period_sec(0);
    db
}

/// The engine's options of a keyspace's column family, put onto `cf`. No compaction filter.
pub fn family_options(cf: &mut rocksdb::Options, options: &Options, keys: RocksFamily) {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(options.block_cache_bytes));
    table.set_block_size(options.block_bytes);
    table.set_format_version(6);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(f64::from(options.bloom_bits_per_key), false);
    cf.set_memtable_prefix_bloom_ratio(0.02);
    match keys {
        RocksFamily::Plain => {
            table.set_whole_key_filtering(true);
            cf.set_memtable_whole_key_filtering(true);
        }
        RocksFamily::Stored => {
            table.set_whole_key_filtering(false);
            let name = "icecore.user-key.v1";
            cf.set_prefix_extractor(SliceTransform::create(
                name,
                prefix,
                Some(key::is_stored_key),
            ));
        }
    }
    cf.set_compression_type(codec(options.compression));
    cf.set_bottommost_compression_type(codec(options.last_level_compression));
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_target_file_size_base(options.target_file_bytes);
    cf.set_write_buffer_size(options.write_buffer_bytes);
    cf.set_disable_auto_compactions(!options.auto_compactions);
    cf.set_block_based_table_factory(&table);
}

/// The engine's prefix extractor.
fn prefix(stored: &[u8]) -> &[u8] {
    key::split(stored).map_or(stored, |(prefix, _)| prefix)
}

const fn codec(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    }
}

/// A database with the engine's options and plain keys, made if it is not there.
///
/// # Errors
/// RocksDB's.
pub fn open_rocks(dir: &Path, options: &Options) -> Result<DB> {
    let mut all = database_options(options);
    family_options(&mut all, options, RocksFamily::Plain);
    Ok(DB::open(&all, dir)?)
}

/// Writes rows together, buffered.
///
/// # Errors
/// RocksDB's.
pub fn put_rocks(db: &DB, rows: &[Row]) -> Result<()> {
    let mut batch = WriteBatch::default();
    for row in rows {
        batch.put(row.key, &row.value);
    }
    Ok(db.write(batch)?)
}

impl System for RawRocksDb {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn create(&self, dir: &Path, options: &Options) -> Result<Box<dyn Store>> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Box::new(RocksStore {
            db: open_rocks(dir, options)?,
            buffered: WriteOptions::default(),
            synced,
            reads: ReadOptions::default(),
        }))
    }
}

impl RocksStore {
    const fn writes(&self, sync: bool) -> &WriteOptions {
        if sync { &self.synced } else { &self.buffered }
    }
}

impl Store for RocksStore {
    fn put(&self, row: &Row, sync: bool) -> Result<()> {
        Ok(self.db.put_opt(row.key, &row.value, self.writes(sync))?)
    }

    fn put_batch(&self, rows: &[Row], sync: bool) -> Result<()> {
        let mut batch = WriteBatch::default();
        for row in rows {
            batch.put(row.key, &row.value);
        }
        Ok(self.db.write_opt(batch, self.writes(sync))?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get_opt(key, &self.reads)?)
    }

    fn scan(&self, hands_out: HandsOut) -> Result<Totals> {
        let mut totals = Totals::default();
        match hands_out {
            HandsOut::Borrowed => {
                let mut rows = self.db.raw_iterator();
                rows.seek_to_first();
                while let Some((key, value)) = rows.item() {
                    totals.add(key, value);
                    rows.next();
                }
                rows.status()?;
            }
            HandsOut::Owned => {
                for row in self.db.iterator(IteratorMode::Start) {
                    let (key, value) = row?;
                    totals.add(&key, &value);
                }
            }
        }
        Ok(totals)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.db
            .compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }
}
