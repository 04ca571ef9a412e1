//! Real processes on one collection at once: two backups for one slot, a third that takes a full, retention
//! with a short grace, a compaction, a restore, and a writer that is stopped in its middle, sleeps for longer
//! than the grace, and wakes.
//!
//! `ICECORE_RACE_ROUNDS` sets how often. Who wins is up to the machine; what must hold is not.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod racers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use icecore_archive::{BackupSelector, Chain, Collection, CollectionUri, LayerEntry, StoreOptions};
use icecore_engine::{Batch, Durability, Engine, Options};
use icecore_mvcc::{Fingerprint, KeyspaceSettings, SystemClock, Timestamp};
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use racers::{Ended, Running, start};

/// What retention is told that a backup or a restore may take.
const GRACE: Duration = Duration::from_millis(2500);

/// One that took nearly that long may have lost its files by right.
const NEARLY: Duration = Duration::from_millis(2300);

const KEYSPACES: u32 = 5;

/// Rows of each.
const ROWS: u32 = 300;

/// What is visible, by keyspace.
type State = BTreeMap<String, Fingerprint>;

/// What came of the races, so that a test in which nothing met does not pass.
#[derive(Debug, Default)]
struct Summary {
    slots_lost: u32,
    stalled: u32,
    woke_in_vain: u32,
    merged: u32,
    layers_restored: usize,
}

impl Summary {
    fn has_all(&self) -> bool {
        self.slots_lost > 0 && self.woke_in_vain > 0 && self.merged > 0
    }
}

struct Stage {
    folder: tempfile::TempDir,
    uri: String,
    states: Vec<(Timestamp, State)>,
    started: u32,
    summary: Summary,
}

fn engine_options() -> Options {
    scratch::small_engine(Arc::new(SystemClock))
}

fn state_of(engine: &Engine, at: Timestamp) -> State {
    let snapshot = engine.snapshot_at(at).unwrap();
    let keyspaces = engine.keyspaces();
    let print = |k: &icecore_engine::Keyspace| {
        let print = k.fingerprint_at(&snapshot, 1).unwrap();
        (k.name().to_owned(), print)
    };
    keyspaces.iter().map(print).collect()
}

