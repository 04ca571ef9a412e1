//! Protected timestamps: what is granted holds, what comes too late is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{HOUR, Lab, delete, patterns, put, read};
use icecore_engine::Durability;
use icecore_gc::{
    Error, GcOptions, HeldBy, ProtectRequest, Purpose, Record, RecordId, Span, Target, collect,
};
use icecore_mvcc::{KeyRange, KeyspaceName, Timestamp};

fn keyspaces(names: &[&str]) -> Target {
    Target::Keyspaces(patterns(names))
}

#[test]
fn a_time_behind_a_threshold_is_refused_with_the_way_out() {
    let lab = Lab::new();
    let short = lab.keyspace("bank.short", HOUR);
    lab.keyspace("bank.long", 4 * HOUR);
    let early = put(&short, "k", "1");
    lab.clock.advance(2 * HOUR);
    put(&short, "k", "2");
    lab.collect();

    assert_eq!(
        lab.protect(early, Target::All).unwrap_err().to_string(),
        "protected ts verification error: cannot protect 2022-02-09T12:00:00.000000003Z: the \
         garbage-collection threshold of keyspace bank.short is 2022-02-09T13:00:00.000000000Z, so older \
         versions may be gone; protect a time at or after the threshold, or take a new full backup"
    );
    assert!(
        lab.protected().list().unwrap().is_empty(),
        "refused means not recorded"
    );
    // The other keyspace still has it, the threshold itself is readable, and so may be protected.
    lab.protect(early, keyspaces(&["bank.long"])).unwrap();
    lab.protect(short.threshold(), Target::All).unwrap();
}

#[test]
fn the_system_keyspace_is_verified_for_every_target() {
    let lab = Lab::new();
    let early = put(&lab.keyspace("bank.a", HOUR), "k", "1");
    lab.clock.advance(2 * HOUR);
    put(&lab.engine.keyspace("bank.a").unwrap(), "k", "2");
    lab.collect();
    let error = lab.protect(early, keyspaces(&["other.*"])).unwrap_err();
    assert!(
        matches!(&error, Error::Verification { keyspace, .. } if keyspace == "system"),
        "{error}"
    );
}

#[test]
fn what_is_no_use_is_refused() {
    let lab = Lab::new();
    put(&lab.keyspace("bank.a", HOUR), "k", "1");
    let text = |timestamp, target| lab.protect(timestamp, target).unwrap_err().to_string();
    let now = lab.engine.now();
    assert_eq!(
        text(now.next(), Target::All),
        format!(
            "cannot protect {}: it is after the database's current time {now}; use an earlier time",
            now.next()
        )
    );
    let typo = "keyspace bnak.a does not exist; check the name, or use a pattern to include keyspaces to come";
    assert_eq!(text(now, keyspaces(&["bank.*", "bnak.a"])), typo);
    let span = Span {
        keyspace: KeyspaceName::parse("bnak.a").unwrap(),
        range: KeyRange::all(),
    };
    assert_eq!(text(now, Target::Spans(vec![span])), typo);
    assert_eq!(
        text(now, keyspaces(&[])),
        "cannot protect: target names no keyspace; name one, or protect all"
    );
    let dropped = lab.engine.drop_keyspace("bank.a").unwrap();
    lab.protect(dropped.prev(), keyspaces(&["bank.a"])).unwrap();
    assert!(matches!(
        lab.protect(dropped, keyspaces(&["bank.a"])),
        Err(Error::NoSuchKeyspace { .. })
    ));
}

#[test]
fn records_survive_reopening_and_still_hold() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    put(&ks, "z", "1");
    let span = Span {
        keyspace: KeyspaceName::parse("bank.a").unwrap(),
        range: KeyRange::prefix(b"k"),
    };
    let late = lab.protect(first.next(), keyspaces(&["bank.*"])).unwrap();
    let early = lab.protect(first, Target::Spans(vec![span])).unwrap();
    put(&ks, "k", "2");
    let before = lab.protected().list().unwrap();
    assert_eq!(before, [early.clone(), late.clone()], "oldest first");
    drop(ks);

    let lab = lab.reopen();
    assert_eq!(lab.protected().list().unwrap(), before);
    assert_eq!(lab.protected().get(&late.id).unwrap(), Some(late));
    let ks = lab.engine.keyspace("bank.a").unwrap();
    lab.clock.advance(10 * HOUR);
    put(&ks, "k", "3");
    lab.collect();
    assert_eq!(ks.threshold(), first);
    assert_eq!(read(&ks, "k", first), Ok(Some("1".to_owned())));
    // A key outside the span is held as well: a keyspace has one threshold.
    assert_eq!(read(&ks, "z", first.next()), Ok(Some("1".to_owned())));
    lab.engine.compact(&ks).unwrap();
    assert_eq!(read(&ks, "k", first), Ok(Some("1".to_owned())));
}

