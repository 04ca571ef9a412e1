//! The change feed: transactions whole, in commit order, only once they are visible, and never with a gap.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use icecore_engine::{
    Batch, CatalogChange, CommittedTransaction, Durability, Engine, Error, Feed, FeedOptions,
    Keyspace, ResumeToken, SYSTEM_KEYSPACE, SweepBudget,
};
use icecore_mvcc::{KeyspaceSettings, NamePattern, Timestamp};

use crate::common::{Fixture, START, delete, put, ts};

const PATIENCE: Duration = Duration::from_secs(20);

fn feed(db: &Fixture, after: Timestamp) -> Feed {
    db.engine().subscribe(FeedOptions::new(after)).unwrap()
}

/// All that is there.
fn drain(feed: &mut Feed) -> Vec<CommittedTransaction> {
    std::iter::from_fn(|| feed.try_next().unwrap()).collect()
}

/// Rows as text: `a.b/key=value`, `a.b/key-` for a delete.
fn rows(transaction: &CommittedTransaction) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let row = |change: &icecore_engine::FeedChange| match &change.value {
        Some(value) => format!("{}/{}={}", change.name, text(&change.key), text(value)),
        None => format!("{}/{}-", change.name, text(&change.key)),
    };
    transaction.changes.iter().map(row).collect()
}

/// Raises every threshold as far as it goes, sweeps, purges and trims; the threshold of the first one.
fn collect(engine: &Engine) {
    let system = engine.keyspace_by_id(SYSTEM_KEYSPACE).unwrap();
    for keyspace in engine.all_keyspaces().iter().chain([&system]) {
        let guard = engine.gc_guard();
        guard.raise(keyspace.id(), engine.visible()).unwrap();
        drop(guard);
        while !engine.sweep(keyspace, SweepBudget::default()).unwrap().done {}
    }
    engine.purge_dropped().unwrap();
    engine.trim_commit_index().unwrap();
}

#[test]
fn transactions_come_whole_and_in_order_with_what_they_did_to_the_catalog() {
    let db = Fixture::new();
    let mut all = feed(&db, Timestamp::MIN);
    let (a, b) = (db.keyspace("bank.a"), db.keyspace("bank.b"));
    let first = put(&a, "k", "1");
    let mut batch = Batch::new();
    batch.put(&b, "y", "2").put(&a, "z", "").delete(&a, "k");
    batch.put(&b, "x", "1").put(&b, "y", "3");
    let second = db.engine().commit(batch, Durability::Buffered).unwrap();
    let settings = KeyspaceSettings {
        gc_ttl: Duration::from_secs(7),
        ..KeyspaceSettings::default()
    };
    db.engine().alter_keyspace("bank.b", settings).unwrap();
    let dropped = db.engine().drop_keyspace("bank.a").unwrap();

    let got = drain(&mut all);
    let shown: Vec<(Vec<&str>, Vec<String>)> = got
        .iter()
        .map(|t| (t.catalog.iter().map(kind).collect(), rows(t)))
        .collect();
    let none = Vec::<String>::new;
    let strings = |rows: &[&str]| rows.iter().map(|r| (*r).to_owned()).collect();
    assert_eq!(
        shown,
        [
            (vec!["created bank.a"], none()),
            (vec!["created bank.b"], none()),
            (vec![], strings(&["bank.a/k=1"])),
            (
                vec![],
                strings(&["bank.a/k-", "bank.a/z=", "bank.b/x=1", "bank.b/y=3"])
            ),
            (vec!["altered bank.b"], none()),
            (vec!["dropped bank.a"], none()),
        ]
    );
    assert!(got.is_sorted_by(|a, b| a.timestamp < b.timestamp));
    assert_eq!((got[2].timestamp, got[3].timestamp), (first, second));
    assert!(got.iter().all(|t| t.part == 0 && t.last));
    assert!(
        got.iter()
            .all(|t| t.token.unwrap().position() == t.timestamp)
    );
    assert_eq!(got[5].catalog[0].descriptor().dropped, Some(dropped));
    assert_eq!(all.position(), db.engine().visible());
    assert!(all.try_next().unwrap().is_none());

    // From a token on: what comes after it, and nothing else.
    let mut rest = db
        .engine()
        .subscribe(FeedOptions::new(got[2].token.unwrap()));
    assert_eq!(drain(rest.as_mut().unwrap()), got[3..]);
}