impl Stage {
    fn new() -> Self {
        let folder = scratch::folder().unwrap();
        let uri = CollectionUri::from_local_path(folder.path().join("collection")).unwrap();
        let stage = Self {
            uri: uri.to_string(),
            folder,
            states: Vec::new(),
            started: 0,
            summary: Summary::default(),
        };
        let engine = Engine::open(stage.path("main"), &engine_options()).unwrap();
        for number in 0..KEYSPACES {
            let settings = KeyspaceSettings::default();
            engine
                .create_keyspace(&format!("t{number}"), settings)
                .unwrap();
        }
        engine.close().unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the database, notes its state, and copies it for the other writers, which are processes of their
    /// own and cannot open the same folder.
    fn change(&mut self, round: u32) {
        let engine = Engine::open(self.path("main"), &engine_options()).unwrap();
        for keyspace in engine.keyspaces() {
            let mut batch = Batch::new();
            for row in 0..ROWS {
                match (row + round) % 4 {
                    0 => batch.put(
                        &keyspace,
                        format!("{row:04}"),
                        format!("{round} {row:0500}"),
                    ),
                    1 if round > 0 => batch.delete(&keyspace, format!("{row:04}")),
                    _ => &mut batch,
                };
            }
            engine.commit(batch, Durability::Sync).unwrap();
        }
        let at = engine.visible();
        self.states.push((at, state_of(&engine, at)));
        engine.close().unwrap();
        for copy in ["rival", "third", "sleeper"] {
            drop(std::fs::remove_dir_all(self.path(copy)));
            let mut cp = Command::new("cp");
            cp.arg("-r").arg(self.path("main")).arg(self.path(copy));
            assert!(cp.status().unwrap().success());
        }
    }

    /// What the source held at a time.
    fn state_at(&self, at: Timestamp) -> Option<&State> {
        let mut states = self.states.iter().rev();
        states.find(|(since, _)| *since <= at).map(|(_, s)| s)
    }

    fn start(&mut self, what: &'static str, db: &str, arguments: &[&str]) -> Running {
        self.started += 1;
        let files = self.path(&format!("process-{}", self.started));
        start(what, &self.path(db), files, arguments)
    }

    fn backup(&mut self, what: &'static str, onto: bool, mode: &str) -> Running {
        let uri = self.uri.clone();
        let mut arguments = vec!["backup", "--into", &uri, "--revision-history"];
        match onto {
            true => arguments.extend(["--onto", "LATEST"]),
            false => arguments.extend(["--mode", mode]),
        }
        self.start(what, what, &arguments)
    }

    /// Stops a backup somewhere in its middle: so long after it made its first object.
    fn stalled(&mut self, onto: bool, mode: &str, after: Duration) -> Running {
        let before = scratch::files_below(&self.path("collection")).len();
        let mut sleeper = self.backup("sleeper", onto, mode);
        while scratch::files_below(&self.path("collection")).len() <= before && !sleeper.is_over() {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(after);
        sleeper.signal("-STOP");
        std::thread::sleep(Duration::from_millis(5));
        sleeper.stopped = !sleeper.is_over();
        sleeper
    }

    /// The processes of one round; all have ended when it returns.
    fn round(&mut self, round: u32) {
        self.change(2 * round);
        if round == 0 {
            let first = self.backup("main", false, "fast").end();
            assert!(first.ok, "{}", first.error);
            self.change(2 * round + 1);
        }
        let (onto, mode) = (
            round.is_multiple_of(2),
            ["logical", "fast"][round as usize / 2 % 2],
        );
        let after = Duration::from_millis([0, 1, 3, 0, 2, 8][round as usize % 6]);
        let mut sleeper = self.stalled(onto, mode, after);
        let slept = Instant::now();

        let uri = self.uri.clone();
        let retention = Retention::start(self, 1 + round % 2);
        let main = self.backup("main", true, "");
        let rival = self.backup("rival", true, "");
        let third = (round % 4 == 3).then(|| self.backup("third", false, "fast"));
        let compaction = self.start(
            "compaction",
            "main",
            &["collection", "compact", "--in", &uri],
        );
        let copy = format!("copy-{round}");
        let restored = self.start("restore", &copy, &["restore", "--from", &uri]);
        let ends = [
            Some(main),
            Some(rival),
            third,
            Some(compaction),
            Some(restored),
        ];
        let ends: Vec<Ended> = ends.into_iter().flatten().map(Running::end).collect();

        std::thread::sleep((GRACE + Duration::from_millis(400)).saturating_sub(slept.elapsed()));
        let late = self.start(
            "late compaction",
            "main",
            &["collection", "compact", "--in", &uri],
        );
        let was_stopped = sleeper.stopped;
        sleeper.signal("-CONT");
        let (sleeper, late) = (sleeper.end(), late.end());
        retention.end();

        self.judge_rivals(&ends[0], &ends[1], sleeper.pid);
        for ended in ends.iter().chain([&late]) {
            self.judge(ended, &copy);
        }
        self.summary.stalled += u32::from(was_stopped);
        self.summary.woke_in_vain += u32::from(was_stopped && !sleeper.ok);
        println!("sleeper: {} {}", sleeper.ok, sleeper.error.trim());
        if sleeper.ok {
            self.is_there_or_expired(&sleeper);
        }
    }

    /// One slot has one winner, and the other says who.
    fn judge_rivals(&mut self, one: &Ended, other: &Ended, sleeper: u32) {
        match (one.ok, other.ok) {
            (true, true) => {
                assert_ne!(
                    one.field("start"),
                    other.field("start"),
                    "two have one slot"
                );
            }
            _ => {
                for (loser, winner) in [(one, other), (other, one)] {
                    if loser.ok || !loser.error.contains("was extended from") {
                        continue;
                    }
                    let names = |pid: u32| loser.error.contains(&format!(", process {pid}"));
                    let told = winner.ok && names(winner.pid) || names(sleeper);
                    assert!(told, "by whom? {}", loser.error);
                    self.summary.slots_lost += 1;
                }
            }
        }
    }

    /// What a process that was quick enough must have done.
    fn judge(&mut self, ended: &Ended, copy: &str) {
        let Ended { what, error, .. } = ended;
        if !ended.ok {
            println!("{what}: {:?} {}", ended.took, error.trim());
            let overtaken = ["main", "rival"].contains(what)
                && ["was extended from", "was expired by retention"]
                    .iter()
                    .any(|t| error.contains(t));
            assert!(overtaken || ended.took > NEARLY, "{what}: {error}");
            return;
        }
        match *what {
            "main" | "rival" | "third" => self.is_there_or_expired(ended),
            "restore" => {
                let target: Timestamp = ended.field("target").parse().unwrap();
                let engine = Engine::open(self.path(copy), &engine_options()).unwrap();
                let found = state_of(&engine, target);
                assert_eq!(Some(&found), self.state_at(target), "a wrong restore");
            }
            _ => {
                let merged = ended.json["merged"].as_array().map_or(0, Vec::len);
                self.summary.merged += merged as u32;
            }
        }
    }

    /// A backup that says it is done is there, or a layer stands for it, or it went with its chain.
    fn is_there_or_expired(&self, done: &Ended) {
        let (layer, hash) = (done.field("backup"), done.field("manifest_hash"));
        let flat = layer.replace('/', "_");
        let is_there = on_collection(&self.uri, async |collection| {
            for chain in collection.chains().await.unwrap() {
                for entry in chain.layers() {
                    let merged = collection.read_layer(entry).await.unwrap().merges;
                    let merges = merged.iter().any(|part| part.to_string() == hash);
                    if merges || entry.path.to_string() == layer {
                        return true;
                    }
                }
            }
            false
        });
        let marks = scratch::files_below(&self.path("collection/metadata/latest"));
        let is_expired = marks.iter().any(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let full = name
                .strip_prefix("expired-")
                .and_then(|n| n.split_once('-'));
            full.is_some_and(|(_, full)| flat.contains(full))
        });
        assert!(is_there || is_expired, "{}: {layer} is gone", done.what);
    }

    /// Nothing that is listed is broken, and all of it is what the source was.
    fn check(&mut self) -> Result<(), String> {
        let uri = self.uri.clone();
        let verify = ["verify", "--depth", "checksum", "--in", &uri];
        let verified = self.start("verify", "main", &verify).end();
        if !verified.ok {
            return Err(format!("verify: {}{}", verified.error, verified.json));
        }
        self.layers_restore()
    }

    fn layers_restore(&mut self) -> Result<(), String> {
        let restored = on_collection(&self.uri, async |collection| {
            let mut restored = 0;
            for chain in collection.chains().await.map_err(|e| e.to_string())? {
                let mut starts = BTreeMap::new();
                for layer in chain.layers() {
                    let manifest = collection.read_layer(layer).await;
                    let manifest = manifest.map_err(|e| e.to_string())?;
                    if manifest.merges.is_empty()
                        && let Some(other) = starts.insert(layer.start, &layer.path)
                    {
                        return Err(format!("{other} and {} have one slot", layer.path));
                    }
                    self.layer_restores(&collection, &chain, layer).await?;
                    restored += 1;
                }
            }
            Ok(restored)
        })?;
        self.summary.layers_restored += restored;
        Ok(())
    }

    async fn layer_restores(
        &self,
        collection: &Collection,
        chain: &Chain,
        layer: &LayerEntry,
    ) -> Result<(), String> {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &engine_options()).unwrap();
        let options = RestoreOptions {
            from: BackupSelector::Full(chain.full().clone()),
            as_of: Some(layer.end),
            check_fingerprints: true,
            ..RestoreOptions::default()
        };
        let done = restore(&engine, collection, &options).await;
        done.map_err(|error| format!("{} does not restore: {error}", layer.path))?;
        match self.state_at(layer.end) == Some(&state_of(&engine, layer.end)) {
            true => Ok(()),
            false => Err(format!("{} restores to another state", layer.path)),
        }
    }
}

