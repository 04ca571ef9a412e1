//! Limits of records, what happens beyond them, and records of dead holders.

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

use common::{HOUR, Lab, put};
use icecore_engine::{Durability, Engine, Error as EngineError, Isolation, Keyspace};
use icecore_gc::{
    GcOptions, GcReport, Holder, Limits, OnBreach, ProtectRequest, Record, RecordStatus, Target,
    collect, status,
};
use icecore_mvcc::{KeyspaceSettings, Timestamp};
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

const DAY: Duration = Duration::from_secs(24 * 3600);

fn limits(max_age: Option<Duration>, max_bytes: Option<u64>, on_breach: OnBreach) -> Limits {
    Limits {
        max_age,
        max_bytes,
        on_breach,
    }
}

fn protect(lab: &Lab, at: Timestamp, limits: Limits) -> Record {
    let request = ProtectRequest::new(at, Target::All, "audit").within(limits);
    lab.protected().protect(request).unwrap()
}

fn round(lab: &Lab, grace: Duration) -> GcReport {
    let options = GcOptions {
        dead_holder_grace: grace,
        ..GcOptions::default()
    };
    collect(&lab.engine, &options).unwrap()
}

/// Replaces a row of so many bytes so often.
fn rewrite(keyspace: &Keyspace, times: u32, bytes: usize) {
    for _ in 0..times {
        let value = vec![7; bytes];
        keyspace.put(b"row", value, Durability::Buffered).unwrap();
    }
}

fn only(engine: &Engine) -> RecordStatus {
    let mut records = status(engine).unwrap().records;
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn refused(outcome: Result<Timestamp, EngineError>) -> String {
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, EngineError::WritesRefused { .. }),
        "{error}"
    );
    error.to_string()
}

#[test]
fn a_record_beyond_its_age_is_told_and_stands() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    protect(&lab, first, limits(Some(DAY), None, OnBreach::Warn));
    lab.clock.advance(DAY);
    assert_eq!(only(&lab.engine).breach, None);
    lab.clock.advance(HOUR + SECOND);
    put(&ks, "k", "2");
    assert_eq!(round(&lab, HOUR).released, []);
    assert_eq!(
        only(&lab.engine).breach.unwrap().to_string(),
        "it reaches 1d1h back, and may reach 1d back"
    );
    assert_eq!(ks.threshold(), first);
}

#[test]
fn a_record_beyond_its_age_is_released_with_a_note_and_the_round_goes_on_without_it() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    let record = protect(&lab, first, limits(Some(DAY), None, OnBreach::Release));
    let stays = protect(&lab, first.next(), Limits::default());
    lab.clock.advance(DAY + HOUR + SECOND);
    put(&ks, "k", "2");
    let report = round(&lab, HOUR);
    assert_eq!(ks.threshold(), stays.timestamp);
    let [release] = &report.released[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (release.id, release.timestamp, release.owner.as_str()),
        (record.id, first, "audit")
    );
    assert_eq!(
        release.reason,
        "it reaches 1d1h back, and may reach 1d back"
    );
    // The note is durable, and the record is not there any more.
    drop(ks);
    let lab = lab.reopen();
    assert_eq!(lab.protected().releases().unwrap(), report.released);
    assert_eq!(status(&lab.engine).unwrap().releases, report.released);
    assert_eq!(lab.protected().list().unwrap(), [stays]);
}

#[test]
fn notes_are_kept_of_the_last_releases_only() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    for _ in 0..40 {
        let at = put(&ks, "k", "1");
        protect(&lab, at, limits(Some(DAY), None, OnBreach::Release));
    }
    let newest = lab.protected().list().unwrap().pop().unwrap();
    lab.clock.advance(2 * DAY);
    assert_eq!(round(&lab, HOUR).released.len(), 40);
    let notes = lab.protected().releases().unwrap();
    assert_eq!(notes.len(), 32);
    assert_eq!(notes.last().unwrap().id, newest.id);
}

