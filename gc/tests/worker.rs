//! The worker: it runs, it shows what goes wrong, and it lets go.

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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{HOUR, Lab, open, put};
use icecore_engine::{Engine, Options};
use icecore_gc::{Error, GcOptions, Worker, WorkerOptions, WorkerStatus};
use icecore_mvcc::{Clock, SystemClock, Timestamp};

fn often() -> WorkerOptions {
    WorkerOptions {
        interval: Duration::from_millis(10),
        ..WorkerOptions::default()
    }
}

fn wait_for(worker: &Worker, what: impl Fn(&WorkerStatus) -> bool) -> WorkerStatus {
    let began = Instant::now();
    loop {
        let status = worker.status();
        if what(&status) {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{status:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn it_collects_until_stopped_and_then_lets_go_of_the_engine() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    put(&ks, "k", "1");
    lab.clock.advance(3 * HOUR);
    put(&ks, "k", "2");
    let worker = Worker::start(lab.engine.clone(), often()).unwrap();
    let status = wait_for(&worker, |s| s.rounds >= 2);
    assert!(status.running && status.last_error.is_none() && status.failed_rounds == 0);
    assert_eq!(status.last_report.unwrap().keyspaces.len(), 2);
    assert_eq!(ks.threshold(), lab.engine.now().saturating_sub(HOUR));
    worker.stop().unwrap();

    // The folder is free once the test's own handles are gone.
    let path = lab.path();
    drop(ks);
    drop(lab.engine);
    let engine = open(path.clone(), Arc::new(lab.clock.clone()));
    let dropped = Worker::start(engine, often()).unwrap();
    drop(dropped);
    open(path, Arc::new(lab.clock));
}

#[test]
fn a_failed_round_shows_is_tried_again_and_is_forgotten_once_one_succeeds() {
    let lab = Lab::new();
    lab.engine
        .system()
        .put("protected", "junk", b"{}".to_vec())
        .unwrap();
    let worker = Worker::start(lab.engine.clone(), often()).unwrap();
    let status = wait_for(&worker, |s| s.failed_rounds >= 2);
    assert!(status.running && status.rounds == 0);
    let text = worker.last_error().unwrap();
    assert!(
        text.starts_with("protected timestamp junk cannot be read (missing field `id`"),
        "{text}"
    );
    lab.engine.system().delete("protected", "junk").unwrap();
    wait_for(&worker, |s| s.rounds >= 1 && s.last_error.is_none());
    worker.stop().unwrap();
}

/// Panics when the worker's thread asks for the time.
#[derive(Debug, Default)]
struct Bomb {
    armed: AtomicBool,
}

impl Clock for Bomb {
    fn now(&self) -> Timestamp {
        let worker = std::thread::current().name() == Some("icecore-gc");
        assert!(!worker || !self.armed.load(Ordering::Relaxed), "boom");
        SystemClock.now()
    }
}

#[test]
fn a_panic_ends_it_visibly() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = Arc::new(Bomb::default());
    let engine = open(dir.path().join("db"), Arc::<Bomb>::clone(&bomb));
    let worker = Worker::start(engine.clone(), often()).unwrap();
    wait_for(&worker, |s| s.rounds >= 1);
    bomb.armed.store(true, Ordering::Relaxed);
    let status = wait_for(&worker, |s| !s.running);
    assert_eq!(status.panicked.as_deref(), Some("boom"));
    assert_eq!(status.last_error.as_deref(), Some("panic: boom"));
    assert!(!worker.is_running());
    assert_eq!(
        worker.stop().unwrap_err().to_string(),
        "the garbage-collection worker panicked (boom); report it, and start the worker again"
    );
    // The engine goes on: protection and rounds are not locked up by what the panic left.
    icecore_gc::collect(&engine, &GcOptions::default()).unwrap();
}

#[test]
fn it_does_not_start_where_it_could_do_nothing() {
    let lab = Lab::new();
    let never = WorkerOptions {
        interval: Duration::ZERO,
        ..WorkerOptions::default()
    };
    assert!(matches!(
        Worker::start(lab.engine.clone(), never),
        Err(Error::InvalidOption {
            name: "interval",
            ..
        })
    ));
    let path = lab.path();
    drop(lab.engine);
    let engine = Engine::open_read_only(path, &Options::default()).unwrap();
    assert_eq!(
        Worker::start(engine, often()).unwrap_err().to_string(),
        "database is open read-only; open it for writing to run the garbage-collection worker"
    );
}
