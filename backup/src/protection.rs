//! The protected timestamp that holds a chain.
//!
//! One record belongs to each selection of keyspaces in each collection. While a backup runs, a
//! record holds what it reads; once the layer is committed, a record at its end takes over and
//! older ones are released, in this order, so that there is no gap. A run that dies leaves its
//! record behind, and the next successful backup of the same selection releases it.
//!
//! Records name the selection as it was asked for, and are made for backups: keyspaces that are excluded from
//! them are collected by their TTL, and one that comes under a name of the selection is held from then on.

use icecore_archive::{Collection, CollectionId};
use icecore_engine::Engine;
use icecore_gc::{ProtectRequest, ProtectedTimestamps, Purpose, Record, Target};
use icecore_mvcc::{NamePattern, Timestamp};

use crate::error::{Error, Result};
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
    owner: String,
    /// What the chain covers.
    target: Target,
    /// The record that this run made; released if it fails.
    own: Option<Record>,
    /// The chain's record from the run before.
    standing: Option<Record>,
}

impl Hold {
    /// Protects what the plan reads, or fails with both times.
    pub(crate) fn acquire(
        engine: &Engine,
        collection: &Collection,
        plan: &BackupPlan,
    ) -> Result<Self> {
        let mut hold = Self {
            records: ProtectedTimestamps::new(engine),
            owner: chain_owner(collection.id(), &plan.patterns),
            target: chain_target(plan)?,
            own: None,
            standing: None,
        };
        let needed = if plan.onto.is_some() {
            plan.start
        } else {
            plan.end
        };
        hold.standing = hold
            .records
            .list()?
            .into_iter()
            .find(|r| hold.is_of_chain(r) && r.timestamp <= needed);
        if (hold.standing.is_none() || plan.onto.is_none())
            && let Some(target) = hold.run_target(plan)?
        {
            hold.own = Some(hold.protect(needed, target)?);
        }
        hold.verify(engine, plan).inspect_err(|_| hold.abandon())?;
        Ok(hold)
    }

    /// Whether a record holds all of the chain, whoever made it.
    fn is_of_chain(&self, record: &Record) -> bool {
        record.owner == self.owner && record.target == self.target
    }

    /// What a run must hold: for an incremental only the keyspaces whose window it reads.
    fn run_target(&self, plan: &BackupPlan) -> Result<Option<Target>> {
        if plan.onto.is_none() {
            return Ok(Some(self.target.clone()));
        }
        let continued = plan
            .keyspaces
            .iter()
            .filter(|k| !k.introduced && k.is_read());
        let names = patterns(continued.map(|k| k.descriptor.name.as_str()))?;
        Ok((!names.is_empty()).then_some(Target::Keyspaces(names)))
    }

    fn protect(&self, timestamp: Timestamp, target: Target) -> Result<Record> {
        let request = ProtectRequest {
            timestamp,
            target,
            owner: self.owner.clone(),
        };
        Ok(self.records.protect_for(Purpose::Backups, request)?)
    }

    /// Checks, with the record in place, that no threshold had passed the start before.
    fn verify(&self, engine: &Engine, plan: &BackupPlan) -> Result<()> {
        let guard = engine.gc_guard();
        for keyspace in plan
            .keyspaces
            .iter()
            .filter(|k| !k.introduced && k.is_read())
        {
            let threshold = guard.threshold(keyspace.descriptor.id)?;
            if threshold > keyspace.after {
                let (keyspace, start) = (keyspace.descriptor.name.clone(), keyspace.after);
                return Err(Error::GcGap {
                    keyspace,
                    start,
                    threshold,
                });
            }
        }
        Ok(())
    }

    /// Moves the protection to the new end of the chain. The layer is committed already, so a
    /// failure here is an error of the next backup, not of this one; it is told by the caller, who must still
    /// hold the snapshot of the end: then no threshold of what the layer has can have passed it.
    pub(crate) fn hand_over(mut self, plan: &BackupPlan) -> Result<()> {
        let kept = match (self.own.take(), self.standing.take()) {
            (Some(own), _) if plan.onto.is_none() => own,
            (None, Some(standing)) => self.records.advance(&standing.id, plan.end)?,
            _ => self.protect(plan.end, self.target.clone())?,
        };
        for record in self.records.list()? {
            if record.owner == self.owner && record.id != kept.id {
                self.records.release(&record.id)?;
            }
        }
        Ok(())
    }

    /// Releases what a failed run held. The chain's standing record stays.
    pub(crate) fn abandon(&self) {
        if let Some(own) = &self.own
            && let Err(error) = self.records.release(&own.id)
        {
            tracing::warn!(%error, id = %own.id, "the protection of a failed backup could not be released");
        }
    }
}

/// What the chain covers, as it was asked for: names that no keyspace has now may come back.
fn chain_target(plan: &BackupPlan) -> Result<Target> {
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
