//! Making, moving and releasing protected timestamps.
//!
//! Protocol: every change happens under the engine's GC guard, the one lock under which thresholds
//! rise; and thresholds rise only after the records were read under the same guard. So a record that
//! was granted is never passed, and one that comes too late is refused with
//! [`Error::Verification`], not granted in vain.

use icecore_engine::{Engine, SYSTEM_KEYSPACE};
use icecore_mvcc::Timestamp;

use crate::error::{Error, Result};
use crate::record::{ProtectRequest, Record, RecordId};

/// Kind of the system rows that hold the records.
const KIND: &str = "protected";

/// The protected timestamps of an engine. Cheap to clone; keeps the engine open. All calls may come
/// from any thread; what returned `Ok` survives a crash.
#[derive(Debug, Clone)]
pub struct ProtectedTimestamps {
    engine: Engine,
}

impl ProtectedTimestamps {
    /// Those of this engine.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    /// Holds back garbage collection: from now on until it is released, every read of the target at
    /// or after the time stays whole. Waits for a threshold that is just rising, if there is one.
    ///
    /// # Errors
    /// [`Error::Verification`] when a threshold has passed the time; [`Error::InFuture`];
    /// [`Error::NoSuchKeyspace`] when the target names, other than by a wildcard, a keyspace that
    /// does not exist or was dropped by then; [`Error::InvalidRequest`].
    pub fn protect(&self, request: ProtectRequest) -> Result<Record> {
        request.validate()?;
        let _guard = self.engine.gc_guard();
        let now = self.engine.now();
        let record = Record::new(RecordId::random(), request, now);
        if let Err(refusal) = check_past(record.timestamp, now).and_then(|()| self.verify(&record))
        {
            metrics::counter!("icecore_gc_protect_refused_total").increment(1);
            return Err(refusal);
        }
        self.write(&record)?;
        metrics::counter!("icecore_gc_protect_granted_total").increment(1);
        tracing::info!(id = %record.id, timestamp = %record.timestamp, target = %record.target,
            owner = record.owner, "protected");
        Ok(record)
    }

    /// Moves a record forward, in place: what lies before `to` may then be collected. Moving it to
    /// where it is changes nothing.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`], [`Error::Backwards`], [`Error::InFuture`].
    pub fn advance(&self, id: &RecordId, to: Timestamp) -> Result<Record> {
        let _guard = self.engine.gc_guard();
        let mut record = self.get(id)?.ok_or(Error::NoSuchRecord { id: *id })?;
        let from = record.timestamp;
        if to < from {
            return Err(Error::Backwards { id: *id, from, to });
        }
        if to == from {
            return Ok(record);
        }
        record.timestamp = to;
        // No threshold to verify: all that stand at or after `to` stood so at or after `from` too.
        check_past(to, self.engine.now())?;
        self.write(&record)?;
        tracing::info!(%id, %from, %to, owner = record.owner, "protection moved forward");
        Ok(record)
    }

    /// Ends a protection. Works for records that this version cannot read, too.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`].
    pub fn release(&self, id: &RecordId) -> Result<()> {
        let _guard = self.engine.gc_guard();
        let (rows, key) = (self.engine.system(), id.to_string());
        if rows.get(KIND, &key)?.is_none() {
            return Err(Error::NoSuchRecord { id: *id });
        }
        rows.delete(KIND, &key)?;
        tracing::info!(%id, "protection released");
        Ok(())
    }

    /// One record; `None` when there is none with this id.
    ///
    /// # Errors
    /// [`Error::UnreadableRecord`].
    pub fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        let key = id.to_string();
        let json = self.engine.system().get(KIND, &key)?;
        json.map(|json| Record::decode(&key, &json)).transpose()
    }

    /// All records, the oldest timestamp first.
    ///
    /// # Errors
    /// [`Error::UnreadableRecord`].
    pub fn list(&self) -> Result<Vec<Record>> {
        let rows = self.engine.system().list(KIND)?;
        let records: Result<Vec<Record>> = rows
            .iter()
            .map(|(key, json)| Record::decode(key, json))
            .collect();
        let mut records = records?;
        records.sort_by_key(|r| (r.timestamp, r.created, r.id));
        Ok(records)
    }

    /// Under the GC guard: no threshold that matters has passed the record's time.
    fn verify(&self, record: &Record) -> Result<()> {
        let all = self.engine.all_keyspaces();
        let held: Vec<_> = all
            .iter()
            .filter(|k| record.applies_to(&k.descriptor()))
            .collect();
        for name in record.target.exact_names() {
            if !held.iter().any(|k| k.name() == name) {
                return Err(Error::NoSuchKeyspace {
                    name: name.to_owned(),
                });
            }
        }
        // Without its descriptors of that time, no keyspace can be read or backed up as of it.
        let system = self.engine.keyspace_by_id(SYSTEM_KEYSPACE)?;
        for keyspace in held.into_iter().chain([&system]) {
            let threshold = keyspace.threshold();
            if record.timestamp < threshold {
                return Err(Error::Verification {
                    timestamp: record.timestamp,
                    keyspace: keyspace.name().to_owned(),
                    threshold,
                });
            }
        }
        Ok(())
    }

    fn write(&self, record: &Record) -> Result<()> {
        let json = record.encode()?;
        self.engine
            .system()
            .put(KIND, &record.id.to_string(), json)?;
        Ok(())
    }
}

fn check_past(timestamp: Timestamp, now: Timestamp) -> Result<()> {
    if timestamp > now {
        return Err(Error::InFuture { timestamp, now });
    }
    Ok(())
}
