//! Writes: rows in random key order into a database that starts empty.
//!
//! Flushes and compactions run beside them, as they do in a server. Ours writes each row's
//! timestamp and a record of the commit index besides.

use crate::bench::Bench;
use crate::data::{self, Row};
use crate::error::Result;
use crate::measure::{alternate, timed};
use crate::report::{Report, Shape};
use crate::systems::{Icecore, Store, System, peers};

/// One figure: rows of a commit, whether it is synced, and the bar.
struct Writes {
    name: &'static str,
    rows_per_commit: usize,
    sync: bool,
    bar: f64,
}

const FIGURES: [Writes; 4] = [
    Writes {
        name: "put, synced",
        rows_per_commit: 1,
        sync: true,
        bar: 0.85,
    },
    Writes {
        name: "put, buffered",
        rows_per_commit: 1,
        sync: false,
        bar: 0.85,
    },
    Writes {
        name: "batch of 100, synced",
        rows_per_commit: 100,
        sync: true,
        bar: 0.9,
    },
    Writes {
        name: "batch of 100, buffered",
        rows_per_commit: 100,
        sync: false,
        bar: 0.9,
    },
];

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for peer in peers() {
        for figure in &FIGURES {
            measure(bench, report, figure, peer.as_ref())?;
        }
    }
    Ok(())
}

fn measure(bench: &Bench, report: &mut Report, figure: &Writes, peer: &dyn System) -> Result<()> {
    let scale = &bench.scale;
    let commits = if figure.sync {
        scale.synced_commits_per_round
    } else {
        scale.rows_per_round / figure.rows_per_commit
    };
    let folder = bench.folder()?;
    let ours = Icecore.create(&folder.path().join("ours"), &bench.options)?;
    let theirs = peer.create(&folder.path().join("peer"), &bench.options)?;
    let order = data::shuffled(scale.keys as u64, 1);
    let side = |store: Box<dyn Store>| {
        let order = &order;
        move |round: usize| {
            let rows = rows_of(
                round,
                commits * figure.rows_per_commit,
                order,
                scale.value_bytes,
            );
            timed(|| write(store.as_ref(), figure, &rows))
        }
    };
    let pair = alternate(scale.rounds, side(ours), side(theirs))?;
    report.add(
        figure.name,
        peer.name(),
        &pair,
        Shape::micros(commits, figure.bar),
    );
    Ok(())
}

/// The rows of a round: the next stretch of the order, with values of this round.
fn rows_of(round: usize, count: usize, order: &[u64], value_bytes: usize) -> Vec<Row> {
    let stretch = order
        .iter()
        .cycle()
        .skip((round * count) % order.len())
        .take(count);
    stretch
        .map(|&index| data::row(index, round as u64, value_bytes))
        .collect()
}

fn write(store: &dyn Store, figure: &Writes, rows: &[Row]) -> Result<()> {
    for commit in rows.chunks(figure.rows_per_commit) {
        match commit {
            [row] => store.put(row, figure.sync)?,
            rows => store.put_batch(rows, figure.sync)?,
        }
    }
    Ok(())
}
