//! One round of garbage collection.
//!
//! For each chosen keyspace, the system keyspace last: raise its threshold as far as the policy
//! lets it, then sweep. Then keyspaces whose past is over are purged, the commit index is trimmed,
//! and, if asked for, files are rewritten. A round may stop after any step and loses nothing: the
//! next one goes on from what is durable. Rounds may run at the same time; they share the work.
//!
//! A keyspace where nothing is due costs a round two small reads and no write.

use std::time::{Duration, Instant};

use icecore_engine::{Engine, Keyspace, SYSTEM_KEYSPACE, SweepBudget};
use icecore_mvcc::Timestamp;

use crate::error::{Error, Result};
use crate::options::GcOptions;
use crate::policy::Decision;
use crate::report::{GcReport, KeyspaceGcReport};
use crate::survey::{Survey, bytes_of, system_ttl, ttl_of};
use crate::target::exact_name;
use crate::upkeep;

/// Runs one round, and returns when it is done. Reads and commits go on meanwhile.
///
/// # Errors
/// [`Error::InvalidOption`]; [`Error::NoSuchKeyspace`] for an exact name that matches no keyspace;
/// [`Error::UnreadableRecord`]; [`Error::Engine`] when the engine is read-only or the disk fails.
pub fn collect(engine: &Engine, options: &GcOptions) -> Result<GcReport> {
    run(engine, options, &|| false)
}

/// A round that ends early, between two steps, once `cancelled` says so.
pub(crate) fn run(
    engine: &Engine,
    options: &GcOptions,
    cancelled: &dyn Fn() -> bool,
) -> Result<GcReport> {
    options.validate()?;
    if engine.is_read_only() {
        let action = "collect garbage";
        return Err(icecore_engine::Error::ReadOnly { action }.into());
    }
    let _span = tracing::info_span!("gc_round").entered();
    let started = Instant::now();
    let released = upkeep::run(engine, options.dead_holder_grace)?;
    let now = engine.now();
    let round = Round {
        engine,
        options,
        cancelled,
        survey: Survey::take(engine, now)?,
    };
    let mut report = GcReport {
        now,
        released,
        ..GcReport::default()
    };
    let plan = round.plan()?;
    for (keyspace, ttl) in &plan {
        if cancelled() {
            break;
        }
        match round.raise_and_sweep(keyspace, *ttl) {
            Ok(done) => report.keyspaces.push(done),
            Err(e) if e.is_gone() => {}
            Err(e) => return Err(e),
        }
    }
    if !cancelled() {
        round.purge(&mut report)?;
        report.index_low_water = engine.trim_commit_index()?;
    }
    if options.compact {
        round.compact(&plan, &mut report)?;
    }
    report.elapsed = started.elapsed();
    publish(&report, &round.survey);
    Ok(report)
}

/// What all steps of a round share.
struct Round<'a> {
    engine: &'a Engine,
    options: &'a GcOptions,
    cancelled: &'a dyn Fn() -> bool,
    /// As of the round's begin, without the guard: good enough to see where nothing is due.
    survey: Survey,
}

