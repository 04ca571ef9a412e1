//! How far a threshold may rise: a pure rule.
//!
//! threshold = min(now − TTL, every applicable protected timestamp, the oldest live reader), never
//! below the present one. Two more limits come from the engine: no threshold passes the newest
//! commit, and that of the system keyspace passes no other, so that a keyspace's descriptor can be
//! read whenever its rows can.

use std::fmt;
use std::time::Duration;

use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::record::{Record, RecordId};

/// What bears on one keyspace's threshold.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The threshold in force.
    pub present: Timestamp,
    /// The engine's time.
    pub now: Timestamp,
    /// How long shadowed versions are kept at least.
    pub ttl: Duration,
    /// The records that apply.
    pub records: &'a [&'a Record],
    /// The oldest time that a snapshot or a running scan holds.
    pub oldest_reader: Option<Timestamp>,
    /// The visible timestamp.
    pub newest_commit: Timestamp,
    /// For the system keyspace, the lowest threshold of the others, with its keyspace's name.
    pub lowest_other: Option<(Timestamp, &'a str)>,
}

/// What the rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What the threshold may be; never below the present one.
    pub threshold: Timestamp,
    /// Why it may not be higher.
    pub held_by: HeldBy,
}

/// What keeps a threshold from rising further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum HeldBy {
    /// The keyspace's TTL: the normal state.
    Ttl,
    /// A protected timestamp.
    Record {
        /// The record.
        id: RecordId,
        /// Its owner.
        owner: String,
        /// What it protects.
        timestamp: Timestamp,
    },
    /// A snapshot or a running scan.
    Reader {
        /// The time at which it reads.
        timestamp: Timestamp,
    },
    /// Nothing was committed since, in any keyspace; so there is nothing to collect.
    NewestCommit,
    /// Another keyspace's threshold; for the system keyspace only.
    Keyspace {
        /// That keyspace's name.
        name: String,
    },
}

impl fmt::Display for HeldBy {
    /// `ttl`, `record 7f3b… of backup`, `a reader at 2022-…`, `newest commit`, `keyspace a.b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl => f.write_str("ttl"),
            Self::Record { id, owner, .. } => write!(f, "record {id} of {owner}"),
            Self::Reader { timestamp } => write!(f, "a reader at {timestamp}"),
            Self::NewestCommit => f.write_str("newest commit"),
            Self::Keyspace { name } => write!(f, "keyspace {name}"),
        }
    }
}

/// The rule. Of several limits at the same time, the first in the order of [`HeldBy`] is named.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let mut limit = situation.now.saturating_sub(situation.ttl);
    let mut held_by = HeldBy::Ttl;
    if let Some(oldest) = situation.records.iter().min_by_key(|r| r.timestamp)
        && oldest.timestamp < limit
    {
        limit = oldest.timestamp;
        held_by = HeldBy::Record {
            id: oldest.id,
            owner: oldest.owner.clone(),
            timestamp: oldest.timestamp,
        };
    }
    if let Some(timestamp) = situation.oldest_reader
        && timestamp < limit
    {
        limit = timestamp;
        held_by = HeldBy::Reader { timestamp };
    }
    if situation.newest_commit < limit {
        limit = situation.newest_commit;
        held_by = HeldBy::NewestCommit;
    }
    if let Some((threshold, name)) = situation.lowest_other
        && threshold < limit
    {
        limit = threshold;
        held_by = HeldBy::Keyspace {
            name: name.to_owned(),
        };
    }
    Decision {
        threshold: limit.max(situation.present),
        held_by,
    }
}

#[cfg(test)]
mod tests;
