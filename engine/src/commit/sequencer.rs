//! Gives out timestamps, and makes commits visible in their order.
//!
//! The clock is hybrid: `next = max(wall clock, last + 1)`. A timestamp is only given once the
//! durable high-water mark covers it, so that none is ever given twice, not even one whose commit
//! a crash lost. `visible` is the highest timestamp with no unfinished commit at or below it;
//! a commit returns once its own is visible, so reads at `visible` never miss one that will
//! still appear below them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore_mvcc::{Clock, Timestamp};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::options::nanos;

/// The last timestamp that is given. Some are left above it, so that a bound after it exists.
const LAST_NANOS: u64 = u64::MAX - 1;

/// Gives out timestamps and publishes commits.
pub(crate) struct Sequencer {
    clock: Arc<dyn Clock>,
    meta: Meta,
    /// `None` on a read-only engine, which gives no timestamps out.
    reserve_ahead: Option<u64>,
    state: Mutex<State>,
    published: Condvar,
    /// Nanoseconds; only rises; written under `state`.
    visible: AtomicU64,
    /// The first failure that stopped the engine.
    poison: OnceLock<String>,
}

/// Guarded by `Sequencer::state`.
struct State {
    last: u64,
    /// Durable high-water mark: `last` never passes it.
    reserved: u64,
    /// Timestamps given since the oldest unfinished one, ascending, with whether each is finished.
    pending: VecDeque<(u64, bool)>,
    waiters: usize,
    /// `last` when the reservation was last extended ahead of need.
    idle_at: u64,
    /// Somebody waits for the unfinished commits to end, or has a moment without any: none may begin.
    paused: bool,
}

/// A timestamp whose commit is not finished. Dropped before anything was written at it, it is
/// published as it is: empty. Dropped after a write began, it stops the engine: the write's outcome
/// is unknown, and nothing at or after it may become visible.
pub(crate) struct Ticket<'a> {
    sequencer: &'a Sequencer,
    ts: u64,
    stage: Stage,
}

/// How far a ticket's commit has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unwritten,
    Writing,
    Finished,
}

impl Ticket<'_> {
    /// The commit's timestamp.
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_nanos(self.ts)
    }

    /// From here on something may be on disk at this timestamp.
    pub(crate) fn begin_write(&mut self) {
        self.stage = Stage::Writing;
    }

    /// Publishes the commit, and returns once it is visible.
    pub(crate) fn finish(mut self) -> Result<Timestamp> {
        self.stage = Stage::Finished;
        self.sequencer.finish(self.ts)?;
        Ok(self.timestamp())
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Finished => {}
            Stage::Unwritten => drop(self.sequencer.retire(self.ts)),
            Stage::Writing => self
                .sequencer
                .poison(format!("the commit at {} did not finish", self.timestamp())),
        }
    }
}

/// A moment without commits; it ends when this is dropped, whatever happens in it.
struct Pause<'a> {
    sequencer: &'a Sequencer,
    state: MutexGuard<'a, State>,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.state.paused = false;
        self.sequencer.published.notify_all();
    }
}

