//! Retention of the pool that fast fulls share: what goes, and whom it may meet on the way.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use icecore_archive::object_store::ObjectStoreExt;
use icecore_archive::object_store::path::Path;
use icecore_archive::{Error as ArchiveError, FileId, RunId};
use icecore_backup::retain::{ExpireOptions, ExpireReport, Policy, expire};
use icecore_backup::{BackupOptions, BackupReport, Error as BackupError, Mode};
use icecore_testkit::faults::{Dates, Meddler};
use rig::{Rig, run};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

fn fast() -> BackupOptions {
    BackupOptions {
        mode: Mode::Fast,
        revision_history: true,
        ..BackupOptions::default()
    }
}

/// The newest full stays.
fn newest(grace: Duration) -> ExpireOptions {
    ExpireOptions {
        policy: Policy {
            keep_fulls: Some(1),
            keep_for: None,
        },
        grace,
        dry_run: false,
    }
}

/// A rig whose files stay as they are, and whose objects are dated by its clock.
struct Stage {
    rig: Rig,
    dates: Dates,
    round: u32,
}

impl Stage {
    fn new() -> Self {
        let rig = Rig::with(|options| options.auto_compactions = false);
        let dates = Dates::new(&rig.clock);
        rig.decorate(&Meddler::new().dating(&dates));
        Self {
            rig,
            dates,
            round: 0,
        }
    }

    /// A live file more.
    fn grow(&mut self) {
        self.round += 1;
        let value = self.round.to_string();
        self.rig
            .write(&[("a", Some(&value)), (&format!("b{value}"), Some("x"))]);
        self.rig.engine().flush().unwrap();
    }

    /// All live files give way to one.
    fn compact(&self) {
        self.rig.engine().compact(&self.rig.keyspace()).unwrap();
    }

    fn full(&self) -> BackupReport {
        self.rig.clock.advance(MINUTE);
        self.rig.backup(&fast()).unwrap()
    }

    fn expire(&self, options: &ExpireOptions) -> ExpireReport {
        run(expire(&self.rig.collection(), options)).unwrap()
    }

    fn pool(&self) -> BTreeMap<FileId, u64> {
        run(self.rig.collection().pool_files()).unwrap()
    }

    fn marks(&self) -> usize {
        let objects = self.rig.objects();
        let marks = objects
            .iter()
            .filter(|path| path.starts_with("metadata/pool/"));
        marks.count()
    }

    fn later(&self, by: Duration) {
        self.rig.clock.advance(by);
    }
}

#[test]
fn what_no_full_names_any_more_goes_with_the_chain_that_did() {
    let mut stage = Stage::new();
    for _ in 0..3 {
        stage.grow();
    }
    stage.full();
    // Two of its files are shared, one is not.
    stage.grow();
    stage.full();
    stage.compact();
    stage.later(DAY);
    stage.full();
    assert_eq!(stage.pool().len(), 5);
    let keep_two = ExpireOptions {
        policy: Policy {
            keep_fulls: Some(2),
            keep_for: None,
        },
        ..newest(DAY)
    };
    let report = stage.expire(&keep_two);
    assert_eq!(
        report.pool.marked_files, 0,
        "the second full names them all"
    );
    let dry = ExpireOptions {
        dry_run: true,
        ..newest(DAY)
    };
    let before = stage.rig.objects();
    let told = stage.expire(&dry);
    assert_eq!(stage.rig.objects(), before);
    let report = stage.expire(&newest(DAY));
    assert_eq!(told.pool, report.pool);
    assert_eq!(
        (report.pool.marked_files, report.pool.deleted_files),
        (4, 0)
    );
    assert_eq!((stage.pool().len(), stage.marks()), (5, 4));
    // Within the grace the chains are restored by their paths, files of the pool and all.
    stage.later(DAY / 2);
    let waiting = stage.expire(&newest(DAY)).pool;
    assert_eq!((waiting.marked_files, waiting.waiting_files), (0, 4));
    stage.later(DAY / 2);
    let told = stage.expire(&dry);
    let report = stage.expire(&newest(DAY));
    assert_eq!(told.pool, report.pool);
    assert_eq!(told.deleted_objects, report.deleted_objects);
    assert_eq!(report.pool.deleted_files, 4);
    assert!(report.pool.deleted_bytes > 0 && report.pending_bytes == 0);
    assert_eq!((stage.pool().len(), stage.marks()), (1, 0));
    stage.rig.all_layers_restore();
    let again = stage.expire(&newest(DAY));
    assert_eq!(again.pool, icecore_backup::retain::PoolReport::default());
}

