//! Schedules that go through hours and years in no time: a world of a wall clock that jumps, jobs that take their
//! time and fail, and what must be true of every run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::jobs::BackupSpec;
use crate::schedule::{FullCadence, ScheduleSpec, Upkeep};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const DECADE: u64 = 3653 * DAY;

/// 2030-01-01T00:00:00Z, a Tuesday.
const BEGIN: u64 = 1_893_456_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

/// The first seconds of a path's name tell the full apart.
fn full_path(end: Timestamp) -> FullPath {
    let seconds = end.nanos() / 1_000_000_000 % 86_400;
    let (hour, minute, second) = (seconds / HOUR, seconds / 60 % 60, seconds % 60);
    let date = end.to_string();
    let date = date.split('T').next().unwrap().replace('-', "/");
    format!("{date}-{hour:02}{minute:02}{second:02}.00")
        .parse()
        .unwrap()
}

struct World {
    row: ScheduleRow,
    wall: u64,
    /// What the engine's clock showed last. Whatever is done moves it, by a nanosecond at least.
    engine: Timestamp,
    floor: Timestamp,
    facts: BTreeMap<JobId, JobFact>,
    /// Every run that began.
    runs: Vec<(Kind, Run)>,
    ended: Vec<(Kind, Outcome)>,
    resumed: usize,
}

impl World {
    fn new(recurring: &str, full: &str) -> Self {
        let spec = ScheduleSpec {
            backup: BackupSpec::into("memory://schedules"),
            recurring: recurring.parse().unwrap(),
            full: full.parse().unwrap(),
            on_execution_failure: OnFailure::Reschedule,
            on_previous_running: OnRunning::Wait,
            upkeep: Default::default(),
            unknown: Map::new(),
        };
        let mut row = ScheduleRow {
            label: "nightly".to_owned(),
            engine: icecore_mvcc::EngineId::from_bytes([1; 16]),
            created: at(BEGIN),
            spec,
            paused: None,
            chain: None,
            fulls: Track::default(),
            incrementals: Track::default(),
            upkeep: Upkeep::default(),
            unknown: Map::new(),
        };
        restart(&mut row, at(BEGIN));
        Self {
            row,
            wall: BEGIN,
            engine: at(BEGIN),
            floor: Timestamp::MIN,
            facts: BTreeMap::new(),
            runs: Vec::new(),
            ended: Vec::new(),
            resumed: 0,
        }
    }

    fn moment(&mut self) -> Moment {
        self.engine = self.engine.next().max(at(self.wall));
        Moment {
            wall: at(self.wall),
            engine: self.engine,
            floor: self.floor,
        }
    }

    /// One look; which runs it began.
    fn look(&mut self) -> usize {
        let moment = self.moment();
        // As it comes back from the disk.
        let json = self.row.encode().unwrap();
        self.row = ScheduleRow::decode("nightly", &json).unwrap();
        let facts = self.facts.clone();
        let rests = self.row.paused.is_some();
        let actions = plan(
            &mut self.row,
            rests,
            moment,
            &|job| fact_of(&facts, job),
            &mut JobId::random,
        );
        let mut begun = 0;
        for action in actions {
            match action {
                Action::Start(run) => {
                    let made = self.facts.insert(run.job, JobFact::Active);
                    assert!(made.is_none(), "a job is made once");
                    let kind = match run.onto {
                        Some(_) => Kind::Incremental,
                        None => Kind::Full,
                    };
                    self.runs.push((kind, run));
                    begun += 1;
                }
                Action::Resume(job) => {
                    self.resumed += 1;
                    self.facts.insert(job, JobFact::Active);
                }
                Action::Count(kind, outcome) => self.ended.push((kind, outcome)),
                Action::Upkeep => {}
            }
        }
        begun
    }

    /// Looks every minute until then; which runs began.
    fn until(&mut self, seconds: u64) -> usize {
        let mut begun = 0;
        while self.wall < seconds {
            self.wall = (self.wall + MINUTE).min(seconds);
            begun += self.look();
            self.end_all();
        }
        begun
    }

