//! Fulls: by copying live files, and by exporting rows.

use std::path::Path;

use icecore_backup::Mode;

use crate::bench::Bench;
use crate::copy::{COPY, copy};
use crate::error::Result;
use crate::measure::{Pair, alternate, timed};
use crate::report::{Report, Shape};
use crate::source::{self, BACKUP_ENGINE, Source, full};

/// At most 1.3 times the time of a copy.
const COPY_BAR: f64 = 1.0 / 1.3;
const FAST_BAR: f64 = 1.2;
const LOGICAL_BAR: f64 = 0.95;

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::load(bench)?;
    let checkpoint = source.place("checkpoint");
    source.store.engine.checkpoint(&checkpoint)?;
    let stats = source.store.keyspace.stats();
    report.note(format!(
        "fulls: {} keys, {:.2} GB of keys and values, {:.2} GB in SST files",
        source.keys,
        source.logical_bytes() as f64 / 1e9,
        stats.sst_bytes as f64 / 1e9,
    ));
    let rounds = bench.scale.backup_rounds;
    let pair = against(&source, rounds, Mode::Fast, |to| copy(&checkpoint, to))?;
    report.add("fast full", COPY, &pair, Shape::millis(COPY_BAR));
    for (name, mode, bar) in [
        ("fast full", Mode::Fast, FAST_BAR),
        ("logical full", Mode::Logical, LOGICAL_BAR),
    ] {
        let pair = against(&source, rounds, mode, |to| source.backup_rocks(to))?;
        report.add(name, BACKUP_ENGINE, &pair, Shape::millis(bar));
    }
    Ok(())
}

/// Our full beside a peer's, each round into new folders.
fn against(
    source: &Source,
    rounds: usize,
    mode: Mode,
    peer: impl Fn(&Path) -> Result<()>,
) -> Result<Pair> {
    let (ours, theirs) = (source.place("ours"), source.place("theirs"));
    alternate(
        rounds,
        |_| {
            source::remove(&ours)?;
            timed(|| source.backup(&ours, &full(mode)).map(drop))
        },
        |_| {
            source::remove(&theirs)?;
            timed(|| peer(&theirs))
        },
    )
}
