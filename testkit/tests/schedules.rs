//! Schedules through the library, with a clock that the test moves: what they take, what they hold against garbage
//! collection, and what stops, pauses and restores do to them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod flaky;
mod timetable;

use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore_archive::BackupSelector;
use icecore_backup::jobs::{BackupJobs, BackupSpec, JobRunner, JobState, RunnerOptions};
use icecore_backup::schedule::{
    Kind, NewSchedule, OnFailure, Outcome, ScheduleChange, ScheduleOptions, ScheduleRunner,
    ScheduleStatus, ScheduleTable, UpkeepSpec,
};
use icecore_backup::{BackupOptions, Error, Mode, backup};
use icecore_engine::Engine;
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use timetable::{BEGIN, DAY, HOUR, MINUTE, Timetable, at, state_of};

#[test]
fn backups_are_as_of_the_times_for_which_they_fell_due() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    table.run_well();
    // Somebody looks at odd times, often minutes late; rows are written all the while.
    for step in 0..160 {
        table.write(step);
        table.pass(11 * MINUTE);
        if step % 4 == 0 {
            table.run_well();
        }
    }
    let ends = table.ends();
    assert!(
        ends[0] >= at(BEGIN) && ends[0] < at(BEGIN + 1),
        "the first at once: {}",
        ends[0]
    );
    assert!(ends.len() > 28, "{ends:?}");
    for end in &ends[1..] {
        assert_eq!(end.nanos() % (HOUR * 1_000_000_000), 0, "{end}");
    }
    let chains = table.chains();
    assert_eq!(chains.len(), 2, "and a full at midnight");
    assert_eq!(chains[1][0].end, at(BEGIN - 30 + DAY));
    for time in ends.iter().step_by(5) {
        let restored = table.restored(BackupSelector::Latest, ends[ends.len() - 1]);
        assert!(restored == table.state_at(ends[ends.len() - 1]));
        let chain = chains.iter().rfind(|chain| chain[0].end <= *time).unwrap();
        let full = BackupSelector::Full(chain[0].path.full().clone());
        assert!(
            table.restored(full, *time) == table.state_at(*time),
            "as of {time}"
        );
    }
}

/// Garbage collection with no TTL at all between all looks, over several fulls: every incremental finds its window
/// whole, and every time that is covered comes back.
#[test]
fn incrementals_outlive_any_ttl_and_new_fulls_leave_no_gap() {
    let mut table = Timetable::new();
    table.create(NewSchedule {
        full: Some("0 */6 * * *".parse().unwrap()),
        ..table.hourly()
    });
    for hour in 0..20 {
        table.collect();
        table.run_well();
        table.collect();
        table.write(hour);
        table.collect();
        table.pass(HOUR);
        assert!(table.records().len() <= 2, "{:?}", table.records());
        let age = table.status().protected_age;
        assert!(
            age.is_some_and(|age| age <= Duration::from_secs(HOUR + MINUTE)),
            "{age:?}"
        );
    }
    let chains = table.chains();
    assert_eq!(chains.len(), 4);
    // From run to run and across fulls: each layer begins where one before ended.
    for chain in &chains {
        for pair in chain.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
        }
    }
    for pair in chains.windows(2) {
        assert!(
            pair[0].last().unwrap().end >= pair[1][0].end,
            "covered up to the new full"
        );
    }
    table.compare_all();
}

#[test]
fn a_full_that_takes_hours_is_no_pause_of_its_incrementals() {
    let mut table = Timetable::new();
    table.create(NewSchedule {
        full: Some("0 */6 * * *".parse().unwrap()),
        backup: BackupSpec {
            max_requests_per_second: Some(25.try_into().unwrap()),
            ..table.spec()
        },
        ..table.hourly()
    });
    table.run_well();
    table.pass(6 * HOUR);
    table.write(1);
    // Its job has begun, and is paused by hand: it is slow.
    table.look();
    let full = table.row().fulls.running[0].job;
    let runner = table.runner.as_ref().unwrap();
    while runner.get(full).unwrap().protection.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    runner.pause(full).unwrap();
    while runner.get(full).unwrap().state != JobState::Paused {
        std::thread::sleep(Duration::from_millis(1));
    }
    for hour in 0..4 {
        table.run_well();
        table.collect();
        table.write(10 + hour);
        table.pass(HOUR);
    }
    let old = table.row().chain.unwrap();
    assert!(old.begins < at(BEGIN + 1), "the chain before");
    assert_eq!(old.end, at(BEGIN - 30 + 9 * HOUR), "goes on");
    table.runner.as_ref().unwrap().resume(full).unwrap();
    table.run_well();
    table.collect();
    table.write(20);
    table.pass(HOUR);
    table.run_well();
    let new = table.row().chain.unwrap();
    assert_eq!(new.begins, at(BEGIN - 30 + 6 * HOUR));
    assert_eq!(new.end, at(BEGIN - 30 + 11 * HOUR));
    table.compare_all();
}

