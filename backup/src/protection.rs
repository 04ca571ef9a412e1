//! The protected timestamps that hold chains, and what a run reads.
//!
//! Each chain has a record of its own: at the end of its newest layer, for the next incremental. While a
//! backup runs, a record of the run holds what it reads, so that nobody else's change of the chain's
//! record can take it away. Once the layer is committed, the records change in one step (`settle`). A run that
//! dies leaves its record behind; the next successful backup of the same selection releases it.
//!
//! Records name the selection as it was asked for, and are made for backups: keyspaces that are excluded from
//! them are collected by their TTL, and one that comes under a name of the selection is held from then on.

mod settle;

use std::collections::BTreeMap;

use icecore_archive::{ChainId, CollectionId};
use icecore_engine::Engine;
use icecore_gc::{Holder, ProtectRequest, ProtectedTimestamps, Purpose, Record, Release, Target};
use icecore_mvcc::{KeyspaceId, NamePattern, Timestamp};
pub(crate) use settle::{ChainOf, Committed};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::options::OnGcGap;
use crate::plan::BackupPlan;

/// The owner that chain records are listed under.
pub fn chain_owner(collection: CollectionId, patterns: &[String]) -> String {
    let scope = if patterns.is_empty() {
        "the whole engine".to_owned()
    } else {
        patterns.join(",")
    };
    format!("backup of {scope} in collection {collection}")
}

/// Protection of a running backup.
pub(crate) struct Hold {
    records: ProtectedTimestamps,
    session: Uuid,
    chain: ChainOf,
    /// The record of this run.
    own: Option<Record>,
    /// Whether the chain had a record when the run began.
    stood: bool,
}

impl Hold {
    /// Protects what the plan reads. Where a threshold rose past the chain's end since it was made, fails
    /// with both times, or takes that keyspace whole.
    pub(crate) fn acquire(
        engine: &Engine,
        chain: ChainOf,
        plan: &mut BackupPlan,
        on_gc_gap: OnGcGap,
    ) -> Result<Self> {
        let records = ProtectedTimestamps::new(engine);
        let mut hold = Self {
            session: engine.session(),
            stood: chain.stands(&records.list()?),
            records,
            chain,
            own: None,
        };
        hold.own = hold.protect_run(engine, plan, on_gc_gap)?;
        // Checked with the record in place: what no threshold has passed by now, none will.
        let settled = {
            let _guard = engine.gc_guard();
            plan.close_gaps(&thresholds(engine), on_gc_gap)
        };
        settled.inspect_err(|_| hold.abandon())?;
        Ok(hold)
    }

    /// The record of this run, if it needs one.
    fn protect_run(
        &self,
        engine: &Engine,
        plan: &mut BackupPlan,
        on_gc_gap: OnGcGap,
    ) -> Result<Option<Record>> {
        let needed = match plan.onto {
            Some(_) => plan.start,
            None => plan.end,
        };
        loop {
            let Some(target) = run_target(plan)? else {
                return Ok(None);
            };
            let refused = match self.protect(needed, target) {
                Ok(record) => return Ok(Some(record)),
                Err(refused) => refused,
            };
            let too_late = matches!(
                refused,
                Error::Protection(icecore_gc::Error::Verification { .. })
            );
            // Each round leaves fewer windows, so this ends.
            if !too_late || plan.close_gaps(&thresholds(engine), on_gc_gap)? == 0 {
                return Err(refused);
            }
        }
    }

    fn protect(&self, timestamp: Timestamp, target: Target) -> Result<Record> {
        let request = ProtectRequest::new(timestamp, target, self.chain.owner.clone());
        let request = request.held_by(Holder::Run {
            session: self.session,
        });
        Ok(self.records.protect_for(Purpose::Backups, request)?)
    }

