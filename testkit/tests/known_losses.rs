//! The ways in which other systems lost data, one test each, named for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, LayerPath};
use icecore_backup::{BackupOptions, Error as BackupError};
use icecore_engine::{Durability, Engine};
use icecore_gc::{GcOptions, ProtectRequest, ProtectedTimestamps, Target, collect};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyspaceSettings, Timestamp};
use icecore_restore::{Error as RestoreError, RestoreOptions, restore};
use icecore_testkit::faults::{Fault, Fuse};
use icecore_testkit::scratch;
use rig::{Rig, onto_latest, read_all};

/// What a run under a fault must come to: a typed error and nothing that misleads, or a backup that
/// restores; and the next run works, whatever junk the failed one left.
fn holds_under_faults(what: &str, prepare: impl Fn(&Rig), options: &BackupOptions) {
    let rig = Rig::new();
    rig.write(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    let mut failed = 0;
    for fault in [Fault::Only, Fault::From, Fault::AfterOnly] {
        for request in 1_u64.. {
            rig.new_collection();
            prepare(&rig);
            let before = (rig.layers(), rig.records());
            // The first request opens the collection.
            let fuse = Fuse::new(fault(request));
            let outcome = rig.backup_with(&fuse, options);
            let place = format!("{what}, {:?}", fault(request));
            match outcome {
                Ok(report) => {
                    let swallowed = fuse.is_blown() && fault(request) != Fault::AfterOnly(request);
                    assert!(!swallowed, "{place}: a failed request was swallowed");
                    assert!(rig.layers().contains(&report.layer), "{place}");
                }
                Err(error) => {
                    failed += 1;
                    assert!(matches!(error, BackupError::Archive(_)), "{place}: {error}");
                    // Listed it may be, if the fault came after the commit point; then it is whole.
                    let new = rig.layers().len() - before.0.len();
                    assert!(new <= 1, "{place}");
                    assert_eq!(
                        rig.records(),
                        before.1,
                        "{place}: protection was left behind"
                    );
                }
            }
            assert_eq!(
                std::fs::read_dir(rig.engine().staging_dir())
                    .unwrap()
                    .count(),
                0,
                "{place}: staging"
            );
            rig.all_layers_restore();
            if !fuse.is_blown() {
                break;
            }
            rig.clock.advance(Duration::from_millis(20));
            rig.backup(options)
                .unwrap_or_else(|error| panic!("{place}, run again: {error}"));
            rig.all_layers_restore();
        }
    }
    assert!(failed > 10, "only {failed} runs failed");
}

#[test]
fn a_request_that_fails_fails_the_full_backup() {
    holds_under_faults("full", |_| (), &BackupOptions::default());
}

#[test]
fn a_request_that_fails_fails_the_incremental() {
    let prepare = |rig: &Rig| {
        rig.backup(&BackupOptions::default()).unwrap();
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("a", None), ("d", Some("4"))]);
    };
    let history = BackupOptions {
        revision_history: true,
        ..onto_latest()
    };
    holds_under_faults("incremental", prepare, &history);
}

#[test]
fn a_restore_that_is_interrupted_anywhere_shows_nothing_and_resumes_without_skipping_files() {
    let rig = Rig::with_three_layers();
    let expected = rig.rows();
    let mut failed = 0;
    for request in 1_u64.. {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &rig.options()).unwrap();
        let fuse = Fuse::new(Fault::From(request));
        let outcome = rig.restore_with(&engine, &fuse, &RestoreOptions::default());
        if let Err(error) = outcome {
            failed += 1;
            assert!(
                matches!(error, RestoreError::Archive(_)),
                "request {request}: {error}"
            );
            assert!(
                engine.keyspaces().is_empty(),
                "request {request}: something is visible"
            );
            // Half of them in a new process.
            let engine = if request % 2 == 0 {
                engine
            } else {
                drop(engine);
                Engine::open(folder.path().join("db"), &rig.options()).unwrap()
            };
            rig.restore(&engine, &RestoreOptions::default()).unwrap();
            assert_eq!(
                read_all(&engine, engine.visible()),
                expected,
                "request {request}"
            );
            assert!(engine.restoring().is_empty());
        } else {
            assert!(
                !fuse.is_blown(),
                "request {request}: a failed request was swallowed"
            );
            assert_eq!(read_all(&engine, engine.visible()), expected);
            break;
        }
    }
    assert!(failed >= 6, "only {failed} requests failed");
}