#[test]
fn what_was_missed_while_nobody_ran_it_is_one_backup() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    table.run_well();
    table.write(1);
    table.close();
    table.pass(40 * DAY);
    table.open(2);
    table.write(2);
    table.pass(20 * MINUTE);
    assert_eq!(table.run_well(), 2, "a full and an incremental");
    let midnight = at(BEGIN - 30 + 40 * DAY);
    assert_eq!(table.row().fulls.last.unwrap().at, midnight);
    assert_eq!(table.run_well(), 0);
    table.compare_all();
}

/// The engine's clock never goes back; the calendar follows the wall.
#[test]
fn a_clock_that_jumps_a_decade_and_back_costs_no_backup() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    let mut number = 0;
    let mut hours = |table: &mut Timetable, hours: u64| {
        let mut runs = 0;
        for _ in 0..hours {
            number += 1;
            table.write(number);
            table.pass(HOUR);
            table.write(1000 + number);
            runs += table.run_well();
        }
        runs
    };
    table.run_well();
    assert_eq!(hours(&mut table, 3), 3);
    let here = BEGIN + 3 * HOUR;
    table.clock.set(at(here + 3653 * DAY));
    assert_eq!(table.run_well(), 2, "one of each kind for ten years");
    table.clock.set(at(here));
    assert_eq!(table.run_well(), 0);
    assert_eq!(hours(&mut table, 3), 3);
    table.clock.set(at(here - 3653 * DAY));
    assert_eq!(table.run_well(), 0);
    assert_eq!(hours(&mut table, 3), 3);
    table.clock.set(at(here + 6 * HOUR));
    assert!(table.run_well() <= 2, "for what was missed meanwhile");
    assert_eq!(hours(&mut table, 3), 3);
    let last = table.ends().pop().unwrap();
    assert!(table.restored(BackupSelector::Latest, last) == table.state_at(last));
}

#[test]
fn pause_resume_alter_run_now_and_drop() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    table.run_well();
    let schedules = table.table();
    schedules.pause("hourly").unwrap();
    table.pass(5 * HOUR);
    assert_eq!(table.run_well(), 0);
    let status = table.status();
    assert_eq!(status.next, None);
    assert_eq!(status.rests.as_deref(), Some("somebody paused it"));
    // Asked for, it comes all the same.
    table.write(1);
    assert_eq!(
        schedules.run_now("hourly", false).unwrap().1,
        Kind::Incremental
    );
    assert_eq!(table.run_well(), 1);
    assert_eq!(schedules.run_now("hourly", true).unwrap().1, Kind::Full);
    table.pass(1);
    assert_eq!(table.run_well(), 1);
    assert_eq!(table.chains().len(), 2);
    schedules.resume("hourly").unwrap();
    assert_eq!(
        table.run_well(),
        0,
        "what was missed while it was paused is left out"
    );
    let (kind, next) = table.status().next.unwrap();
    assert_eq!((kind, next), (Kind::Incremental, at(BEGIN - 30 + 6 * HOUR)));
    let change = ScheduleChange {
        recurring: Some("30 * * * *".parse().unwrap()),
        on_execution_failure: Some(OnFailure::Pause),
        keep_fulls: Some(3),
        ..ScheduleChange::default()
    };
    let row = schedules.alter("hourly", &change).unwrap();
    assert_eq!(
        row.incrementals.next,
        Some(at(BEGIN - 30 + 5 * HOUR + 30 * MINUTE))
    );
    assert_eq!(row.spec.upkeep.keep_fulls, Some(3));
    assert_eq!(
        row.spec.full.to_string(),
        "@daily",
        "what is not named stays"
    );
    table.pass(31 * MINUTE);
    assert_eq!(table.run_well(), 1);
    let swapped = ScheduleChange {
        full: Some("* * * * *".parse().unwrap()),
        ..ScheduleChange::default()
    };
    let refused = schedules.alter("hourly", &swapped).unwrap_err();
    assert!(
        matches!(refused, Error::ScheduleRefused { .. }),
        "{refused}"
    );
    assert_eq!(table.records().len(), 1);
    assert_eq!(schedules.remove("hourly", false).unwrap(), 1);
    assert!(table.records().is_empty(), "nothing is held any more");
    table.pass(DAY);
    assert_eq!(table.run_well(), 0);
    assert!(matches!(
        schedules.get("hourly"),
        Err(Error::NoSuchSchedule { .. })
    ));
    assert!(matches!(
        schedules.remove("hourly", false),
        Err(Error::NoSuchSchedule { .. })
    ));
    table.compare_all();
}

