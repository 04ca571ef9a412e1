//! Where garbage collection stands, and what holds it back.

use std::time::Duration;

use icecore_engine::{Engine, Keyspace, SYSTEM_KEYSPACE, WriteRefusal};
use icecore_mvcc::{KeyspaceId, Timestamp, duration_text};
use serde::Serialize;

use crate::error::Result;
use crate::limits::Breach;
use crate::policy::HeldBy;
use crate::record::Record;
use crate::releases::{self, Release};
use crate::report::{optional_seconds, seconds};
use crate::survey::{Survey, bytes_of, system_ttl, ttl_of};
use crate::upkeep::judge;

/// Where garbage collection stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GcStatus {
    /// The engine's time.
    pub now: Timestamp,
    /// The oldest time that a snapshot or a running scan holds.
    pub oldest_reader: Option<Timestamp>,
    /// All keyspaces by id, dropped ones too, and last the system keyspace.
    pub keyspaces: Vec<KeyspaceGcStatus>,
    /// All protected timestamps, the oldest first.
    pub records: Vec<RecordStatus>,
    /// The last releases that nobody asked for, the oldest first.
    pub releases: Vec<Release>,
    /// Why commits of user data are refused; nothing where they are not.
    pub write_refusals: Vec<WriteRefusal>,
}

/// Where garbage collection stands in one keyspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyspaceGcStatus {
    /// Its id; 0 is the system keyspace.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// When it was dropped, if it was.
    pub dropped: Option<Timestamp>,
    /// Its TTL; in JSON as text, `"4h"`.
    #[serde(with = "duration_text")]
    pub ttl: Duration,
    /// Its threshold; 0 where it never rose.
    pub threshold: Timestamp,
    /// How far the threshold lies back; `None` where it never rose. In JSON `age_seconds`.
    #[serde(rename = "age_seconds", serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// What a round would be held back by now.
    pub held_by: HeldBy,
    /// Stored versions, garbage included, as RocksDB estimates them.
    pub estimated_versions: u64,
    /// Bytes of its files and memtables.
    pub bytes: u64,
}

/// A protected timestamp and what it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordStatus {
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    /// How far its time lies back. In JSON `age_seconds`.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// Names of the keyspaces that would be collected further but for this record. (One behind an
    /// older record holds nothing yet.)
    pub holds: Vec<String>,
    /// About how many bytes it holds back, whoever else does: what was written between its time and where the
    /// thresholds would be without records. `docs/guide/gc-and-protection.md` says how good that is.
    pub held_bytes: u64,
    /// The limit that it is beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breach: Option<Breach>,
    /// Why nobody needs it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

/// Where garbage collection stands. Reads memory, the records, and of the commit index what lies after the oldest
/// record and was not read by this process before; no data.
///
/// # Errors
/// [`crate::Error::UnreadableRecord`]; [`crate::Error::Engine`] when the disk fails.
pub fn status(engine: &Engine) -> Result<GcStatus> {
    let survey = Survey::take(engine, engine.now())?;
    let oldest_reader = engine.oldest_reader();
    let mut keyspaces = Vec::new();
    let mut ttls = Vec::new();
    for keyspace in engine.all_keyspaces() {
        ttls.push(ttl_of(&keyspace));
        keyspaces.push(keyspace_status(&survey, &keyspace, ttl_of(&keyspace)));
    }
    let system = engine.keyspace_by_id(SYSTEM_KEYSPACE)?;
    keyspaces.push(keyspace_status(&survey, &system, system_ttl(ttls)));
    survey.publish();
    let judged = judge(engine, &survey, true)?.into_iter();
    let records = judged
        .map(|judged| RecordStatus {
            age: survey.now.since(judged.record.timestamp),
            holds: held(&judged.record, &keyspaces),
            held_bytes: judged.held_bytes.unwrap_or(0),
            breach: judged.breach,
            dead: judged.dead,
            record: judged.record,
        })
        .collect();
    Ok(GcStatus {
        now: survey.now,
        oldest_reader,
        keyspaces,
        records,
        releases: releases::list(engine)?,
        write_refusals: engine.write_refusals(),
    })
}

fn keyspace_status(survey: &Survey, keyspace: &Keyspace, ttl: Duration) -> KeyspaceGcStatus {
    let descriptor = keyspace.descriptor();
    let threshold = keyspace.threshold();
    KeyspaceGcStatus {
        id: descriptor.id,
        name: descriptor.name,
        dropped: descriptor.dropped,
        ttl,
        threshold,
        age: (threshold > Timestamp::MIN).then(|| survey.now.since(threshold)),
        held_by: survey.decide(keyspace, ttl).held_by,
        estimated_versions: keyspace.stats().estimated_versions,
        bytes: bytes_of(keyspace),
    }
}

/// The keyspaces that a record, and nothing stricter, holds back.
fn held(record: &Record, keyspaces: &[KeyspaceGcStatus]) -> Vec<String> {
    let by_it = |by: &HeldBy| matches!(by, HeldBy::Record { id, .. } if *id == record.id);
    keyspaces
        .iter()
        .filter(|k| by_it(&k.held_by))
        .map(|k| k.name.clone())
        .collect()
}
