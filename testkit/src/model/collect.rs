//! Garbage collection and what holds it back.

use std::time::Duration;

use icecore_engine::{Error, SYSTEM_KEYSPACE};
use icecore_gc::{GcOptions, ProtectRequest, ProtectedTimestamps, Purpose, Record, Target};
use icecore_mvcc::{KeyspaceId, Timestamp};

use super::bugs::Bug;
use super::pool;
use super::world::World;
use crate::failure::{Result, ensure};

impl World {
    pub(crate) fn protect(&mut self, age: u8, scope: u8) -> Result<()> {
        let engine = self.engine()?;
        let timestamp = self.known()?.time(age).unwrap_or_else(|| engine.now());
        let scope = pool::scope(scope);
        let target = if scope.is_empty() {
            Target::All
        } else {
            Target::Keyspaces(scope)
        };
        let request = ProtectRequest::new(timestamp, target, "somebody");
        let past_it = |name: &str, dropped: Option<Timestamp>, threshold: Timestamp| {
            request.target.matches(name)
                && dropped.is_none_or(|d| timestamp < d)
                && threshold > timestamp
        };
        let mut present = self.known()?.present();
        let too_late = present.any(|(_, k)| past_it(&k.name, k.dropped, k.threshold))
            || self.system_threshold()? > timestamp;
        match ProtectedTimestamps::new(&engine).protect(request.clone()) {
            Ok(_) => ensure!(
                !too_late && timestamp <= engine.now(),
                "protected {timestamp:?} too late"
            ),
            Err(error @ icecore_gc::Error::Verification { .. }) => {
                ensure!(too_late, "protection is refused without reason: {error}");
                let text = error.to_string();
                let named = text.starts_with("protected ts verification error: ")
                    && text.contains(&timestamp.to_string());
                ensure!(named, "the refusal does not say why: {text}");
            }
            Err(icecore_gc::Error::InFuture { .. }) => {
                ensure!(
                    timestamp > engine.now(),
                    "{timestamp:?} is not in the future"
                );
            }
            // A name that no keyspace had then.
            Err(icecore_gc::Error::NoSuchKeyspace { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, record: u8) -> Result<()> {
        let records = ProtectedTimestamps::new(&self.engine()?);
        let all = records.list()?;
        if let Some(record) = all.get(usize::from(record) % all.len().max(1)) {
            records.release(&record.id)?;
        }
        Ok(())
    }

    /// One round, and what every threshold must be after it.
    pub(crate) fn collect(&mut self, at_once: bool, compact: bool) -> Result<()> {
        let engine = self.engine()?;
        let protected = ProtectedTimestamps::new(&engine);
        let records = protected.list()?;
        let expected = self.expected_thresholds(&records, at_once)?;
        let held = records
            .iter()
            .map(|r| r.timestamp)
            .chain(self.readers.iter().map(|r| r.timestamp()))
            .min();
        let system_before = self.system_threshold()?;
        if self.bug == Some(Bug::CollectsWhatIsProtected) {
            for record in &records {
                protected.release(&record.id)?;
            }
        }
        let options = GcOptions {
            ttl_override: at_once.then_some(Duration::ZERO),
            compact,
            sweep_batch_keys: 1 + self.dice.below(4),
            ..GcOptions::default()
        };
        icecore_gc::collect(&engine, &options)?;
        let system = self.system_threshold()?;
        ensure!(
            system >= system_before,
            "the catalog's threshold fell from {system_before:?} to {system:?}"
        );
        if let Some(held) = held {
            ensure!(
                system <= held.max(system_before),
                "the catalog's threshold {system:?} passed {held:?}"
            );
        }
        for (id, threshold) in expected {
            self.collected(id, threshold, system)?;
        }
        Ok(())
    }

    /// threshold = min(now − TTL, applicable records, oldest reader, newest commit), never falling.
    fn expected_thresholds(
        &self,
        records: &[Record],
        at_once: bool,
    ) -> Result<Vec<(KeyspaceId, Timestamp)>> {
        let engine = self.engine()?;
        let (now, visible) = (engine.now(), engine.visible());
        let oldest_reader = self
            .readers
            .iter()
            .map(icecore_engine::Snapshot::timestamp)
            .min();
        let expected = self.known()?.present().map(|(id, known)| {
            let ttl = if at_once {
                Duration::ZERO
            } else {
                known.settings_now().gc_ttl
            };
            let excluded = known.settings_now().exclude_from_backup;
            let applies = |r: &&Record| {
                r.target.matches(&known.name)
                    && !(excluded && r.purpose == Purpose::Backups)
                    && known.dropped.is_none_or(|dropped| r.timestamp < dropped)
            };
            let held = records.iter().filter(applies).map(|r| r.timestamp);
            let limits = held
                .chain(oldest_reader)
                .chain([now.saturating_sub(ttl), visible]);
            (id, limits.min().unwrap_or(visible).max(known.threshold))
        });
        Ok(expected.collect())
    }

    /// What became of one keyspace.
    fn collected(&mut self, id: KeyspaceId, threshold: Timestamp, system: Timestamp) -> Result<()> {
        ensure!(id != SYSTEM_KEYSPACE, "the engine's own keyspace is listed");
        let engine = self.engine()?;
        let Some(known) = self.known_mut()?.keyspaces.get_mut(&id) else {
            return Ok(());
        };
        let over = known
            .dropped
            .is_some_and(|dropped| threshold >= dropped && system >= dropped);
        match engine.keyspace_by_id(id) {
            Ok(keyspace) => {
                ensure!(
                    !over,
                    "keyspace {} is still there, though no time of it can be read",
                    known.name
                );
                let found = keyspace.threshold();
                ensure!(
                    found == threshold,
                    "the threshold of {} is {found:?}, not {threshold:?}",
                    known.name
                );
                // Whenever its rows can be read, its descriptor can; it may have been created later.
                let readable_from = threshold.max(known.created);
                ensure!(
                    system <= readable_from,
                    "the catalog's threshold {system:?} passed that of {}",
                    known.name
                );
                known.threshold = threshold;
            }
            Err(Error::NoSuchKeyspace { .. }) => {
                ensure!(
                    over,
                    "keyspace {} is gone, though it could be read",
                    known.name
                );
                known.threshold = threshold;
                known.purged = true;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
