//! Restores: hidden until published, resumable, published all at once.

use icecore_engine::{
    ChangePlan, ChangeSet, Durability, Error, Publish, RestoreScope, RestoringKeyspace,
    ScanDirection,
};
use icecore_mvcc::{KeyRange, KeyspaceSettings, Timestamp};

use crate::clock::copy;
use crate::common::{Fixture, START, put, scan, scan_at, sst, ts, window};

fn begin(db: &Fixture, id: &str, name: &str) -> RestoringKeyspace {
    db.engine()
        .begin_restore(id, name, KeyspaceSettings::default())
        .unwrap()
}

/// A layer of two versions each of `count` keys, at `at` and 10 before.
fn layer(db: &Fixture, name: &str, at: u64, count: u32) -> std::path::PathBuf {
    let keys: Vec<Vec<u8>> = (0..count).map(|i| format!("{i:04}").into_bytes()).collect();
    let new = format!("at {at}");
    let rows: Vec<(&[u8], u64, Option<&[u8]>)> = keys
        .iter()
        .flat_map(|key| {
            [
                (key.as_slice(), at, Some(new.as_bytes())),
                (key.as_slice(), at - 10, Some(b"old".as_slice())),
            ]
        })
        .collect();
    sst(db.engine(), &db.engine().staging_dir().join(name), &rows)
}

fn publish(keyspace: RestoringKeyspace, threshold: u64) -> Publish {
    Publish {
        keyspace,
        threshold: ts(threshold),
    }
}

#[test]
fn nothing_shows_before_publication_and_everything_after() {
    let mut db = Fixture::new();
    let a = begin(&db, "r", "bank.a");
    let b = begin(&db, "r", "bank.b");
    assert!(a.ingest("1", &[layer(&db, "a1", 1000, 50)]).unwrap());
    assert!(a.ingest("2", &[layer(&db, "a2", 2000, 20)]).unwrap());
    assert!(b.ingest("1", &[layer(&db, "b1", 1500, 10)]).unwrap());
    assert!(db.engine().keyspaces().is_empty() && db.engine().all_keyspaces().is_empty());
    assert!(
        db.engine()
            .descriptors_at(db.engine().visible())
            .unwrap()
            .is_empty()
    );
    let newest = ts(3 * START);
    let keyspaces = db
        .engine()
        .publish_restore(vec![publish(a, 990), publish(b, 1490)], newest)
        .unwrap();
    assert_eq!(
        keyspaces.iter().map(|k| k.name()).collect::<Vec<_>>(),
        ["bank.a", "bank.b"]
    );
    assert!(db.engine().restoring().is_empty());
    let created = keyspaces[0].descriptor().created;
    assert!(created > newest, "the clock moves past the newest row");
    assert_eq!(
        keyspaces[1].descriptor().created,
        created,
        "one commit publishes all"
    );
    drop(keyspaces);
    for _ in 0..2 {
        let a = db.keyspace("bank.a");
        let d = a.descriptor();
        assert_eq!(
            (d.created, d.introduced, d.index_since, d.dropped),
            (created, created, created, None)
        );
        assert_eq!(a.threshold(), ts(990));
        assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Forward).len(), 50);
        assert_eq!(a.get(b"0003").unwrap(), Some(b"at 2000".to_vec()));
        let past = scan_at(&a, ts(1500), &KeyRange::all(), ScanDirection::Reverse);
        assert!(past.len() == 50 && past.iter().all(|(_, v)| v == b"at 1000"));
        let below = db.engine().snapshot_at(ts(989)).unwrap();
        assert!(matches!(
            a.get_at(&below, b"0003"),
            Err(Error::BelowThreshold { .. })
        ));
        assert_eq!(db.keyspace("bank.b").threshold(), ts(1490));
        // Its history is older than its life here, which began with the publication.
        let there = |at| db.engine().descriptors_at(at).unwrap().len();
        assert_eq!([ts(1500), created.prev(), created].map(there), [0, 0, 2]);
        drop(a);
        db.reopen();
    }
    assert!(put(&db.keyspace("bank.a"), "k", "v") > created);
}

#[test]
fn what_came_by_restore_is_found_by_scan_and_what_came_since_by_index() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap();
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    let published = db.engine().visible();
    put(&a, "new", "row");
    let now = db.engine().visible();
    assert_eq!(
        window(&a, Timestamp::MIN, now, ChangeSet::All, ChangePlan::Auto).len(),
        11
    );
    assert_eq!(
        window(&a, ts(995), now, ChangeSet::All, ChangePlan::Scan).len(),
        6
    );
    assert_eq!(
        window(&a, published, now, ChangeSet::All, ChangePlan::Index).len(),
        1
    );
    let options = icecore_engine::ChangeOptions {
        plan: ChangePlan::Index,
        ..Default::default()
    };
    let early = icecore_engine::Window {
        after: published.prev(),
        until: now,
    };
    let refused = a
        .changes(&KeyRange::all(), early, ChangeSet::All, &options)
        .map(|_| ())
        .unwrap_err();
    assert!(
        refused.to_string().contains("does not cover the window"),
        "{refused}"
    );
}