/// Retention again and again, until it is told to end.
struct Retention {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Retention {
    fn start(stage: &Stage, keep: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (told, uri, keep) = (Arc::clone(&over), stage.uri.clone(), keep.to_string());
        let (db, files) = (stage.path("main"), stage.path("retention"));
        let thread = std::thread::spawn(move || {
            let grace = format!("{}ms", GRACE.as_millis());
            let mut last = false;
            while !last {
                // Once more after that, so that one began when all others had ended.
                last = told.load(Ordering::Acquire);
                let arguments = [
                    "collection",
                    "expire",
                    "--in",
                    &uri,
                    "--keep-fulls",
                    &keep,
                    "--grace",
                    &grace,
                ];
                let ended = start("retention", &db, files.clone(), &arguments).end();
                assert!(ended.ok, "retention: {}", ended.error);
            }
        });
        Self { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

fn on_collection<T>(uri: &str, work: impl AsyncFnOnce(Collection) -> T) -> T {
    scratch::runtime().unwrap().block_on(async {
        let uri = uri.parse().unwrap();
        let collection = Collection::open(&uri, StoreOptions::default()).await;
        work(collection.unwrap()).await
    })
}

#[test]
fn whoever_wins_nothing_that_is_listed_is_broken() {
    let rounds = u32::try_from(scratch::count_from_env("ICECORE_RACE_ROUNDS", 5)).unwrap();
    let mut stage = Stage::new();
    for round in 0..rounds + 10 {
        // Who meets whom is up to the machine: a few rounds more where nobody did.
        if round >= rounds && stage.summary.has_all() {
            break;
        }
        let began = Instant::now();
        stage.round(round);
        let raced = began.elapsed();
        if let Err(problem) = stage.check() {
            panic!("round {round}: {problem}");
        }
        println!(
            "round {round}: {raced:?}, checked after {:?}",
            began.elapsed()
        );
    }
    println!("{:?}", stage.summary);
    let Summary {
        slots_lost,
        stalled,
        woke_in_vain,
        merged,
        layers_restored,
    } = stage.summary;
    assert!(
        stalled > 0 && woke_in_vain > 0,
        "no writer slept long enough"
    );
    assert!(
        slots_lost > 0 && merged > 0 && layers_restored > 5,
        "nobody met"
    );
}

/// The checker itself: what a retention without marks would do, and a restore that shows something else.
#[test]
fn planted_bug_a_file_that_is_listed_and_gone_is_caught() {
    let mut stage = Stage::new();
    stage.change(0);
    assert!(stage.backup("main", false, "fast").end().ok);
    stage.change(1);
    assert!(stage.backup("main", true, "").end().ok);
    stage.check().unwrap();
    let state = stage.states.pop().unwrap();
    let caught = stage.check().unwrap_err();
    assert!(caught.contains("restores to another state"), "{caught}");
    stage.states.push(state);
    let mut stored = scratch::files_below(&stage.path("collection"));
    stored.retain(|path| path.extension().is_some_and(|ending| ending == "sst"));
    std::fs::remove_file(&stored[0]).unwrap();
    let caught = stage.check().unwrap_err();
    assert!(caught.starts_with("verify: "), "{caught}");
    let caught = stage.layers_restore().unwrap_err();
    assert!(caught.contains("does not restore"), "{caught}");
}