    fn end(&mut self, job: JobId) {
        let (kind, run) = self.runs.iter().find(|(_, run)| run.job == job).unwrap();
        let end = run.as_of.unwrap_or(self.engine);
        let (full, layer, kind) = match (kind, &run.onto) {
            (Kind::Incremental, Some(full)) => (full.clone(), format!("{full}/x"), "incremental"),
            _ => (full_path(end), full_path(end).to_string(), "full"),
        };
        let result = json!({
            "backup": layer,
            "full": full,
            "collection": "33333333-3333-3333-3333-333333333333",
            "kind": kind,
            "end": end.to_string(),
        });
        self.facts.insert(job, JobFact::Succeeded(result));
    }

    fn end_all(&mut self) {
        let active: Vec<JobId> = self
            .facts
            .iter()
            .filter(|(_, fact)| **fact == JobFact::Active)
            .map(|(job, _)| *job)
            .collect();
        for job in active {
            self.end(job);
        }
    }

    fn times(&self, wanted: Kind) -> Vec<u64> {
        let of_kind = self.runs.iter().filter(|(kind, _)| *kind == wanted);
        of_kind
            .map(|(_, run)| run.at.nanos() / 1_000_000_000 - BEGIN)
            .collect()
    }

    fn last_run(&self) -> &Run {
        &self.runs.last().unwrap().1
    }
}

#[test]
fn incrementals_wait_for_the_first_full_and_come_at_their_times() {
    let mut world = World::new("@hourly", "@daily");
    world.until(BEGIN + DAY - MINUTE);
    assert!(world.runs.is_empty(), "no full has come yet");
    world.until(BEGIN + 3 * DAY);
    assert_eq!(world.times(Kind::Full), [DAY, 2 * DAY, 3 * DAY]);
    // Those that fall together with a full go onto the chain before.
    let expected: Vec<u64> = (25..=72).map(|hour| hour * HOUR).collect();
    assert_eq!(world.times(Kind::Incremental), expected);
    let chain_before = full_path(at(BEGIN + DAY));
    let beside = world
        .runs
        .iter()
        .find(|(kind, run)| *kind == Kind::Incremental && run.at == at(BEGIN + 2 * DAY));
    assert_eq!(beside.unwrap().1.onto, Some(chain_before));
    assert!(world.runs.iter().all(|(_, run)| run.as_of == Some(run.at)));
}

#[test]
fn the_first_run_is_when_it_was_asked_for() {
    let mut world = World::new("@daily", "always");
    world.row.fulls.first = Some(at(BEGIN + 90));
    restart(&mut world.row, at(BEGIN));
    world.until(BEGIN + DAY + HOUR);
    assert_eq!(world.times(Kind::Full), [90, DAY]);
}

#[test]
fn missed_times_after_downtime_are_one_run_as_of_the_newest() {
    let mut world = World::new("@hourly", "@daily");
    world.until(BEGIN + 2 * DAY + HOUR);
    let before = world.runs.len();
    world.wall += 5 * DAY + 30 * MINUTE;
    let now = world.wall;
    assert_eq!(world.look(), 2, "a full and an incremental");
    let of = |kind| world.times(kind).pop().unwrap();
    assert_eq!(of(Kind::Full), 7 * DAY);
    assert_eq!(of(Kind::Incremental), 7 * DAY + HOUR);
    world.end_all();
    world.until(now + HOUR);
    assert_eq!(world.runs.len(), before + 3);
}

#[test]
fn a_decade_ahead_is_one_run_and_back_again_the_calendar_goes_on() {
    let mut world = World::new("@hourly", "always");
    world.until(BEGIN + 5 * HOUR + 10 * MINUTE);
    assert_eq!(world.runs.len(), 5);
    let here = world.wall;
    world.wall += DECADE;
    assert_eq!(world.until(here + DECADE + 10 * MINUTE), 1);
    world.wall = here + 10 * MINUTE;
    assert_eq!(world.until(here + 30 * MINUTE), 0, "none is repeated");
    assert_eq!(world.until(here + 5 * HOUR), 5, "and none left out");
    assert!(world.last_run().note.as_ref().unwrap().contains("ahead"));
    // The engine's clock stands where the wall was; what was written since is in it.
    assert!(world.last_run().as_of > Some(at(here + DECADE)));
}