#[test]
fn what_may_not_be_is_refused() {
    let table = Timetable::new();
    let schedules = table.table();
    let create = |new: NewSchedule| table.runtime.block_on(schedules.create(new, &table.store));
    type Change = fn(&mut NewSchedule);
    let with = |change: Change| {
        let mut new = table.hourly();
        change(&mut new);
        create(new).unwrap_err().to_string()
    };
    let cases: [(&str, Change); 11] = [
        ("a label has", |new| new.label = String::new()),
        ("a label is one line", |new| new.label = "--all".to_owned()),
        ("chooses chains and times itself", |new| {
            new.backup.onto = Some("LATEST".to_owned())
        }),
        ("chooses chains and times itself", |new| {
            new.backup.as_of = Some("-1h".to_owned())
        }),
        ("holds credentials", |new| {
            new.backup.into =
                "s3://b/p?AWS_ACCESS_KEY_ID=i&AWS_SECRET_ACCESS_KEY=CANARY&AWS_REGION=r".into();
        }),
        ("come more often", |new| {
            new.full = Some("*/5 * * * *".parse().unwrap())
        }),
        ("in the past", |new| new.first_run = Some("-1h".to_owned())),
        ("fast fulls hold every version", |new| {
            (new.backup.mode, new.backup.revision_history) = (Mode::Fast, false);
        }),
        ("--compact-after is below 2", |new| {
            new.upkeep.compact_after = Some(1)
        }),
        ("keep at least 1", |new| new.upkeep.keep_fulls = Some(0)),
        ("--grace is of no use", |new| {
            new.upkeep.grace = Some(Duration::ZERO)
        }),
    ];
    for (why, change) in cases {
        let told = with(change);
        assert!(told.contains(why) && !told.contains("CANARY"), "{told}");
    }
    assert!(table.table().list().unwrap().is_empty());
    create(table.hourly()).unwrap();
    assert!(matches!(
        create(table.hourly()),
        Err(Error::ScheduleExists { .. })
    ));
}

#[test]
fn a_collection_that_holds_backups_is_taken_only_when_that_is_meant() {
    let mut table = Timetable::new();
    table.write(1);
    table.create(table.hourly());
    table.run_well();
    let other = NewSchedule {
        label: "other".to_owned(),
        backup: BackupSpec {
            keyspaces: vec!["bank.*".to_owned()],
            ..table.spec()
        },
        ..table.hourly()
    };
    let schedules = table.table();
    let refused = table
        .runtime
        .block_on(schedules.create(other.clone(), &table.store));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("holds backups already"), "{refused}");
    let twin = NewSchedule {
        label: "twin".to_owned(),
        ignore_existing_backups: true,
        ..table.hourly()
    };
    let refused = table.runtime.block_on(schedules.create(twin, &table.store));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("end the other's protection"), "{refused}");
    table.create(NewSchedule {
        ignore_existing_backups: true,
        ..other
    });
    // Each goes on with its own chain.
    table.pass(MINUTE);
    table.run_well();
    for hour in 0..3 {
        table.collect();
        table.write(hour);
        table.pass(HOUR);
        assert_eq!(table.run_well(), 2);
    }
    assert_eq!(
        table.chains().iter().map(Vec::len).collect::<Vec<_>>(),
        [4, 4]
    );
    table.compare_all();
}

/// The row is written, and the process dies before the job is made, or before it is done.
#[test]
fn a_run_that_a_crash_cut_off_is_made_once() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    table.write(1);
    // Jobs are made, and nobody runs them.
    table.close();
    table.open(0);
    table.look();
    let job = table.row().fulls.running[0].job;
    // As if it had died between the row and the job.
    table
        .engine()
        .system()
        .delete("job", &job.to_string())
        .unwrap();
    table.close();
    table.pass(10 * MINUTE);
    table.open(2);
    table.write(2);
    assert_eq!(table.run_well(), 1);
    let jobs = table.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!((jobs[0].id, jobs[0].state), (job, JobState::Succeeded));
    let ends = table.ends();
    assert!(ends.len() == 1 && ends[0] < at(BEGIN + 1), "{ends:?}");
    table.compare_all();
}