#[test]
fn a_record_moves_forward_only() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    let record = lab.protect(first, Target::All).unwrap();
    lab.clock.advance(5 * HOUR);
    let second = put(&ks, "k", "2");
    lab.collect();
    assert_eq!(ks.threshold(), first);

    let protected = lab.protected();
    let moved = protected.advance(&record.id, second).unwrap();
    assert_eq!(
        (moved.id, moved.timestamp, moved.created),
        (record.id, second, record.created)
    );
    assert_eq!(protected.list().unwrap(), std::slice::from_ref(&moved));
    let visible = lab.engine.visible();
    assert_eq!(protected.advance(&record.id, second).unwrap(), moved);
    assert_eq!(
        lab.engine.visible(),
        visible,
        "to where it is: nothing written"
    );
    assert_eq!(
        protected
            .advance(&record.id, first)
            .unwrap_err()
            .to_string(),
        format!(
            "cannot move protected timestamp {} back from {second} to {first}: what lies between may be gone; \
             make a new record for the earlier time",
            record.id
        )
    );
    let future = lab.engine.now().next();
    assert!(matches!(
        protected.advance(&record.id, future),
        Err(Error::InFuture { .. })
    ));

    lab.clock.advance(5 * HOUR);
    put(&ks, "k", "3");
    lab.collect();
    assert_eq!(ks.threshold(), second);
    protected.release(&record.id).unwrap();
    for gone in [
        protected.release(&record.id),
        protected.advance(&record.id, second).map(|_| ()),
    ] {
        assert_eq!(
            gone.unwrap_err().to_string(),
            format!(
                "there is no protected timestamp {}: it was released, or never made; list those that there are",
                record.id
            )
        );
    }
    lab.collect();
    assert_eq!(ks.threshold(), lab.engine.now().saturating_sub(HOUR));
}

#[test]
fn a_pattern_holds_keyspaces_created_later() {
    let lab = Lab::new();
    lab.keyspace("bank.a", HOUR);
    let record = lab
        .protect(lab.engine.now(), keyspaces(&["bank.*"]))
        .unwrap();
    lab.clock.advance(HOUR);
    let later = lab.keyspace("bank.b", HOUR);
    let other = lab.keyspace("nyc.c", HOUR);
    let first = put(&later, "k", "1");
    delete(&later, "k");
    lab.clock.advance(10 * HOUR);
    put(&other, "k", "2");
    let report = lab.collect();
    let by_name = |name: &str| report.keyspaces.iter().find(|k| k.name == name).unwrap();
    for held in ["bank.a", "bank.b", "system"] {
        let by = &by_name(held).held_by;
        assert!(
            matches!(by, HeldBy::Record { id, owner, .. } if *id == record.id && owner == "test"),
            "{held}: {by}"
        );
        assert_eq!(by_name(held).threshold_after, record.timestamp);
    }
    assert_eq!(by_name("nyc.c").held_by, HeldBy::Ttl);
    assert_eq!(read(&later, "k", first), Ok(Some("1".to_owned())));
}

#[test]
fn a_record_that_cannot_be_read_stops_collection_until_released() {
    let lab = Lab::new();
    lab.keyspace("bank.a", HOUR);
    let record = lab.protect(lab.engine.now(), Target::All).unwrap();
    let newer = format!(
        r#"{{"id":"{}","timestamp":1,"target":{{"kind":"tenants"}},"owner":"o","created":1}}"#,
        record.id
    );
    lab.engine
        .system()
        .put("protected", &record.id.to_string(), newer.into_bytes())
        .unwrap();
    let error = collect(&lab.engine, &GcOptions::default()).unwrap_err();
    assert!(matches!(error, Error::UnreadableRecord { .. }), "{error}");
    lab.protected().release(&record.id).unwrap();
    lab.collect();
}