/// A full that was cut off before its manifest leaves files that nothing names.
#[test]
fn what_a_dead_fast_full_put_there_goes_and_what_a_live_one_did_stays() {
    let mut stage = Stage::new();
    stage.grow();
    stage.full();
    stage.compact();
    stage.grow();
    stage.later(MINUTE);
    let dying = Meddler::new().dating(&stage.dates).dying_at(7);
    let collection = stage
        .rig
        .open(dying.within(stage.rig.store_options()))
        .unwrap();
    stage.rig.backup_into(&collection, &fast()).unwrap_err();
    let left = stage.pool().len();
    assert!(left > 1, "{left}");
    // It could be alive.
    let keep = ExpireOptions::default();
    assert_eq!(stage.expire(&keep).pool.marked_files, 0);
    stage.later(DAY);
    assert_eq!(stage.expire(&keep).pool.marked_files as usize, left - 1);
    stage.later(DAY);
    assert_eq!(stage.expire(&keep).pool.deleted_files as usize, left - 1);
    assert_eq!(stage.pool().len(), 1);
    stage.rig.all_layers_restore();
}

/// A marked file is not used again, though it is there and live: it is put anew.
#[test]
fn a_marked_file_is_not_used_again() {
    let mut stage = Stage::new();
    stage.grow();
    stage.full();
    stage.later(MINUTE);
    stage.grow();
    stage.compact();
    stage.full();
    for id in stage.pool().keys() {
        let collection = stage.rig.collection();
        run(collection.mark_unused(*id, None, RunId::random())).unwrap();
    }
    let before = stage.pool();
    stage.rig.clock.advance(MINUTE);
    let report = stage.rig.backup(&fast()).unwrap();
    assert_eq!(report.reused_files(), 0);
    assert_eq!(stage.pool().len(), before.len() + report.files() as usize);
    // What is marked and named is named for good: the mark was late, and goes.
    let keep = ExpireOptions::default();
    stage.later(2 * DAY);
    let told = stage.expire(&keep);
    assert_eq!(told.pool.deleted_files, 0);
    assert_eq!(stage.marks(), 0);
    assert_eq!(stage.pool().len(), before.len() + report.files() as usize);
    stage.rig.all_layers_restore();
    stage.rig.clock.advance(MINUTE);
    assert_eq!(
        stage.rig.backup(&fast()).unwrap().reused_files(),
        report.files()
    );
}

/// A layer that cannot be read may name anything.
#[test]
fn nothing_of_the_pool_goes_as_long_as_a_manifest_cannot_be_read() {
    let mut stage = Stage::new();
    stage.grow();
    let first = stage.full();
    stage.compact();
    stage.grow();
    stage.later(DAY);
    stage.full();
    let store = stage.rig.raw_store();
    let path = format!("{}/BACKUP_MANIFEST", first.layer);
    let path = Path::from(path);
    run(store.put(&path, b"nonsense".to_vec().into())).unwrap();
    let pool = stage.pool();
    for _ in 0..3 {
        let report = stage.expire(&newest(DAY));
        assert_eq!(report.pool.unreadable, std::slice::from_ref(&first.layer));
        stage.later(DAY);
    }
    assert_eq!((stage.pool(), stage.marks()), (pool, 0));
}

type Outcome = Result<BackupReport, BackupError>;

/// Where a fast full stands when others are at work.
struct Race {
    stage: Stage,
}