/// Runs the child program on this database under a limit of the size of files: what writes more fails
/// as on a full disk.
fn run_limited(
    command: &str,
    db: &std::path::Path,
    collection: &std::path::Path,
    kibibytes: u32,
) -> (bool, String) {
    let script = format!(
        "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
        kibibytes * 2
    );
    let mut sh = Command::new("sh");
    sh.args(["-c", &script, env!("CARGO_BIN_EXE_crash_child"), command])
        .arg(db)
        .arg(collection);
    let output = sh.output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_write_error_of_the_disk_fails_backup_and_restore() {
    let rig = Rig::new();
    for row in 0..700_u32 {
        rig.keyspace()
            .put(row.to_be_bytes(), noise(row, 4000), Durability::Buffered)
            .unwrap();
    }
    rig.engine().flush().unwrap();
    let expected = rig.rows();
    let (folder, dir) = rig.close();
    let collection = folder.path().join("files");
    let (done, said) = run_limited("backup", &dir, &collection, 1024);
    assert!(!done && said.starts_with("error: "), "{said}");
    let listed = |collection: &std::path::Path| {
        let markers = walk(&collection.join("metadata"));
        markers
            .iter()
            .filter(|path| path.contains("latest") || path.contains("chain"))
            .count()
    };
    assert_eq!(listed(&collection), 0, "{said}");
    let (done, said) = run_limited("backup", &dir, &collection, 1 << 20);
    assert!(done, "{said}");
    assert!(listed(&collection) > 0);
    let target = folder.path().join("target");
    let (done, said) = run_limited("restore", &target, &collection, 1024);
    assert!(!done && said.starts_with("error: "), "{said}");
    let (done, said) = run_limited("restore", &target, &collection, 1 << 20);
    assert!(done, "{said}");
    let engine = Engine::open(&target, &rig::options(&rig::clock())).unwrap();
    assert_eq!(read_all(&engine, engine.visible()), expected);
}

/// Bytes that do not compress.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path.display().to_string()]
            }
        })
        .collect()
}

#[test]
fn an_incremental_has_what_a_restore_put_under_its_start() {
    let rig = Rig::new();
    rig.write(&[("a", Some("old")), ("b", Some("kept"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("c", Some("new"))]);
    rig.backup(&onto_latest()).unwrap();
    // Rows older than the chain's end come into the engine under another name.
    let renames = BTreeMap::from([("bank.accounts".to_owned(), "bank.copy".to_owned())]);
    rig.restore(
        rig.engine(),
        &RestoreOptions {
            renames,
            ..RestoreOptions::default()
        },
    )
    .unwrap();
    rig.clock.advance(Duration::from_secs(60));
    let report = rig.backup(&onto_latest()).unwrap();
    let copy = report
        .keyspaces
        .iter()
        .find(|k| k.name == "bank.copy")
        .unwrap();
    assert!(copy.introduced && copy.entries == 3, "{copy:?}");
    rig.all_layers_restore();
    assert_eq!(rig.restored_rows("bank.copy", None).len(), 3);
}

#[test]
fn an_incremental_waits_for_a_bulk_load_that_began_before_its_end() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    let (began, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    std::thread::scope(|scope| {
        let (keyspace, engine) = (rig.keyspace(), rig.engine().clone());
        let load = scope.spawn(move || {
            let rows = ["l1", "l2", "l3"].into_iter().inspect(|row| {
                if *row == "l2" {
                    began.send(()).unwrap();
                    may_go_on.recv().unwrap();
                }
            });
            engine
                .bulk_load(&keyspace, rows.map(|row| Ok((row, "loaded"))))
                .unwrap()
        });
        has_begun.recv().unwrap();
        // The load has its timestamp, and no row of it is there yet.
        rig.clock.advance(Duration::from_secs(1));
        let (done, is_done) = channel();
        let (onto, rig) = (onto_latest(), &rig);
        let backup = scope.spawn(move || {
            let report = rig.backup_elsewhere(&onto);
            done.send(()).unwrap();
            report
        });
        assert!(
            is_done.recv_timeout(Duration::from_millis(300)).is_err(),
            "the backup did not wait"
        );
        go_on.send(()).unwrap();
        let (loaded, report) = (load.join().unwrap(), backup.join().unwrap());
        assert!(
            loaded.ts <= report.end && report.entries() == 3,
            "{report:?}"
        );
    });
    assert_eq!(rig.restored_rows("bank.accounts", None).len(), 4);
    rig.all_layers_restore();
}

#[test]
fn deletes_in_the_window_are_in_the_incremental() {
    let rig = Rig::new();
    rig.write(&[
        ("a", Some("1")),
        ("b", Some("1")),
        ("c", Some("1")),
        ("d", Some("1")),
    ]);
    rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("a", None)]);
    rig.write(&[("b", None), ("b", Some("back"))]);
    rig.write(&[("c", Some("2"))]);
    rig.write(&[("c", None)]);
    rig.write(&[("never", None)]);
    // In files and out of the memtable, in the last level.
    rig.engine().compact(&rig.keyspace()).unwrap();
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(
        (report.entries(), report.keyspaces[0].tombstones),
        (4, 3),
        "{report:?}"
    );
    let rows = rig.restored_rows("bank.accounts", None);
    let keys: Vec<_> = rows
        .iter()
        .map(|row| String::from_utf8_lossy(&row.key).into_owned())
        .collect();
    assert_eq!(keys, ["b", "d"]);
}

