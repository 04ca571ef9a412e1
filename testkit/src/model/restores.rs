//! Restores: beside, instead of and far from the engine that was backed up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use icecore_archive::Collection;
use icecore_engine::{Durability, Engine, Keyspace};
use icecore_gc::GcOptions;
use icecore_mvcc::{ManualClock, Timestamp};
use icecore_restore::{History, RestoreOptions, RestoreReport, restore};

use super::bugs::Bug;
use super::chains::{ChainRecord, Comeback, ComebackKeyspace, Forecast, forecast_restore};
use super::check::{Checker, GLANCE, LOOK};
use super::known::{Known, KnownEngine};
use super::ops::{Point, Restore, To};
use super::pool;
use super::world::World;
use crate::failure::{Failure, Result, ensure};
use crate::faults::{Fault, Fuse};

/// Before everything that the worlds' clocks show.
const LONG_AGO: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000_000);

impl World {
    pub(crate) fn restore(&mut self, asked: Restore) -> Result<()> {
        let Some(chain) = self
            .chain(asked.chain)
            .and_then(|position| self.chains.get(position))
        else {
            return Ok(());
        };
        let chain = chain.clone();
        let as_of = self.as_of(&chain, asked.point);
        let scope = pool::scope(asked.scope);
        let Some(truth) = self.truths.get(&chain.engine) else {
            return Ok(());
        };
        let forecast = forecast_restore(&chain, truth, as_of, &scope, !asked.without_history);
        let mut options = RestoreOptions {
            from: self.selector(&chain),
            as_of,
            keyspaces: scope,
            history: if asked.without_history {
                History::None
            } else {
                History::All
            },
            expect_head: chain.layers.last().map(|layer| layer.hash),
            threads: 1 + self.dice.below(2),
            check_fingerprints: self.dice.one_in(2),
            ..RestoreOptions::default()
        };
        let ends_early = match self.bug {
            Some(Bug::RestoresTooLittle) => true,
            Some(Bug::MergesTooLittle) => chain.merged,
            _ => false,
        };
        if ends_early && let Forecast::Succeeds(comeback) = &forecast {
            options.as_of = Some(comeback.target.prev());
        }
        match asked.to {
            To::Beside => self.restore_beside(asked, &chain, &options, forecast),
            To::Elsewhere | To::Instead => self.restore_away(asked, &chain, &options, forecast),
        }
    }

    /// The time that an operation means.
    fn as_of(&self, chain: &ChainRecord, point: Point) -> Option<Timestamp> {
        match point {
            Point::Latest => None,
            Point::LayerEnd(layer) => {
                let layer = chain
                    .layers
                    .get(usize::from(layer) % chain.layers.len().max(1));
                layer.map(|layer| layer.end)
            }
            Point::Time(back) => {
                let end = chain.layers.last()?.end;
                let times = &self.truths.get(&chain.engine)?.times;
                let within: Vec<_> = times.range(..=end.next()).rev().collect();
                let time = **within.get(usize::from(back / 3) % within.len().max(1))?;
                Some(match back % 3 {
                    0 => time,
                    1 => time.prev(),
                    _ => time.next(),
                })
            }
        }
    }

    fn restore_away(
        &mut self,
        asked: Restore,
        chain: &ChainRecord,
        options: &RestoreOptions,
        forecast: Forecast<Comeback>,
    ) -> Result<()> {
        let dir = self.new_folder();
        let instead = asked.to == To::Instead;
        let clock = if instead {
            self.clock.clone()
        } else {
            ManualClock::new(LONG_AGO)
        };
        let mut engine = Engine::open(&dir, &self.options(&clock))?;
        let mut outcome = None;
        if let Some(request) = asked.interrupted {
            outcome = self.interrupted(&engine, chain, options, request)?;
            if self.dice.one_in(2) {
                drop(engine);
                engine = Engine::open(&dir, &self.options(&clock))?;
            }
        }
        let outcome = outcome.map_or_else(
            || self.run_restore(&engine, chain, options),
            |done| Ok(Ok(done)),
        )?;
        let Some((report, comeback)) = settled(outcome, forecast)? else {
            ensure!(
                engine.keyspaces().is_empty(),
                "a refused restore left keyspaces"
            );
            drop(engine);
            return Ok(std::fs::remove_dir_all(dir)?);
        };
        self.compare(&report, &comeback, &BTreeMap::new())?;
        let mut known = KnownEngine::default();
        for keyspace in &comeback.keyspaces {
            take_in(&mut known, keyspace, &engine.keyspace(&keyspace.name)?)?;
        }
        known.times = times_until(
            self.truths.get(&chain.engine),
            comeback.target,
            engine.visible(),
        );
        self.look_at(&engine, &known)?;
        // Opening files costs more than the rest: not each time.
        if self.dice.one_in(4) || self.bug == Some(Bug::ReadsInPlaceTooLittle) {
            self.read_in_place(&engine, chain, options, &report)?;
        }
        if asked.compact {
            for keyspace in engine.keyspaces() {
                engine.compact(&keyspace)?;
            }
            self.look_at(&engine, &known)?;
        }
        if instead {
            self.truths.insert(engine.id(), known);
            return self.replace_engine(engine, dir);
        }
        self.live_on(engine, known, &dir, &clock)
    }