impl Sequencer {
    /// Starts at the durable high-water mark.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        meta: Meta,
        reserve_ahead: Option<Duration>,
    ) -> Result<Self> {
        let mark = meta.clock()?.nanos();
        Ok(Self {
            clock,
            meta,
            reserve_ahead: reserve_ahead.map(nanos),
            state: Mutex::new(State {
                last: mark,
                reserved: mark,
                pending: VecDeque::new(),
                waiters: 0,
                idle_at: mark,
                paused: false,
            }),
            published: Condvar::new(),
            visible: AtomicU64::new(mark),
            poison: OnceLock::new(),
        })
    }

    /// The highest timestamp with no unfinished commit at or below it.
    pub(crate) fn visible(&self) -> Timestamp {
        Timestamp::from_nanos(self.visible.load(Ordering::Acquire))
    }

    /// What the hybrid clock shows, without giving a timestamp out.
    pub(crate) fn now(&self) -> Timestamp {
        let last = self.state.lock().last;
        Timestamp::from_nanos(self.clock.now().nanos().max(last))
    }

    /// Takes the next timestamp. `admit` runs under the sequencer's lock with that timestamp; its
    /// refusal gives the timestamp back unused.
    pub(crate) fn assign(&self, admit: impl FnOnce(Timestamp) -> Result<()>) -> Result<Ticket<'_>> {
        let mut state = self.state.lock();
        self.check()?;
        while state.paused {
            self.await_change(&mut state)?;
        }
        let ts = self.clock.now().nanos().max(state.last.saturating_add(1));
        self.reserve(&mut state, ts)?;
        admit(Timestamp::from_nanos(ts))?;
        state.last = ts;
        state.pending.push_back((ts, false));
        Ok(Ticket {
            sequencer: self,
            ts,
            stage: Stage::Unwritten,
        })
    }

    /// The newest timestamp given so far; `seen` gets it under the sequencer's lock.
    pub(crate) fn last_assigned(&self, seen: impl FnOnce(Timestamp)) -> Timestamp {
        let state = self.state.lock();
        let last = Timestamp::from_nanos(state.last);
        seen(last);
        last
    }

    /// Makes sure that no later commit gets a timestamp at or below `ts`, and that all earlier
    /// ones are visible. `ts` may not lie after the hybrid clock.
    pub(crate) fn settle(&self, ts: Timestamp) -> Result<()> {
        if ts <= self.visible() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let now = self.clock.now().nanos().max(state.last);
        if ts.nanos() > now {
            return Err(Error::InFuture {
                requested: ts,
                now: Timestamp::from_nanos(now),
            });
        }
        if ts.nanos() > state.last {
            self.reserve(&mut state, ts.nanos())?;
            state.last = ts.nanos();
            self.publish(&state);
        }
        self.wait(state, ts.nanos())
    }

    /// Runs `moment` while no commit is under way and none can begin. It gets a time that is at or above
    /// all commits so far and below all later ones, and visible.
    pub(crate) fn pause<T>(&self, moment: impl FnOnce(Timestamp) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        while state.paused {
            self.await_change(&mut state)?;
        }
        state.paused = true;
        let mut pause = Pause {
            sequencer: self,
            state,
        };
        while !pause.state.pending.is_empty() {
            self.await_change(&mut pause.state)?;
        }
        self.check()?;
        let now = self.clock.now().nanos().max(pause.state.last);
        self.reserve(&mut pause.state, now)?;
        pause.state.last = now;
        self.publish(&pause.state);
        moment(Timestamp::from_nanos(now))
    }

    /// Moves the clock to at least `ts`, which may lie in the future of the wall clock.
    pub(crate) fn advance(&self, ts: Timestamp) -> Result<()> {
        let mut state = self.state.lock();
        self.check()?;
        if ts.nanos() > state.last {
            self.reserve(&mut state, ts.nanos())?;
            state.last = ts.nanos();
            self.publish(&state);
        }
        Ok(())
    }

    /// Extends the reservation ahead of need, so that commits seldom wait for it. Does nothing
    /// while no timestamps are taken.
    pub(crate) fn reserve_ahead(&self) -> Result<()> {
        let Some(ahead) = self.reserve_ahead else {
            return Ok(());
        };
        let mut state = self.state.lock();
        let last = state.last;
        // At the mark itself nothing was taken since it was set: an idle engine writes nothing.
        if self.poison.get().is_some()
            || last == state.idle_at
            || last.saturating_add(ahead / 2) <= state.reserved
        {
            return Ok(());
        }
        state.idle_at = last;
        self.extend(&mut state, last)
    }

    /// Persists exactly what was given out, for a clean close.
    pub(crate) fn close(&self) -> Result<()> {
        let mut state = self.state.lock();
        if self.poison.get().is_none() && state.pending.is_empty() && state.reserved != state.last {
            self.meta.set_clock(Timestamp::from_nanos(state.last))?;
            state.reserved = state.last;
        }
        Ok(())
    }

    /// Stops the engine: every later commit fails with `cause`.
    pub(crate) fn poison(&self, cause: String) {
        tracing::error!(%cause, "the database stops");
        let _already = self.poison.set(cause);
        let _state = self.state.lock();
        self.published.notify_all();
    }

    /// An error once the engine has stopped.
    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned {
                cause: cause.clone(),
            }),
        }
    }

    fn reserve(&self, state: &mut State, ts: u64) -> Result<()> {
        if ts > LAST_NANOS {
            return Err(Error::ClockExhausted {
                requested: Timestamp::from_nanos(ts),
            });
        }
        if ts <= state.reserved {
            return Ok(());
        }
        self.extend(state, ts)
    }

    fn extend(&self, state: &mut State, from: u64) -> Result<()> {
        let Some(ahead) = self.reserve_ahead else {
            return Ok(());
        };
        let mark = from.saturating_add(ahead).min(LAST_NANOS);
        self.meta.set_clock(Timestamp::from_nanos(mark))?;
        state.reserved = mark;
        Ok(())
    }

    fn finish(&self, ts: u64) -> Result<()> {
        let state = self.retire(ts);
        self.wait(state, ts)
    }

    /// Takes a timestamp off the unfinished ones.
    fn retire(&self, ts: u64) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if let Ok(place) = state.pending.binary_search_by_key(&ts, |(given, _)| *given)
            && let Some((_, finished)) = state.pending.get_mut(place)
        {
            *finished = true;
        }
        while let Some((_, true)) = state.pending.front() {
            state.pending.pop_front();
        }
        self.publish(&state);
        state
    }

    fn publish(&self, state: &State) {
        let visible = state
            .pending
            .front()
            .map_or(state.last, |(oldest, _)| oldest - 1);
        if visible > self.visible.load(Ordering::Relaxed) {
            self.visible.store(visible, Ordering::Release);
        }
        if state.waiters > 0 {
            self.published.notify_all();
        }
    }

    /// Waits until something above `ts` is visible; `false` if nothing is by `deadline`.
    pub(crate) fn await_beyond(&self, ts: Timestamp, deadline: Instant) -> Result<bool> {
        let mut state = self.state.lock();
        while self.visible() <= ts {
            self.check()?;
            state.waiters += 1;
            let waited = self.published.wait_until(&mut state, deadline);
            state.waiters -= 1;
            if waited.timed_out() {
                return Ok(self.visible() > ts);
            }
        }
        Ok(true)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, ts: u64) -> Result<()> {
        while self.visible.load(Ordering::Acquire) < ts {
            self.await_change(&mut state)?;
        }
        Ok(())
    }

    /// Waits until a commit was published or a pause ended; an error once the engine has stopped.
    fn await_change(&self, state: &mut MutexGuard<'_, State>) -> Result<()> {
        self.check()?;
        state.waiters += 1;
        self.published.wait(state);
        state.waiters -= 1;
        Ok(())
    }
}
