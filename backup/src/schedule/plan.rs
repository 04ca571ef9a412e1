//! What a schedule does at a moment: decided from its row, the time, and how its jobs stand. Pure.
//!
//! Three things happen, in this order. *Settle*: jobs that ended are taken note of, and what follows from a
//! failure is decided. *Fall due*: of the times of the calendar that have come, the newest is due; however many
//! came since somebody last looked, there is one backup for them. *Begin*: what is due begins, unless the
//! backup before is in its way.
//!
//! Times are of the wall clock, which may stand still and jump, both ways. Ahead, it makes one backup due. Back,
//! it brings the next time nearer than it was: then the calendar is asked anew, and times that fell due already
//! (as many as are remembered) are left out. The state that a backup takes is of the engine's clock, which never
//! goes back. As long as the two agree, the state is that of the scheduled time.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore_archive::{CollectionId, FullPath};
use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cron::Cadence;
use super::row::{Due, LastRun, Outcome, Paused, Run, ScheduleChain, ScheduleRow, Stuck, Track};
use super::spec::{OnFailure, OnRunning};
use crate::jobs::JobId;
use crate::mode::Mode;

/// Times that are remembered of each kind of backup.
const REMEMBERED: usize = 64;

/// How far the engine's clock may be ahead of the wall clock as a matter of course: after a crash it is by its
/// reservation, some seconds.
const LEAD: Duration = Duration::from_secs(60);

/// The first wait of a retry that failed too, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock shows.
    pub wall: Timestamp,
    /// What the engine's clock shows.
    pub engine: Timestamp,
    /// The oldest time that can be read in all keyspaces that backups take.
    pub floor: Timestamp,
}

/// How a job stands, as far as a schedule cares.
#[derive(Debug, Clone, PartialEq)]
pub enum JobFact {
    /// There is none of that id.
    Missing,
    /// It waits for its turn, works, or was paused by somebody.
    Active,
    /// It is paused by something that may pass.
    Stuck(String),
    /// It is done; its result.
    Succeeded(Value),
    /// It failed.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

/// Which kind of backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A full.
    Full,
    /// An incremental.
    Incremental,
}

impl Kind {
    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// What is to be done once the row is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the job of a run; it may be there already.
    Start(Run),
    /// Have a job go on.
    Resume(JobId),
    /// Run retention and compaction, unless they run.
    Upkeep,
    /// Count a backup that ended.
    Count(Kind, Outcome),
}

/// Moves a schedule's row to a moment, and tells what is to be done. The same row, moment and facts give the
/// same again, but for the ids of new jobs.
pub fn plan(
    row: &mut ScheduleRow,
    rests: bool,
    moment: Moment,
    fact: &dyn Fn(JobId) -> JobFact,
    new_id: &mut dyn FnMut() -> JobId,
) -> Vec<Action> {
    let mut planner = Planner {
        moment,
        rests,
        actions: Vec::new(),
    };
    planner.settle(row, Kind::Full, fact);
    planner.settle(row, Kind::Incremental, fact);
    // A failure may have paused it just now.
    planner.rests |= row.paused.is_some();
    if !planner.rests {
        planner.fall_due(row);
    }
    planner.begin_full(row, new_id);
    planner.begin_incremental(row, new_id);
    if row.upkeep.due && !planner.rests {
        planner.actions.push(Action::Upkeep);
    }
    planner.actions
}

/// Notes that a job could not be made: the run failed before it began.
pub fn refused(row: &mut ScheduleRow, moment: Moment, job: JobId, error: &str) -> Vec<Action> {
    let fact = |id| match id == job {
        true => JobFact::Failed(error.to_owned()),
        false => JobFact::Active,
    };
    let mut planner = Planner {
        moment,
        rests: true,
        actions: Vec::new(),
    };
    planner.settle(row, Kind::Full, &fact);
    planner.settle(row, Kind::Incremental, &fact);
    planner.actions
}

/// Asks the calendar anew, from a moment on: after a pause, or once it was changed.
pub fn restart(row: &mut ScheduleRow, wall: Timestamp) {
    let (fulls, incrementals) = (
        row.spec.full_cadence().clone(),
        row.spec.incremental_cadence().cloned(),
    );
    anew(&mut row.fulls, Some(&fulls), wall);
    anew(&mut row.incrementals, incrementals.as_ref(), wall);
    for run in row
        .fulls
        .running
        .iter_mut()
        .chain(&mut row.incrementals.running)
    {
        if let Some(stuck) = &mut run.stuck {
            stuck.retry_at = Some(wall);
        }
    }
}