fn kind(change: &CatalogChange) -> &'static str {
    let what = match change {
        CatalogChange::Created(_) => "created",
        CatalogChange::Restored(_) => "restored",
        CatalogChange::Altered(_) => "altered",
        CatalogChange::Dropped(_) => "dropped",
    };
    format!("{what} {}", change.descriptor().name).leak()
}

#[test]
fn a_feed_has_the_keyspaces_that_its_patterns_match_also_later_ones() {
    let db = Fixture::new();
    let other = db.keyspace("other.x");
    let mut options = FeedOptions::new(Timestamp::MIN);
    options.keyspaces = vec![NamePattern::parse("bank.*").unwrap()];
    let mut feed = db.engine().subscribe(options).unwrap();
    put(&other, "k", "1");
    let bank = db.keyspace("bank.a");
    let mut batch = Batch::new();
    batch.put(&other, "k", "2").put(&bank, "k", "1");
    db.engine().commit(batch, Durability::Buffered).unwrap();
    db.engine().drop_keyspace("other.x").unwrap();
    let got = drain(&mut feed);
    assert_eq!(got.len(), 2);
    assert_eq!(kind(&got[0].catalog[0]), "created bank.a");
    assert_eq!(rows(&got[1]), ["bank.a/k=1"]);
    // What it has not is behind it all the same.
    assert_eq!(feed.position(), db.engine().visible());
}

#[test]
fn what_an_earlier_commit_could_still_precede_waits_for_it() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let mut feed = feed(&db, db.engine().visible());
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    std::thread::scope(|scope| {
        let (engine, b, begun) = (db.engine(), &b, &begun);
        let load = scope.spawn(move || {
            let rows = (0..3).map(|n| {
                if n == 1 {
                    begun.send(()).unwrap();
                    wait.recv().unwrap();
                }
                Ok((format!("{n}"), "v"))
            });
            engine.bulk_load(b, rows).unwrap().ts
        });
        has_begun.recv().unwrap();
        let later = scope.spawn(|| put(&a, "k", "1"));
        // Its row is written long before the load ends; it is acknowledged, and delivered, after.
        let until = Instant::now() + PATIENCE;
        while db.engine().now() <= ts(START) || a.stats().memtable_bytes == 0 {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(feed.next(Duration::from_millis(100)).unwrap(), None);
        go.send(()).unwrap();
        let (load, later) = (load.join().unwrap(), later.join().unwrap());
        assert!(load < later);
        let got: Vec<_> = (0..2)
            .map(|_| feed.next(PATIENCE).unwrap().unwrap())
            .collect();
        assert_eq!((got[0].timestamp, got[1].timestamp), (load, later));
        assert_eq!(rows(&got[0]), ["b/0=v", "b/1=v", "b/2=v"]);
    });
}

#[test]
fn with_many_writers_nothing_is_missing_doubled_torn_or_out_of_order() {
    const WRITERS: u32 = 4;
    const COMMITS: u32 = 150;
    let db = Fixture::new();
    let spaces: Vec<Keyspace> = (0..3).map(|n| db.keyspace(&format!("s{n}"))).collect();
    let mut feed = feed(&db, db.engine().visible());
    let mut got: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut last = feed.position();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, spaces) = (&db, &spaces);
            scope.spawn(move || {
                for n in 0..COMMITS {
                    let mut batch = Batch::new();
                    for row in 0..=n % 7 {
                        let space = &spaces[(row as usize + n as usize) % spaces.len()];
                        batch.put(space, format!("{writer}/{n}/{row}"), "v");
                    }
                    let durability = match n % 10 {
                        0 => Durability::Sync,
                        _ => Durability::Buffered,
                    };
                    db.engine().commit(batch, durability).unwrap();
                }
            });
        }
        while got.len() < (WRITERS * COMMITS) as usize {
            let transaction = feed.next(PATIENCE).unwrap().expect("a writer's commit");
            assert!(transaction.last && transaction.timestamp > last);
            assert!(transaction.timestamp <= db.engine().visible());
            last = transaction.timestamp;
            let mut of = None;
            for change in &transaction.changes {
                let key = String::from_utf8(change.key.clone()).unwrap();
                let mut parts = key.split('/').map(|n| n.parse::<u32>().unwrap());
                let id = (parts.next().unwrap(), parts.next().unwrap());
                assert_eq!(*of.get_or_insert(id), id, "of one commit");
            }
            let fresh = got.insert(of.unwrap(), transaction.changes.len());
            assert_eq!(fresh, None, "delivered twice");
        }
    });
    for ((_, n), rows) in got {
        assert_eq!(rows, (n % 7 + 1) as usize);
    }
    assert_eq!(feed.try_next().unwrap(), None);
}

