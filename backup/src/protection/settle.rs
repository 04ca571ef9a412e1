//! What becomes of the records once a layer is committed. Pure.
//!
//! Each chain has a record of its own. An incremental moves that of its chain and touches no other's. A new
//! full takes over: the records of older chains of the same selection in the same collection go, in the same
//! step in which its own comes. So of fulls that race, the newest one's stands, whichever ends last. What a
//! run or a job at work holds is nobody else's to release.

use icecore_archive::{ChainId, CollectionId};
use icecore_gc::{Exchange, Holder, ProtectRequest, Purpose, Record, Target};
use icecore_mvcc::Timestamp;
use uuid::Uuid;

use super::{chain_owner, chain_target};
use crate::error::Result;
use crate::plan::BackupPlan;

/// A chain, as its record knows it.
#[derive(Debug, Clone)]
pub(crate) struct ChainOf {
    collection: String,
    chain: String,
    /// The end of its full.
    full: Timestamp,
    pub(super) owner: String,
    /// What it covers.
    pub(super) target: Target,
}

/// How a layer that is committed changes what is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    /// Whether it begins a chain.
    pub(crate) full: bool,
    /// Where it begins; zero for a full.
    pub(crate) start: Timestamp,
    /// Where it ends.
    pub(crate) end: Timestamp,
    /// Whether the chain had a record when the run began.
    pub(crate) stood: bool,
    /// This opening of the database.
    pub(crate) session: Uuid,
}

impl ChainOf {
    /// `full` is the end of the chain's full.
    pub(crate) fn new(
        collection: CollectionId,
        chain: ChainId,
        full: Timestamp,
        plan: &BackupPlan,
    ) -> Result<Self> {
        Ok(Self {
            collection: collection.to_string(),
            chain: chain.to_string(),
            full,
            owner: chain_owner(collection, &plan.patterns),
            target: chain_target(plan)?,
        })
    }

    /// Whether one of the records holds this chain.
    pub(crate) fn stands(&self, records: &[Record]) -> bool {
        records.iter().any(|record| self.is_its(record))
    }

    fn holder(&self) -> Holder {
        Holder::Chain {
            collection: self.collection.clone(),
            chain: self.chain.clone(),
            full: self.full,
        }
    }

    fn is_its(&self, record: &Record) -> bool {
        record.holder == Some(self.holder())
    }

    /// How another chain's record of the same selection in the same collection sorts against this chain's, by
    /// the age of their fulls; none for this chain's own, and for whatever else there is.
    fn order_of(&self, record: &Record) -> Option<std::cmp::Ordering> {
        match &record.holder {
            Some(Holder::Chain {
                collection,
                chain,
                full,
            }) if *collection == self.collection && record.target == self.target => {
                let theirs = (*full, chain.as_str());
                let order = theirs.cmp(&(self.full, self.chain.as_str()));
                order.is_ne().then_some(order)
            }
            _ => None,
        }
    }

    /// Whether a version that knew no holders made it for this selection: for a chain, or for a run that is
    /// long over.
    fn is_unnamed(&self, record: &Record) -> bool {
        record.holder.is_none() && record.owner == self.owner
    }

    /// Whether a run of this selection left it whose process is gone.
    fn is_of_dead_run(&self, record: &Record, session: Uuid) -> bool {
        let dead = matches!(record.holder, Some(Holder::Run { session: s }) if s != session);
        dead && record.owner == self.owner
    }

    /// `mine` tells the records of the run or the job that made the layer.
    pub(crate) fn settle(
        &self,
        records: &[Record],
        layer: Committed,
        mine: impl Fn(&Record) -> bool,
    ) -> Exchange {
        let mut exchange = Exchange::default();
        let newer = |record: &Record| self.order_of(record).is_some_and(|order| order.is_gt());
        let taken_over = records.iter().any(newer);
        // A chain that was taken over while the run was at work stays so. One that somebody goes on with
        // although a newer one stands is held beside it.
        let stands = match layer.full {
            true => !taken_over,
            false => self.stands(records) || !layer.stood || !taken_over,
        };
        let mut kept = false;
        for record in records {
            let gone = if self.is_its(record) {
                let keep = stands && !kept && record.target == self.target;
                kept |= keep;
                if keep && record.timestamp < layer.end {
                    exchange.advance.push((record.id, layer.end));
                }
                !keep
            } else {
                let older = self.order_of(record).is_some_and(|order| order.is_lt());
                // Of a chain that such a version goes on with, the record is at the chain's end at most.
                let unnamed_until = if layer.full { layer.end } else { layer.start };
                mine(record)
                    || (layer.full && older)
                    || (self.is_unnamed(record) && record.timestamp <= unnamed_until)
                    || self.is_of_dead_run(record, layer.session)
            };
            if gone {
                exchange.release.push(record.id);
            }
        }
        if stands && !kept {
            let request = ProtectRequest::new(layer.end, self.target.clone(), self.owner.clone());
            let request = request.held_by(self.holder());
            exchange.protect.push((Purpose::Backups, request));
        }
        exchange
    }
}

#[cfg(test)]
mod tests;