fn anew(track: &mut Track, cadence: Option<&Cadence>, wall: Timestamp) {
    track.due = track.due.take().filter(|due| due.asked);
    track.next = match (track.first, cadence) {
        (Some(first), Some(_)) => Some(first),
        (None, Some(cadence)) => track.fresh(cadence, wall),
        (_, None) => None,
    };
}

impl Track {
    /// The first time after a moment that did not fall due already.
    fn fresh(&self, cadence: &Cadence, wall: Timestamp) -> Option<Timestamp> {
        let mut next = cadence.next_after(wall)?;
        while self.taken.contains(&next) {
            next = cadence.next_after(next)?;
        }
        Some(next)
    }

    /// What is due by now, and what comes next.
    fn roll(&mut self, cadence: &Cadence, wall: Timestamp) {
        let newest = |from: Timestamp| {
            let last = cadence.last_at(wall).filter(|last| *last >= from);
            last.filter(|last| !self.taken.contains(last))
                .unwrap_or(from)
        };
        let due = match (self.first, self.next) {
            (Some(first), _) if wall < first => {
                self.next = Some(first);
                return;
            }
            (Some(first), _) => Some(newest(first)),
            (None, Some(next)) if next <= wall => Some(newest(next)),
            (None, _) => None,
        };
        if let Some(at) = due {
            self.first = None;
            self.due = Some(Due {
                at,
                asked: false,
                retry_at: None,
            });
            self.taken.push(at);
            let surplus = self.taken.len().saturating_sub(REMEMBERED);
            self.taken.drain(..surplus);
        }
        // Later than that it can be only where the clock went back.
        self.next = self.fresh(cadence, wall);
    }
}

/// What a backup job tells of what it did.
#[derive(Deserialize)]
struct Made {
    backup: String,
    full: FullPath,
    collection: CollectionId,
    kind: icecore_archive::LayerKind,
    end: String,
}

struct Planner {
    moment: Moment,
    /// Whether nothing new may begin but what somebody asked for.
    rests: bool,
    actions: Vec<Action>,
}

impl Planner {
    fn settle(&mut self, row: &mut ScheduleRow, kind: Kind, fact: &dyn Fn(JobId) -> JobFact) {
        let runs = std::mem::take(&mut track_of(row, kind).running);
        for mut run in runs {
            match fact(run.job) {
                JobFact::Missing => {
                    self.actions.push(Action::Start(run.clone()));
                    track_of(row, kind).running.push(run);
                }
                JobFact::Active => {
                    run.stuck = None;
                    track_of(row, kind).running.push(run);
                }
                JobFact::Stuck(error) => self.stuck(row, kind, run, &error),
                JobFact::Succeeded(result) => self.succeeded(row, kind, run, result),
                JobFact::Failed(error) => {
                    let at = run.at;
                    self.over(row, kind, run, Outcome::Failed, None, Some(error.clone()));
                    if let Some(retry_at) = self.failed(row, kind, &error) {
                        let track = track_of(row, kind);
                        let newer = track.due.take().filter(|due| due.at > at);
                        track.due = newer.or(Some(Due {
                            at,
                            asked: false,
                            retry_at: Some(retry_at),
                        }));
                    }
                }
                JobFact::Cancelled => {
                    self.over(row, kind, run, Outcome::Cancelled, None, None);
                }
            }
        }
    }

    /// A job that is paused by something that may pass: a failure, but what it did is kept.
    fn stuck(&mut self, row: &mut ScheduleRow, kind: Kind, mut run: Run, error: &str) {
        if run.stuck.is_none() {
            track_of(row, kind).last = Some(LastRun {
                at: run.at,
                outcome: Outcome::Failed,
                finished: self.moment.wall,
                job: Some(run.job),
                backup: None,
                note: Some(error.to_owned()),
            });
            self.actions.push(Action::Count(kind, Outcome::Failed));
            let retry_at = self.failed(row, kind, error);
            run.stuck = Some(Stuck {
                at: self.moment.wall,
                retry_at,
            });
            if retry_at.is_none() {
                // It goes on with the next.
                let track = track_of(row, kind);
                track.due = track.due.take().filter(|due| due.asked);
            }
        } else if !self.rests {
            let has_come = |stuck: &mut Stuck| stuck.retry_at.is_some_and(|at| self.has_come(at));
            let tried = run.stuck.take_if(has_come);
            self.actions.extend(tried.map(|_| Action::Resume(run.job)));
        }
        track_of(row, kind).running.push(run);
    }

