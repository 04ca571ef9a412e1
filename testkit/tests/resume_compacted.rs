//! A restore that is interrupted, and whose chain is compacted before it goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use icecore_archive::LayerPath;
use icecore_archive::object_store::ObjectStoreExt;
use icecore_archive::object_store::path::Path as ObjectPath;
use icecore_backup::{BackupOptions, CompactOptions, ExpireOptions, compact, expire};
use icecore_engine::Engine;
use icecore_restore::{Error, RestoreOptions, dry_run, plan_restore};
use rig::{Rig, onto_latest, read_all, run};

/// A full and three incrementals with history, and a restore into a database that was interrupted when two
/// layers were in and the third one's file fetched.
fn interrupted() -> (Rig, Engine, Vec<LayerPath>) {
    let rig = Rig::new();
    rig.write(&[("a", Some("0")), ("b", Some("0"))]);
    let history = BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    };
    rig.backup(&history).unwrap();
    for round in 0..3 {
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("a", Some(&round.to_string())), ("b", None)]);
        rig.backup(&BackupOptions {
            revision_history: true,
            ..onto_latest()
        })
        .unwrap();
    }
    let engine = Engine::open(rig.folder().join("other"), &rig.options()).unwrap();
    let (interrupt, seen) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let flag = Arc::clone(&interrupt);
    let options = RestoreOptions {
        threads: 1,
        interrupt: Some(interrupt),
        progress: Some(Arc::new(move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) == 2 {
                flag.store(true, Ordering::Release);
            }
        })),
        ..RestoreOptions::default()
    };
    let error = rig.restore(&engine, &options).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(!engine.restoring()[0].ingested().is_empty());
    let layers = rig.layers();
    assert_eq!(layers.len(), 4);
    (rig, engine, layers)
}

fn reopen(rig: &Rig, engine: Engine) -> Engine {
    let dir = engine.dir().to_owned();
    engine.close().unwrap();
    Engine::open(dir, &rig.options()).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn it_goes_on_with_the_layers_that_it_was_begun_with() {
    let (rig, engine, begun) = interrupted();
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let options = RestoreOptions::default();
    let fresh = run(plan_restore(&rig.collection(), &options)).unwrap();
    assert_ne!(fresh.layers, begun, "others would be taken today");
    let engine = reopen(&rig, engine);
    let collection = rig.reopened();
    let before = collection.requests();
    let told = run(dry_run(Some(&engine), &collection, &options)).unwrap();
    let planned = collection.requests();
    assert_eq!(told.plan.layers, begun);
    let in_already = engine.restoring()[0].ingested().len() as u64;
    assert_eq!(told.files, 4 - in_already);
    let report = rig.restore_from(&collection, &engine, &options).unwrap();
    let restored = collection.requests() - planned;
    assert_eq!((planned - before).get + told.files, restored.get);
    assert_eq!(told.requests.get, restored.get);
    assert_eq!(report.layers, 4);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
    assert!(engine.restoring().is_empty() && is_empty(engine.staging_dir()));
}

#[test]
fn it_begins_anew_where_retention_took_one_of_them() {
    let (rig, engine, begun) = interrupted();
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let retire = ExpireOptions {
        grace: Duration::ZERO,
        ..ExpireOptions::default()
    };
    for _ in 0..2 {
        rig.clock.advance(Duration::from_secs(60));
        run(expire(&rig.collection(), &retire)).unwrap();
    }
    let options = RestoreOptions::default();
    let engine = reopen(&rig, engine);
    let told = run(dry_run(Some(&engine), &rig.collection(), &options)).unwrap();
    assert_ne!(told.plan.layers, begun);
    assert_eq!(told.files, 2, "nothing of what is in counts");
    let report = rig.restore(&engine, &options).unwrap();
    assert_eq!(report.layers, 2);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
    assert!(engine.restoring().is_empty() && is_empty(engine.staging_dir()));
}

/// Only the file of one of them is gone: it is found out in the middle.
#[test]
fn it_begins_anew_where_a_file_of_one_of_them_is_gone() {
    let (rig, engine, begun) = interrupted();
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let last = &begun[3];
    let mut of_last = rig.objects();
    of_last.retain(|path| path.starts_with(&format!("{last}/data/")));
    assert_eq!(of_last.len(), 1);
    let path = ObjectPath::parse(&of_last[0]).unwrap();
    run(rig.raw_store().delete(&path)).unwrap();
    let engine = reopen(&rig, engine);
    let report = rig.restore(&engine, &RestoreOptions::default()).unwrap();
    assert_eq!(report.layers, 2);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
    assert!(engine.restoring().is_empty() && is_empty(engine.staging_dir()));
}

/// The note of the layers is lost, and the chain has others now: what is in is not mixed with them.
#[test]
fn it_begins_anew_where_nothing_tells_its_layers() {
    let (rig, engine, _) = interrupted();
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let id = engine.restoring()[0].restore_id();
    std::fs::remove_file(engine.restore_staging_path(&id).join("LAYERS")).unwrap();
    let engine = reopen(&rig, engine);
    let report = rig.restore(&engine, &RestoreOptions::default()).unwrap();
    assert_eq!(report.layers, 2);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
}