impl Round<'_> {
    /// The chosen keyspaces with the TTL that counts in this round, the system keyspace last.
    fn plan(&self) -> Result<Vec<(Keyspace, Duration)>> {
        let all = self.engine.all_keyspaces();
        for name in self.options.keyspaces.iter().filter_map(exact_name) {
            if !all.iter().any(|k| k.name() == name) {
                return Err(Error::NoSuchKeyspace {
                    name: name.to_owned(),
                });
            }
        }
        let mut plan = Vec::new();
        let mut ttls = Vec::new();
        for keyspace in all {
            let chosen = self.options.chooses(keyspace.name());
            let own = ttl_of(&keyspace);
            let ttl = self.options.ttl_override.filter(|_| chosen).unwrap_or(own);
            ttls.push(ttl);
            if chosen {
                plan.push((keyspace, ttl));
            }
        }
        if ttls.is_empty() {
            ttls.extend(self.options.ttl_override);
        }
        plan.push((
            self.engine.keyspace_by_id(SYSTEM_KEYSPACE)?,
            system_ttl(ttls),
        ));
        Ok(plan)
    }

    fn raise_and_sweep(&self, keyspace: &Keyspace, ttl: Duration) -> Result<KeyspaceGcReport> {
        let descriptor = keyspace.descriptor();
        let bytes_before = bytes_of(keyspace);
        let threshold_before = keyspace.threshold();
        let (decision, threshold_after) = self.raise(keyspace, ttl)?;
        let mut report = KeyspaceGcReport {
            id: descriptor.id,
            name: descriptor.name,
            dropped: descriptor.dropped,
            ttl,
            threshold_before,
            threshold_after,
            held_by: decision.held_by,
            swept_keys: 0,
            removed_versions: 0,
            bytes_before,
            bytes_after: bytes_before,
        };
        // Of what will be purged, nothing needs to be swept.
        if report
            .dropped
            .is_none_or(|dropped| threshold_after < dropped)
        {
            self.sweep(keyspace, &mut report)?;
        }
        Ok(report)
    }

    /// Raises a threshold where that is due; returns the decision and the threshold in force.
    fn raise(&self, keyspace: &Keyspace, ttl: Duration) -> Result<(Decision, Timestamp)> {
        let preview = self.survey.decide(keyspace, ttl);
        let present = keyspace.threshold();
        let rise = preview.threshold.since(present);
        if rise.is_zero() || rise < self.options.step(ttl) {
            return Ok((preview, present));
        }
        // Again under the guard: a record may have been made since, and none can be from here on.
        let guard = self.engine.gc_guard();
        let decision = Survey::take(self.engine, self.survey.now)?.decide(keyspace, ttl);
        let raised = guard.raise(keyspace.id(), decision.threshold)?;
        Ok((decision, raised))
    }

    fn sweep(&self, keyspace: &Keyspace, report: &mut KeyspaceGcReport) -> Result<()> {
        let budget = SweepBudget {
            max_keys: self.options.sweep_batch_keys,
        };
        while !(self.cancelled)() {
            let swept = self.engine.sweep(keyspace, budget)?;
            report.swept_keys += swept.visited_keys;
            report.removed_versions += swept.removed_versions;
            if swept.done {
                break;
            }
        }
        if report.removed_versions > 0 {
            report.bytes_after = bytes_of(keyspace);
        }
        Ok(())
    }

    fn purge(&self, report: &mut GcReport) -> Result<()> {
        for purged in self.engine.purge_dropped()? {
            if let Some(row) = report.keyspaces.iter_mut().find(|k| k.id == purged.id) {
                row.bytes_after = 0;
            }
            report.purged.push(purged.name);
        }
        Ok(())
    }

    fn compact(&self, plan: &[(Keyspace, Duration)], report: &mut GcReport) -> Result<()> {
        for (keyspace, _) in plan {
            if (self.cancelled)() {
                break;
            }
            let row = report
                .keyspaces
                .iter_mut()
                .find(|row| row.id == keyspace.id());
            // Dropped ones are on their way out; rewriting them would only delay that.
            let Some(row) = row.filter(|_| !keyspace.is_dropped()) else {
                continue;
            };
            match self.engine.compact(keyspace).map_err(Error::from) {
                Ok(()) => row.bytes_after = bytes_of(keyspace),
                Err(e) if e.is_gone() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn publish(report: &GcReport, survey: &Survey) {
    metrics::counter!("icecore_gc_rounds_total").increment(1);
    metrics::counter!("icecore_gc_removed_versions_total").increment(report.removed_versions());
    metrics::counter!("icecore_gc_purged_keyspaces_total").increment(report.purged.len() as u64);
    metrics::histogram!("icecore_gc_round_seconds").record(report.elapsed.as_secs_f64());
    survey.publish();
    tracing::debug!(
        keyspaces = report.keyspaces.len(),
        removed_versions = report.removed_versions(),
        purged = report.purged.len(),
        elapsed = ?report.elapsed,
        "round done"
    );
}