#[test]
fn a_decade_back_is_no_pause_of_a_decade() {
    let mut world = World::new("@hourly", "always");
    world.until(BEGIN + 5 * HOUR + 10 * MINUTE);
    let here = world.wall;
    world.wall -= DECADE;
    let there = world.wall;
    assert_eq!(world.until(there + 5 * HOUR), 5);
    let runs = world.runs.len();
    // Corrected within the hour in which it went wrong: that hour had its run.
    world.wall = here + 20 * MINUTE;
    world.look();
    world.end_all();
    assert_eq!(world.runs.len(), runs, "none is repeated");
    assert_eq!(world.until(here + 5 * HOUR), 5);
}

#[test]
fn a_clock_that_is_set_back_a_little_repeats_nothing() {
    let mut world = World::new("@hourly", "@daily");
    world.until(BEGIN + DAY + 2 * HOUR + 30);
    let runs = world.runs.len();
    world.wall -= MINUTE;
    assert_eq!(world.until(BEGIN + DAY + 3 * HOUR - MINUTE), 0);
    assert_eq!(world.runs.len(), runs);
    assert_eq!(world.until(BEGIN + DAY + 3 * HOUR), 1);
}

#[test]
fn a_full_at_work_is_waited_for_beside_or_left_out() {
    for (policy, runs_meanwhile, runs_after) in [
        (OnRunning::Wait, 1, 2),
        (OnRunning::Start, 4, 4),
        (OnRunning::Skip, 1, 1),
    ] {
        let mut world = World::new("@daily", "always");
        world.row.spec.on_previous_running = policy;
        for day in 1..=4 {
            world.wall = BEGIN + day * DAY;
            world.look();
        }
        assert_eq!(world.runs.len(), runs_meanwhile, "{policy:?}");
        world.wall += MINUTE;
        world.end_all();
        world.look();
        assert_eq!(world.runs.len(), runs_after, "{policy:?}");
        let skipped = world
            .ended
            .iter()
            .filter(|(_, outcome)| *outcome == Outcome::Skipped);
        assert_eq!(
            skipped.count(),
            if policy == OnRunning::Skip { 3 } else { 0 }
        );
        if policy == OnRunning::Wait {
            assert_eq!(
                world.times(Kind::Full),
                [DAY, 4 * DAY],
                "the newest that fell due"
            );
        }
    }
}

#[test]
fn an_incremental_waits_for_the_one_before_and_goes_on_beside_a_full() {
    let mut world = World::new("@hourly", "@daily");
    world.row.spec.on_previous_running = OnRunning::Start;
    world.until(BEGIN + DAY);
    world.look();
    let chain = world.row.chain.clone().unwrap();
    // A full that takes two days: incrementals lengthen the chain before.
    world.wall = BEGIN + 2 * DAY;
    world.look();
    let full = world.row.fulls.running[0].job;
    let incremental = world.row.incrementals.running[0].job;
    for hour in 1..5 {
        world.wall += HOUR;
        assert_eq!(world.look(), 0, "hour {hour}: it waits");
    }
    world.end(incremental);
    assert_eq!(world.look(), 1);
    assert_eq!(world.last_run().at, at(BEGIN + 2 * DAY + 4 * HOUR));
    assert_eq!(world.last_run().onto, Some(chain.full.clone()));
    let late = world.last_run().job;
    // The full is done, and the incremental on the chain before is not: the next goes onto the new chain.
    world.end(full);
    world.wall += HOUR;
    world.look();
    let new = world.row.chain.clone().unwrap();
    assert_eq!(new.full, full_path(at(BEGIN + 2 * DAY)));
    world.end(late);
    world.look();
    assert_eq!(world.row.chain.clone().unwrap().begins, new.begins);
    assert_eq!(
        world.row.chain.clone().unwrap().end,
        new.end,
        "the late one is another chain's"
    );
    assert_eq!(world.last_run().onto, Some(new.full));
}

