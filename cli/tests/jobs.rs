//! Jobs through the binary: `serve-jobs` is killed, stopped and asked, as a real process.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod serving;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_engine::{Batch, Durability, Engine, Keyspace, Options, ScanDirection};
use icecore_mvcc::{KeyRange, KeyspaceSettings};
use icecore_testkit::scratch;
use serde_json::{Value, json};
use serving::{Serving, command};

/// Rows of the keyspace; with their values some 8 MiB, in files of one.
const ROWS: u32 = 8000;

fn icecore(db: &Path, arguments: &[&str]) -> Output {
    command(db).args(arguments).output().unwrap()
}

fn succeed(db: &Path, arguments: &[&str]) -> String {
    let output = icecore(db, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(db: &Path, arguments: &[&str]) -> String {
    let output = icecore(db, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn json_of(db: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["--output", "json"], arguments].concat();
    serde_json::from_str(&succeed(db, &arguments)).unwrap()
}

/// Has a process run jobs.
fn serve(db: &Path) -> Serving {
    let arguments = ["serve-jobs", "--create", "--checkpoint-interval", "100ms"];
    Serving::start(db, &arguments)
}

impl Serving {
    /// What the command line has no option for: small files.
    fn submit(&self, kind: &str, spec: Value) -> String {
        let answer =
            self.ask(&json!({"version": 1, "method": "submit", "kind": kind, "spec": spec}));
        answer["job"]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    fn ask(&self, request: &Value) -> Value {
        let mut stream = UnixStream::connect(self.db.join("jobs.sock")).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    fn job(&self, id: &str) -> Value {
        json_of(&self.db, &["jobs", "show", id])
    }

    fn wait_for(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let job = self.job(id);
            if wanted(&job) {
                return job;
            }
            let over = ["succeeded", "failed", "cancelled"];
            let is_over = over.iter().any(|state| job["state"] == *state);
            assert!(
                Instant::now() < until && !is_over,
                "it is never {what}: {job:#}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn state(&self, id: &str, state: &str) -> Value {
        self.wait_for(id, state, |job| job["state"] == state)
    }
}

fn mebibytes_noted(job: &Value) -> u64 {
    job["checkpoint"]["bytes"].as_u64().unwrap_or(0) >> 20
}

struct Stage {
    folder: tempfile::TempDir,
    db: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let folder = scratch::folder().unwrap();
        let db = folder.path().join("db");
        let engine = Engine::open(&db, &Options::default()).unwrap();
        engine
            .create_keyspace("t", KeyspaceSettings::default())
            .unwrap();
        fill(&engine, 0, ROWS);
        engine.close().unwrap();
        Self { folder, db }
    }

    fn collection(&self) -> PathBuf {
        self.folder.path().join("collection")
    }

    fn uri(&self) -> String {
        CollectionUri::from_local_path(self.collection())
            .unwrap()
            .to_string()
    }

    fn spec(&self, onto: Option<&str>) -> Value {
        let mut spec = json!({
            "into": self.uri(),
            "target_file_bytes": 1 << 20,
            "max_requests_per_second": 12,
        });
        if let Some(onto) = onto {
            spec["onto"] = onto.into();
        }
        spec
    }

    /// The data files of the collection.
    fn stored(&self) -> Vec<PathBuf> {
        let mut found = scratch::files_below(&self.collection());
        found.retain(|path| path.extension().is_some_and(|ending| ending == "sst"));
        found
    }

    /// How many files the layers of the newest chain name.
    fn named(&self) -> usize {
        scratch::runtime().unwrap().block_on(async {
            let uri = self.uri().parse().unwrap();
            let collection = Collection::open(&uri, StoreOptions::default())
                .await
                .unwrap();
            let chain = collection
                .open_chain(&BackupSelector::Latest)
                .await
                .unwrap();
            let mut files = 0;
            for layer in chain.layers() {
                files += collection.read_layer(layer).await.unwrap().files().count();
            }
            files
        })
    }

    fn write(&self, change: impl FnOnce(&Engine)) {
        let engine = Engine::open(&self.db, &Options::default()).unwrap();
        change(&engine);
        engine.close().unwrap();
    }
}

/// Rows with values that do not compress.
fn fill(engine: &Engine, from: u32, to: u32) {
    fill_keyspace(engine, &engine.keyspace("t").unwrap(), from, to);
}

fn fill_keyspace(engine: &Engine, keyspace: &Keyspace, from: u32, to: u32) {
    let mut state = engine.now().nanos() | 1;
    for start in (from..to).step_by(500) {
        let mut batch = Batch::new();
        for row in start..(start + 500).min(to) {
            let value: Vec<u8> = (0..128)
                .flat_map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()
                })
                .collect();
            batch.put(keyspace, format!("{row:08}"), value);
        }
        engine.commit(batch, Durability::Buffered).unwrap();
    }
}

fn rows_of(db: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let engine = Engine::open_read_only(db, &Options::default()).unwrap();
    let keyspace = engine.keyspace("t").unwrap();
    let scan = keyspace
        .scan(&engine.snapshot(), &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    scan.map(|entry| entry.map(|e| (e.key, e.value)).unwrap())
        .collect()
}

/// Kills the process in the middle of a backup, starts it again, and counts what was done twice.
fn killed_in_the_middle(stage: &Stage, spec: Value, mebibytes: u64) {
    let before = stage.stored().len();
    let serving = serve(&stage.db);
    let id = serving.submit("backup", spec);
    serving.wait_for(&id, "half done", |job| mebibytes_noted(job) >= mebibytes);
    serving.kill();
    let stored = stage.stored().len() - before;
    // Nobody serves now: the database itself tells.
    let job = json_of(&stage.db, &["jobs", "show", &id]);
    assert_eq!(job["state"], "running");
    assert!(job["protection"].is_string());
    let noted = job["checkpoint"]["files"].as_u64().unwrap() as usize;
    assert!(noted >= 2 && noted <= stored, "{noted} of {stored}");
    let serving = serve(&stage.db);
    let job = serving.state(&id, "succeeded");
    assert_eq!(
        (&job["runs"], &job["progress"]["fraction"]),
        (&json!(2), &json!(1.0))
    );
    serving.terminate();
    let junk = stage.stored().len() - stage.named();
    assert!(
        junk <= stored - noted,
        "{junk} files were put twice; {noted} of {stored} were in a checkpoint"
    );
    // Each checkpoint interval has room for a file or two at this rate, and two are under way.
    assert!(
        junk <= 5,
        "{junk} files were put twice: more than an interval's"
    );
    let owners = succeed(&stage.db, &["protect", "list"]);
    assert!(owners.contains("backup of the whole engine") && !owners.contains("backup job"));
}

/// Full, incremental and restore, each killed with SIGKILL in its middle.
#[test]
fn what_is_killed_goes_on_and_does_less_than_a_checkpoint_interval_again() {
    let stage = Stage::new();
    killed_in_the_middle(&stage, stage.spec(None), 2);
    stage.write(|engine| {
        let keyspace = engine.keyspace("t").unwrap();
        for row in (0..ROWS).step_by(5) {
            keyspace
                .delete(format!("{row:08}"), Durability::Buffered)
                .unwrap();
        }
        fill(engine, 1000, 7000);
    });
    // The junk of the full stays in the collection; what counts is what comes on top.
    for junk in junk_of(&stage) {
        std::fs::remove_file(junk).unwrap();
    }
    killed_in_the_middle(&stage, stage.spec(Some("LATEST")), 2);

    let copy = stage.folder.path().join("copy");
    let serving = serve(&copy);
    let spec = json!({"from": stage.uri(), "backup": "LATEST", "max_requests_per_second": 12});
    let id = serving.submit("restore", spec);
    let staged = || {
        let mut found = scratch::files_below(&copy.join("staging"));
        found.retain(|path| {
            let same = |stored: &PathBuf| {
                stored.file_name() == path.file_name()
                    && stored.metadata().unwrap().len() == path.metadata().map_or(0, |m| m.len())
            };
            stage.stored().iter().any(same)
        });
        found
    };
    serving.wait_for(&id, "half done", |_| staged().len() >= 4);
    serving.kill();
    // What it has it must not ask for again: it could not get it.
    let names: Vec<_> = staged()
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 4);
    let hidden = stage.folder.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    for stored in stage.stored() {
        let name = stored.file_name().unwrap().to_owned();
        if names.contains(&name) {
            std::fs::rename(&stored, hidden.join(name)).unwrap();
        }
    }
    assert!(
        refused(&copy, &["scan", "t"]).contains("does not exist"),
        "nothing is visible"
    );
    let serving = serve(&copy);
    serving.state(&id, "succeeded");
    serving.terminate();
    assert!(rows_of(&copy) == rows_of(&stage.db), "the rows differ");
    assert_eq!(std::fs::read_dir(copy.join("staging")).unwrap().count(), 0);
}

/// A fast full captures anew, and goes on with the files that are still live: each keyspace has one here, which
/// nothing compacts.
#[test]
fn a_fast_full_that_is_killed_goes_on_with_the_files_that_it_has() {
    let stage = Stage::new();
    stage.write(|engine| {
        for name in 0..10 {
            let keyspace = engine
                .create_keyspace(&format!("u{name}"), KeyspaceSettings::default())
                .unwrap();
            fill_keyspace(engine, &keyspace, 0, 1000);
        }
        engine.flush().unwrap();
    });
    let mut spec = stage.spec(None);
    spec["mode"] = json!("fast");
    spec["revision_history"] = json!(true);
    spec["threads"] = json!(1);
    // One file of eight, then smaller ones.
    killed_in_the_middle(&stage, spec, 10);
    let pool = stage.collection().join("data");
    assert!(std::fs::read_dir(pool).unwrap().count() > 10);
    let copy = stage.folder.path().join("copy");
    succeed(&copy, &["restore", "--from", &stage.uri()]);
    assert!(rows_of(&copy) == rows_of(&stage.db), "the rows differ");
}

/// Stored files that no layer names.
fn junk_of(stage: &Stage) -> Vec<PathBuf> {
    let named = scratch::runtime().unwrap().block_on(async {
        let uri = stage.uri().parse().unwrap();
        let collection = Collection::open(&uri, StoreOptions::default())
            .await
            .unwrap();
        let chain = collection
            .open_chain(&BackupSelector::Latest)
            .await
            .unwrap();
        let mut names = Vec::new();
        for layer in chain.layers() {
            let manifest = collection.read_layer(layer).await.unwrap();
            names.extend(manifest.files().map(|(_, file)| format!("{}.sst", file.id)));
        }
        names
    });
    let mut stored = stage.stored();
    stored.retain(|path| !named.iter().any(|name| path.ends_with(name)));
    stored
}

#[test]
fn jobs_are_paused_resumed_and_cancelled_by_another_process() {
    let stage = Stage::new();
    let db = &stage.db;
    let uri = stage.uri();
    let detached = ["backup", "--into", &uri, "--detached"];
    let error = refused(db, &detached);
    assert!(
        error.contains("no process runs the jobs of database"),
        "{error}"
    );
    assert_eq!(
        succeed(db, &["jobs", "list"]),
        " job  state  since  progress  what  error\n"
    );
    let serving = serve(db);
    let mode = std::fs::metadata(db.join("jobs.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = refused(db, &["get", "t", "00000001"]);
    assert!(
        error.contains("held by the `icecore serve-jobs`"),
        "{error}"
    );

    let id = serving.submit("backup", stage.spec(None));
    let job = serving.wait_for(&id, "half done", |job| mebibytes_noted(job) >= 1);
    assert!(
        job["progress"]["bytes_per_second"].as_f64().unwrap() > 0.0,
        "{job:#}"
    );
    assert!(
        job["progress"]["left_seconds"].as_f64().is_some(),
        "{job:#}"
    );
    assert!(succeed(db, &["jobs", "pause", &id]).contains("is to be paused"));
    let job = serving.state(&id, "paused");
    assert_eq!(job["progress"]["bytes_per_second"], Value::Null);
    let error = refused(db, &["jobs", "pause", &id]);
    assert!(error.contains("is paused and cannot be paused"), "{error}");
    let error = refused(db, &["jobs", "show", &id, "--wait"]);
    assert!(error.contains("is paused; `icecore jobs show"), "{error}");

    // It stays paused when the process is another one, and when there is none.
    serving.terminate();
    assert!(!db.join("jobs.sock").exists());
    assert_eq!(json_of(db, &["jobs", "list"])["jobs"][0]["state"], "paused");
    assert!(succeed(db, &["gc", "status"]).contains(&format!("backup job {id}")));
    assert!(succeed(db, &["jobs", "resume", &id]).contains("is to be resumed"));
    let serving = serve(db);
    assert!(succeed(db, &["jobs", "show", &id, "--wait"]).contains("succeeded since"));

    // The whole of it by commands alone.
    let told = succeed(db, &detached);
    let by_command = told.trim().strip_prefix("job ").unwrap().to_owned();
    succeed(db, &["jobs", "show", &by_command, "--wait"]);

    let id = serving.submit("backup", stage.spec(None));
    serving.wait_for(&id, "half done", |job| mebibytes_noted(job) >= 1);
    assert!(succeed(db, &["jobs", "cancel", &id]).contains("cancelled"));
    serving.state(&id, "cancelled");
    let error = refused(db, &["jobs", "resume", &id]);
    assert!(
        error.contains("is cancelled and cannot be resumed"),
        "{error}"
    );
    // One that nobody runs is cancelled too, and lets go of what it holds.
    let id = serving.submit("backup", stage.spec(None));
    serving.wait_for(&id, "half done", |job| mebibytes_noted(job) >= 1);
    serving.terminate();
    assert_eq!(json_of(db, &["jobs", "show", &id])["state"], "pending");
    assert!(succeed(db, &["protect", "list"]).contains(&id));
    assert!(succeed(db, &["jobs", "cancel", &id]).contains("is cancelled"));
    assert!(!succeed(db, &["protect", "list"]).contains(&id));
    let fulls = json_of(db, &["show", "backups", "--in", &uri]);
    assert_eq!(fulls["backups"].as_array().unwrap().len(), 2, "{fulls:#}");
}

/// A restore that is cancelled gives its names back.
#[test]
fn a_restore_is_cancelled_and_taken_again() {
    let stage = Stage::new();
    let serving = serve(&stage.db);
    let id = serving.submit(
        "backup",
        json!({"into": stage.uri(), "target_file_bytes": 1 << 20}),
    );
    serving.state(&id, "succeeded");
    serving.terminate();
    let copy = stage.folder.path().join("copy");
    let serving = serve(&copy);
    let uri = stage.uri();
    let detached = [
        "restore",
        "--from",
        &uri,
        "--detached",
        "--max-requests-per-second",
        "5",
    ];
    let told = succeed(&copy, &detached);
    let id = told.trim().strip_prefix("job ").unwrap().to_owned();
    serving.wait_for(&id, "at work", |job| {
        job["progress"]["done_bytes"].as_u64() > Some(1 << 20)
    });
    succeed(&copy, &["jobs", "cancel", &id]);
    serving.state(&id, "cancelled");
    let told = succeed(&copy, &["restore", "--from", &uri, "--detached"]);
    let id = told.trim().strip_prefix("job ").unwrap().to_owned();
    succeed(&copy, &["jobs", "show", &id, "--wait"]);
    // A second one is refused its names, and the job says so.
    let told = succeed(
        &copy,
        &["restore", "--from", &uri, "--keyspace", "t", "--detached"],
    );
    let id = told.trim().strip_prefix("job ").unwrap().to_owned();
    let error = refused(&copy, &["jobs", "show", &id, "--wait"]);
    assert!(
        error.contains("is failed: keyspace t exists already"),
        "{error}"
    );
    serving.terminate();
    assert!(rows_of(&copy) == rows_of(&stage.db), "the rows differ");
}

/// A collection to restore from, a database to restore into, and a restore that is slow enough to be met.
struct Coming {
    stage: Stage,
    copy: PathBuf,
}

impl Coming {
    fn new() -> Self {
        let stage = Stage::new();
        let serving = serve(&stage.db);
        let id = serving.submit(
            "backup",
            json!({"into": stage.uri(), "target_file_bytes": 1 << 20}),
        );
        serving.state(&id, "succeeded");
        serving.terminate();
        let copy = stage.folder.path().join("copy");
        Self { stage, copy }
    }

    fn spec(&self) -> Value {
        json!({"from": self.stage.uri(), "backup": "LATEST", "max_requests_per_second": 8})
    }

    /// A job that is paused in its middle.
    fn paused(&self, serving: &Serving) -> String {
        let id = serving.submit("restore", self.spec());
        serving.wait_for(&id, "at work", |job| {
            job["progress"]["done_bytes"].as_u64() > Some(2 << 20)
        });
        succeed(&self.copy, &["jobs", "pause", &id]);
        serving.state(&id, "paused");
        id
    }

    /// The files that were fetched and are not in yet.
    fn staged(&self) -> Vec<PathBuf> {
        let mut found = scratch::files_below(&self.copy.join("staging"));
        found.retain(|path| path.extension().is_some_and(|ending| ending == "sst"));
        found.sort();
        found
    }

    fn goes_on(&self, serving: Serving, id: &str) {
        succeed(&self.copy, &["jobs", "resume", id]);
        serving.state(id, "succeeded");
        serving.terminate();
        let came = rows_of(&self.copy) == rows_of(&self.stage.db);
        assert!(came, "the rows differ");
        let left = std::fs::read_dir(self.copy.join("staging")).unwrap();
        assert_eq!(left.count(), 0);
    }
}

/// A restore is its job's own: neither another job nor a plain restore goes on with it, or gives it up.
#[test]
fn a_restore_belongs_to_its_job() {
    let coming = Coming::new();
    let (copy, uri) = (&coming.copy, coming.stage.uri());
    let serving = serve(copy);
    let id = coming.paused(&serving);
    let staged = coming.staged();
    assert!(!staged.is_empty());

    // The same again is refused before there is a job; under another spec it fails by its names.
    let again = json!({"version": 1, "method": "submit", "kind": "restore", "spec": coming.spec()});
    let answer = serving.ask(&again);
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.contains(&format!(
            "job {id} is to do the same restore, and is paused"
        )),
        "{error}"
    );
    for other in [json!({"keyspaces": ["t"]}), json!({})] {
        let mut spec = json!({"from": uri, "backup": "LATEST"});
        spec.as_object_mut()
            .unwrap()
            .extend(other.as_object().unwrap().clone());
        let other = serving.submit("restore", spec);
        let error = refused(copy, &["jobs", "show", &other, "--wait"]);
        assert!(
            error.contains(&format!("keyspace t is being restored by job {id}")),
            "{error}"
        );
        refused(copy, &["jobs", "cancel", &other]);
    }

    serving.terminate();
    let error = refused(copy, &["restore", "--from", &uri]);
    assert!(
        error.contains(&format!("keyspace t is being restored by job {id}")),
        "{error}"
    );
    let told = succeed(copy, &["restore", "--abandon"]);
    assert!(told.contains(&format!("job {id} keeps its own")), "{told}");
    assert_eq!(coming.staged(), staged);
    let serving = serve(copy);
    coming.goes_on(serving, &id);

    // What is over is in nobody's way.
    let serving = serve(copy);
    let id = serving.submit("restore", coming.spec());
    let job = serving.wait_for(&id, "failed", |job| job["state"] == "failed");
    assert!(
        job["error"]
            .as_str()
            .unwrap()
            .contains("it has had keyspaces of its own"),
        "{job:#}"
    );
    serving.terminate();
}

/// What stands in the way of a restore and may pass pauses it; nothing that it brought is given up.
#[test]
fn a_restore_waits_for_what_may_pass() {
    let coming = Coming::new();
    let serving = serve(&coming.copy);
    let id = coming.paused(&serving);
    let staged = coming.staged();
    let waits = |serving: &Serving, why: &str| {
        succeed(&coming.copy, &["jobs", "resume", &id]);
        let job = serving.wait_for(&id, "paused with an error", |job| {
            job["state"] == "paused" && job["error"].is_string()
        });
        assert!(job["error"].as_str().unwrap().contains(why), "{job:#}");
    };
    // A disk that is not mounted, then one that is another's.
    let (place, away) = (
        coming.stage.collection(),
        coming.stage.folder.path().join("away"),
    );
    std::fs::rename(&place, &away).unwrap();
    std::fs::create_dir(&place).unwrap();
    waits(&serving, "no collection at");
    std::fs::remove_dir(&place).unwrap();
    succeed(&coming.stage.db, &["backup", "--into", &coming.stage.uri()]);
    waits(&serving, "was begun in collection");
    assert_eq!(coming.staged(), staged);
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    // The disk of the database fails: where its files were is something else.
    let folder = staged[0].parent().unwrap();
    std::fs::rename(folder, &away).unwrap();
    std::fs::write(folder, "").unwrap();
    waits(&serving, "mend what the system reports");
    std::fs::remove_file(folder).unwrap();
    std::fs::rename(&away, folder).unwrap();
    // A file that is gone, and brought back from a copy.
    let missing = coming
        .stage
        .stored()
        .into_iter()
        .find(|path| !staged.iter().any(|s| s.file_name() == path.file_name()))
        .unwrap();
    std::fs::rename(&missing, &away).unwrap();
    waits(&serving, "is missing from");
    std::fs::rename(&away, &missing).unwrap();
    assert!(staged.iter().all(|path| path.exists()));
    coming.goes_on(serving, &id);
}

/// What a restore brought whose job is over, or was lost, is freed by the next process that runs jobs.
#[test]
fn restores_without_their_job_are_given_up() {
    let folder = scratch::folder().unwrap();
    let db = folder.path().join("db");
    let engine = Engine::open(&db, &Options::default()).unwrap();
    let job = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
    for (id, name) in [
        (format!("2022/02/09-155340.13@7#0 by job {job}"), "a"),
        ("2022/02/09-155340.13@7#0".to_owned(), "b"),
    ] {
        engine
            .begin_restore(&id, name, KeyspaceSettings::default())
            .unwrap();
        engine.restore_staging_dir(&id).unwrap();
    }
    engine.close().unwrap();
    serve(&db).terminate();
    let engine = Engine::open(&db, &Options::default()).unwrap();
    let left: Vec<String> = engine
        .restoring()
        .iter()
        .map(|k| k.name().to_owned())
        .collect();
    assert_eq!(left, ["b"]);
    engine.close().unwrap();
    assert_eq!(std::fs::read_dir(db.join("staging")).unwrap().count(), 1);
}

#[test]
fn of_two_processes_for_one_slot_the_loser_says_who_has_it() {
    let stage = Stage::new();
    let uri = stage.uri();
    succeed(&stage.db, &["backup", "--into", &uri]);
    stage.write(|engine| fill(engine, 0, ROWS));
    let copy = stage.folder.path().join("copy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&stage.db)
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let slow = serve(&stage.db);
    let id = slow.submit("backup", stage.spec(Some("LATEST")));
    slow.wait_for(&id, "half done", |job| mebibytes_noted(job) >= 1);
    let winner = command(&copy)
        .args(["backup", "--into", &uri, "--onto", "LATEST"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = winner.id();
    assert!(winner.wait_with_output().unwrap().status.success());
    let job = slow.wait_for(&id, "failed", |job| job["state"] == "failed");
    let error = job["error"].as_str().unwrap();
    assert!(
        error.contains("was extended from") && error.contains(&format!(", process {pid}")),
        "{error}"
    );
    slow.terminate();
    let owners = succeed(&stage.db, &["protect", "list"]);
    assert!(
        !owners.contains("backup job"),
        "the loser holds nothing: {owners}"
    );
}

#[test]
fn the_socket_answers_what_it_does_not_understand() {
    let stage = Stage::new();
    let serving = serve(&stage.db);
    for (request, answer) in [
        (json!({"version": 2, "method": "list"}), "version 2"),
        (json!({"version": 1, "method": "dance"}), "cannot be read"),
        (
            json!({"version": 1, "method": "show", "id": "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90"}),
            "there is no job",
        ),
        (
            json!({"version": 1, "method": "submit", "kind": "backup", "spec": {"into": "s3://b?AWS_ACCESS_KEY_ID=canary&AWS_SECRET_ACCESS_KEY=canary"}}),
            "holds credentials",
        ),
    ] {
        let answered = serving.ask(&request);
        let text = answered["error"].as_str().unwrap();
        assert!(
            text.contains(answer) && !text.contains("canary"),
            "{answered}"
        );
        assert_eq!(answered["version"], 1);
    }
    let output = icecore(
        &stage.db,
        &[
            "backup",
            "--detached",
            "--into",
            "s3://b?AWS_ACCESS_KEY_ID=canary&AWS_SECRET_ACCESS_KEY=canary",
        ],
    );
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("holds credentials") && !error.contains("canary"),
        "{error}"
    );
    serving.terminate();
}