#[test]
fn a_restore_resumes_by_its_tags() {
    let mut db = Fixture::new();
    let a = begin(&db, "r", "a");
    assert!(a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap());
    assert!(
        !a.ingest("1", &[layer(&db, "again", 1000, 5)]).unwrap(),
        "a layer that is in is skipped"
    );
    assert!(
        a.ingest("nothing", &[]).unwrap(),
        "a layer may bring nothing to a keyspace"
    );
    drop(a);
    db.drop_and_open();
    assert_eq!(db.engine().restoring().len(), 1);
    let a = begin(&db, "r", "a");
    assert_eq!(a.ingested(), ["1", "nothing"]);
    assert_eq!((a.name(), a.restore_id().as_str()), ("a", "r"));
    assert!(a.ingest("2", &[layer(&db, "2", 2000, 5)]).unwrap());
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(2000))
        .unwrap()
        .remove(0);
    assert_eq!(
        a.versions(&db.engine().snapshot(), b"0001").unwrap().len(),
        4
    );
}

/// A crash after the ingest and before its record: the layer comes in twice, the same bytes.
#[test]
fn a_layer_that_came_in_twice_is_harmless() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap();
    a.ingest("1, as if it had no record", &[layer(&db, "2", 1000, 5)])
        .unwrap();
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    assert_eq!(
        window(
            &a,
            Timestamp::MIN,
            db.engine().visible(),
            ChangeSet::All,
            ChangePlan::Scan
        )
        .len(),
        10
    );
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Reverse).len(), 5);
    db.engine().compact(&a).unwrap();
    assert_eq!(
        window(
            &a,
            Timestamp::MIN,
            db.engine().visible(),
            ChangeSet::All,
            ChangePlan::Scan
        )
        .len(),
        10
    );
}

#[test]
fn a_crash_before_publication_leaves_it_hidden() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap();
    let crashed = db.path("crashed");
    copy(&db.dir(), &crashed);
    let engine = icecore_engine::Engine::open(&crashed, &db.options).unwrap();
    assert!(engine.all_keyspaces().is_empty());
    assert!(matches!(
        engine.keyspace("a"),
        Err(Error::NoSuchKeyspace { .. })
    ));
    let a = engine
        .begin_restore("r", "a", KeyspaceSettings::default())
        .unwrap();
    assert_eq!(a.ingested(), ["1"]);
    let a = engine
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Forward).len(), 5);
}

#[test]
fn names_in_use_are_refused() {
    let db = Fixture::new();
    db.keyspace("live");
    let settings = KeyspaceSettings::default;
    assert!(matches!(
        db.engine().begin_restore("r", "live", settings()),
        Err(Error::KeyspaceExists { .. })
    ));
    assert!(matches!(
        db.engine().begin_restore("r", "not a name", settings()),
        Err(Error::Invalid(_))
    ));
    let a = begin(&db, "r", "a");
    let refused = db
        .engine()
        .begin_restore("other", "a", settings())
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Restore { restore, .. } if restore == "r"),
        "{refused}"
    );
    // While the restore runs nothing else takes the name, so that it can be published.
    let refused = db.engine().create_keyspace("a", settings()).unwrap_err();
    assert!(
        matches!(&refused, Error::Restore { restore, .. } if restore == "r"),
        "{refused}"
    );
    db.engine()
        .publish_restore(vec![publish(a, 0)], ts(1))
        .unwrap();
    assert!(db.engine().keyspace("a").is_ok());
}

#[test]
fn an_abandoned_restore_is_gone_for_good() {
    let mut db = Fixture::new();
    let a = begin(&db, "r", "a");
    a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap();
    begin(&db, "r", "b");
    begin(&db, "other", "c");
    drop(a);
    assert_eq!(db.engine().abandon_restore("r").unwrap(), 2);
    assert_eq!(db.engine().abandon_restore("r").unwrap(), 0);
    db.reopen();
    assert_eq!(db.engine().restoring().len(), 1);
    let a = begin(&db, "r2", "a");
    assert!(a.ingested().is_empty());
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    assert!(scan(&a, &KeyRange::all(), ScanDirection::Forward).is_empty());
}

