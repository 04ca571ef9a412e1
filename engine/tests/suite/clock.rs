//! The hybrid clock: it never goes back and never gives a timestamp twice.

use std::time::Duration;

use icecore_engine::{Durability, Engine, Error};
use icecore_mvcc::Timestamp;

use crate::common::{Fixture, START, put, small, ts};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[test]
fn it_follows_the_wall_clock_and_never_goes_back() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    db.clock.set(ts(2 * START));
    assert_eq!(put(&a, "k", "1"), ts(2 * START));
    assert_eq!(put(&a, "k", "2"), ts(2 * START).next());
    db.clock.set(ts(START));
    assert_eq!(
        put(&a, "k", "3"),
        ts(2 * START + 2),
        "the wall clock went back"
    );
    assert_eq!(db.engine().now(), ts(2 * START + 2));
    db.clock.set(ts(3 * START));
    assert_eq!(db.engine().now(), ts(3 * START));
    assert_eq!(put(&a, "k", "4"), ts(3 * START));
}

#[test]
fn jumps_of_ten_years_either_way() {
    let mut db = Fixture::new();
    db.clock.set(
        ts(START)
            .saturating_add(TEN_YEARS)
            .saturating_add(TEN_YEARS),
    );
    let a = db.keyspace("a");
    let mut last = Timestamp::MIN;
    let mut check = |at: Timestamp| {
        assert!(at > last, "{at} after {last}");
        last = at;
    };
    check(put(&a, "k", "1"));
    let forward = db.clock.advance(TEN_YEARS);
    check(put(&a, "k", "2"));
    db.clock
        .set(forward.saturating_sub(TEN_YEARS).saturating_sub(TEN_YEARS));
    check(put(&a, "k", "3"));
    drop(a);
    for _ in 0..2 {
        db.reopen();
        check(put(&db.keyspace("a"), "k", "4"));
        db.drop_and_open();
        check(put(&db.keyspace("a"), "k", "5"));
    }
    assert_eq!(
        db.keyspace("a")
            .versions(&db.engine().snapshot(), b"k")
            .unwrap()
            .len(),
        7
    );
}

#[test]
fn a_clean_restart_goes_on_at_once_and_a_crash_leaps_by_the_reservation_at_most() {
    let mut db = Fixture::new();
    let reservation = db.options.clock_reservation;
    let last = put(&db.keyspace("a"), "k", "1");
    db.reopen();
    assert_eq!(db.engine().visible(), last);
    let last = put(&db.keyspace("a"), "k", "2");
    // A copy of the folder as a crash would leave it: the engine is still running.
    let crashed = db.path("crashed");
    copy(&db.dir(), &crashed);
    let engine = Engine::open(&crashed, &db.options).unwrap();
    let after = put(&engine.keyspace("a").unwrap(), "k", "3");
    assert!(
        after > last && after.since(last) <= reservation + Duration::from_nanos(1),
        "{after} after {last}"
    );
    assert_eq!(
        engine
            .keyspace("a")
            .unwrap()
            .versions(&engine.snapshot(), b"k")
            .unwrap()
            .len(),
        3
    );
}

/// Timestamps of commits that a crash lost, and those of times that were only read, are not given
/// again: somebody may have seen them.
#[test]
fn a_time_that_was_read_is_not_committed_at_after_a_crash() {
    let db = Fixture::new();
    put(&db.keyspace("a"), "k", "1");
    let read = db.clock.advance(Duration::from_secs(3600));
    let _snapshot = db.engine().snapshot_at(read).unwrap();
    let crashed = db.path("crashed");
    copy(&db.dir(), &crashed);
    db.clock.set(ts(START));
    let engine = Engine::open(&crashed, &db.options).unwrap();
    assert!(put(&engine.keyspace("a").unwrap(), "k", "2") > read);
}

#[test]
fn the_future_cannot_be_read() {
    let db = Fixture::new();
    let now = db.engine().now();
    assert!(db.engine().snapshot_at(now).is_ok());
    let refused = db.engine().snapshot_at(now.next()).unwrap_err();
    assert!(
        matches!(refused, Error::InFuture { requested, now: at } if requested == now.next() && at == now)
    );
}

#[test]
fn reading_now_settles_it() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let read = db.tick();
    let snapshot = db.engine().snapshot_at(read).unwrap();
    let at = put(&a, "k", "later");
    assert!(at > read);
    assert_eq!(a.get_at(&snapshot, b"k").unwrap(), None);
}

/// Bug: at the last timestamp there is, the clock gave it again and again.
#[test]
fn at_the_end_of_time_commits_are_refused() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    db.clock.set(Timestamp::MAX);
    let first = a.put("k", "1", Durability::Buffered);
    let second = a.put("k", "2", Durability::Buffered);
    assert!(
        first.is_err() || second.is_err(),
        "{first:?} and {second:?}"
    );
    db.clock.set(ts(START));
    put(&a, "k", "3");
}

/// Bug: a reservation of centuries was taken, and a crash then left no timestamps to give.
#[test]
fn an_absurd_reservation_is_refused() {
    let mut options = small();
    options.clock_reservation = Duration::MAX;
    assert!(matches!(
        options.validate(),
        Err(Error::InvalidOption {
            name: "clock_reservation",
            ..
        })
    ));
}

/// Copies a database folder file by file, while it is in use.
pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
