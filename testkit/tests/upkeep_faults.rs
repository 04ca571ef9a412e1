//! Compaction of chains and retention on stores that fail in every way we know, at every request.
//!
//! What must hold: each succeeds exactly, or fails with an error that says why. All that is listed restores,
//! whatever happened, and doing it again does what is left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use icecore_archive::{Collection, LayerPath};
use icecore_backup::retain::{ExpireOptions, ExpireReport, Policy, expire};
use icecore_backup::{BackupOptions, CompactOptions, CompactReport, Mode as BackupMode, compact};
use icecore_mvcc::Timestamp;
use icecore_testkit::faults::{Chaos, Meddler, Mode, Strike, swallowing};
use rig::{Contents, Rig, onto_latest, run};

const KEYSPACE: &str = "bank.accounts";
const MINUTE: Duration = Duration::from_secs(60);

/// Half of the modes, so that two threads can work.
fn modes(half: usize) -> impl Iterator<Item = Mode> {
    Mode::ALL.into_iter().skip(half).step_by(2)
}

fn history() -> BackupOptions {
    BackupOptions {
        revision_history: true,
        ..onto_latest()
    }
}

/// Writes something, and extends the newest chain by it. Returns the time of the first of two commits.
fn extend(rig: &Rig, value: &str) -> Timestamp {
    rig.clock.advance(MINUTE);
    let first = rig.write(&[("a", Some(value)), ("b", None)]);
    rig.write(&[("b", Some(value)), ("c", None)]);
    rig.backup(&history()).unwrap();
    first
}

/// A chain of a full and two incrementals, with its objects and a time inside of what is merged.
struct ToCompact {
    rig: Rig,
    objects: Contents,
    inside: Timestamp,
}

impl ToCompact {
    fn new() -> Self {
        let rig = Rig::new();
        rig.write(&[("a", Some("0")), ("c", Some("0"))]);
        rig.backup(&BackupOptions::default()).unwrap();
        extend(&rig, "1");
        let inside = extend(&rig, "2");
        rig.all_layers_restore();
        let objects = rig.contents();
        Self {
            rig,
            objects,
            inside,
        }
    }

    /// The collection as it was at first.
    fn begin(&self) {
        self.rig.go_on_with(&self.objects);
    }

    fn attempt(&self, collection: &Collection) -> Result<CompactReport, String> {
        let done = run(compact(collection, &CompactOptions::default()));
        done.map_err(|error| error.to_string())
    }

    /// All that was there still is; so what the listed layers are made of is what it was, and what is listed
    /// besides restores. Returns how many layers that are.
    fn check(&self, place: &str) -> usize {
        let now = self.rig.contents();
        for (path, content) in &self.objects {
            assert_eq!(now.get(path), Some(content), "{place}: {path}");
        }
        let more = self.rig.layers().len() - 3;
        if more > 0 {
            for as_of in [None, Some(self.inside)] {
                let at = as_of.unwrap_or(self.rig.engine().visible());
                let restored = self.rig.restored_rows(KEYSPACE, as_of);
                assert_eq!(restored, self.rig.rows_at(at), "{place}: as of {at}");
            }
        }
        more
    }

    fn holds(&self, mode: Mode, request: u64) -> bool {
        self.begin();
        let chaos = Chaos::new(Strike::Only(request, mode));
        let place = format!("compaction, {mode:?} at request {request}");
        let opened = self.rig.open(chaos.within(self.rig.store_options()));
        let done = opened.map_err(|error| error.to_string());
        let done = done.and_then(|collection| self.attempt(&collection));
        let made = self.check(&place);
        match &done {
            Ok(report) => assert_eq!((report.merged.len(), made), (1, 1), "{place}"),
            Err(error) => {
                assert!(!error.contains('\n'), "{place}: {error}");
                assert!(made <= 1, "{place}: {made} layers");
            }
        }
        if chaos.struck() == 0 {
            done.unwrap();
            return false;
        }
        if made == 0 {
            let again = self.attempt(&self.rig.collection());
            let again = again.unwrap_or_else(|error| panic!("{place}, run again: {error}"));
            assert_eq!(again.merged.len(), 1, "{place}, run again");
            assert_eq!(self.check(&place), 1, "{place}, run again");
        }
        true
    }
}