#[test]
fn what_a_record_holds_is_about_what_was_replaced_since() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let other = lab.keyspace("nyc.b", HOUR);
    rewrite(&ks, 50, 1500);
    let record = protect(&lab, lab.engine.now(), Limits::default());
    rewrite(&ks, 200, 1500);
    rewrite(&other, 100, 1500);
    // Within the TTL it would be kept anyway.
    assert_eq!(only(&lab.engine).held_bytes, 0);
    lab.clock.advance(HOUR);
    let now = put(&ks, "later", "1");
    lab.clock.advance(HOUR);
    put(&ks, "later", "2");
    let held = only(&lab.engine).held_bytes;
    let exact = 300 * 1500;
    assert!(held > exact / 2 && held < exact * 2, "{held} of {exact}");
    assert_eq!(
        only(&lab.engine).held_bytes,
        held,
        "read once, counted once"
    );
    // Another record that holds the same changes nothing.
    let second = protect(&lab, record.timestamp, Limits::default());
    let both = status(&lab.engine).unwrap().records;
    assert_eq!([both[0].held_bytes, both[1].held_bytes], [held, held]);
    lab.protected().release(&second.id).unwrap();
    lab.protected().advance(&record.id, now).unwrap();
    assert!(only(&lab.engine).held_bytes < 100);
    // After a restart the index is read anew.
    let earlier = protect(&lab, record.timestamp, Limits::default());
    drop((ks, other));
    let lab = lab.reopen();
    let found = status(&lab.engine).unwrap().records;
    let found = found.iter().find(|r| r.record.id == earlier.id).unwrap();
    assert_eq!(found.held_bytes, held);
}

/// A record that holds too much, and says that writes stop then.
fn refusing(lab: &Lab) -> (Keyspace, Record) {
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    let record = protect(
        lab,
        first,
        limits(None, Some(100_000), OnBreach::RefuseWrites),
    );
    rewrite(&ks, 100, 1500);
    lab.clock.advance(2 * HOUR);
    put(&ks, "k", "2");
    assert_eq!(round(lab, HOUR).released, []);
    (ks, record)
}

#[test]
fn beyond_the_limit_commits_of_rows_are_refused_and_all_else_goes_on() {
    let lab = Lab::new();
    let (ks, record) = refusing(&lab);
    let text = refused(ks.put(b"k", b"3", Durability::Sync));
    let named = text.starts_with(&format!("writes are refused: of protected timestamp {} of audit, it holds back ", record.id))
        && text.ends_with("and may hold 100000; release it, move it forward or raise its limit (`icecore protect release` or `alter`)");
    assert!(named, "{text}");
    refused(ks.delete(b"k", Durability::Sync));
    let mut transaction = lab.engine.begin(Isolation::Snapshot).unwrap();
    transaction.put(&ks, *b"k", *b"3");
    refused(transaction.commit(Durability::Sync));
    let row = (b"z".to_vec(), b"1".to_vec());
    let load = lab.engine.bulk_load(&ks, [Ok::<_, EngineError>(row)]);
    refused(load.map(|_| Timestamp::MIN));
    assert_eq!(ks.get(b"k").unwrap().as_deref(), Some(&b"2"[..]));
    // Reads, settings, records and collection.
    lab.engine
        .create_keyspace("bank.b", KeyspaceSettings::default())
        .unwrap();
    protect(&lab, lab.engine.now(), Limits::default());
    round(&lab, HOUR);
    let told = status(&lab.engine).unwrap().write_refusals;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].record, record.id.to_string());
    // It survives a restart.
    drop(ks);
    let lab = lab.reopen();
    let ks = lab.engine.keyspace("bank.a").unwrap();
    refused(ks.put(b"k", b"3", Durability::Sync));
    round(&lab, HOUR);
    refused(ks.put(b"k", b"3", Durability::Sync));
    lab.protected().release(&record.id).unwrap();
    ks.put(b"k", b"3", Durability::Sync).unwrap();
    drop(ks);
    let lab = lab.reopen();
    let ks = lab.engine.keyspace("bank.a").unwrap();
    ks.put(b"k", b"4", Durability::Sync).unwrap();
}

#[test]
fn commits_are_accepted_again_as_soon_as_the_record_is_moved_or_its_limit_raised() {
    for way in 0..4 {
        let lab = Lab::new();
        let (ks, record) = refusing(&lab);
        refused(ks.put(b"k", b"3", Durability::Sync));
        let records = lab.protected();
        match way {
            0 => drop(records.advance(&record.id, lab.engine.now()).unwrap()),
            1 => drop(records.limit(&record.id, Limits::default()).unwrap()),
            2 => drop(
                records
                    .exchange(|all| icecore_gc::Exchange {
                        release: vec![all[0].id],
                        ..icecore_gc::Exchange::default()
                    })
                    .unwrap(),
            ),
            _ => {
                // Nothing is held back any more but by the TTL: the next round finds that.
                let settings = KeyspaceSettings {
                    gc_ttl: 10 * DAY,
                    ..KeyspaceSettings::default()
                };
                lab.engine.alter_keyspace("bank.a", settings).unwrap();
                refused(ks.put(b"k", b"3", Durability::Sync));
                round(&lab, HOUR);
            }
        }
        ks.put(b"k", b"3", Durability::Sync).unwrap();
        // Moving it by too little does not help.
        if way == 1 {
            let too_low = limits(None, Some(1), OnBreach::RefuseWrites);
            records.limit(&record.id, too_low).unwrap();
            round(&lab, HOUR);
            records
                .advance(&record.id, record.timestamp.next())
                .unwrap();
            refused(ks.put(b"k", b"3", Durability::Sync));
        }
    }
}

