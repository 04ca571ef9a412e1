//! Listing a collection with very many layers.

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_backup::Mode;

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples, timed};
use crate::report::{Report, Shape};
use crate::source::{Source, full, onto_latest};

const SECONDS_MAX: f64 = 2.0;

/// Takes the figure.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::of(bench, &bench.options, 1_000)?;
    let folder = source.place("layers");
    source.backup(&folder, &full(Mode::Logical))?;
    let layers = bench.scale.listed_layers;
    for version in 1..layers as u64 {
        source.rewrite(1, version)?;
        source.backup(&folder, &onto_latest())?;
    }
    let mut seconds = Vec::new();
    for _ in 0..bench.scale.backup_rounds {
        let took = timed(|| {
            let found = source.runtime.block_on(async {
                let uri = CollectionUri::from_local_path(&folder)?;
                let collection = Collection::open(&uri, StoreOptions::default()).await?;
                let chain = collection.open_chain(&BackupSelector::Latest).await?;
                Ok::<_, Error>(chain.layers().len())
            })?;
            Error::check("listing", "icecore", &found, &layers)
        })?;
        seconds.push(took.as_secs_f64());
    }
    let pair = Pair {
        peer: Samples::new(vec![SECONDS_MAX; seconds.len()]),
        ours: Samples::new(seconds),
    };
    let name = format!("listing {layers} layers");
    report.add(&name, "two seconds", &pair, Shape::millis(1.0));
    Ok(())
}
