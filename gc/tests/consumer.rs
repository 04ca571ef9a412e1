//! Consumers of change feeds: what they have yet to see stays, whether or not they are there.

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

use std::time::Duration;

use common::{HOUR, Lab, delete, patterns, put};
use icecore_engine::{Feed, FeedOptions};
use icecore_gc::{Consumer, ConsumerOptions, Error, GcOptions, HeldBy, collect, status};
use icecore_mvcc::{KeyRange, Timestamp};

fn times(feed: &mut Feed) -> Vec<Timestamp> {
    std::iter::from_fn(|| feed.try_next().unwrap())
        .map(|t| t.timestamp)
        .collect()
}

/// Acknowledges at once, or only when it is closed.
fn options(acks: Duration) -> ConsumerOptions {
    ConsumerOptions {
        ack_interval: acks,
        ..ConsumerOptions::default()
    }
}

/// A round that takes all that nothing holds.
fn collect_all(lab: &Lab) {
    let options = GcOptions {
        ttl_override: Some(Duration::ZERO),
        compact: true,
        ..GcOptions::default()
    };
    collect(&lab.engine, &options).unwrap();
}

#[test]
fn what_a_consumer_has_not_acknowledged_is_held_while_it_is_away() {
    let mut lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    put(&ks, "k", "before");
    let consumer = Consumer::open(&lab.engine, "search", options(HOUR)).unwrap();
    let written: Vec<_> = (0..6).map(|n| put(&ks, "k", &n.to_string())).collect();
    delete(&ks, "k");
    assert_eq!(consumer.acked(), consumer.record().timestamp);
    consumer.close().unwrap();
    drop(ks);

    lab = lab.reopen();
    lab.clock.advance(9 * HOUR);
    collect_all(&lab);
    let held = &status(&lab.engine).unwrap().keyspaces[0].held_by;
    let HeldBy::Record { owner, .. } = held else {
        panic!("{held:?}");
    };
    assert_eq!(owner, "change feed search");

    let mut consumer = Consumer::open(&lab.engine, "search", options(HOUR)).unwrap();
    let mut feed = consumer.subscribe().unwrap();
    let first = feed.try_next().unwrap().unwrap();
    assert_eq!(first.timestamp, written[0]);
    let token = feed.try_next().unwrap().unwrap().token.unwrap();
    consumer.ack(token).unwrap();
    drop(feed);
    // Not durable yet: a crash here delivers it again, from the record on.
    drop(consumer);
    let consumer = Consumer::open(&lab.engine, "search", options(HOUR)).unwrap();
    assert_eq!(times(&mut consumer.subscribe().unwrap())[..6], written);
    // With a token of its own, it gets nothing twice.
    let mut exact = consumer.subscribe_at(token).unwrap();
    assert_eq!(times(&mut exact)[..4], written[2..]);
}

#[test]
fn acknowledging_frees_what_lies_before_and_is_written_at_most_so_often() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let mut consumer = Consumer::open(&lab.engine, "search", options(HOUR)).unwrap();
    let mut eager = Consumer::open(&lab.engine, "eager", options(Duration::ZERO)).unwrap();
    let written: Vec<_> = (0..50).map(|n| put(&ks, "k", &n.to_string())).collect();
    let mut feed = consumer.subscribe().unwrap();
    let moves = || {
        let system = lab.engine.system();
        let at = lab.engine.snapshot();
        let all = KeyRange::prefix(b"protected/");
        system.keyspace().full(&all, &at, true).unwrap().count()
    };
    let before = moves();
    for _ in 0..40 {
        let token = feed.try_next().unwrap().unwrap().token.unwrap();
        consumer.ack(token).unwrap();
    }
    assert_eq!(moves(), before, "within the interval nothing is written");
    assert_eq!(consumer.acked(), written[39]);
    consumer.flush().unwrap();
    consumer.flush().unwrap();
    assert_eq!(moves(), before + 1);

    let token = feed.token();
    eager.ack(token).unwrap();
    assert_eq!(moves(), before + 2);
    // An earlier one, late, moves nothing.
    let old = lab.engine.subscribe(FeedOptions::new(written[3])).unwrap();
    eager.ack(old.token()).unwrap();
    assert_eq!((moves(), eager.acked()), (before + 2, written[39]));

    drop((feed, old));
    collect_all(&lab);
    assert_eq!(ks.threshold(), written[39]);
    assert_eq!(ks.stats().estimated_versions, 11);
}

#[test]
fn a_consumer_that_is_forgotten_holds_nothing_and_cannot_come_back_where_it_was() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let mut consumer = Consumer::open(&lab.engine, "search", options(Duration::ZERO)).unwrap();
    let first = put(&ks, "k", "1");
    put(&ks, "k", "2");
    let mut feed = consumer.subscribe().unwrap();
    let token = feed.try_next().unwrap().unwrap().token.unwrap();
    assert!(Consumer::forget(&lab.engine, "search").unwrap());
    assert!(!Consumer::forget(&lab.engine, "search").unwrap());
    assert!(matches!(
        consumer.ack(token),
        Err(Error::NoSuchRecord { .. })
    ));
    collect_all(&lab);
    assert_eq!(ks.threshold(), first, "its feed still lives");
    drop(feed);
    collect_all(&lab);
    let after = ConsumerOptions {
        after: Some(first),
        ..ConsumerOptions::default()
    };
    let late = Consumer::open(&lab.engine, "search", after).unwrap_err();
    assert!(matches!(late, Error::Verification { .. }), "{late}");
}

#[test]
fn a_consumer_keeps_its_keyspaces_and_its_name_is_one_line() {
    let lab = Lab::new();
    let (a, b) = (lab.keyspace("bank.a", HOUR), lab.keyspace("other.b", HOUR));
    let of = |names: &[&str]| ConsumerOptions {
        keyspaces: patterns(names),
        ..ConsumerOptions::default()
    };
    let open = |name: &str, options| Consumer::open(&lab.engine, name, options);
    let consumer = open("bank", of(&["bank.*"])).unwrap();
    let wanted = put(&a, "k", "1");
    put(&b, "k", "1");
    assert_eq!(times(&mut consumer.subscribe().unwrap()), [wanted]);
    assert_eq!(
        open("bank", of(&[])).unwrap_err().to_string(),
        "consumer bank follows bank.*, not all keyspaces; ask for the same, forget it first, or give the new \
         one another name"
    );
    assert!(open("bank", of(&["bank.*"])).is_ok());
    let missing = open("x", of(&["bank.z"])).unwrap_err();
    assert!(matches!(missing, Error::NoSuchKeyspace { .. }));
    for name in ["", " ", "a\nb", &"n".repeat(250)] {
        let refused = open(name, of(&[])).unwrap_err();
        assert!(matches!(refused, Error::InvalidRequest { .. }), "{name:?}");
    }
}
