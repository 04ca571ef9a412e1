//! What was written when, kept in memory from round to round.
//!
//! One curve for each keyspace: the sum of what was written, over time, as the commit index tells. A round
//! reads the index on from where the last one came, so an idle database costs nothing, and a busy one what
//! was written since. A curve has a bounded number of points; between two of them it counts as straight.

use std::collections::HashMap;

use icecore_engine::Engine;
use icecore_mvcc::{KeyspaceId, Timestamp};
use parking_lot::Mutex;

use crate::error::Result;

/// A curve that has more points loses every second one.
const MAX_POINTS: usize = 1024;

/// The curves of an engine.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

/// Guarded by `Ledger::state`.
#[derive(Default)]
struct State {
    /// What the curves cover: `(from, to]`; nothing before the first reading.
    covered: Option<(Timestamp, Timestamp)>,
    curves: HashMap<KeyspaceId, Curve>,
}

impl Ledger {
    /// Reads what was written in `(from, visible]` and is not known yet.
    pub(crate) fn read_on(&self, engine: &Engine, from: Timestamp) -> Result<()> {
        let until = engine.visible();
        let mut state = self.state.lock();
        let after = match state.covered {
            Some((covered, to)) if covered <= from => to,
            // A record that is older than any before. It moves forward only, so this is rare.
            _ => {
                state.curves.clear();
                state.covered = None;
                from
            }
        };
        if after >= until {
            return Ok(());
        }
        let State { covered, curves } = &mut *state;
        let read = engine.written(after, until, |ts, keyspace, bytes| {
            curves.entry(keyspace).or_default().add(ts, bytes);
        });
        if read.is_err() {
            // Some of it may be in the curves.
            curves.clear();
            *covered = None;
        }
        read?;
        let begin = covered.map_or(from, |(begin, _)| begin);
        *covered = Some((begin, until));
        Ok(())
    }

    /// What was written to a keyspace in `(after, until]`, as far as it was read.
    pub(crate) fn written(&self, keyspace: KeyspaceId, after: Timestamp, until: Timestamp) -> u64 {
        let state = self.state.lock();
        let curve = state.curves.get(&keyspace);
        curve.map_or(0, |curve| curve.between(after, until))
    }
}

/// The sum of what was written, over time.
#[derive(Debug, Default)]
struct Curve {
    /// When, and the sum up to and including then; both ascending.
    points: Vec<(Timestamp, u64)>,
    /// Where the first point rises from.
    begin: Timestamp,
}

impl Curve {
    fn add(&mut self, ts: Timestamp, bytes: u64) {
        let total = self.points.last().map_or(0, |(_, total)| *total);
        match self.points.last_mut() {
            Some((last, sum)) if *last == ts => *sum += bytes,
            Some(_) => self.points.push((ts, total + bytes)),
            None => {
                self.begin = ts.prev();
                self.points.push((ts, bytes));
            }
        }
        if self.points.len() > MAX_POINTS {
            self.thin();
        }
    }

    /// Drops every second point, but not the last.
    fn thin(&mut self) {
        let last = self.points.len().saturating_sub(1);
        let mut place = 0;
        self.points.retain(|_| {
            let keep = place % 2 == 1 || place == last;
            place += 1;
            keep
        });
    }

    fn between(&self, after: Timestamp, until: Timestamp) -> u64 {
        self.at(until).saturating_sub(self.at(after))
    }

    /// The sum at a time.
    fn at(&self, ts: Timestamp) -> u64 {
        let next = self.points.partition_point(|(point, _)| *point <= ts);
        let (low_ts, low) = match next.checked_sub(1).and_then(|i| self.points.get(i)) {
            Some(point) => *point,
            None => (self.begin, 0),
        };
        let Some((high_ts, high)) = self.points.get(next).filter(|_| ts > low_ts) else {
            return low;
        };
        let share = ts.since(low_ts).as_secs_f64() / high_ts.since(low_ts).as_secs_f64();
        low + ((high - low) as f64 * share) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn a_curve_tells_what_was_written_between_two_times() {
        let mut curve = Curve::default();
        for (at, bytes) in [(10, 5), (10, 5), (20, 30), (40, 60)] {
            curve.add(ts(at), bytes);
        }
        assert_eq!(curve.between(ts(0), ts(100)), 100);
        assert_eq!(curve.between(ts(0), ts(9)), 0);
        assert_eq!(curve.between(ts(9), ts(10)), 10);
        assert_eq!(curve.between(ts(10), ts(20)), 30);
        assert_eq!(curve.between(ts(20), ts(40)), 60);
        assert_eq!(curve.between(ts(40), ts(50)), 0);
        // Within an interval its share.
        assert_eq!(curve.between(ts(20), ts(30)), 30);
        assert_eq!(curve.between(ts(50), ts(20)), 0);
    }

    #[test]
    fn a_long_curve_stays_short_and_keeps_its_shape() {
        let mut curve = Curve::default();
        for at in 1..=100_000 {
            curve.add(ts(at * 10), 7);
        }
        assert!(curve.points.len() <= MAX_POINTS, "{}", curve.points.len());
        assert_eq!(curve.between(ts(0), ts(1_000_000)), 700_000);
        for (after, until) in [(0, 250_000), (250_000, 750_000), (900_000, 1_000_000)] {
            let found = curve.between(ts(after), ts(until)) as f64;
            let exact = (until - after) as f64 / 10.0 * 7.0;
            assert!((found / exact - 1.0).abs() < 0.01, "{found} for {exact}");
        }
    }
}
