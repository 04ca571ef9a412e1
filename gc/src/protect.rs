//! Making, moving and releasing protected timestamps.
//!
//! Protocol: every change happens under the engine's GC guard, the one lock under which thresholds
//! rise; and thresholds rise only after the records were read under the same guard. So a record that
//! was granted is never passed, and one that comes too late is refused with
//! [`Error::Verification`], not granted in vain.

use std::collections::BTreeSet;

use icecore_engine::{Engine, Keyspace, RowChange, SYSTEM_KEYSPACE, WRITE_REFUSAL_KIND};
use icecore_mvcc::{KeyspaceId, Timestamp};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::record::{ProtectRequest, Purpose, Record, RecordId};
use crate::releases::{self, Release};
use crate::upkeep;

/// Kind of the system rows that hold the records.
pub(crate) const KIND: &str = "protected";

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

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Holds back garbage collection: from now on until it is released, every read of the target at
    /// or after the time stays whole. Waits for a threshold that is just rising, if there is one.
    ///
    /// # Errors
    /// [`Error::Verification`] when a threshold has passed the time; [`Error::InFuture`];
    /// [`Error::NoSuchKeyspace`] when the target names, other than by a wildcard, a keyspace that
    /// does not exist or was dropped by then; [`Error::InvalidRequest`].
    pub fn protect(&self, request: ProtectRequest) -> Result<Record> {
        self.protect_for(Purpose::Reads, request)
    }

    /// As [`ProtectedTimestamps::protect`], with what the record is for. For backups, a keyspace is held and
    /// verified only if a layer that ends at the time has its rows, and a name need not exist: a chain goes
    /// on when its keyspaces are gone, and covers those that come under their names.
    ///
    /// # Errors
    /// As [`ProtectedTimestamps::protect`].
    pub fn protect_for(&self, purpose: Purpose, request: ProtectRequest) -> Result<Record> {
        request.validate()?;
        let _guard = self.engine.gc_guard();
        let now = self.engine.now();
        let record = Record::new(RecordId::random(), request, purpose, now);
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
        let guard = self.engine.gc_guard();
        let record = self.get(id)?.ok_or(Error::NoSuchRecord { id: *id })?;
        let from = record.timestamp;
        let Some(record) = record.moved(to)? else {
            return Ok(record);
        };
        // No threshold to verify: all that stand at or after `to` stood so at or after `from` too.
        check_past(to, self.engine.now())?;
        self.write(&record)?;
        drop(guard);
        tracing::info!(%id, %from, %to, owner = record.owner, "protection moved forward");
        upkeep::reopen(&self.engine)?;
        Ok(record)
    }

    /// Gives a record other limits. Where commits are refused for it, and need not be any more, they are accepted
    /// from here on.
    ///
    /// # Errors
    /// [`Error::NoSuchRecord`]; [`Error::InvalidRequest`].
    pub fn limit(&self, id: &RecordId, limits: Limits) -> Result<Record> {
        limits.validate()?;
        let guard = self.engine.gc_guard();
        let mut record = self.get(id)?.ok_or(Error::NoSuchRecord { id: *id })?;
        record.max_age = limits.max_age;
        record.max_bytes = limits.max_bytes;
        record.on_breach = limits.on_breach;
        self.write(&record)?;
        drop(guard);
        tracing::info!(%id, owner = record.owner, ?limits, "protection limited");
        upkeep::reopen(&self.engine)?;
        Ok(record)
    }

    /// The last releases that nobody asked for, the oldest first: of records beyond a limit, or whose holder was
    /// dead.
    ///
    /// # Errors
    /// [`Error::UnreadableRecord`]; [`Error::Engine`] when the disk fails.
    pub fn releases(&self) -> Result<Vec<Release>> {
        releases::list(&self.engine)
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
        let mut changes = vec![RowChange::delete(KIND, &key)];
        let refused = self.is_refused_for(id);
        if refused {
            changes.push(RowChange::delete(WRITE_REFUSAL_KIND, &key));
        }
        rows.change(changes)?;
        if refused {
            self.engine.load_write_refusals()?;
        }
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

    /// The keyspaces whose reads a record keeps whole from its time on. Of one for backups these are
    /// the keyspaces with rows in a layer that ends then: neither those that were excluded at the time and are
    /// included by now, nor those created or restored since; the next layer has these from zero.
    ///
    /// # Errors
    /// [`Error::Engine`] when the disk fails.
    pub fn kept_whole(&self, record: &Record) -> Result<Vec<Keyspace>> {
        let mut kept = self.engine.all_keyspaces();
        kept.retain(|keyspace| record.applies_to(&keyspace.descriptor()));
        if record.purpose == Purpose::Backups
            && let Some(in_layer) = self.in_layer_at(record.timestamp)?
        {
            kept.retain(|keyspace| in_layer.contains(&keyspace.id()));
        }
        Ok(kept)
    }

    /// The keyspaces whose rows a layer with this end has; none if nobody can tell any more.
    fn in_layer_at(&self, end: Timestamp) -> Result<Option<BTreeSet<KeyspaceId>>> {
        if end < self.engine.keyspace_by_id(SYSTEM_KEYSPACE)?.threshold() {
            return Ok(None);
        }
        let then = self.engine.descriptors_at(end)?.into_iter();
        let included = then.filter(|d| !d.settings.exclude_from_backup);
        Ok(Some(included.map(|d| d.id).collect()))
    }

    /// Under the GC guard: no threshold that matters has passed the record's time.
    pub(crate) fn verify(&self, record: &Record) -> Result<()> {
        let held = self.kept_whole(record)?;
        let named = match record.purpose {
            Purpose::Reads => record.target.exact_names(),
            Purpose::Backups => Vec::new(),
        };
        for name in named {
            if !held.iter().any(|k| k.name() == name) {
                return Err(Error::NoSuchKeyspace {
                    name: name.to_owned(),
                });
            }
        }
        // Without its descriptors of that time, no keyspace can be read or backed up as of it.
        let system = self.engine.keyspace_by_id(SYSTEM_KEYSPACE)?;
        for keyspace in held.iter().chain([&system]) {
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

pub(crate) fn check_past(timestamp: Timestamp, now: Timestamp) -> Result<()> {
    if timestamp > now {
        return Err(Error::InFuture { timestamp, now });
    }
    Ok(())
}