    /// What was restored is used: written to, collected, closed and opened.
    fn live_on(
        &mut self,
        engine: Engine,
        mut known: KnownEngine,
        dir: &PathBuf,
        clock: &ManualClock,
    ) -> Result<()> {
        for (id, known) in &mut known.keyspaces {
            let keyspace = engine.keyspace_by_id(*id)?;
            let ts = keyspace.put(b"a", b"after", Durability::Buffered)?;
            known.rows.put(b"a", ts, b"after");
            let ts = keyspace.delete(b"b", Durability::Buffered)?;
            known.rows.delete(b"b", ts);
        }
        known.times.insert(engine.visible());
        if self.dice.one_in(2) {
            let at_once = Some(std::time::Duration::ZERO);
            let options = GcOptions {
                ttl_override: at_once,
                compact: true,
                ..GcOptions::default()
            };
            icecore_gc::collect(&engine, &options)?;
            for (id, known) in &mut known.keyspaces {
                known.threshold = engine.keyspace_by_id(*id)?.threshold();
            }
        }
        self.look_at(&engine, &known)
            .map_err(|failure| failure.within("used after the restore"))?;
        drop(engine);
        let engine = Engine::open(dir, &self.options(clock))?;
        self.look_at(&engine, &known)
            .map_err(|failure| failure.within("opened after the restore"))?;
        drop(engine);
        Ok(std::fs::remove_dir_all(dir)?)
    }

    fn restore_beside(
        &mut self,
        asked: Restore,
        chain: &ChainRecord,
        options: &RestoreOptions,
        forecast: Forecast<Comeback>,
    ) -> Result<()> {
        let renames: BTreeMap<String, String> = match &forecast {
            Forecast::Succeeds(comeback) => {
                let names = comeback.keyspaces.iter().zip(self.copies..);
                names
                    .map(|(k, copy)| (k.name.clone(), format!("copy.{copy}")))
                    .collect()
            }
            Forecast::Refused(_) => BTreeMap::new(),
        };
        // A whole engine comes back under its names, and only into an empty one.
        let in_use = !self.known()?.keyspaces.is_empty();
        let forecast = match forecast {
            Forecast::Succeeds(comeback)
                if comeback.whole_engine && renames.is_empty() && in_use =>
            {
                Forecast::Refused(vec!["cannot restore a whole engine".to_owned()])
            }
            other => other,
        };
        self.copies += renames.len() as u32;
        let options = RestoreOptions {
            renames: renames.clone(),
            ..options.clone()
        };
        let mut outcome = None;
        if let Some(request) = asked.interrupted {
            outcome = self.interrupted(&self.engine()?, chain, &options, request)?;
            if outcome.is_none() {
                self.check(GLANCE)
                    .map_err(|failure| failure.within("after an interrupted restore"))?;
            }
            if self.dice.one_in(2) {
                self.reopen(self.dice.clone().one_in(2))?;
            }
        }
        let engine = self.engine()?;
        let outcome = outcome.map_or_else(
            || self.run_restore(&engine, chain, &options),
            |done| Ok(Ok(done)),
        )?;
        let Some((report, comeback)) = settled(outcome, forecast)? else {
            return Ok(());
        };
        self.compare(&report, &comeback, &renames)?;
        let mut restored = KnownEngine::default();
        for keyspace in &comeback.keyspaces {
            let name = renames.get(&keyspace.name).unwrap_or(&keyspace.name);
            take_in(&mut restored, keyspace, &engine.keyspace(name)?)?;
        }
        let times = times_until(
            self.truths.get(&chain.engine),
            comeback.target,
            engine.visible(),
        );
        let known = self.known_mut()?;
        known.keyspaces.extend(restored.keyspaces);
        known.times.extend(times);
        if asked.compact {
            for keyspace in engine.keyspaces() {
                engine.compact(&keyspace)?;
            }
        }
        self.check(LOOK)
    }