    /// Moves the protection to the new end of the chain. The layer is committed already, so a
    /// failure here is an error of the next backup, not of this one; it is told by the caller, who must still
    /// hold the snapshot of the end: then no threshold of what the layer has can have passed it.
    pub(crate) fn hand_over(mut self, plan: &BackupPlan) -> Result<()> {
        let own = self.own.take().map(|own| own.id);
        let layer = Committed {
            full: plan.onto.is_none(),
            start: plan.start,
            end: plan.end,
            stood: self.stood,
            session: self.session,
        };
        self.records.exchange(|records| {
            let mine = |record: &Record| Some(record.id) == own;
            self.chain.settle(records, layer, mine)
        })?;
        Ok(())
    }

    /// Releases what a failed run held. The chain's record stays.
    pub(crate) fn abandon(&self) {
        if let Some(own) = &self.own
            && let Err(error) = self.records.release(&own.id)
        {
            tracing::warn!(%error, id = %own.id, "the protection of a failed backup could not be released");
        }
    }
}

/// Adds to a gap why the chain's record is gone, if it was released without anybody asking.
pub(crate) fn explain_gap(
    engine: &Engine,
    collection: CollectionId,
    chain: ChainId,
    error: Error,
) -> Error {
    let (collection, chain) = (collection.to_string(), chain.to_string());
    let is_its = |release: &Release| {
        matches!(&release.holder, Some(Holder::Chain { collection: c, chain: d, .. })
            if *c == collection && *d == chain)
    };
    // What cannot be read explains nothing; the gap is there all the same.
    let releases = ProtectedTimestamps::new(engine).releases();
    let found = releases.unwrap_or_default().into_iter().rfind(is_its);
    match (error, found) {
        (
            Error::GcGap {
                keyspace,
                start,
                threshold,
                ..
            },
            Some(release),
        ) => Error::GcGap {
            keyspace,
            start,
            threshold,
            released: Some(format!(
                "the chain's protection was released at {}, since {}",
                release.released, release.reason
            )),
        },
        (error, _) => error,
    }
}

/// The threshold of every keyspace that the engine has, dropped ones too.
pub(crate) fn thresholds(engine: &Engine) -> BTreeMap<KeyspaceId, Timestamp> {
    let all = engine.all_keyspaces().into_iter();
    all.map(|keyspace| (keyspace.id(), keyspace.threshold()))
        .collect()
}

/// What a run must hold: for an incremental only the keyspaces whose window it reads.
pub(crate) fn run_target(plan: &BackupPlan) -> Result<Option<Target>> {
    if plan.onto.is_none() {
        return Ok(Some(chain_target(plan)?));
    }
    let continued = plan.keyspaces.iter().filter(|k| k.is_window());
    let names = patterns(continued.map(|k| k.descriptor.name.as_str()))?;
    Ok((!names.is_empty()).then_some(Target::Keyspaces(names)))
}

/// What an incremental takes from zero: its windows' record does not hold these.
pub(crate) fn introduced_target(plan: &BackupPlan) -> Result<Option<Target>> {
    if plan.onto.is_none() {
        return Ok(None);
    }
    let introduced = plan.keyspaces.iter().filter(|k| k.is_introduced());
    let names = patterns(introduced.map(|k| k.descriptor.name.as_str()))?;
    Ok((!names.is_empty()).then_some(Target::Keyspaces(names)))
}

/// What the chain covers, as it was asked for: names that no keyspace has now may come back.
pub(crate) fn chain_target(plan: &BackupPlan) -> Result<Target> {
    if plan.whole_engine {
        return Ok(Target::All);
    }
    let patterns = patterns(plan.patterns.iter().map(String::as_str))?;
    Ok(Target::Keyspaces(patterns))
}

/// Patterns from their texts; a keyspace's name is one too.
fn patterns<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<NamePattern>> {
    let parsed: icecore_mvcc::Result<Vec<NamePattern>> = texts.map(NamePattern::parse).collect();
    Ok(parsed.map_err(icecore_engine::Error::from)?)
}
