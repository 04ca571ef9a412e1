//! Two processes and one database: who may come in, and who is told to wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;
use std::process::{Command, Output};

use icecore_engine::{Durability, Engine, Options};
use icecore_mvcc::KeyspaceSettings;

fn icecore(db: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_icecore"))
        .arg("--db")
        .arg(db)
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn database() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path().join("db"), &Options::default()).unwrap();
    let keyspace = engine
        .create_keyspace("t", KeyspaceSettings::default())
        .unwrap();
    keyspace.put("k", "v", Durability::Sync).unwrap();
    (dir, engine)
}

#[test]
fn a_database_in_use_is_refused_by_name() {
    let (dir, engine) = database();
    let db = dir.path().join("db");
    let expected = format!(
        "error: database {} is in use by another process; stop that process or open a checkpoint or a restored copy instead\n",
        db.display()
    );
    for arguments in [&["get", "t", "k"][..], &["put", "t", "k", "w"], &["doctor"]] {
        let output = icecore(&db, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    engine.close().unwrap();
}

#[test]
fn readers_share_a_database_and_keep_writers_out() {
    let (dir, engine) = database();
    engine.close().unwrap();
    let db = dir.path().join("db");
    let reader = Engine::open_read_only(&db, &Options::default()).unwrap();
    let output = icecore(&db, &["get", "t", "k"]);
    assert_eq!(output.stdout, b"v\n");
    assert_eq!(icecore(&db, &["put", "t", "k", "w"]).status.code(), Some(1));
    drop(reader);
    assert_eq!(icecore(&db, &["put", "t", "k", "w"]).status.code(), Some(0));
}

/// What a process that died had committed is there for the next, whether it reads or writes.
#[test]
fn a_reader_sees_what_a_dead_writer_committed() {
    let (dir, engine) = database();
    let db = dir.path().join("db");
    // A copy of the folder is what a crash leaves: the log is there, nothing was closed.
    let copy = dir.path().join("copy");
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(&db)
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(icecore(&copy, &["get", "t", "k"]).stdout, b"v\n");
    assert_eq!(icecore(&copy, &["doctor"]).status.code(), Some(0));
    assert_eq!(
        icecore(&copy, &["put", "t", "k", "w"]).status.code(),
        Some(0)
    );
    assert_eq!(icecore(&copy, &["get", "t", "k"]).stdout, b"w\n");
    engine.close().unwrap();
}

/// `feed --follow` prints what other processes commit, once they have let go of the database.
#[test]
fn a_feed_that_follows_prints_what_other_processes_commit() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    use std::time::Duration;

    let (dir, engine) = database();
    let db = dir.path().join("db");
    let mut follower = Command::new(env!("CARGO_BIN_EXE_icecore"))
        .arg("--db")
        .arg(&db)
        .args(["feed", "t", "--after", "0", "--follow", "--poll", "20ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(follower.stdout.take().unwrap());
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines() {
            let _gone = send.send(line.unwrap());
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(30)).unwrap();
    // It waits for the database while this process has it.
    assert!(lines.recv_timeout(Duration::from_millis(200)).is_err());
    engine.close().unwrap();
    assert!(next().contains(r#""what":"created","keyspace":"t""#));
    assert!(next().contains(r#""changes":[{"keyspace":"t","key":"k","value":"v"}]"#));
    for round in 0..3 {
        // It may be reading just now.
        let engine = std::iter::from_fn(|| {
            std::thread::sleep(Duration::from_millis(5));
            Some(Engine::open(&db, &Options::default()))
        })
        .find_map(Result::ok)
        .unwrap();
        let keyspace = engine.keyspace("t").unwrap();
        for n in 0..2 {
            let key = format!("{round}/{n}");
            keyspace.put(key, "v", Durability::Sync).unwrap();
        }
        drop(keyspace);
        engine.close().unwrap();
        for n in 0..2 {
            assert!(next().contains(&format!(r#""key":"{round}/{n}""#)));
        }
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
}