    fn run_restore(
        &self,
        engine: &Engine,
        chain: &ChainRecord,
        options: &RestoreOptions,
    ) -> Result<icecore_restore::Result<RestoreReport>> {
        let collection = self.collection(chain.collection)?;
        Ok(self.runtime.block_on(restore(engine, &collection, options)))
    }

    /// A restore whose store fails from a request on: it must fail and show nothing, or succeed without
    /// that request.
    fn interrupted(
        &self,
        engine: &Engine,
        chain: &ChainRecord,
        options: &RestoreOptions,
        request: u8,
    ) -> Result<Option<RestoreReport>> {
        let before: Vec<_> = engine.keyspaces().iter().map(Keyspace::id).collect();
        // The first request opens the collection.
        let fuse = Fuse::new(Fault::From(u64::from(request) + 1));
        let report = self.runtime.block_on(async {
            let store = fuse.within(self.store_options());
            let collection = Collection::open(self.uri(chain.collection)?, store).await?;
            Ok::<_, Failure>(restore(engine, &collection, options).await.ok())
        })?;
        if report.is_some() {
            ensure!(
                !fuse.is_blown(),
                "a restore succeeded over a failed request"
            );
        } else {
            let after: Vec<_> = engine.keyspaces().iter().map(Keyspace::id).collect();
            ensure!(
                before == after,
                "an interrupted restore shows keyspaces: {after:?}"
            );
        }
        Ok(report)
    }

    fn look_at(&mut self, engine: &Engine, known: &KnownEngine) -> Result<()> {
        let checker = Checker {
            engine,
            known,
            bug: self.bug,
        };
        let mut dice = self.dice.clone();
        checker
            .check(&mut dice, LOOK)
            .map_err(|failure| failure.within("restored"))
    }

    fn compare(
        &self,
        report: &RestoreReport,
        comeback: &Comeback,
        renames: &BTreeMap<String, String>,
    ) -> Result<()> {
        if self.bug == Some(Bug::RestoresTooLittle) {
            return Ok(());
        }
        ensure!(
            report.target == comeback.target
                && (report.layers == comeback.layers
                    || comeback.merged && report.layers < comeback.layers),
            "restored {:?} from {} layers, not {:?} from {}",
            report.target,
            report.layers,
            comeback.target,
            comeback.layers
        );
        let mut found: Vec<_> = report.keyspaces.iter().map(|k| k.name.clone()).collect();
        let mut expected: Vec<_> = comeback
            .keyspaces
            .iter()
            .map(|k| renames.get(&k.name).unwrap_or(&k.name).clone())
            .collect();
        found.sort();
        expected.sort();
        ensure!(found == expected, "restored {found:?}, not {expected:?}");
        Ok(())
    }
}

/// Holds an outcome against its forecast.
fn settled(
    outcome: icecore_restore::Result<RestoreReport>,
    forecast: Forecast<Comeback>,
) -> Result<Option<(RestoreReport, Comeback)>> {
    match (outcome, forecast) {
        (Ok(report), Forecast::Succeeds(comeback)) => Ok(Some((report, comeback))),
        (Ok(report), Forecast::Refused(why)) => Err(Failure::Mismatch(format!(
            "{} was restored as of {:?}, against {why:?}",
            report.full, report.target
        ))),
        (Err(error), Forecast::Succeeds(_)) => Err(error.into()),
        (Err(error), Forecast::Refused(named)) => {
            let text = error.to_string();
            ensure!(
                named.iter().all(|part| text.contains(part)),
                "the refusal does not name {named:?}: {text}"
            );
            Ok(None)
        }
    }
}

/// Enters a restored keyspace into the model.
fn take_in(
    known: &mut KnownEngine,
    comeback: &ComebackKeyspace,
    keyspace: &Keyspace,
) -> Result<()> {
    let (threshold, created) = (keyspace.threshold(), keyspace.descriptor().created);
    let expected = comeback.threshold.unwrap_or(threshold);
    ensure!(
        threshold == expected,
        "{} (id {} in its source) is true from {threshold:?} on, not {expected:?}",
        comeback.name,
        comeback.source
    );
    let mut entry = Known::new(keyspace.name(), created, comeback.settings.clone());
    entry.restored = true;
    entry.rows = comeback.rows.clone();
    entry.threshold = threshold;
    known.keyspaces.insert(keyspace.id(), entry);
    Ok(())
}

/// Times of interest in a restored engine.
fn times_until(
    truth: Option<&KnownEngine>,
    target: Timestamp,
    now: Timestamp,
) -> std::collections::BTreeSet<Timestamp> {
    let past = truth
        .into_iter()
        .flat_map(|truth| truth.times.range(..=target));
    past.copied().chain([target, now]).collect()
}