#[test]
fn a_store_that_goes_away_costs_no_schedule() {
    for policy in [OnFailure::Retry, OnFailure::Reschedule, OnFailure::Pause] {
        let mut table = Timetable::new();
        table.create(NewSchedule {
            on_execution_failure: policy,
            ..table.hourly()
        });
        table.run_well();
        table.write(1);
        table.pass(HOUR);
        table.flaky.fail_from(3);
        let failed = table.run();
        assert!(failed.contains(&Outcome::Failed), "{failed:?}");
        assert!(!failed.contains(&Outcome::Succeeded), "{failed:?}");
        let last = table.row().incrementals.last.unwrap();
        assert!(last.note.unwrap().contains("injected"));
        // The first retry comes at once.
        assert!(table.run().len() <= usize::from(policy == OnFailure::Retry));
        assert_eq!(table.run().len(), 0, "it does not hammer the store");
        table.flaky.heal();
        table.collect();
        table.write(2);
        table.pass(HOUR);
        match policy {
            OnFailure::Pause => {
                assert_eq!(table.run().len(), 0);
                let reason = table.status().rests.unwrap();
                assert!(reason.starts_with("an incremental failed: "), "{reason}");
                table.table().resume("hourly").unwrap();
                assert_eq!(table.run_well(), 1, "what it had begun");
            }
            // What it had begun, and then what is due by now.
            _ => assert_eq!(table.run_well(), 2, "{policy:?}"),
        }
        table.pass(HOUR);
        assert_eq!(table.run_well(), 1);
        assert!(
            table
                .jobs()
                .iter()
                .all(|job| job.state == JobState::Succeeded)
        );
        assert_eq!(table.row().incrementals.failures, 0);
        table.compare_all();
    }
}

#[test]
fn a_backup_that_cannot_be_is_a_failure_and_told() {
    let table = Timetable::new();
    table.create(NewSchedule {
        backup: BackupSpec {
            keyspaces: vec!["zoo.*".to_owned()],
            ..table.spec()
        },
        ..table.hourly()
    });
    assert_eq!(table.run(), [Outcome::Failed]);
    let (kind, last) = table.status().last.unwrap();
    assert_eq!(kind, Kind::Full);
    assert!(last.note.unwrap().contains("no keyspace matches zoo.*"));
    assert!(table.records().is_empty(), "it holds nothing");
}

#[test]
fn retention_and_compaction_come_with_the_backups() {
    let mut table = Timetable::new();
    table.create(NewSchedule {
        full: Some("0 */12 * * *".parse().unwrap()),
        upkeep: UpkeepSpec {
            keep_fulls: Some(2),
            grace: Some(Duration::ZERO),
            compact_after: Some(4),
            keep_for: None,
        },
        ..table.hourly()
    });
    for hour in 0..50 {
        table.run_well();
        assert_eq!(table.row().upkeep.error, None);
        table.write(hour);
        table.pass(HOUR);
        let (chains, longest) = (
            table.chains().len(),
            table.chains().iter().map(Vec::len).max(),
        );
        assert!(chains <= 2, "{chains} at hour {hour}");
        assert!(longest <= Some(9), "{longest:?} at hour {hour}");
    }
    assert_eq!(table.chains().len(), 2);
    table.compare_all();
    // What fails of it does not stop the backups, and is told.
    let place = table.folder.path().join("collection");
    let moved = place.with_extension("moved");
    std::fs::rename(&place, &moved).unwrap();
    let row = table.row();
    table
        .runtime
        .block_on(table.scheduler.as_ref().unwrap().tend(row));
    std::fs::rename(&moved, &place).unwrap();
    assert!(table.row().upkeep.error.unwrap().contains("no collection"));
    assert_eq!(table.run_well(), 1);
    assert_eq!(table.row().upkeep.error, None);
}

#[test]
fn fast_fulls_are_as_of_the_moment_in_which_they_are_taken() {
    let mut table = Timetable::new();
    table.create(NewSchedule {
        backup: BackupSpec {
            mode: Mode::Fast,
            ..table.spec()
        },
        full: Some("0 */3 * * *".parse().unwrap()),
        ..table.hourly()
    });
    for hour in 0..8 {
        table.write(hour);
        table.run_well();
        table.collect();
        table.pass(HOUR);
    }
    assert_eq!(table.chains().len(), 3);
    table.compare_all();
}