fn compaction_holds(half: usize) {
    let stage = ToCompact::new();
    let mut struck = 0;
    for mode in modes(half) {
        struck += (0..)
            .take_while(|&request| stage.holds(mode, request))
            .count();
    }
    assert!(struck > 40, "only {struck} requests were struck");
}

#[test]
fn a_compaction_holds_under_every_fault_at_every_request_first_half() {
    compaction_holds(0);
}

#[test]
fn a_compaction_holds_under_every_fault_at_every_request_second_half() {
    compaction_holds(1);
}

/// The checker itself: a merged layer one of whose uploads was not made does not restore.
#[test]
#[should_panic(expected = "MissingObject")]
fn a_swallowed_upload_error_of_a_compaction_is_caught() {
    let stage = ToCompact::new();
    for request in 0..60 {
        stage.begin();
        let chaos = Chaos::new(Strike::Only(request, Mode::Refused));
        let options = swallowing(chaos.within(stage.rig.store_options()));
        if let Ok(collection) = stage.rig.open(options) {
            let _told = stage.attempt(&collection);
        }
        stage.check("swallowed");
    }
}

/// A collection with all that retention has to do with: a chain that goes with files of the pool that
/// nothing else names, layers that a merged one stands for, files of the pool that stay, a run that died.
struct ToExpire {
    rig: Rig,
    objects: Contents,
    /// The paths that stay after a run, marks aside.
    after_one: BTreeSet<String>,
    /// And after as many as it takes.
    after_all: BTreeSet<String>,
    /// What is listed and stored in states of which all that is listed restored.
    whole: BTreeSet<State>,
}

/// Layers that are listed; objects and their sizes, marks aside.
type State = (Vec<LayerPath>, BTreeSet<(String, usize)>);

fn fast() -> BackupOptions {
    BackupOptions {
        mode: BackupMode::Fast,
        revision_history: true,
        ..BackupOptions::default()
    }
}

/// Keep the newest, and wait for nobody.
fn at_once() -> ExpireOptions {
    ExpireOptions {
        policy: Policy {
            keep_fulls: Some(1),
            keep_for: None,
        },
        grace: Duration::ZERO,
        dry_run: false,
    }
}

impl ToExpire {
    /// At its beginning; or when the chain is gone, and files of the pool are marked, and go next.
    fn new(begun: bool) -> Self {
        let rig = Rig::with(|options| options.auto_compactions = false);
        let full = |rig: &Rig| {
            rig.engine().flush().unwrap();
            rig.clock.advance(MINUTE);
            rig.backup(&fast()).unwrap();
        };
        rig.write(&[("a", Some("0")), ("c", Some("0"))]);
        full(&rig);
        extend(&rig, "1");
        rig.engine().flush().unwrap();
        rig.engine().compact(&rig.keyspace()).unwrap();
        full(&rig);
        extend(&rig, "2");
        extend(&rig, "3");
        run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
        let dies = Meddler::new().dying_at(3);
        let collection = rig.open(dies.within(rig.store_options())).unwrap();
        rig.backup_into(&collection, &BackupOptions::default())
            .unwrap_err();
        rig.all_layers_restore();
        if begun {
            run(expire(&rig.collection(), &at_once())).unwrap();
        }
        let objects = rig.contents();
        let report = run(expire(&rig.collection(), &at_once())).unwrap();
        let pool = report.pool.clone();
        if begun {
            assert!(pool.deleted_files > 0, "{report:?}");
        } else {
            let gone = report.chains.iter().any(|chain| chain.expires);
            assert!(gone && pool.marked_files > 0, "{report:?}");
            assert!(!report.retired.is_empty() && !report.junk.is_empty());
        }
        let after_one = end_of(&rig);
        finish(&rig, "undisturbed");
        let after_all = end_of(&rig);
        let mut stage = Self {
            rig,
            objects,
            after_one,
            after_all,
            whole: BTreeSet::new(),
        };
        stage.check();
        stage
    }

    /// All that is listed restores.
    fn check(&mut self) {
        let contents = self.rig.contents();
        let stored = contents.iter().filter(|(path, _)| !is_mark(path));
        let stored = stored.map(|(path, content)| (path.clone(), content.len()));
        let state = (self.rig.layers(), stored.collect());
        if !self.whole.contains(&state) {
            self.rig.all_layers_restore();
            self.whole.insert(state);
        }
    }

