//! A fast full and five incrementals, restored to the first correct read.

use std::path::Path;

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::Mode;
use icecore_engine::Engine;
use icecore_restore::RestoreOptions;
use rocksdb::backup::{BackupEngine, BackupEngineOptions, RestoreOptions as RocksRestore};

use crate::bench::Bench;
use crate::copy::{COPY, copy};
use crate::data;
use crate::error::{Error, Result};
use crate::measure::alternate;
use crate::measure::timed;
use crate::report::{Report, Shape};
use crate::source::{self, BACKUP_ENGINE, Source, THREADS, full, onto_latest};
use crate::systems::{KEYSPACE, open_rocks};

const INCREMENTALS: u64 = 5;
const PER_MILLE: u64 = 10;

/// At most 1.3 times the time of a copy.
const COPY_BAR: f64 = 1.0 / 1.3;
const ENGINE_BAR: f64 = 1.5;

const NAME: &str = "restore of a fast full and 5 incrementals";

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::load(bench)?;
    let case = Case {
        bench,
        source: &source,
    };
    let (chain, rocks, checkpoint) = (
        source.place("chain"),
        source.place("rocks-backup"),
        source.place("checkpoint"),
    );
    source.backup(&chain, &full(Mode::Fast))?;
    for version in 1..=INCREMENTALS {
        source.rewrite(PER_MILLE, version)?;
        source.backup(&chain, &onto_latest())?;
    }
    source.backup_rocks(&rocks)?;
    source.store.engine.checkpoint(&checkpoint)?;
    let ours = source.place("ours");
    let theirs = source.place("theirs");
    let rounds = bench.scale.backup_rounds;
    let restore = |_| {
        source::remove(&ours)?;
        timed(|| case.restore(&chain, &ours))
    };
    let pair = alternate(rounds, restore, |_| {
        source::remove(&theirs)?;
        timed(|| copy(&checkpoint, &theirs))
    })?;
    report.add(NAME, COPY, &pair, Shape::millis(COPY_BAR));
    let pair = alternate(rounds, restore, |_| {
        source::remove(&theirs)?;
        timed(|| case.restore_rocks(&rocks, &theirs))
    })?;
    report.add(NAME, BACKUP_ENGINE, &pair, Shape::millis(ENGINE_BAR));
    Ok(())
}

struct Case<'a> {
    bench: &'a Bench,
    source: &'a Source,
}

impl Case<'_> {
    /// Into a new engine, which must take every file as it is, and read a row that the last layer changed.
    fn restore(&self, from: &Path, to: &Path) -> Result<()> {
        let engine = Engine::open(to, &self.bench.options)?;
        let report = self.source.runtime.block_on(async {
            let uri = CollectionUri::from_local_path(from)?;
            let collection = Collection::open(&uri, StoreOptions::default()).await?;
            let options = RestoreOptions {
                threads: THREADS,
                ..RestoreOptions::default()
            };
            Ok::<_, Error>(icecore_restore::restore(&engine, &collection, &options).await?)
        })?;
        let rewritten: u64 = report.keyspaces.iter().map(|k| k.rewritten_files).sum();
        Error::check(NAME, "icecore", &rewritten, &0)?;
        let row = self.changed_last();
        let found = engine.keyspace(KEYSPACE)?.get(&row.key)?;
        Error::check(NAME, "icecore", &found, &Some(row.value))
    }

    fn restore_rocks(&self, from: &Path, to: &Path) -> Result<()> {
        let mut options = BackupEngineOptions::new(from)?;
        options.set_max_background_operations(THREADS as i32);
        let mut engine = BackupEngine::open(&options, &rocksdb::Env::new()?)?;
        engine.restore_from_latest_backup(to, to, &RocksRestore::default())?;
        let db = open_rocks(to, &self.bench.options)?;
        let row = self.changed_last();
        let found = db.get(row.key)?;
        Error::check(NAME, BACKUP_ENGINE, &found, &Some(row.value))
    }

    /// A row of the last incremental.
    fn changed_last(&self) -> data::Row {
        let order = data::shuffled(self.source.keys, INCREMENTALS);
        let index = order.first().copied().unwrap_or_default();
        data::row(index, INCREMENTALS, self.source.value_bytes)
    }
}