#[test]
fn what_failed_is_tried_again_left_or_pauses_the_schedule() {
    for policy in [OnFailure::Retry, OnFailure::Reschedule, OnFailure::Pause] {
        let mut world = World::new("@daily", "always");
        world.row.spec.on_execution_failure = policy;
        world.wall = BEGIN + DAY;
        world.look();
        let fail = |world: &mut World| {
            let job = world.last_run().job;
            world
                .facts
                .insert(job, JobFact::Failed("out of luck".to_owned()));
        };
        fail(&mut world);
        world.wall += 5;
        let again = world.look();
        let last = world.row.fulls.last.clone().unwrap();
        assert_eq!(
            (last.outcome, last.note.as_deref()),
            (Outcome::Failed, Some("out of luck"))
        );
        match policy {
            OnFailure::Retry => {
                assert_eq!(again, 1, "at once");
                assert_eq!(world.last_run().at, at(BEGIN + DAY), "for the same time");
                let mut tries = 0;
                for _ in 0..60 {
                    fail(&mut world);
                    world.wall += MINUTE;
                    tries += world.look();
                }
                assert!(
                    (8..20).contains(&tries),
                    "{tries} in an hour: waits grow, to ten minutes"
                );
                world.wall += 10 * MINUTE;
                world.look();
                world.end_all();
                world.look();
                assert_eq!(world.row.fulls.failures, 0);
            }
            OnFailure::Reschedule => {
                assert_eq!(again, 0);
                assert_eq!(world.until(BEGIN + 2 * DAY), 1);
                assert_eq!(world.last_run().at, at(BEGIN + 2 * DAY));
            }
            OnFailure::Pause => {
                assert_eq!(world.until(BEGIN + 9 * DAY), 0);
                let reason = world.row.paused.take().unwrap().reason;
                assert_eq!(reason, "a full failed: out of luck");
                restart(&mut world.row, at(world.wall));
                assert_eq!(world.until(BEGIN + 11 * DAY), 2);
            }
        }
    }
}

