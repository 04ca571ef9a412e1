//! Garbage collection: a TTL says how long history is kept, a protected timestamp keeps it longer
//! for somebody, a reader as long as it reads. Nobody is ever given half an answer: a read below
//! the threshold and a protection that comes too late are errors that name both times.

use std::time::{Duration, Instant};

use icecore_engine::{Durability, Engine, Error as EngineError, Options};
use icecore_gc::{
    Error as GcError, GcOptions, HeldBy, ProtectRequest, ProtectedTimestamps, Target, Worker,
    WorkerOptions, collect, status,
};
use icecore_mvcc::{KeyspaceSettings, NamePattern};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    // The default TTL is 4 hours; here history is garbage at once.
    let settings = KeyspaceSettings {
        gc_ttl: Duration::ZERO,
        ..KeyspaceSettings::default()
    };
    let prices = engine.create_keyspace("shop.prices", settings)?;
    let old = prices.put("tea", "3.10", Durability::Sync)?;
    let audited = prices.put("tea", "3.30", Durability::Sync)?;
    prices.put("tea", "3.50", Durability::Sync)?;
    prices.delete("coffee", Durability::Sync)?;

    let protected = ProtectedTimestamps::new(&engine);
    let target = Target::Keyspaces(vec![NamePattern::parse("shop.*")?]);
    let request = ProtectRequest::new(audited, target, "audit of march");
    let record = protected.protect(request.clone())?;

    // One round by hand. It goes up to the record, and says so.
    let report = collect(&engine, &GcOptions::default())?;
    let first = report
        .keyspaces
        .first()
        .ok_or("no keyspace was in the round")?;
    println!(
        "{}: threshold {}, held by {}",
        first.name, first.threshold_after, first.held_by
    );
    assert_eq!(first.threshold_after, audited);
    assert!(matches!(&first.held_by, HeldBy::Record { id, .. } if *id == record.id));
    let audit = prices.get_at(&engine.snapshot_at(audited)?, b"tea")?;
    assert_eq!(audit.as_deref(), Some(&b"3.30"[..]));
    match prices.get_at(&engine.snapshot_at(old)?, b"tea") {
        Err(error @ EngineError::BelowThreshold { .. }) => println!("{error}"),
        other => return Err(format!("a read below the threshold gave {other:?}").into()),
    }
    // What holds what is there for every operator to see.
    for held in status(&engine)?.records {
        println!(
            "record of {:?} holds back {}",
            held.record.owner,
            held.holds.join(", ")
        );
        assert!(held.holds.iter().any(|name| name == "shop.prices"));
    }

    // A server leaves rounds to a worker. Once the record is released, history goes.
    protected.release(&record.id)?;
    let options = WorkerOptions {
        interval: Duration::from_millis(20),
        ..WorkerOptions::default()
    };
    let worker = Worker::start(engine.clone(), options)?;
    let patience = Instant::now() + Duration::from_secs(10);
    while prices.threshold() <= audited && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "the worker ran {} rounds; threshold {}",
        worker.status().rounds,
        prices.threshold()
    );
    worker.stop()?;
    assert!(prices.threshold() > audited);

    // Too late to protect: part of it may be gone, so the record is refused.
    match protected.protect(request) {
        Err(error @ GcError::Verification { .. }) => println!("{error}"),
        other => return Err(format!("a late protection gave {other:?}").into()),
    }
    assert!(protected.list()?.is_empty());
    Ok(engine.close()?)
}