    /// Counts a failure, and says when it is tried again, if it is before its next time.
    fn failed(&self, row: &mut ScheduleRow, kind: Kind, error: &str) -> Option<Timestamp> {
        let policy = row.spec.on_execution_failure;
        let track = track_of(row, kind);
        track.failures = track.failures.saturating_add(1);
        let failures = track.failures;
        match policy {
            OnFailure::Reschedule => None,
            OnFailure::Retry => Some(self.moment.wall.saturating_add(backoff(failures))),
            OnFailure::Pause => {
                row.paused.get_or_insert_with(|| Paused {
                    at: self.moment.wall,
                    reason: format!("{} failed: {error}", article(kind)),
                });
                None
            }
        }
    }

    fn over(
        &mut self,
        row: &mut ScheduleRow,
        kind: Kind,
        run: Run,
        outcome: Outcome,
        backup: Option<String>,
        note: Option<String>,
    ) {
        track_of(row, kind).last = Some(LastRun {
            at: run.at,
            outcome,
            finished: self.moment.wall,
            job: Some(run.job),
            backup,
            note: note.or(run.note),
        });
        self.actions.push(Action::Count(kind, outcome));
    }

    fn succeeded(&mut self, row: &mut ScheduleRow, kind: Kind, run: Run, result: Value) {
        let made = Made::deserialize(result).ok();
        let backup = made.as_ref().map(|made| made.backup.clone());
        self.over(row, kind, run, Outcome::Succeeded, backup, None);
        let track = track_of(row, kind);
        track.failures = 0;
        track.succeeded = Some(self.moment.wall);
        if let Some(made) = made {
            adopt(&mut row.chain, made);
        }
        row.upkeep.due |= !row.spec.upkeep.is_empty();
    }

    fn fall_due(&self, row: &mut ScheduleRow) {
        let wall = self.moment.wall;
        let fulls = row.spec.full_cadence().clone();
        row.fulls.roll(&fulls, wall);
        match row.spec.incremental_cadence().cloned() {
            Some(cadence) if row.chain.is_some() => row.incrementals.roll(&cadence, wall),
            // It waits for the first full: what comes before that is no backup's time.
            Some(cadence) => row.incrementals.next = row.incrementals.fresh(&cadence, wall),
            None => row.incrementals.next = None,
        }
    }

    fn begin_full(&mut self, row: &mut ScheduleRow, new_id: &mut dyn FnMut() -> JobId) {
        let Some(due) = self.ready(&row.fulls) else {
            return;
        };
        if self.is_reached(due.at, row.chain.as_ref().map(|chain| chain.begins)) {
            row.fulls.due = None;
            return;
        }
        self.go_on(&mut row.fulls);
        if !row.fulls.running.is_empty() {
            match row.spec.on_previous_running {
                _ if due.asked => return,
                OnRunning::Wait => return,
                OnRunning::Start => {}
                OnRunning::Skip => {
                    row.fulls.due = None;
                    row.fulls.last = Some(LastRun {
                        at: due.at,
                        outcome: Outcome::Skipped,
                        finished: self.moment.wall,
                        job: None,
                        backup: None,
                        note: Some("the full before was still at work".to_owned()),
                    });
                    self.actions
                        .push(Action::Count(Kind::Full, Outcome::Skipped));
                    return;
                }
            }
        }
        let (as_of, note) = match row.spec.backup.mode {
            // Live files are as of the moment in which they are listed.
            Mode::Fast => (None, None),
            _ => {
                let (as_of, note) = self.state_of(&due);
                (Some(as_of), note)
            }
        };
        row.fulls.due = None;
        self.begin(&mut row.fulls, due.at, as_of, None, note, new_id);
    }

    fn begin_incremental(&mut self, row: &mut ScheduleRow, new_id: &mut dyn FnMut() -> JobId) {
        let Some(due) = self.ready(&row.incrementals) else {
            return;
        };
        let Some(chain) = row.chain.clone() else {
            row.incrementals.due = None;
            return;
        };
        if self.is_reached(due.at, Some(chain.end)) {
            row.incrementals.due = None;
            return;
        }
        self.go_on(&mut row.incrementals);
        if !row.incrementals.running.is_empty() {
            return;
        }
        let (as_of, note) = if due.at <= chain.end {
            (self.moment.engine, Some(AHEAD.to_owned()))
        } else {
            self.state_of(&due)
        };
        row.incrementals.due = None;
        let onto = Some(chain.full);
        self.begin(
            &mut row.incrementals,
            due.at,
            Some(as_of),
            onto,
            note,
            new_id,
        );
    }

