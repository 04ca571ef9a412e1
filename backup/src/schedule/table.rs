//! The schedules of an engine: rows of the system keyspace, changed one at a time.

use icecore_archive::{Collection, StoreOptions, blocking};
use icecore_engine::{Engine, SystemRows};
use icecore_gc::ProtectedTimestamps;
use icecore_mvcc::Timestamp;
use serde_json::Map;

use super::plan::{Kind, restart};
use super::row::{Due, Paused, ScheduleRow, Track, Upkeep};
use super::spec::{NewSchedule, ScheduleChange};
use super::status::records_of;
use crate::error::{Error, Result};

/// Kind of the rows that say what schedules there are.
pub(super) const SCHEDULE: &str = icecore_archive::SCHEDULE_ROWS;

/// The schedules of an engine. Cheap to clone; keeps the engine open. All calls may come from any thread and
/// wait for the disk; what returned `Ok` survives a crash. Whoever runs them sees changes within a second.
#[derive(Debug, Clone)]
pub struct ScheduleTable {
    engine: Engine,
}

impl ScheduleTable {
    /// Those of this engine.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn rows(&self) -> SystemRows {
        self.engine.system()
    }

    /// What the wall clock shows: that of the calendar. (The engine's own never goes back.)
    pub(super) fn wall(&self) -> Timestamp {
        self.engine.options().clock.now()
    }

    /// All schedules, by label. One that cannot be read is an error of its own.
    ///
    /// # Errors
    /// [`Error::Engine`] when the disk fails.
    pub fn read_all(&self) -> Result<Vec<Result<ScheduleRow>>> {
        let rows = self.rows().list(SCHEDULE)?;
        Ok(rows
            .iter()
            .map(|(key, json)| ScheduleRow::decode(key, json))
            .collect())
    }

    /// All schedules, by label.
    ///
    /// # Errors
    /// [`Error::UnreadableSchedule`]; [`Error::Engine`] when the disk fails.
    pub fn list(&self) -> Result<Vec<ScheduleRow>> {
        self.read_all()?.into_iter().collect()
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`Error::NoSuchSchedule`], [`Error::UnreadableSchedule`]; [`Error::Engine`] when the disk fails.
    pub fn get(&self, label: &str) -> Result<ScheduleRow> {
        let json = self.rows().get(SCHEDULE, label)?;
        ScheduleRow::decode(label, &json.ok_or_else(|| missing(label))?)
    }

    /// Makes a schedule. Looks into the collection first: one that holds backups already is refused, unless it
    /// is to be ignored, since whoever made them may have a use for their place.
    ///
    /// # Errors
    /// [`Error::ScheduleRefused`], [`Error::ScheduleExists`]; [`Error::Archive`] when the collection cannot
    /// be looked at; [`Error::Engine`] when the disk fails.
    pub async fn create(&self, new: NewSchedule, store: &StoreOptions) -> Result<ScheduleRow> {
        let spec = new.spec(&self.engine)?;
        if !new.ignore_existing_backups {
            let (places, store) = (spec.backup.into.places()?, spec.backup.store(store)?);
            match Collection::open_places(&places.without_localities(), store).await {
                Err(icecore_archive::Error::NoCollection { .. }) => {}
                Ok(collection) if collection.fulls().await?.is_empty() => {}
                Ok(_) => {
                    return Err(Error::ScheduleRefused {
                        reason: format!(
                            "{} holds backups already; choose an empty place, or take this one with --ignore-existing-backups",
                            spec.backup.into
                        ),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let table = self.clone();
        blocking(move || {
            let wall = table.wall();
            let mut row = ScheduleRow {
                label: new.label.clone(),
                engine: table.engine.id(),
                created: table.engine.now(),
                paused: None,
                chain: None,
                fulls: Track {
                    first: new.first(wall)?,
                    due: new.begins_now().then_some(Due {
                        at: wall,
                        asked: true,
                        retry_at: None,
                    }),
                    ..Track::default()
                },
                incrementals: Track::default(),
                upkeep: Upkeep::default(),
                unknown: Map::new(),
                spec,
            };
            restart(&mut row, wall);
            table.check_place(&row)?;
            table
                .rows()
                .update(SCHEDULE, &row.label, |found| match found {
                    None => Ok(Some(row.encode()?)),
                    Some(_) => Err(Error::ScheduleExists {
                        label: row.label.clone(),
                    }),
                })?;
            tracing::info!(label = row.label, "schedule made");
            Ok(row)
        })
        .await
    }

    /// Refuses a second schedule of the same keyspaces into one collection: each new full takes the protection of
    /// the other's chain over.
    fn check_place(&self, new: &ScheduleRow) -> Result<()> {
        let spec = &new.spec.backup;
        let same = |row: &ScheduleRow| {
            let theirs = &row.spec.backup;
            row.label != new.label && theirs.into == spec.into && theirs.keyspaces == spec.keyspaces
        };
        let rows = self.read_all()?.into_iter().flatten();
        match rows.into_iter().find(same) {
            None => Ok(()),
            Some(other) => Err(Error::ScheduleRefused {
                reason: format!(
                    "schedule {:?} backs the same keyspaces up into {} already, and each would end the other's protection; choose another place, or change that one",
                    other.label, spec.into
                ),
            }),
        }
    }

    /// Changes a schedule's row as one step. `change` says whether there is something to write.
    pub(super) fn update<T>(
        &self,
        label: &str,
        mut change: impl FnMut(&mut ScheduleRow) -> Result<(bool, T)>,
    ) -> Result<(ScheduleRow, T)> {
        let mut updated = None;
        self.rows().update(SCHEDULE, label, |json| {
            let mut row = ScheduleRow::decode(label, json.ok_or_else(|| missing(label))?)?;
            let (write, told) = change(&mut row)?;
            let json = write.then(|| row.encode()).transpose()?;
            updated = Some((row, told));
            Ok::<_, Error>(json)
        })?;
        updated.ok_or_else(|| missing(label))
    }

    fn change(
        &self,
        label: &str,
        mut change: impl FnMut(&mut ScheduleRow) -> Result<()>,
    ) -> Result<ScheduleRow> {
        let (row, ()) = self.update(label, |row| {
            change(row)?;
            Ok((true, ()))
        })?;
        Ok(row)
    }

    /// Changes what a schedule is to do. Backups under way go on as they began.
    ///
    /// # Errors
    /// [`Error::ScheduleRefused`]; as [`ScheduleTable::get`].
    pub fn alter(&self, label: &str, change: &ScheduleChange) -> Result<ScheduleRow> {
        self.change(label, |row| {
            change.apply(&mut row.spec);
            row.spec.check(&self.engine)?;
            if change.moves_times() {
                restart(row, self.wall());
            }
            row.upkeep.due &= !row.spec.upkeep.is_empty();
            Ok(())
        })
    }

    /// Has a schedule rest. Backups under way go on, and its chain stays protected.
    ///
    /// # Errors
    /// As [`ScheduleTable::get`].
    pub fn pause(&self, label: &str) -> Result<ScheduleRow> {
        self.change(label, |row| {
            row.paused.get_or_insert_with(|| Paused {
                at: self.wall(),
                reason: "somebody paused it".to_owned(),
            });
            Ok(())
        })
    }

    /// Has a schedule go on, from its next time on: what fell due meanwhile is left out. One that came from
    /// another engine belongs to this one from then on, and begins with a full.
    ///
    /// # Errors
    /// As [`ScheduleTable::get`].
    pub fn resume(&self, label: &str) -> Result<ScheduleRow> {
        self.change(label, |row| {
            row.paused = None;
            if row.engine != self.engine.id() {
                // Another engine's chain cannot be continued, nor do its jobs run here.
                row.engine = self.engine.id();
                row.chain = None;
                (row.fulls, row.incrementals) = (Track::default(), Track::default());
                row.upkeep = Upkeep::default();
            }
            restart(row, self.wall());
            Ok(())
        })
    }

    /// Removes a schedule. Backups under way go on, and those that there are stay. What its chain holds against
    /// garbage collection is released, unless somebody means to continue the chain by hand. Tells how many
    /// records were released.
    ///
    /// # Errors
    /// As [`ScheduleTable::get`]; [`Error::Protection`]. One that cannot be read can be removed.
    pub fn remove(&self, label: &str, keep_protection: bool) -> Result<usize> {
        let json = self.rows().get(SCHEDULE, label)?;
        let row = ScheduleRow::decode(label, &json.ok_or_else(|| missing(label))?);
        self.rows().delete(SCHEDULE, label)?;
        tracing::info!(label, "schedule removed");
        let Some(row) = row.ok().filter(|_| !keep_protection) else {
            return Ok(0);
        };
        let held = records_of(&self.engine, &row)?;
        let records = ProtectedTimestamps::new(&self.engine);
        for record in &held {
            match records.release(&record.id) {
                Ok(()) | Err(icecore_gc::Error::NoSuchRecord { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(held.len())
    }

    /// Has a schedule take a backup now, paused or not: an incremental where there is a chain to continue, else
    /// or if it is asked for a full. Tells which.
    ///
    /// # Errors
    /// [`Error::ScheduleRefused`] for one that came from another engine; as [`ScheduleTable::get`].
    pub fn run_now(&self, label: &str, full: bool) -> Result<(ScheduleRow, Kind)> {
        self.update(label, |row| {
            if row.engine != self.engine.id() {
                return Err(Error::ScheduleRefused {
                    reason: format!(
                        "schedule {label:?} belongs to engine {}; resume it first",
                        row.engine
                    ),
                });
            }
            let due = Some(Due {
                at: self.wall(),
                asked: true,
                retry_at: None,
            });
            let kind = match row.spec.incremental_cadence() {
                Some(_) if row.chain.is_some() && !full => Kind::Incremental,
                _ => Kind::Full,
            };
            match kind {
                Kind::Full => row.fulls.due = due,
                Kind::Incremental => row.incrementals.due = due,
            }
            Ok((true, kind))
        })
    }
}

fn missing(label: &str) -> Error {
    Error::NoSuchSchedule {
        label: label.to_owned(),
    }
}
