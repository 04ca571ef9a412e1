//! December, day by day: the schedule first, then what really happened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use icecore_engine::{Batch, Durability, Engine};
use icecore_examples::text;

use crate::error::{Result, ensure};
use crate::flights::Flight;
use crate::ledger::{Ledger, Step};
use crate::load::FLIGHTS;
use crate::proof::State;

/// The first and last days of the weeks; the last week is a short one.
pub(crate) const WEEKS: [(u8, u8); 5] = [(1, 7), (8, 14), (15, 21), (22, 28), (29, 31)];

/// The day in whose middle the state to come back to is taken.
pub(crate) const MID_DECEMBER: u8 = 16;

/// Flights whose fate one commit tells.
const FLIGHTS_A_COMMIT: usize = 100;

/// The flights that come after the first load.
#[derive(Default)]
pub(crate) struct December {
    days: BTreeMap<u8, Vec<Row>>,
    week: Week,
    cancelled: u64,
}

/// A flight as it will be written.
struct Row {
    key: String,
    scheduled: Vec<u8>,
    /// What really happened; none if it was cancelled.
    flown: Option<Vec<u8>>,
    delay_minutes: i16,
}

/// What was written since the last incremental.
#[derive(Default)]
struct Week {
    entered: u64,
    corrected: u64,
    removed: u64,
    bytes: u64,
    elapsed: Duration,
}

impl December {
    /// Adds a flight, before the month begins.
    pub(crate) fn add(&mut self, flight: Flight) -> Result<()> {
        let row = Row {
            key: flight.key(),
            delay_minutes: flight.dep_delay.unwrap_or(0),
            scheduled: flight.scheduled().json()?,
            flown: if flight.is_cancelled() {
                None
            } else {
                Some(flight.json()?)
            },
        };
        self.days.entry(flight.day).or_default().push(row);
        Ok(())
    }

    /// The month's flights.
    fn count(&self) -> usize {
        self.days.values().map(Vec::len).sum()
    }

    /// A day's flights, the first half or the second.
    fn half(&self, day: u8, half: Half) -> &[Row] {
        let flights = self.days.get(&day).map(Vec::as_slice).unwrap_or_default();
        let (first, second) = flights.split_at(flights.len() / 2);
        match half {
            Half::First => first,
            Half::Second => second,
        }
    }

    /// Enters a day's flights as they are scheduled, in one commit.
    pub(crate) fn enter_schedule(&mut self, engine: &Engine, day: u8) -> Result<()> {
        let begun = Instant::now();
        let keyspace = engine.keyspace(FLIGHTS)?;
        let (mut batch, mut bytes) = (Batch::new(), 0);
        for row in self.days.get(&day).into_iter().flatten() {
            bytes += (row.key.len() + row.scheduled.len()) as u64;
            batch.put(&keyspace, row.key.as_str(), row.scheduled.as_slice());
        }
        self.week.entered += batch.len() as u64;
        self.week.bytes += bytes;
        engine.commit(batch, Durability::Sync)?;
        self.week.elapsed += begun.elapsed();
        Ok(())
    }

    /// Writes what happened: a flight that flew gets its times and delays, one that was cancelled
    /// is removed.
    pub(crate) fn correct(&mut self, engine: &Engine, day: u8, half: Half) -> Result<()> {
        let begun = Instant::now();
        let keyspace = engine.keyspace(FLIGHTS)?;
        let (mut corrected, mut removed, mut bytes) = (0, 0, 0);
        for rows in self.half(day, half).chunks(FLIGHTS_A_COMMIT) {
            let mut batch = Batch::new();
            for row in rows {
                bytes += row.key.len() as u64;
                if let Some(flown) = &row.flown {
                    corrected += 1;
                    bytes += flown.len() as u64;
                    batch.put(&keyspace, row.key.as_str(), flown.as_slice());
                } else {
                    removed += 1;
                    batch.delete(&keyspace, row.key.as_str());
                }
            }
            engine.commit(batch, Durability::Sync)?;
        }
        self.week.corrected += corrected;
        self.week.removed += removed;
        self.week.bytes += bytes;
        self.week.elapsed += begun.elapsed();
        Ok(())
    }

    /// Writes the week down.
    pub(crate) fn close_week(&mut self, (first, last): (u8, u8), ledger: &mut Ledger) {
        let week = std::mem::take(&mut self.week);
        let name = format!("December {first}–{last}");
        println!(
            "{name}: {} flights entered, {} corrected, {} cancelled and removed",
            text::count(week.entered),
            text::count(week.corrected),
            text::count(week.removed),
        );
        let writes = week.entered + week.corrected + week.removed;
        ledger.add(Step::moved(&name, writes, week.bytes, week.elapsed));
        self.cancelled += week.removed;
    }

    /// Proves that every flight has a key of its own: no row is missing but those removed.
    pub(crate) fn check_count(&self, rows_before: u64, end: &State) -> Result<()> {
        let expected = rows_before + self.count() as u64 - self.cancelled;
        ensure(end.print.rows == expected, || {
            format!(
                "the database has {} rows, not {expected}: keys collide",
                end.print.rows
            )
        })
    }

    /// The key of the flight of 16 December that left latest, compared with its schedule, among
    /// those that the state to come back to knows as scheduled only.
    pub(crate) fn most_delayed(&self) -> Result<String> {
        let rows = self.half(MID_DECEMBER, Half::Second).iter();
        let most = rows.max_by_key(|row| row.delay_minutes);
        most.map(|row| row.key.clone())
            .ok_or_else(|| format!("no flight left on {MID_DECEMBER} December").into())
    }
}

/// Which part of a day's flights.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Half {
    First,
    Second,
}
