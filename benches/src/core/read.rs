//! Reads of settled data, one version a key, all of it in the block cache.

use std::hint::black_box;

use tempfile::TempDir;

use crate::bench::Bench;
use crate::data::{self, KEY_BYTES, Random};
use crate::error::{Error, Result};
use crate::measure::{Pair, alternate, timed};
use crate::report::{Report, Shape};
use crate::systems::{HandsOut, Icecore, Store, System, Totals, peers};

/// Rows of one batch while loading.
const LOAD_BATCH: usize = 1_000;

/// Two stores with the same rows. Fields drop in order: the stores close before their files go.
struct Loaded {
    ours: Box<dyn Store>,
    theirs: Box<dyn Store>,
    _folder: TempDir,
}

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let scale = &bench.scale;
    for peer in peers() {
        let loaded = Loaded::new(bench, peer.as_ref())?;
        let count = scale.reads_per_round;
        let keys = scale.keys as u64;
        let present = |random: &mut Random| data::key(random.below(keys));
        // Keys are a bijection of their index: these are spread likewise, and none is there.
        let absent = |random: &mut Random| data::key(keys + random.below(keys));
        let pair = loaded.gets(bench, peer.as_ref(), "point get, warm", present, count)?;
        report.add(
            "point get, warm",
            peer.name(),
            &pair,
            Shape::micros(count, 0.8),
        );
        let pair = loaded.gets(bench, peer.as_ref(), "point get, no such key", absent, 0)?;
        report.add(
            "point get, no such key",
            peer.name(),
            &pair,
            Shape::micros(count, 0.7),
        );
        let pair = loaded.scans(bench, peer.as_ref(), HandsOut::Borrowed)?;
        report.add("scan", peer.name(), &pair, Shape::micros(scale.keys, 0.85));
        let pair = loaded.scans(bench, peer.as_ref(), HandsOut::Owned)?;
        report.add(
            "scan, rows owned",
            peer.name(),
            &pair,
            Shape::micros(scale.keys, 0.85),
        );
    }
    Ok(())
}

impl Loaded {
    fn new(bench: &Bench, peer: &dyn System) -> Result<Self> {
        let folder = bench.folder()?;
        let ours = Icecore.create(&folder.path().join("ours"), &bench.options)?;
        let theirs = peer.create(&folder.path().join("peer"), &bench.options)?;
        for store in [&ours, &theirs] {
            load(store.as_ref(), bench)?;
        }
        Ok(Self {
            ours,
            theirs,
            _folder: folder,
        })
    }

    /// Gets keys that `pick` makes, of which `found` are there.
    fn gets(
        &self,
        bench: &Bench,
        peer: &dyn System,
        name: &'static str,
        pick: impl Fn(&mut Random) -> [u8; KEY_BYTES],
        found: usize,
    ) -> Result<Pair> {
        let side = |store: &dyn Store, system: &'static str, round: usize| {
            let mut random = Random::new(round as u64);
            let keys: Vec<_> = (0..bench.scale.reads_per_round)
                .map(|_| pick(&mut random))
                .collect();
            let mut hits = 0;
            let took = timed(|| {
                for key in &keys {
                    hits += usize::from(black_box(store.get(key)?).is_some());
                }
                Ok(())
            })?;
            Error::check(name, system, &hits, &found)?;
            Ok(took)
        };
        alternate(
            bench.scale.rounds,
            |round| side(self.ours.as_ref(), "icecore", round),
            |round| side(self.theirs.as_ref(), peer.name(), round),
        )
    }

    fn scans(&self, bench: &Bench, peer: &dyn System, hands_out: HandsOut) -> Result<Pair> {
        let rows = bench.scale.keys as u64;
        let bytes = rows * (KEY_BYTES + bench.scale.value_bytes) as u64;
        let side = |store: &dyn Store, system: &'static str| {
            let mut seen = Totals::default();
            let took = timed(|| {
                seen = store.scan(hands_out)?;
                Ok(())
            })?;
            Error::check("scan", system, &seen, &Totals { rows, bytes })?;
            Ok(took)
        };
        alternate(
            bench.scale.rounds,
            |_| side(self.ours.as_ref(), "icecore"),
            |_| side(self.theirs.as_ref(), peer.name()),
        )
    }
}

/// Writes all rows in random order, settles, and reads them once to warm the cache.
fn load(store: &dyn Store, bench: &Bench) -> Result<()> {
    for stretch in data::shuffled(bench.scale.keys as u64, 2).chunks(LOAD_BATCH) {
        let rows: Vec<_> = stretch
            .iter()
            .map(|&index| data::row(index, 0, bench.scale.value_bytes))
            .collect();
        store.put_batch(&rows, false)?;
    }
    store.settle()?;
    store.scan(HandsOut::Borrowed)?;
    Ok(())
}