/// A backup of the whole engine carries its schedules. Where it is restored they rest, until somebody resumes them;
/// then they begin with a full of their own.
#[test]
fn schedules_come_back_with_the_engine_and_rest() {
    let mut table = Timetable::new();
    let system = table.engine().system();
    table.create(table.hourly());
    let json: serde_json::Value =
        serde_json::from_slice(&system.get("schedule", "hourly").unwrap().unwrap()).unwrap();
    let mut newer = json;
    newer["mood"] = "calm".into();
    system
        .put("schedule", "hourly", newer.to_string().into_bytes())
        .unwrap();
    drop(system);
    table.run_well();
    table.write(1);
    table.pass(HOUR);
    table.run_well();
    let folder = scratch::folder().unwrap();
    let options = scratch::small_engine(Arc::new(table.clock.clone()));
    let copy = Engine::open(folder.path().join("db"), &options).unwrap();
    let report = table.runtime.block_on(async {
        let collection = table.collection().await;
        restore(&copy, &collection, &RestoreOptions::default())
            .await
            .unwrap()
    });
    assert_eq!(report.schedules, ["hourly"]);
    let schedules = ScheduleTable::new(&copy);
    let status = ScheduleStatus::of(&copy, schedules.get("hourly").unwrap()).unwrap();
    let reason = status.rests.unwrap();
    assert!(
        reason.contains(&table.engine().id().to_string()),
        "{reason}"
    );
    assert_eq!((status.next, status.protected_age), (None, None));
    let json = copy.system().get("schedule", "hourly").unwrap().unwrap();
    assert!(
        String::from_utf8(json)
            .unwrap()
            .contains(r#""mood":"calm""#)
    );
    // Nobody runs it here, and no job of the other engine is made.
    let handler = Arc::new(BackupJobs::new(table.store.clone()));
    let runner = JobRunner::start(&copy, vec![handler], RunnerOptions::default()).unwrap();
    let scheduler = icecore_backup::schedule::Scheduler::new(runner.handle(), table.store.clone());
    table.pass(3 * HOUR);
    assert!(scheduler.look().unwrap().busy.is_empty());
    assert!(runner.list().unwrap().is_empty());
    assert!(schedules.run_now("hourly", true).is_err());
    schedules.resume("hourly").unwrap();
    table.pass(DAY);
    while !scheduler.look().unwrap().busy.is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let row = schedules.get("hourly").unwrap();
    assert_eq!(row.fulls.last.unwrap().outcome, Outcome::Succeeded);
    assert_eq!(row.engine, copy.id());
    let full = BackupSelector::Full(row.chain.unwrap().full);
    let now = copy.now();
    drop(scheduler);
    runner.stop().unwrap();
    assert!(table.runtime.block_on(async {
        let collection = table.collection().await;
        let head = collection.open_chain(&full).await.unwrap().head().unwrap();
        collection.read_layer(&head).await.unwrap().engine_id == copy.id() && head.end <= now
    }));
    // A backup of some keyspaces carries none.
    let manifest = table.runtime.block_on(async {
        let collection = table.collection().await;
        let options = BackupOptions {
            keyspaces: vec!["bank.*".parse().unwrap()],
            ..BackupOptions::default()
        };
        let report = backup(table.engine(), &collection, &options).await.unwrap();
        let chain = collection.chain(report.layer.full()).await.unwrap();
        collection.read_layer(&chain.head().unwrap()).await.unwrap()
    });
    assert!(manifest.system.is_empty());
    assert!(state_of(&copy) == table.state_at(at(BEGIN - 30 + HOUR)));
}

/// The thread that a server starts.
#[test]
fn the_runner_takes_what_falls_due_and_notices_a_jump() {
    let mut table = Timetable::new();
    table.create(table.hourly());
    table.write(1);
    table.scheduler = None;
    let options = ScheduleOptions {
        poll: Duration::from_millis(2),
        store: table.store.clone(),
    };
    let runner = ScheduleRunner::start(table.runner.as_ref().unwrap().handle(), options).unwrap();
    let wait = |what: &str, wanted: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(60);
        while !wanted() {
            assert!(Instant::now() < until, "never {what}: {:?}", table.row());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait("a first full", &|| table.row().fulls.succeeded.is_some());
    table.pass(HOUR);
    wait("an incremental", &|| {
        table.row().incrementals.succeeded.is_some()
    });
    table.pass(30 * DAY);
    wait("another full", &|| {
        table
            .row()
            .fulls
            .last
            .is_some_and(|last| last.at == at(BEGIN - 30 + 30 * DAY))
    });
    assert!(runner.is_running());
    runner.stop().unwrap();
    let before = table.jobs().len();
    table.pass(DAY);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(table.jobs().len(), before, "it has stopped");
}