    /// What is due and may begin.
    fn ready(&self, track: &Track) -> Option<Due> {
        let due = track.due.clone()?;
        let may = due.asked || (!self.rests && due.retry_at.is_none_or(|at| self.has_come(at)));
        may.then_some(due)
    }

    /// Whether a wait is over; also where the clock went back, so that it would be one of years.
    fn has_come(&self, at: Timestamp) -> bool {
        at <= self.moment.wall || at.since(self.moment.wall) > BACKOFF.1
    }

    /// Whether a backup of a later state is there already: of two that fell due at once the later one came
    /// first, or the clock was corrected. One that lies in the future says nothing, since the clock is wrong.
    fn is_reached(&self, at: Timestamp, end: Option<Timestamp>) -> bool {
        end.is_some_and(|end| at <= end && end <= self.moment.wall)
    }

    /// Has jobs go on that were stuck when their next came.
    fn go_on(&mut self, track: &mut Track) {
        for run in &mut track.running {
            let due = run.stuck.take_if(|stuck| stuck.retry_at.is_none());
            self.actions.extend(due.map(|_| Action::Resume(run.job)));
        }
    }

    fn begin(
        &mut self,
        track: &mut Track,
        at: Timestamp,
        as_of: Option<Timestamp>,
        onto: Option<FullPath>,
        note: Option<String>,
        new_id: &mut dyn FnMut() -> JobId,
    ) {
        let run = Run {
            job: new_id(),
            at,
            as_of,
            onto,
            started: self.moment.wall,
            stuck: None,
            note,
        };
        track.running.push(run.clone());
        self.actions.push(Action::Start(run));
    }

    /// The state that is backed up for a time, and why it is not that of the time.
    fn state_of(&self, due: &Due) -> (Timestamp, Option<String>) {
        let at = due.at;
        let Moment {
            wall,
            engine,
            floor,
        } = self.moment;
        let why = if due.asked {
            // What its asker has written, the engine's clock may date a little later than the wall clock does.
            return (engine, None);
        } else if engine.since(wall) > LEAD {
            AHEAD
        } else if at < floor {
            "the state of the scheduled time was collected already"
        } else {
            return (at, None);
        };
        (engine, Some(why.to_owned()))
    }
}

const AHEAD: &str = "the engine's clock is ahead of the machine's, which went back";

fn track_of(row: &mut ScheduleRow, kind: Kind) -> &mut Track {
    match kind {
        Kind::Full => &mut row.fulls,
        Kind::Incremental => &mut row.incrementals,
    }
}

const fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "a full",
        Kind::Incremental => "an incremental",
    }
}

/// The first retry comes at once, the next after ten seconds, then after twice as long each.
fn backoff(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF
            .0
            .saturating_mul(1 << (more - 2).min(10))
            .min(BACKOFF.1),
    }
}

/// A full begins the chain that incrementals go on with from then on, an incremental lengthens it.
fn adopt(chain: &mut Option<ScheduleChain>, made: Made) {
    let Ok(end) = made.end.parse::<Timestamp>() else {
        return;
    };
    match (made.kind, chain.as_mut()) {
        (icecore_archive::LayerKind::Incremental, Some(chain)) if chain.full == made.full => {
            chain.end = chain.end.max(end);
            chain.incrementals = chain.incrementals.saturating_add(1);
        }
        // Of two fulls at once the newer counts.
        (icecore_archive::LayerKind::Full, Some(chain)) if chain.begins >= end => {}
        (icecore_archive::LayerKind::Full, _) => {
            *chain = Some(ScheduleChain {
                full: made.full,
                collection: made.collection,
                begins: end,
                end,
                incrementals: 0,
            });
        }
        // The incremental of a chain that a full has replaced meanwhile.
        (icecore_archive::LayerKind::Incremental, _) => {}
    }
}

/// Facts by job, for those who have them at hand.
#[must_use]
pub fn fact_of(facts: &BTreeMap<JobId, JobFact>, job: JobId) -> JobFact {
    facts.get(&job).cloned().unwrap_or(JobFact::Missing)
}

#[cfg(test)]
mod tests;