/// Bug: a handle kept from before the publication could still ingest, into a keyspace that was in
/// use, and left a restore record behind whose abandonment dropped the published keyspace.
#[test]
fn a_published_restore_takes_no_more_layers() {
    let mut db = Fixture::new();
    let a = begin(&db, "r", "a");
    let kept = a.clone();
    a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap();
    let published = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    let refused = kept.ingest("2", &[layer(&db, "2", 2000, 5)]).unwrap_err();
    assert!(matches!(&refused, Error::Restore { .. }), "{refused}");
    let refused = db
        .engine()
        .publish_restore(vec![publish(kept.clone(), 0)], ts(1000))
        .unwrap_err();
    assert!(
        matches!(
            &refused,
            Error::Restore { .. } | Error::KeyspaceExists { .. }
        ),
        "{refused}"
    );
    db.engine().drop_keyspace("a").unwrap();
    let refused = db
        .engine()
        .publish_restore(vec![publish(kept.clone(), 0)], ts(1000))
        .unwrap_err();
    assert!(matches!(&refused, Error::Restore { .. }), "{refused}");
    assert_eq!(db.engine().abandon_restore("r").unwrap(), 0);
    let id = published.id();
    drop((published, kept));
    db.reopen();
    assert!(db.engine().restoring().is_empty());
    assert!(db.engine().keyspace_by_id(id).unwrap().is_dropped());
}

/// Bug: ingesting into an abandoned restore wrote a record without a column family, after which
/// the database could not be opened.
#[test]
fn an_abandoned_restore_takes_no_more_layers() {
    let mut db = Fixture::new();
    let a = begin(&db, "r", "a");
    db.engine().abandon_restore("r").unwrap();
    assert!(matches!(
        a.ingest("1", &[layer(&db, "1", 1000, 5)]),
        Err(Error::Restore { .. })
    ));
    assert!(matches!(a.ingest("1", &[]), Err(Error::Restore { .. })));
    assert!(matches!(
        db.engine().publish_restore(vec![publish(a, 0)], ts(1000)),
        Err(Error::Restore { .. })
    ));
    db.reopen();
    assert!(db.engine().restoring().is_empty() && db.engine().keyspaces().is_empty());
}

#[test]
fn one_keyspace_is_published_once_in_a_call() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    let twice = vec![publish(a.clone(), 0), publish(a, 0)];
    assert!(matches!(
        db.engine().publish_restore(twice, ts(1000)),
        Err(Error::Restore { .. })
    ));
    assert!(db.engine().keyspaces().is_empty());
}

/// Bug: a threshold above the clock was taken, and a plain `get` then never returned.
#[test]
fn a_threshold_in_the_future_is_refused() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    let refused = db
        .engine()
        .publish_restore(vec![publish(a, 5 * START)], ts(1000))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(refused, Error::InFuture { .. }), "{refused}");
    assert_eq!(db.engine().restoring().len(), 1);
}

#[test]
fn a_damaged_file_is_refused_and_the_restore_goes_on() {
    let db = Fixture::new();
    let a = begin(&db, "r", "a");
    let path = db.engine().staging_dir().join("damaged");
    std::fs::write(
        &path,
        b"this is no SST file, however long it may be, and never was one",
    )
    .unwrap();
    assert!(matches!(a.ingest("1", &[path]), Err(Error::Rocks { .. })));
    assert!(a.ingested().is_empty());
    assert!(a.ingest("1", &[layer(&db, "1", 1000, 5)]).unwrap());
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(1000))
        .unwrap()
        .remove(0);
    a.put("k", "v", Durability::Sync).unwrap();
}

/// What an interrupted restore fetched is there for its next run, and for no longer.
#[test]
fn what_a_restore_staged_lives_as_long_as_the_restore() {
    let mut db = Fixture::new();
    let staged = |db: &Fixture, id: &str| {
        let dir = db.engine().restore_staging_dir(id).unwrap();
        std::fs::write(dir.join("f"), id).unwrap();
        dir
    };
    let r = begin(&db, "2022/r@5#1", "a");
    begin(&db, "s", "b");
    let (of_r, of_s, of_none) = (
        staged(&db, "2022/r@5#1"),
        staged(&db, "s"),
        staged(&db, "never begun"),
    );
    drop(r);
    db.reopen();
    assert_eq!(std::fs::read(of_r.join("f")).unwrap(), b"2022/r@5#1");
    assert!(of_s.exists());
    assert!(!of_none.exists(), "it is no restore's that there is");
    db.engine().abandon_restore("s").unwrap();
    assert!(of_r.exists() && !of_s.exists());
    let r = begin(&db, "2022/r@5#1", "a");
    db.engine()
        .publish_restore(vec![publish(r, 0)], ts(1000))
        .unwrap();
    assert!(!of_r.exists());
}