impl Race {
    /// An old full whose files are live, and a newer one that is not fast: only the old one names them, and it
    /// goes.
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.grow();
        stage.grow();
        stage.full();
        stage.later(2 * DAY);
        // Logical: it names nothing of the pool.
        stage
            .rig
            .backup(&BackupOptions {
                mode: Mode::Logical,
                revision_history: true,
                ..BackupOptions::default()
            })
            .unwrap();
        stage.later(MINUTE);
        stage.rig.write(&[("tail", Some("in memory"))]);
        Self { stage }
    }

    /// A fast full before whose requests something is done.
    fn full(&self, hooks: Vec<(u64, Hook)>) -> (Outcome, u64) {
        let mut options = self.stage.rig.store_options();
        let mut meddlers = Vec::new();
        for (request, hook) in hooks {
            let meddler = Meddler::new().dating(&self.stage.dates);
            let meddler = meddler.meanwhile(request, move || hook().boxed());
            meddlers.push(meddler);
        }
        // One beneath the other: all see every request.
        let dating = Meddler::new().dating(&self.stage.dates);
        options = dating.within(options);
        for meddler in &meddlers {
            let inner = options.decorate.clone().unwrap();
            let outer = meddler.within(self.stage.rig.store_options());
            let outer = outer.decorate.unwrap();
            options.decorate = Some(Arc::new(move |store| outer(inner(store))));
        }
        let collection = self.stage.rig.open(options).unwrap();
        let outcome = self.stage.rig.backup_into(&collection, &fast());
        (outcome, dating.requests())
    }

    /// What it says is so: it is listed, and whatever is listed restores.
    fn is_as_told(&self, outcome: &Outcome, what: &str) {
        if let Ok(report) = outcome {
            let listed = self.stage.rig.layers();
            assert!(listed.contains(&report.layer), "{what}: not listed");
        }
        self.stage.rig.all_layers_restore();
    }
}

type Hook = Box<dyn FnOnce() -> futures::future::BoxFuture<'static, ()> + Send>;

/// Retention with these options, some time before and after it.
fn retention(race: &Race, before: Duration, options: ExpireOptions, after: Duration) -> Hook {
    let (collection, clock) = (race.stage.rig.collection(), race.stage.rig.clock.clone());
    Box::new(move || {
        async move {
            clock.advance(before);
            expire(&collection, &options).await.unwrap();
            clock.advance(after);
        }
        .boxed()
    })
}

fn is_known(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Archive(
            ArchiveError::FileExpired { .. }
                | ArchiveError::RunRemoved { .. }
                | ArchiveError::WriteLost { .. }
        )
    )
}

/// How many requests a fast full makes that nobody meets.
fn requests() -> u64 {
    let (outcome, requests) = Race::new().full(Vec::new());
    assert_eq!(outcome.unwrap().reused_files(), 2);
    requests
}

/// Retention marks before one request of a fast full, and a grace later deletes before another. Where the full
/// put something in between, it seems alive to the second run, else dead.
#[test]
fn a_fast_full_that_meets_retention_at_any_two_requests_lists_nothing_that_does_not_restore() {
    let (mut done, mut refused, mut waited) = (0, 0, 0);
    let half = DAY / 2;
    let requests = requests();
    for first in 0..requests {
        for second in first..requests {
            let race = Race::new();
            let (outcome, _) = race.full(vec![
                (first, retention(&race, Duration::ZERO, newest(DAY), half)),
                (second, retention(&race, half, newest(DAY), Duration::ZERO)),
            ]);
            let what = format!("requests {first} and {second}");
            match &outcome {
                Ok(_) => done += 1,
                Err(error) => {
                    assert!(is_known(error), "{what}: {error}");
                    refused += 1;
                }
            }
            waited += usize::from(race.stage.marks() > 0);
            // Later runs take nothing either that is named.
            race.stage.later(DAY);
            race.stage.expire(&ExpireOptions::default());
            race.is_as_told(&outcome, &what);
        }
    }
    assert!(
        done > 10 && refused > 10 && waited > 10,
        "{done} done, {refused} refused, {waited} waited"
    );
}

/// A full with a long list of files puts parts of it after it looked for marks, and so is not dead to
/// retention: a file that was marked after it looked is not taken before its manifest is there.
#[test]
fn a_fast_full_that_puts_side_files_is_waited_for() {
    let mut waited = 0;
    for request in 0..requests() {
        let race = Race::new();
        let (collection, clock) = (race.stage.rig.collection(), race.stage.rig.clock.clone());
        let store = race.stage.rig.raw_store();
        let dates = race.stage.dates.clone();
        let waits = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&waits);
        let hook: Hook = Box::new(move || {
            async move {
                expire(&collection, &newest(DAY)).await.unwrap();
                clock.advance(DAY / 2);
                let survey = collection.survey().await.unwrap();
                let open = survey.directories.iter();
                for (layer, _) in open.filter(|(_, d)| d.manifest().is_none()) {
                    let path = Path::from(format!("{layer}/BACKUP_FILES-9-{}", "0".repeat(64)));
                    store.put(&path, b"part".to_vec().into()).await.unwrap();
                    dates.note(&path);
                }
                clock.advance(DAY / 2);
                let report = expire(&collection, &newest(DAY)).await.unwrap();
                told.store(!report.pool.waits_for.is_empty(), Ordering::SeqCst);
            }
            .boxed()
        });
        let (outcome, _) = race.full(vec![(request, hook)]);
        waited += u32::from(waits.load(Ordering::SeqCst));
        if let Err(error) = &outcome {
            assert!(is_known(error), "{error}");
        }
        race.is_as_told(&outcome, &format!("request {request}"));
    }
    assert!(waited > 2, "{waited} waited");
}