#[test]
fn a_file_that_straddles_the_target_is_cut_at_closed_bounds() {
    let rig = Rig::new();
    let mut times = Vec::new();
    rig.backup(&BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    })
    .unwrap();
    rig.clock.advance(Duration::from_secs(60));
    for round in 0..6_u8 {
        // The clock stands still, so the commits are one nanosecond apart.
        let value = if round % 3 == 2 { None } else { Some("x") };
        times.push(rig.write(&[("same", value), (&format!("key {round}"), Some("y"))]));
    }
    let report = rig
        .backup(&BackupOptions {
            revision_history: true,
            ..onto_latest()
        })
        .unwrap();
    assert_eq!(report.files(), 1);
    let (first, last) = (times[0], times[5]);
    assert_eq!(last.nanos() - first.nanos(), 5);
    for target in (first.nanos() - 2..=last.nanos()).map(Timestamp::from_nanos) {
        let expected = rig.rows_at(target);
        assert_eq!(
            rig.restored_rows("bank.accounts", Some(target)),
            expected,
            "as of {target:?}"
        );
    }
    // A window that ends on a version has it, and one that begins on it has not.
    let middle = times[2];
    rig.new_collection();
    rig.backup(&BackupOptions {
        as_of: Some(middle),
        ..BackupOptions::default()
    })
    .unwrap();
    let report = rig
        .backup(&BackupOptions {
            as_of: Some(middle.next()),
            revision_history: true,
            ..onto_latest()
        })
        .unwrap();
    assert_eq!((report.start, report.entries()), (middle, 2));
    assert_eq!(
        rig.restored_rows("bank.accounts", None),
        rig.rows_at(middle.next())
    );
}