#[test]
fn a_waiting_feed_wakes_when_something_is_published_and_not_before_its_time_is_up() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut feed = feed(&db, db.engine().visible());
    let began = Instant::now();
    assert_eq!(feed.next(Duration::from_millis(50)).unwrap(), None);
    assert!(began.elapsed() >= Duration::from_millis(50));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let got = feed.next(PATIENCE).unwrap();
            (got, began.elapsed())
        });
        std::thread::sleep(Duration::from_millis(50));
        put(&a, "k", "1");
        let (got, after) = waiting.join().unwrap();
        assert_eq!(rows(&got.unwrap()), ["a/k=1"]);
        assert!(after < PATIENCE / 2, "it slept on");
    });
}

#[test]
fn large_transactions_and_bulk_loads_come_in_parts_of_bounded_size() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let start = db.engine().visible();
    let key = |n: u32| format!("{n:04}{}", "k".repeat(60));
    let mut batch = Batch::new();
    for n in 0..3000 {
        // About 200 KB of keys: several records of the index, and values beyond.
        batch.put(&a, key(n), vec![n as u8; 100]);
        if n % 100 == 0 {
            batch.delete(&b, key(n));
        }
    }
    let large = db.engine().commit(batch, Durability::Buffered).unwrap();
    // Older and newer versions lie between those of the load.
    put(&b, key(7), "before");
    let rows = (0..2000).map(|n| Ok((key(n), [n as u8; 100])));
    let load = db.engine().bulk_load(&b, rows).unwrap().ts;
    put(&b, key(8), "after");

    for part_bytes in [0, 1000, 50_000, 1 << 30] {
        let mut options = FeedOptions::new(start);
        options.part_bytes = part_bytes;
        let mut feed = db.engine().subscribe(options).unwrap();
        let got = drain(&mut feed);
        for (at, count) in [(large, 3030), (load, 2000)] {
            let parts: Vec<_> = got.iter().filter(|t| t.timestamp == at).collect();
            assert!(parts.iter().enumerate().all(|(n, t)| t.part == n as u32));
            let (last, others) = parts.split_last().unwrap();
            assert!(last.last && last.token.unwrap().position() == at);
            assert!(others.iter().all(|t| !t.last && t.token.is_none()));
            assert!(!last.changes.is_empty(), "{part_bytes}");
            match part_bytes {
                0 => assert_eq!(parts.len(), count),
                1000 | 50_000 => {
                    assert!(parts.len() > count * 150 / part_bytes);
                    let of = |t: &CommittedTransaction| -> usize {
                        let row = |c: &icecore_engine::FeedChange| {
                            c.key.len() + c.value.as_ref().map_or(0, Vec::len)
                        };
                        t.changes.iter().map(row).sum()
                    };
                    assert!(parts.iter().all(|t| of(t) <= part_bytes + 300));
                }
                _ => assert_eq!(parts.len(), 1),
            }
            let all: Vec<_> = parts.iter().flat_map(|t| &t.changes).collect();
            assert_eq!(all.len(), count);
            assert!(all.is_sorted_by(|x, y| (x.keyspace, &x.key) < (y.keyspace, &y.key)));
        }
        assert_eq!(got.iter().filter(|t| t.last).count(), 4);
    }
}