/// Two threads raise thresholds as fast as they can while one protects times that they are about to
/// pass. Whatever was granted must be readable, and below no threshold, until it is released.
#[test]
fn a_granted_record_is_never_passed() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    put(&ks, "k", "0");
    let stop = AtomicBool::new(false);
    // A deadline too: a thread that fails must not leave the others running for ever.
    let until = Instant::now() + Duration::from_secs(5);
    let running = || !stop.load(Ordering::Relaxed) && Instant::now() < until;
    let (mut granted, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let now = GcOptions {
                    ttl_override: Some(Duration::ZERO),
                    ..GcOptions::default()
                };
                while running() {
                    collect(&lab.engine, &now).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let mut value = 0_u64;
            while running() {
                value += 1;
                ks.put("k", value.to_string(), Durability::Buffered)
                    .unwrap();
            }
        });
        while (granted < 40 || refused < 10) && running() {
            let at = lab.engine.visible();
            // Sometimes late on purpose.
            while refused < granted / 4 && ks.threshold() <= at && running() {
                std::thread::yield_now();
            }
            match lab.protect(at, Target::All) {
                Ok(record) => {
                    granted += 1;
                    check_held(&lab, &record.id, at);
                    lab.protected().release(&record.id).unwrap();
                }
                Err(Error::Verification {
                    timestamp,
                    threshold,
                    ..
                }) => {
                    assert!(timestamp < threshold);
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        granted > 0 && refused > 0,
        "both outcomes were met: {granted}, {refused}"
    );
}

fn for_backups(timestamp: Timestamp, target: Target) -> ProtectRequest {
    ProtectRequest::new(timestamp, target, "test")
}

fn exclude(lab: &Lab, name: &str, exclude_from_backup: bool) {
    let mut settings = lab.engine.keyspace(name).unwrap().descriptor().settings;
    settings.exclude_from_backup = exclude_from_backup;
    lab.engine.alter_keyspace(name, settings).unwrap();
}

/// What is excluded is neither held nor in the way; what is included by now and was not then, or came
/// later, is held and not in the way. A record for reads knows no exception.
#[test]
fn a_record_for_backups_holds_what_a_layer_has() {
    let lab = Lab::new();
    let kept = lab.keyspace("bank.kept", HOUR);
    let cache = lab.keyspace("bank.cache", HOUR);
    exclude(&lab, "bank.cache", true);
    let early = put(&kept, "k", "1");
    put(&cache, "k", "1");
    let protected = lab.protected();
    let protect = |purpose, target| protected.protect_for(purpose, for_backups(early, target));
    let record = protect(Purpose::Backups, Target::All).unwrap();
    lab.clock.advance(2 * HOUR);
    put(&kept, "k", "2");
    let second = put(&cache, "k", "2");
    lab.clock.advance(2 * HOUR);
    lab.collect();
    assert!(kept.threshold() <= early);
    assert!(cache.threshold() >= second);

    let names = |record: &Record| -> Vec<String> {
        let kept = protected.kept_whole(record).unwrap();
        kept.iter().map(|k| k.name().to_owned()).collect()
    };
    let again = protect(
        Purpose::Backups,
        keyspaces(&["bank.cache", "bank.kept", "bank.gone"]),
    );
    assert_eq!(names(&again.unwrap()), ["bank.kept"]);
    assert!(matches!(
        protect(Purpose::Reads, Target::All),
        Err(Error::Verification { keyspace, .. }) if keyspace == "bank.cache"
    ));
    // Included by now: held from here on, though not since then.
    exclude(&lab, "bank.cache", false);
    assert_eq!(
        names(&protect(Purpose::Backups, Target::All).unwrap()),
        ["bank.kept"]
    );
    let threshold = cache.threshold();
    lab.clock.advance(2 * HOUR);
    put(&cache, "k", "3");
    lab.collect();
    assert_eq!(cache.threshold(), threshold);
    assert!(record.applies_to(&cache.descriptor()));
    // Of what a layer has, a threshold that passed the time refuses the record as ever.
    for record in protected.list().unwrap() {
        protected.release(&record.id).unwrap();
    }
    lab.clock.advance(2 * HOUR);
    put(&kept, "k", "3");
    lab.collect();
    assert!(matches!(
        protect(Purpose::Backups, Target::All),
        Err(Error::Verification { keyspace, .. }) if keyspace == "bank.kept"
    ));
}

fn check_held(lab: &Lab, id: &RecordId, at: Timestamp) {
    let ks = lab.engine.keyspace("bank.a").unwrap();
    let system = lab.engine.system();
    for _ in 0..20 {
        assert!(ks.threshold() <= at, "record {id} was passed");
        assert!(
            system.keyspace().threshold() <= at,
            "record {id} was passed in the system keyspace"
        );
        std::thread::yield_now();
    }
    assert!(matches!(read(&ks, "k", at), Ok(Some(_))));
}