#[test]
fn a_large_history_of_one_key_comes_back_whole() {
    let rig = Rig::new();
    let mut times = Vec::new();
    for version in 0..1500_u32 {
        times.push(
            rig.keyspace()
                .put(b"busy", noise(version, 2000), Durability::Buffered)
                .unwrap(),
        );
    }
    let options = BackupOptions {
        revision_history: true,
        target_file_bytes: 1 << 20,
        ..BackupOptions::default()
    };
    let report = rig.backup(&options).unwrap();
    assert!(
        report.files() >= 3 && report.entries() == 1500,
        "{report:?}"
    );
    for at in [0, 1, 499, 500, 1498, 1499].map(|version: usize| times[version]) {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &rig.options()).unwrap();
        rig.restore(
            &engine,
            &RestoreOptions {
                as_of: Some(at),
                ..RestoreOptions::default()
            },
        )
        .unwrap();
        let keyspace = engine.keyspace("bank.accounts").unwrap();
        assert_eq!(
            keyspace.threshold(),
            Timestamp::MIN,
            "nothing was collected, so all of it is true"
        );
        let versions = keyspace.versions(&engine.snapshot(), b"busy").unwrap();
        let expected: Vec<_> = times.iter().copied().filter(|ts| *ts <= at).rev().collect();
        assert_eq!(versions.iter().map(|v| v.ts).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_gc_gap_is_an_error_with_both_times_and_nothing_is_written() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    let full = rig.backup(&BackupOptions::default()).unwrap();
    let records = ProtectedTimestamps::new(rig.engine());
    for record in records.list().unwrap() {
        records.release(&record.id).unwrap();
    }
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("a", None)]);
    let options = GcOptions {
        ttl_override: Some(Duration::ZERO),
        ..GcOptions::default()
    };
    collect(rig.engine(), &options).unwrap();
    let threshold = rig.keyspace().threshold();
    assert!(threshold > full.end);
    let before = rig.objects();
    let error = rig.backup(&onto_latest()).unwrap_err().to_string();
    let named = error.starts_with("protected ts verification error: ")
        && error.contains("bank.accounts")
        && error.contains(&full.end.to_string())
        && error.contains(&threshold.to_string());
    assert!(named, "{error}");
    assert_eq!(rig.objects(), before, "something was written");
    assert!(records.list().unwrap().is_empty(), "a record was left");
    // A full backup as of a time that is gone, too.
    let gone = BackupOptions {
        as_of: Some(full.end),
        ..BackupOptions::default()
    };
    assert!(rig.backup(&gone).is_err());
    assert_eq!(rig.objects(), before, "something was written");
    rig.clock.advance(Duration::from_secs(60));
    rig.backup(&BackupOptions::default()).unwrap();
    assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
}

#[test]
fn protection_is_not_leaked_by_a_chain_that_goes_on_without_its_keyspace() {
    let rig = Rig::new();
    let accounts = BackupOptions {
        keyspaces: vec!["bank.accounts".parse().unwrap()],
        ..BackupOptions::default()
    };
    rig.backup(&accounts).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.engine().drop_keyspace("bank.accounts").unwrap();
    for _ in 0..3 {
        rig.clock.advance(Duration::from_secs(60));
        let report = rig.backup(&onto_latest()).unwrap();
        let records = ProtectedTimestamps::new(rig.engine()).list().unwrap();
        let times: Vec<_> = records.iter().map(|record| record.timestamp).collect();
        assert_eq!(
            times,
            [report.end],
            "the record stays behind while the chain goes on"
        );
    }
}

#[test]
fn a_record_that_a_dead_run_left_is_released_by_the_next() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    // What a run of the same selection leaves when its process dies.
    let owner = icecore_backup::chain_owner(rig.collection().id(), &[]);
    let request = ProtectRequest::new(rig.engine().now(), Target::All, owner);
    ProtectedTimestamps::new(rig.engine())
        .protect(request)
        .unwrap();
    rig.clock.advance(Duration::from_secs(60));
    let report = rig.backup(&BackupOptions::default()).unwrap();
    let records = ProtectedTimestamps::new(rig.engine()).list().unwrap();
    assert_eq!(
        records
            .iter()
            .map(|record| record.timestamp)
            .collect::<Vec<_>>(),
        [report.end]
    );
}

#[test]
fn small_incrementals_do_not_make_files_by_the_thousand() {
    let rig = Rig::new();
    let keyspaces: Vec<_> = (0..40)
        .map(|n| {
            rig.engine()
                .create_keyspace(&format!("many.k{n}"), KeyspaceSettings::default())
                .unwrap()
        })
        .collect();
    rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    for keyspace in &keyspaces[..3] {
        for row in 0..200_u8 {
            keyspace
                .put(vec![row], vec![row], Durability::Buffered)
                .unwrap();
        }
    }
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(
        (report.files(), report.entries()),
        (3, 600),
        "a file for each keyspace that changed"
    );
}

#[test]
fn listing_does_not_cost_more_with_every_layer() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    let mut lists = Vec::new();
    for round in 0..20 {
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("a", Some(&round.to_string()))]);
        let before = rig.collection().requests();
        rig.backup(&onto_latest()).unwrap();
        let spent = rig.collection().requests() - before;
        lists.push((spent.list, spent.get, spent.head));
    }
    assert!(
        lists.iter().all(|spent| *spent == lists[0]),
        "requests grow with the chain: {lists:?}"
    );
    assert!(lists[0].0 <= 4, "{:?} listings for one change", lists[0].0);
    let before = rig.collection().requests();
    rig.restored_rows("bank.accounts", None);
    let spent = rig.collection().requests() - before;
    assert!(spent.list <= 2, "{} listings for a restore", spent.list);
}