fn held(lab: &Lab, holder: Holder) -> Record {
    let request = ProtectRequest::new(lab.engine.now(), Target::All, "somebody");
    lab.protected().protect(request.held_by(holder)).unwrap()
}

fn job(lab: &Lab, id: Uuid, state: &str) {
    let row = format!(r#"{{"state":"{state}"}}"#).into_bytes();
    lab.engine
        .system()
        .put("job", &id.to_string(), row)
        .unwrap();
}

#[test]
fn a_dead_holders_record_goes_after_the_grace_and_says_so() {
    let lab = Lab::new();
    lab.keyspace("bank.a", HOUR);
    let (over, paused, gone) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    job(&lab, over, "failed");
    job(&lab, paused, "paused");
    let session = lab.engine.session();
    let dead = [
        held(&lab, Holder::Job { id: over }).id,
        held(&lab, Holder::Job { id: gone }).id,
        held(
            &lab,
            Holder::Run {
                session: Uuid::new_v4(),
            },
        )
        .id,
    ];
    let alive = [
        held(&lab, Holder::Job { id: paused }),
        held(&lab, Holder::Run { session }),
        held(
            &lab,
            Holder::Consumer {
                name: "mirror".to_owned(),
            },
        ),
        protect(&lab, lab.engine.now(), Limits::default()),
    ];
    assert_eq!(round(&lab, HOUR).released, []);
    let told = status(&lab.engine).unwrap().records;
    let told: Vec<_> = told.iter().filter(|r| r.dead.is_some()).collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|r| r.record.dead_since.is_some()));
    // Neither by the age of the record nor before the grace is over.
    lab.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(round(&lab, HOUR).released, []);
    // Another process goes on counting; the run of this one is dead then, too, but only since then.
    let lab = lab.reopen();
    round(&lab, HOUR);
    lab.clock.advance(Duration::from_secs(2));
    let released = round(&lab, HOUR).released;
    let ids: Vec<_> = released.iter().map(|r| r.id).collect();
    assert_eq!(ids, dead);
    assert_eq!(
        released[0].reason,
        format!("job {over}, which held it, has failed")
    );
    assert_eq!(
        released[1].reason,
        format!("job {gone}, which held it, is gone")
    );
    assert_eq!(released[2].reason, "the process that held it is gone");
    let left: Vec<_> = lab.protected().list().unwrap();
    let left: Vec<_> = left.iter().map(|r| r.id).collect();
    assert_eq!(left, alive.each_ref().map(|r| r.id));
    lab.clock.advance(HOUR);
    assert_eq!(round(&lab, HOUR).released[0].id, alive[1].id);
}

#[test]
fn one_that_is_found_alive_again_begins_anew() {
    let lab = Lab::new();
    lab.keyspace("bank.a", HOUR);
    let id = Uuid::new_v4();
    let record = held(&lab, Holder::Job { id });
    round(&lab, HOUR);
    job(&lab, id, "running");
    lab.clock.advance(2 * HOUR);
    assert_eq!(round(&lab, HOUR).released, []);
    assert_eq!(lab.protected().list().unwrap(), [record]);
}

#[test]
fn limits_are_checked() {
    let lab = Lab::new();
    let text = |limits| {
        let request = ProtectRequest::new(lab.engine.now(), Target::All, "a").within(limits);
        lab.protected().protect(request).unwrap_err().to_string()
    };
    assert_eq!(
        text(limits(Some(Duration::ZERO), None, OnBreach::Warn)),
        "cannot protect: max-age is zero; give a duration, or none"
    );
    assert_eq!(
        text(limits(None, Some(0), OnBreach::Warn)),
        "cannot protect: max-bytes is zero; give a number of bytes, or none"
    );
}