/// Who waits for nobody takes every run for dead.
#[test]
fn a_fast_full_that_meets_hasty_retention_at_any_request_fails_or_restores() {
    let (mut done, mut refused) = (0, 0);
    let at_once = || newest(Duration::ZERO);
    for request in 0..requests() {
        let race = Race::new();
        let (outcome, _) = race.full(vec![
            (
                request,
                retention(&race, Duration::ZERO, at_once(), Duration::ZERO),
            ),
            (
                request,
                retention(&race, Duration::ZERO, at_once(), Duration::ZERO),
            ),
        ]);
        let what = format!("request {request}");
        match &outcome {
            Ok(_) => done += 1,
            Err(error) => {
                assert!(is_known(error), "{what}: {error}");
                refused += 1;
            }
        }
        race.is_as_told(&outcome, &what);
    }
    assert!(done > 1 && refused > 1, "{done} done, {refused} refused");
}

/// A fast full at work between any two requests of retention, which deletes what it marked a grace ago.
#[test]
fn retention_that_meets_a_fast_full_at_any_request_takes_nothing_that_it_names() {
    let mut deleted = 0;
    for request in 0.. {
        let race = Race::new();
        // Marked a grace ago.
        race.stage.expire(&newest(DAY));
        race.stage.later(DAY);
        let taken: Arc<Mutex<Option<Outcome>>> = Arc::default();
        let (told, engine) = (Arc::clone(&taken), race.stage.rig.engine().clone());
        let collection = race.stage.rig.collection();
        let meddler = Meddler::new().dating(&race.stage.dates);
        let meddler = meddler.meanwhile(request, move || {
            async move {
                let outcome = icecore_backup::backup(&engine, &collection, &fast()).await;
                *told.lock().unwrap() = Some(outcome);
            }
            .boxed()
        });
        let options = meddler.within(race.stage.rig.store_options());
        let collection = race.stage.rig.open(options).unwrap();
        let report = run(expire(&collection, &newest(DAY))).unwrap();
        let outcome = taken.lock().unwrap().take();
        let Some(outcome) = outcome else {
            assert_eq!(report.pool.deleted_files, 2);
            break;
        };
        deleted += report.pool.deleted_files;
        race.is_as_told(&outcome, &format!("request {request}"));
        outcome.unwrap();
    }
    assert!(deleted > 2, "{deleted} deleted");
}

/// Deletes at once what no listed layer names, and leaves no mark. Some full must be deceived by it, or the
/// tests above prove nothing.
#[test]
fn planted_bug_a_retention_of_the_pool_without_marks_is_caught() {
    let mut deceived = 0;
    for request in 0..requests() {
        let race = Race::new();
        let (collection, ran) = (
            race.stage.rig.collection(),
            Arc::new(AtomicBool::new(false)),
        );
        let told = Arc::clone(&ran);
        let hook: Hook = Box::new(move || {
            async move {
                let survey = collection.survey().await.unwrap();
                let (old, run) = (survey.chains.last().unwrap(), RunId::random());
                assert!(collection.close_chain(old, run).await.unwrap());
                collection
                    .mark_expired(&old.layers()[0], run)
                    .await
                    .unwrap();
                let all = survey.pool.values().map(|object| object.path.clone());
                assert!(collection.remove(None, all.collect()).await.is_empty());
                told.store(true, Ordering::SeqCst);
            }
            .boxed()
        });
        let (outcome, _) = race.full(vec![(request, hook)]);
        assert!(ran.load(Ordering::SeqCst));
        let Ok(report) = outcome else { continue };
        let pool = race.stage.pool();
        let (manifest, _) = run(race.stage.rig.collection().read_manifest(&report.layer)).unwrap();
        let mut copied = manifest.files().filter(|(_, file)| file.copied.is_some());
        deceived += u32::from(copied.any(|(_, file)| !pool.contains_key(&file.id)));
    }
    assert!(deceived > 0, "no fast full was deceived");
}