#[test]
fn a_living_feed_holds_collection_and_where_none_does_the_gap_is_an_error_with_both_times() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let start = put(&a, "k", "0");
    let mut feed = feed(&db, start);
    let written: Vec<_> = (1..20).map(|n| put(&a, "k", n.to_string())).collect();
    delete(&a, "k");
    db.tick();
    collect(db.engine());
    db.engine().compact(&a).unwrap();
    assert_eq!(a.threshold(), start, "held where the feed stands");
    for (n, at) in written[..5].iter().enumerate() {
        let got = feed.try_next().unwrap().unwrap();
        assert_eq!(
            (got.timestamp, rows(&got)),
            (*at, vec![format!("a/k={}", n + 1)])
        );
        // What it was just given can be read as of its time.
        collect(db.engine());
        assert_eq!(a.threshold(), *at);
        let then = db.engine().snapshot_at(*at).unwrap();
        assert!(a.get_at(&then, b"k").unwrap().is_some());
    }
    let token = feed.token();
    drop(feed);
    let mut again = db.engine().subscribe(FeedOptions::new(token)).unwrap();
    assert_eq!(again.try_next().unwrap().unwrap().timestamp, written[5]);
    drop(again);

    collect(db.engine());
    let refused = db.engine().subscribe(FeedOptions::new(token)).unwrap_err();
    let Error::FeedGap {
        position, floor, ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((position, floor), (written[4], a.threshold()));
    assert!(db.engine().subscribe(FeedOptions::new(floor)).is_ok());
}

#[test]
fn a_threshold_of_a_keyspace_that_is_not_followed_is_no_gap() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let start = put(&a, "k", "1");
    let next = put(&a, "k", "2");
    put(&b, "k", "1");
    let guard = db.engine().gc_guard();
    guard.raise(b.id(), db.engine().visible()).unwrap();
    drop(guard);
    let mut options = FeedOptions::new(start);
    let refused = db.engine().subscribe(options.clone()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("the history of keyspace b is gone"),
        "{refused}"
    );
    options.keyspaces = vec![NamePattern::parse("a").unwrap()];
    let mut feed = db.engine().subscribe(options).unwrap();
    assert_eq!(feed.try_next().unwrap().unwrap().timestamp, next);
}

#[test]
fn tokens_of_other_databases_and_of_lost_states_are_refused_by_name() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    put(&a, "k", "1");
    let token = feed(&db, db.engine().visible()).token();
    let refusal = |engine: &Engine, token: ResumeToken| {
        let refused = engine.subscribe(FeedOptions::new(token)).unwrap_err();
        assert!(matches!(refused, Error::ResumeToken { .. }), "{refused}");
        refused.to_string()
    };
    let other = Fixture::new();
    let text = refusal(other.engine(), token);
    for id in [db.engine().id(), other.engine().id()] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    let copy = db.path("copy");
    db.engine().checkpoint(&copy).unwrap();
    let fork = Engine::open(&copy, &db.options).unwrap();
    assert!(refusal(&fork, token).contains("a checkpoint of it"));

    // A time that was never reached.
    let text = token.to_string();
    let (rest, _) = text.rsplit_once('-').unwrap();
    let ahead = format!("{rest}-{:016x}", 2 * START).parse().unwrap();
    assert!(refusal(db.engine(), ahead).contains("a later state of it was lost"));
    let in_future = db.engine().subscribe(FeedOptions::new(ts(2 * START)));
    assert!(matches!(in_future.unwrap_err(), Error::InFuture { .. }));
}

#[test]
fn the_feed_of_a_database_opened_read_only_ends_where_the_database_does() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    let start = put(&a, "k", "1");
    let last = put(&a, "k", "2");
    drop(a);
    db.close();
    let engine = Engine::open_read_only(db.dir(), &db.options).unwrap();
    let mut feed = engine.subscribe(FeedOptions::new(start)).unwrap();
    assert_eq!(feed.try_next().unwrap().unwrap().timestamp, last);
    assert_eq!(feed.next(Duration::from_millis(10)).unwrap(), None);
}
