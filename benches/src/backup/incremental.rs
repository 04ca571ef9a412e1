//! Incrementals after 1 % of the keys changed, and what the next fast full uploads.

use std::cell::Cell;

use icecore_backup::Mode;

use crate::bench::Bench;
use crate::error::Result;
use crate::measure::{Pair, Samples, alternate, timed};
use crate::report::{Report, Shape};
use crate::source::{self, Source, full, onto_latest};

const PER_MILLE: u64 = 10;

/// At most a twentieth of a logical full's time.
const TIME_BAR: f64 = 20.0;

/// At most 1.2 times the bytes that changed.
const BYTES_BAR: f64 = 1.0 / 1.2;

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let case = Case {
        source: Source::load(bench)?,
        rounds: bench.scale.backup_rounds,
        version: Cell::new(0),
    };
    // Auto makes no fingerprint on a fast full, and goes on with that of a logical one.
    for (name, mode) in [
        ("incremental of 1 %, fingerprinted", Mode::Logical),
        ("incremental of 1 %", Mode::Fast),
    ] {
        case.incrementals(report, name, mode)?;
    }
    case.second_fast_full(report)
}

struct Case {
    source: Source,
    rounds: usize,
    /// Of the last rewrite.
    version: Cell<u64>,
}

impl Case {
    /// Rewrites 1 % of the keys; gives their bytes.
    fn rewrite(&self) -> Result<u64> {
        self.version.set(self.version.get() + 1);
        self.source.rewrite(PER_MILLE, self.version.get())
    }

    /// Incrementals onto a full of that mode, beside logical fulls.
    fn incrementals(&self, report: &mut Report, name: &str, mode: Mode) -> Result<()> {
        let source = &self.source;
        let (chain, fulls) = (source.place(name), source.place("fulls"));
        source.backup(&chain, &full(mode))?;
        let (mut stored, mut changed) = (Vec::new(), Vec::new());
        let pair = alternate(
            self.rounds,
            |_| {
                changed.push(self.rewrite()? as f64);
                timed(|| {
                    let taken = source.backup(&chain, &onto_latest())?;
                    stored.push(taken.stored_bytes() as f64);
                    Ok(())
                })
            },
            |_| {
                source::remove(&fulls)?;
                timed(|| source.backup(&fulls, &full(Mode::Logical)).map(drop))
            },
        )?;
        report.add(name, "logical full", &pair, Shape::millis(TIME_BAR));
        let bytes = Pair {
            ours: Samples::new(stored),
            peer: Samples::new(changed),
        };
        let shape = Shape::megabytes(Some(BYTES_BAR));
        report.add(&format!("{name}, bytes"), "bytes changed", &bytes, shape);
        source::remove(&chain)
    }

    /// How much of a fast full is uploaded again after 1 % of the keys changed.
    fn second_fast_full(&self, report: &mut Report) -> Result<()> {
        let collection = self.source.place("pool");
        let first = self.source.backup(&collection, &full(Mode::Fast))?;
        self.rewrite()?;
        let second = self.source.backup(&collection, &full(Mode::Fast))?;
        let uploaded = second.stored_bytes() - second.reused_bytes();
        let bytes = Pair {
            ours: Samples::new(vec![uploaded as f64]),
            peer: Samples::new(vec![first.stored_bytes() as f64]),
        };
        let shape = Shape::megabytes(None);
        report.add("second fast full, uploaded", "the first", &bytes, shape);
        Ok(())
    }
}