    fn holds(&mut self, mode: Mode, request: u64) -> bool {
        self.rig.go_on_with(&self.objects);
        let newest = self.rig.layers().first().cloned();
        let chaos = Chaos::new(Strike::Only(request, mode));
        let place = format!("retention, {mode:?} at request {request}");
        let opened = self.rig.open(chaos.within(self.rig.store_options()));
        let done = opened.map_err(|error| error.to_string());
        let done = done.and_then(|collection| {
            run(expire(&collection, &at_once())).map_err(|error| error.to_string())
        });
        self.check();
        assert_eq!(self.rig.layers().first().cloned(), newest, "{place}");
        match &done {
            Ok(report) => self.is_as_told(report, &place),
            Err(error) => assert!(!error.contains('\n'), "{place}: {error}"),
        }
        if chaos.struck() == 0 {
            done.unwrap();
            return false;
        }
        let last = finish(&self.rig, &place);
        self.check();
        let end = end_of(&self.rig);
        if mode == Mode::TearsUpload && !last.damaged.is_empty() {
            // Half of a mark in a manifest's place could be anything: it and what it may name are left, which
            // every run says.
            assert!(end.is_superset(&self.after_all), "{place}, run again");
        } else {
            assert_eq!(end, self.after_all, "{place}, run again: {last:?}");
        }
        true
    }

    /// What it says is gone is gone, but for what it says the store would not delete.
    fn is_as_told(&self, report: &ExpireReport, place: &str) {
        let chains = report.chains.iter().filter(|chain| chain.expires);
        let said: Vec<String> = chains
            .map(|chain| chain.full.to_string())
            .chain(report.retired.iter().map(|gone| gone.layer.to_string()))
            .chain(report.junk.iter().map(|gone| gone.directory.to_string()))
            .collect();
        let refused: BTreeSet<&String> = report.refused.iter().map(|r| &r.path).collect();
        for path in end_of(&self.rig).difference(&self.after_one) {
            let is_said = said
                .iter()
                .any(|gone| path.starts_with(&format!("{gone}/")));
            let is_told = !is_said || refused.contains(path);
            assert!(is_told, "{place}: {path} is left: {report:?}");
        }
    }
}

fn is_mark(path: &str) -> bool {
    path.starts_with("metadata/")
}

/// The paths of what is no mark.
fn end_of(rig: &Rig) -> BTreeSet<String> {
    let paths = rig.objects().into_iter();
    paths.filter(|path| !is_mark(path)).collect()
}

/// Retention until nothing is left to do: each run succeeds.
fn finish(rig: &Rig, place: &str) -> ExpireReport {
    for _ in 0..4 {
        let report = run(expire(&rig.collection(), &at_once()))
            .unwrap_or_else(|error| panic!("{place}, run again: {error}"));
        assert_eq!(report.refused, [], "{place}, run again");
        if (report.deleted_objects, report.pool.marked_files) == (0, 0) {
            return report;
        }
    }
    panic!("{place}: retention never ends");
}

fn retention_holds(begun: bool, half: usize, requests: usize) {
    let mut stage = ToExpire::new(begun);
    let mut struck = 0;
    for mode in modes(half) {
        struck += (0..)
            .take_while(|&request| stage.holds(mode, request))
            .count();
    }
    assert!(struck > requests, "only {struck} requests were struck");
}

#[test]
fn retention_holds_under_every_fault_at_every_request_first_half() {
    retention_holds(false, 0, 40);
}

#[test]
fn retention_holds_under_every_fault_at_every_request_second_half() {
    retention_holds(false, 1, 40);
}

#[test]
fn deletion_from_the_pool_holds_under_every_fault_at_every_request() {
    for half in 0..2 {
        retention_holds(true, half, 15);
    }
}

/// The checker itself: retention that takes a file of a layer that stays is caught, whichever it is.
#[test]
fn a_retention_that_takes_a_needed_file_is_caught() {
    let mut stage = ToExpire::new(false);
    let needed: Vec<String> = stage
        .after_all
        .iter()
        .filter(|p| p.ends_with(".sst"))
        .cloned()
        .collect();
    assert!(needed.len() > 1, "{needed:?}");
    let whole = stage.rig.contents();
    for path in needed {
        stage.rig.go_on_with(&whole);
        stage.check();
        assert!(run(stage.rig.collection().remove(None, vec![path.clone()])).is_empty());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.check()));
        assert!(caught.is_err(), "{path}");
    }
}