#[test]
fn a_chain_of_another_engine_is_refused_by_name() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    // A checkpoint has all that the engine has, and goes its own way from here.
    let fork = rig.folder().join("fork");
    rig.engine().checkpoint(&fork).unwrap();
    let fork = Engine::open(&fork, &rig.options()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    fork.keyspace("bank.accounts")
        .unwrap()
        .put(b"a", b"forked", Durability::Sync)
        .unwrap();
    let error = rig.backup_of(&fork, &onto_latest()).unwrap_err();
    assert!(matches!(error, BackupError::OtherEngine { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&fork.id().to_string()) && text.contains(&rig.engine().id().to_string()),
        "{text}"
    );
}

#[test]
fn of_two_incrementals_that_race_one_is_listed() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("a", Some("2"))]);
    let collection: Collection = rig.collection();
    let layers: Vec<LayerPath> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| rig.backup_elsewhere_or_not(&onto_latest())))
            .collect();
        runs.into_iter()
            .filter_map(|run| run.join().unwrap())
            .collect()
    });
    assert!(!layers.is_empty(), "all of them lost");
    let runtime = scratch::runtime().unwrap();
    let chain = runtime
        .block_on(collection.open_chain(&BackupSelector::Latest))
        .unwrap();
    let listed: Vec<_> = chain
        .layers()
        .iter()
        .skip(1)
        .map(|layer| layer.path.clone())
        .collect();
    assert!(
        layers.iter().all(|layer| listed.contains(layer)),
        "{layers:?} were acknowledged, {listed:?} are listed"
    );
    assert_eq!(layers.len(), listed.len());
    chain.head().expect("the chain forked");
    rig.all_layers_restore();
}

#[test]
fn an_excluded_keyspace_comes_back_empty_and_does_not_stand_in_the_way_of_a_time() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    let secret = rig
        .engine()
        .create_keyspace("bank.secret", KeyspaceSettings::default())
        .unwrap();
    secret.put(b"s", b"stale", Durability::Sync).unwrap();
    rig.backup(&BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    })
    .unwrap();
    let settings = KeyspaceSettings {
        exclude_from_backup: true,
        ..KeyspaceSettings::default()
    };
    rig.engine()
        .alter_keyspace("bank.secret", settings)
        .unwrap();
    rig.clock.advance(Duration::from_secs(60));
    let inside = rig.write(&[("a", Some("2"))]);
    secret.put(b"s", b"fresh", Durability::Sync).unwrap();
    rig.write(&[("a", Some("3"))]);
    rig.backup(&BackupOptions {
        revision_history: true,
        ..onto_latest()
    })
    .unwrap();
    for target in [None, Some(inside)] {
        assert_eq!(
            rig.restored_rows("bank.secret", target),
            Vec::<Row>::new(),
            "rows of an earlier layer came back"
        );
    }
    let options = KeyspaceSettings::default();
    rig.engine().alter_keyspace("bank.secret", options).unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.backup(&onto_latest()).unwrap();
    let rows = rig.restored_rows("bank.secret", None);
    assert_eq!(
        rows.iter()
            .map(|row| row.value.as_deref())
            .collect::<Vec<_>>(),
        [Some(&b"fresh"[..])]
    );
}

#[test]
fn restoring_over_an_existing_keyspace_is_refused_and_changes_nothing() {
    let rig = Rig::with_three_layers();
    let before = rig.rows();
    let runtime = scratch::runtime().unwrap();
    let keyspaces = vec!["bank.accounts".parse().unwrap()];
    let options = RestoreOptions {
        keyspaces,
        ..RestoreOptions::default()
    };
    let error = runtime
        .block_on(restore(rig.engine(), &rig.collection(), &options))
        .unwrap_err();
    assert!(
        error.to_string().contains("bank.accounts exists already"),
        "{error}"
    );
    let whole = runtime.block_on(restore(
        rig.engine(),
        &rig.collection(),
        &RestoreOptions::default(),
    ));
    assert!(matches!(whole, Err(RestoreError::NotEmpty { .. })));
    assert_eq!(rig.rows(), before);
}
