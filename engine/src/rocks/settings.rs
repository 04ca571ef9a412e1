//! RocksDB's options, made from [`Options`] in one place for every kind of column family.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use icecore_mvcc::key;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, SliceTransform};

use crate::gc::filter::ShadowFilterFactory;
use crate::options::{Compression, Options};

/// Version the name when the transform changes: RocksDB gives wrong answers from old files else.
const PREFIX_EXTRACTOR: &str = "icecore.user-key.v1";

/// Share of a memtable given to its prefix bloom.
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;

/// What a column family holds.
pub(crate) enum CfKind {
    /// Small unversioned records of the engine itself.
    Meta,
    /// The commit index: keys only ever grow, files are never rewritten.
    Commits,
    /// Versioned rows. The filter drops what is shadowed at or below the threshold (nanoseconds).
    Versioned {
        /// The threshold in effect, shared with the compaction filter.
        threshold: Arc<AtomicU64>,
    },
    /// Versioned rows that a restore brings. Until the database is opened anew, every level may hold files:
    /// of an empty family RocksDB otherwise uses level 0 and the last one only, and all but the deepest of
    /// a backup's files would come to lie in level 0, where each read asks all of them.
    Restored {
        /// As above.
        threshold: Arc<AtomicU64>,
    },
}

/// Options and the block cache shared by all column families.
pub(crate) struct RocksSettings {
    options: Options,
    cache: Cache,
}

impl RocksSettings {
    /// Settings of one engine; allocates its block cache.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            cache: Cache::new_lru_cache(options.block_cache_bytes),
        }
    }

    /// Options of the database as a whole.
    pub(super) fn database(&self) -> rocksdb::Options {
        let o = &self.options;
        let mut db = rocksdb::Options::default();
        db.create_if_missing(true);
        db.create_missing_column_families(true);
        // The default stops silently at corruption in mid-log; this one refuses to open.
        db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        db.set_max_background_jobs(threads(o.background_threads));
        db.set_db_write_buffer_size(o.total_write_buffer_bytes);
        db.set_max_total_wal_size(o.max_wal_bytes);
        db.set_bytes_per_sync(1 << 20);
        db.set_wal_bytes_per_sync(1 << 20);
        db.set_keep_log_file_num(4);
        db.set_max_log_file_size(16 << 20);
        db.set_stats_dump_period_sec(0);
        if let Some(rate) = o.rate_limit_bytes_per_second {
            db.set_ratelimiter(i64::try_from(rate).unwrap_or(i64::MAX), 100_000, 10);
        }
        db
    }

    /// Options of one column family.
    pub(crate) fn family(&self, kind: &CfKind) -> rocksdb::Options {
        let o = &self.options;
        let mut cf = rocksdb::Options::default();
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(o.block_bytes);
        table.set_format_version(6);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        cf.set_compression_type(codec(o.compression));
        cf.set_bottommost_compression_type(codec(o.last_level_compression));
        cf.set_level_compaction_dynamic_level_bytes(true);
        cf.set_target_file_size_base(o.target_file_bytes);
        cf.set_disable_auto_compactions(!o.auto_compactions);
        match kind {
            CfKind::Meta => cf.set_write_buffer_size(1 << 20),
            CfKind::Commits => cf.set_write_buffer_size(o.write_buffer_bytes.min(16 << 20)),
            CfKind::Versioned { threshold } | CfKind::Restored { threshold } => {
                cf.set_write_buffer_size(o.write_buffer_bytes);
                cf.set_level_compaction_dynamic_level_bytes(matches!(
                    kind,
                    CfKind::Versioned { .. }
                ));
                self.versioned(&mut cf, &mut table, threshold);
            }
        }
        cf.set_block_based_table_factory(&table);
        cf
    }

    /// Options of SST files that go out and come back: those of a keyspace, so that a restored
    /// file has its prefix bloom, in one compression and without a filter.
    pub(crate) fn sst_file(&self, compression: Compression) -> rocksdb::Options {
        let mut cf = self.family(&CfKind::Versioned {
            threshold: Arc::default(),
        });
        cf.set_compression_type(codec(compression));
        cf.set_bottommost_compression_type(codec(compression));
        cf
    }

    fn versioned(
        &self,
        cf: &mut rocksdb::Options,
        table: &mut BlockBasedOptions,
        threshold: &Arc<AtomicU64>,
    ) {
        cf.set_prefix_extractor(SliceTransform::create(
            PREFIX_EXTRACTOR,
            prefix_of,
            Some(key::is_stored_key),
        ));
        cf.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
        cf.set_compaction_filter_factory(ShadowFilterFactory::new(Arc::clone(threshold)));
        if self.options.bloom_bits_per_key > 0 {
            table.set_bloom_filter(f64::from(self.options.bloom_bits_per_key), false);
            table.set_whole_key_filtering(false);
        }
    }
}

/// The stored key without its timestamp.
fn prefix_of(stored: &[u8]) -> &[u8] {
    key::split(stored).map_or(stored, |(prefix, _)| prefix)
}

fn threads(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn codec(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    }
}