#[test]
fn a_stuck_job_goes_on_and_keeps_what_it_did() {
    let stick = |world: &mut World| {
        let job = world.last_run().job;
        world
            .facts
            .insert(job, JobFact::Stuck("no store".to_owned()));
        world.look();
        job
    };
    let mut world = World::new("@daily", "always");
    world.wall = BEGIN + DAY;
    world.look();
    let job = stick(&mut world);
    for _ in 0..100 {
        world.wall += MINUTE;
        world.look();
    }
    assert_eq!(
        (world.resumed, world.ended.len()),
        (0, 1),
        "with the next, and told once"
    );
    world.wall = BEGIN + 2 * DAY;
    world.look();
    assert_eq!((world.resumed, world.runs.len()), (1, 1));
    assert_eq!(world.facts[&job], JobFact::Active);
    // Stuck again: it waits for the next once more, and not in a loop.
    stick(&mut world);
    for _ in 0..100 {
        world.wall += MINUTE;
        world.look();
    }
    assert_eq!(world.resumed, 1);
    world.wall = BEGIN + 3 * DAY;
    world.look();
    world.end(job);
    world.look();
    assert_eq!(
        world.times(Kind::Full),
        [DAY, 3 * DAY],
        "then what fell due meanwhile"
    );

    let mut world = World::new("@daily", "always");
    world.row.spec.on_execution_failure = OnFailure::Retry;
    world.wall = BEGIN + DAY;
    world.look();
    for _ in 0..60 {
        stick(&mut world);
        world.wall += MINUTE;
        world.look();
    }
    assert!((8..20).contains(&world.resumed), "{}", world.resumed);
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn a_cancelled_job_is_let_go_and_one_that_cannot_be_made_is_a_failure() {
    let mut world = World::new("@daily", "always");
    world.row.spec.on_execution_failure = OnFailure::Pause;
    world.wall = BEGIN + DAY;
    world.look();
    let job = world.last_run().job;
    world.facts.insert(job, JobFact::Cancelled);
    world.look();
    assert!(world.row.paused.is_none() && world.row.fulls.running.is_empty());
    world.wall = BEGIN + 2 * DAY;
    world.look();
    let (job, moment) = (world.last_run().job, world.moment());
    let actions = refused(&mut world.row, moment, job, "no such key");
    assert_eq!(actions, [Action::Count(Kind::Full, Outcome::Failed)]);
    assert!(world.row.paused.is_some() && world.row.fulls.running.is_empty());
}

#[test]
fn a_state_that_was_collected_is_replaced_by_that_of_now() {
    let mut world = World::new("@daily", "always");
    world.wall = BEGIN + 3 * DAY + HOUR;
    world.floor = at(BEGIN + 3 * DAY + 60);
    world.look();
    let run = world.last_run();
    assert_eq!(run.at, at(BEGIN + 3 * DAY));
    assert_eq!(run.as_of, Some(at(BEGIN + 3 * DAY + HOUR)));
    assert!(run.note.as_ref().unwrap().contains("collected"));
}

#[test]
fn a_crash_before_the_job_is_made_loses_no_run_and_makes_no_second() {
    let mut world = World::new("@daily", "always");
    world.wall = BEGIN + DAY;
    world.look();
    let job = world.last_run().job;
    world.facts.clear();
    world.runs.clear();
    world.wall += HOUR;
    assert_eq!(world.look(), 1);
    assert_eq!(world.last_run().job, job);
    assert_eq!(world.look(), 0);
}

#[test]
fn what_somebody_asks_for_comes_at_once_and_past_a_pause() {
    let mut world = World::new("@daily", "always");
    world.row.paused = Some(Paused {
        at: at(BEGIN),
        reason: "somebody paused it".to_owned(),
    });
    world.wall = BEGIN + 3 * DAY + 5;
    assert_eq!(world.look(), 0);
    world.row.fulls.due = Some(Due {
        at: at(world.wall),
        asked: true,
        retry_at: None,
    });
    assert_eq!(world.look(), 1);
    world.end_all();
    assert_eq!(world.until(BEGIN + 5 * DAY), 0);
}

/// What may happen to a schedule.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Jump(i64),
    Crash,
    End(usize),
    Fail(usize),
    Stick(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..3 * HOUR).prop_map(Event::Pass),
        1 => (DAY..20 * DAY).prop_map(Event::Pass),
        1 => prop::sample::select(vec![-1, 1])
            .prop_flat_map(|sign| (1..DECADE as i64).prop_map(move |by| sign * by))
            .prop_map(Event::Jump),
        1 => Just(Event::Crash),
        8 => any::<usize>().prop_map(Event::End),
        2 => any::<usize>().prop_map(Event::Fail),
        1 => any::<usize>().prop_map(Event::Stick),
    ]
}

