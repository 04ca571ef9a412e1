//! Where garbage collection stands, and what holds it back.

use std::time::Duration;

use icecore_engine::{Engine, Keyspace, SYSTEM_KEYSPACE};
use icecore_mvcc::{KeyspaceId, Timestamp, duration_text};
use serde::Serialize;

use crate::error::Result;
use crate::policy::HeldBy;
use crate::record::Record;
use crate::report::{optional_seconds, seconds};
use crate::survey::{Survey, bytes_of, system_ttl, ttl_of};

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
}

/// Where garbage collection stands. Reads memory and the records, no data.
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
    let records = survey
        .records
        .iter()
        .map(|record| RecordStatus {
            record: record.clone(),
            age: survey.now.since(record.timestamp),
            holds: held(record, &keyspaces),
        })
        .collect();
    Ok(GcStatus {
        now: survey.now,
        oldest_reader,
        keyspaces,
        records,
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
