//! What the compaction filter costs: a full compaction through the engine, beside one by RocksDB alone
//! of the same files, with the same options and no filter.
//!
//! Both sides compact a fresh checkpoint of the same database each round, since a compaction leaves
//! nothing for the next. Two cases: nothing can be dropped (each key has one version, all below the
//! threshold, so the filter looks at every one in vain), and half is dropped (two versions a key).

use std::path::Path;
use std::time::Duration;

use icecore_engine::Options;
use rocksdb::{BottommostLevelCompaction, ColumnFamilyDescriptor, CompactOptions, DB};

use crate::bench::Bench;
use crate::data::{self, Row};
use crate::error::{Error, Result};
use crate::measure::{alternate, timed};
use crate::report::{Report, Shape};
use crate::systems::{IcecoreStore, RocksFamily, Store, database_options, family_options};

const NO_FILTER: &str = "rocksdb, no filter";

/// The "at most 1.15 times the time without a filter", as a ratio.
const BAR: f64 = 1.0 / 1.15;

/// Rows of one commit while loading.
const BATCH: usize = 1_000;

/// Column families that hold no keyspace.
const OTHER_FAMILIES: [&str; 2] = ["default", "commits"];

/// Where the database of an engine's folder lies.
const DATA: &str = "data";

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.folder()?;
    // What is compacted, and when, is up to the figure.
    let options = Options {
        auto_compactions: false,
        ..bench.options.clone()
    };
    let store = IcecoreStore::create(&folder.path().join("db"), &options)?;
    let case = Case {
        bench,
        options,
        store,
        work: folder.path(),
    };
    case.load(0)?;
    case.store.settle()?;
    case.measure(report, "compaction, threshold unset", false)?;
    case.measure(report, "compaction, nothing to drop", true)?;
    case.load(1)?;
    case.store.engine.flush()?;
    case.measure(report, "compaction, half dropped", true)
}

struct Case<'a> {
    bench: &'a Bench,
    options: Options,
    store: IcecoreStore,
    work: &'a Path,
}

impl Case<'_> {
    fn load(&self, version: u64) -> Result<()> {
        let scale = &self.bench.scale;
        for stretch in data::shuffled(scale.keys as u64, 3 + version).chunks(BATCH) {
            let row = |&index| data::row(index, version, scale.value_bytes);
            let rows: Vec<Row> = stretch.iter().map(row).collect();
            self.store.put_batch(&rows, false)?;
        }
        Ok(())
    }

    /// Compares on the store as it is now; `raise`: with the threshold at its newest row.
    fn measure(&self, report: &mut Report, name: &'static str, raise: bool) -> Result<()> {
        let ours = self.work.join("ours");
        let peer = self.work.join("peer");
        let pair = alternate(
            self.bench.scale.rounds,
            |_| self.on_a_copy(&ours, |dir| self.with_filter(dir, name, raise)),
            |_| self.on_a_copy(&peer, |dir| self.without_filter(dir)),
        )?;
        report.add(name, NO_FILTER, &pair, Shape::millis(BAR));
        Ok(())
    }

    fn on_a_copy(
        &self,
        dir: &Path,
        compact: impl FnOnce(&Path) -> Result<Duration>,
    ) -> Result<Duration> {
        self.store.engine.checkpoint(dir)?;
        let took = compact(dir)?;
        std::fs::remove_dir_all(dir).map_err(Error::io("remove", dir))?;
        Ok(took)
    }

    fn with_filter(&self, dir: &Path, name: &'static str, raise: bool) -> Result<Duration> {
        let copy = IcecoreStore::open(dir, &self.options)?;
        if raise {
            copy.engine
                .gc_guard()
                .raise(copy.keyspace.id(), copy.engine.visible())?;
        }
        let took = timed(|| Ok(copy.engine.compact(&copy.keyspace)?))?;
        // Exact once all is in one level.
        let kept = copy.keyspace.stats().estimated_versions;
        Error::check(name, "icecore", &kept, &(self.bench.scale.keys as u64))?;
        Ok(took)
    }

    fn without_filter(&self, dir: &Path) -> Result<Duration> {
        let data = dir.join(DATA);
        let database = database_options(&self.options);
        let names = DB::list_cf(&database, &data)?;
        let family = |name: &String| {
            let mut options = rocksdb::Options::default();
            family_options(&mut options, &self.options, RocksFamily::Stored);
            ColumnFamilyDescriptor::new(name, options)
        };
        let db = DB::open_cf_descriptors(&database, &data, names.iter().map(family))?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        timed(|| {
            for name in names
                .iter()
                .filter(|name| !OTHER_FAMILIES.contains(&name.as_str()))
            {
                if let Some(handle) = db.cf_handle(name) {
                    db.compact_range_cf_opt(&handle, None::<&[u8]>, None::<&[u8]>, &options);
                }
            }
            Ok(())
        })
    }
}