fn policies() -> impl Strategy<Value = (OnFailure, OnRunning)> {
    let failure = prop::sample::select(vec![OnFailure::Retry, OnFailure::Reschedule]);
    let running = prop::sample::select(vec![OnRunning::Start, OnRunning::Skip, OnRunning::Wait]);
    (failure, running)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens: looking twice begins nothing more; no incremental begins beside another; each takes a
    /// later state than the one before on its chain; the next time lies within a period of the wall clock; and a
    /// time of the calendar begins once, but for retries.
    #[test]
    fn whatever_happens_no_run_is_skipped_or_repeated(
        events in prop::collection::vec(event(), 1..120),
        (failure, running) in policies(),
    ) {
        let mut world = World::new("@hourly", "@daily");
        world.row.spec.on_execution_failure = failure;
        world.row.spec.on_previous_running = running;
        // Far enough from both ends of time.
        world.wall += 3 * DECADE;
        restart(&mut world.row, at(world.wall));
        let (mut failed, mut jobs) = (BTreeSet::new(), BTreeSet::new());
        let mut ends: BTreeMap<FullPath, Timestamp> = BTreeMap::new();
        for event in events {
            let active: Vec<JobId> = world
                .row
                .running()
                .filter(|run| world.facts.get(&run.job) == Some(&JobFact::Active))
                .map(|run| run.job)
                .collect();
            let pick = |index: usize| active.get(index % active.len().max(1)).copied();
            match event {
                Event::Pass(seconds) => world.wall += seconds,
                Event::Jump(by) => {
                    // Years before the epoch are no times.
                    world.wall = world.wall.saturating_add_signed(by).clamp(DAY, BEGIN + 9 * DECADE);
                }
                Event::Crash => {
                    // The newest job was not made yet.
                    if let Some(job) = active.last().filter(|_| world.runs.last().is_some_and(|(_, run)| active.last() == Some(&run.job))) {
                        world.facts.remove(job);
                        world.runs.pop();
                    }
                }
                Event::End(index) => {
                    if let Some(job) = pick(index) {
                        world.end(job);
                    }
                }
                Event::Fail(index) => {
                    if let Some(job) = pick(index) {
                        failed.extend(world.row.running().find(|run| run.job == job).map(|run| run.at));
                        world.facts.insert(job, JobFact::Failed("no luck".to_owned()));
                    }
                }
                Event::Stick(index) => {
                    if let Some(job) = pick(index) {
                        world.facts.insert(job, JobFact::Stuck("no store".to_owned()));
                    }
                }
            }
            let before = world.runs.len();
            world.look();
            prop_assert!(world.runs.len() <= before + 2, "a storm");
            let count = world.runs.len();
            world.look();
            prop_assert_eq!(world.runs.len(), count, "looking again begins nothing");
            prop_assert!(world.row.incrementals.running.len() <= 1);
            for (kind, run) in &world.runs[before.min(count)..] {
                let state = run.as_of.unwrap();
                prop_assert!(state <= world.engine);
                // One that is made again after a crash is the same.
                if jobs.insert(run.job) && *kind == Kind::Incremental {
                    let chain = run.onto.clone().unwrap();
                    let end = ends.entry(chain).or_insert(Timestamp::MIN);
                    prop_assert!(state > *end || failed.contains(&run.at), "an incremental that goes back");
                    *end = state.max(*end);
                }
            }
            let next = world.row.fulls.next.unwrap();
            let remembered = world.row.fulls.taken.len() as u64;
            prop_assert!(next > at(world.wall));
            prop_assert!(next.since(at(world.wall)) <= Duration::from_secs((remembered + 1) * DAY), "a pause of years");
        }
        for kind in [Kind::Full, Kind::Incremental] {
            let mut seen = BTreeSet::new();
            for (_, run) in world.runs.iter().filter(|(of, _)| *of == kind) {
                prop_assert!(seen.insert(run.at) || failed.contains(&run.at), "{kind:?} of {} twice", run.at);
            }
        }
    }
}

/// The same world with a plan that does not look at what fell due already: the property must notice.
#[test]
fn planted_bug_a_plan_that_forgets_repeats_a_run() {
    let mut world = World::new("@hourly", "always");
    world.until(BEGIN + 2 * HOUR + 30);
    let runs = world.runs.len();
    world.row.fulls.taken.clear();
    world.wall -= MINUTE;
    // What is as of then is there already, so even then no second backup is made of it; the time comes again.
    world.look();
    assert_eq!(world.row.fulls.next, Some(at(BEGIN + 2 * HOUR)));
    world.row.chain = None;
    world.until(BEGIN + 2 * HOUR);
    assert_eq!(world.runs.len(), runs + 1);
}

#[test]
fn fulls_alone_have_no_incrementals() {
    let mut world = World::new("@daily", "always");
    world.until(BEGIN + 3 * DAY);
    assert_eq!(world.row.incrementals, Track::default());
    assert_eq!(world.row.spec.full, FullCadence::Always);
}