/// Many layers over each other, some published keyspace beside it in use all the time.
#[test]
fn a_long_chain_goes_in_beside_commits() {
    let db = Fixture::new();
    let other = db.keyspace("other");
    let a = begin(&db, "r", "a");
    for number in 1..=45_u64 {
        a.ingest(
            &format!("{number}"),
            &[layer(
                &db,
                &format!("layer-{number}"),
                1000 + 20 * number,
                20,
            )],
        )
        .unwrap();
        put(&other, "k", number.to_be_bytes());
    }
    let a = db
        .engine()
        .publish_restore(vec![publish(a, 0)], ts(2000))
        .unwrap()
        .remove(0);
    put(&other, "k", "after");
    put(&a, "0001", "after");
    assert_eq!(
        a.versions(&db.engine().snapshot(), b"0001").unwrap().len(),
        91
    );
    assert_eq!(
        scan_at(
            &a,
            ts(1000 + 20 * 30),
            &KeyRange::all(),
            ScanDirection::Reverse
        )[0]
        .1,
        b"at 1600"
    );
}

fn wanted(names: &[&str]) -> Vec<(String, KeyspaceSettings)> {
    let names = names.iter();
    names
        .map(|name| ((*name).to_owned(), KeyspaceSettings::default()))
        .collect()
}

/// Two restores that want the same names, in different orders, from two threads: one begins, and ends; the
/// other has taken none of the names that it could not have had all of.
#[test]
fn of_two_restores_with_common_names_one_gets_all_of_them() {
    let db = Fixture::new();
    let engine = db.engine();
    let (forward, backward) = (wanted(&["a", "b", "c", "x"]), wanted(&["y", "c", "b", "a"]));
    for round in 0..200 {
        let barrier = std::sync::Barrier::new(2);
        let begin = |id: String, names: &[(String, KeyspaceSettings)]| {
            barrier.wait();
            let begun = engine.begin_restores(&id, names, RestoreScope::Keyspaces);
            (id, begun)
        };
        let outcomes = std::thread::scope(|scope| {
            let one = scope.spawn(|| begin(format!("one-{round}"), &forward));
            let two = scope.spawn(|| begin(format!("two-{round}"), &backward));
            [one.join().unwrap(), two.join().unwrap()]
        });
        let begun: Vec<_> = outcomes.iter().filter(|(_, begun)| begun.is_ok()).collect();
        assert_eq!(begun.len(), 1, "round {round}");
        let winner = &begun[0].0;
        assert_eq!(engine.restoring().len(), 4);
        assert!(
            engine.restoring().iter().all(|r| r.restore_id() == *winner),
            "round {round}: the loser holds a name"
        );
        assert_eq!(engine.abandon_restore(winner).unwrap(), 4);
    }
}

#[test]
fn a_restore_that_cannot_have_one_of_its_names_takes_none() {
    let db = Fixture::new();
    db.keyspace("b");
    let engine = db.engine();
    let begun = |names: &[&str]| {
        let names = wanted(names);
        engine.begin_restores("r", &names, RestoreScope::Keyspaces)
    };
    assert!(matches!(
        begun(&["a", "b"]),
        Err(Error::KeyspaceExists { name }) if name == "b"
    ));
    assert!(matches!(
        begun(&["a", "not a name"]),
        Err(Error::Invalid(_))
    ));
    assert!(engine.restoring().is_empty());
    // The same restore goes on with what it has, and takes the rest.
    assert_eq!(begun(&["a"]).unwrap().len(), 1);
    assert_eq!(begun(&["a", "c"]).unwrap().len(), 2);
    assert_eq!(engine.restoring().len(), 2);
}

#[test]
fn a_whole_engine_begins_and_is_published_only_where_no_keyspace_was() {
    let db = Fixture::new();
    let names = wanted(&["a"]);
    let begin = |db: &Fixture| {
        let engine = db.engine();
        engine.begin_restores("r", &names, RestoreScope::WholeEngine)
    };
    let publish_as = |db: &Fixture, keyspace: RestoringKeyspace, scope| {
        let keyspaces = vec![publish(keyspace, 0)];
        db.engine().publish_restores(keyspaces, ts(START), scope)
    };
    let keyspace = begin(&db).unwrap().remove(0);
    // Somebody is faster.
    db.keyspace("mine");
    assert!(matches!(
        publish_as(&db, keyspace.clone(), RestoreScope::WholeEngine),
        Err(Error::NotEmpty { .. })
    ));
    assert!(matches!(begin(&db), Err(Error::NotEmpty { .. })));
    assert!(db.engine().keyspace("a").is_err(), "nothing is visible");
    // As keyspaces beside others it may be.
    publish_as(&db, keyspace, RestoreScope::Keyspaces).unwrap();
    assert!(db.engine().keyspace("a").is_ok());
}
