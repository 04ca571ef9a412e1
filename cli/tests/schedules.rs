//! Schedules through the binary: made, run once, changed and dropped; and served by a process that is killed.

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

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use icecore_archive::CollectionUri;
use icecore_testkit::scratch;
use serde_json::Value;
use serving::{Serving, command};

struct Stage {
    folder: tempfile::TempDir,
    db: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let folder = scratch::folder().unwrap();
        let db = folder.path().join("db");
        let stage = Self { folder, db };
        stage.succeed(&["keyspace", "create", "t"]);
        stage.succeed(&["put", "t", "alice", "100"]);
        stage
    }

    fn uri(&self, name: &str) -> String {
        let place = self.folder.path().join(name);
        CollectionUri::from_local_path(place).unwrap().to_string()
    }

    fn icecore(&self, arguments: &[&str]) -> Output {
        command(&self.db).args(arguments).output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.icecore(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.icecore(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        error
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["--output", "json"], arguments].concat();
        serde_json::from_str(&self.succeed(&arguments)).unwrap()
    }

    fn schedule(&self) -> Value {
        let mut all = self.json(&["schedule", "list"]);
        let all = all["schedules"].as_array_mut().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn create(&self, more: &[&str]) -> Value {
        let uri = self.uri("collection");
        let create = ["schedule", "create", "nightly", "--into", &uri];
        self.json(&[&create, more].concat())
    }

    fn outcomes(&self, arguments: &[&str]) -> Vec<String> {
        let done = self.json(arguments);
        let runs = done["runs"].as_array().unwrap().iter();
        runs.map(|run| run["outcome"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The layers of the collection.
    fn layers(&self) -> usize {
        let shown = self.json(&["show", "backups", "--in", &self.uri("collection")]);
        let backups = shown["backups"].as_array().unwrap().iter();
        backups
            .map(|backup| backup["layers"].as_array().unwrap().len())
            .sum()
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let schedule = self.schedule();
            if wanted(&schedule) {
                return schedule;
            }
            assert!(Instant::now() < until, "never {what}: {schedule:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_schedule_is_made_run_changed_and_dropped() {
    let stage = Stage::new();
    let made = stage.create(&[
        "--recurring",
        "@hourly",
        "--first-run",
        "now",
        "--keep-fulls",
        "3",
    ]);
    assert_eq!(
        (&made["action"], &made["full_backup"]),
        (&"schedule".into(), &"@daily".into())
    );
    assert_eq!(
        (&made["state"], &made["keep_fulls"]),
        (&"active".into(), &3.into())
    );
    assert_eq!(
        stage.outcomes(&["schedule", "run", "--once"]),
        ["succeeded"]
    );
    assert_eq!(stage.outcomes(&["schedule", "run", "--once"]), [""; 0]);
    let schedule = stage.schedule();
    assert_eq!(schedule["last"]["kind"], "full");
    assert!(schedule["next"].is_string() && schedule["protected_age_seconds"].is_number());
    assert!(schedule["running"].as_array().unwrap().is_empty());
    assert_eq!(stage.layers(), 1);

    stage.succeed(&["put", "t", "bob", "5"]);
    let asked = stage.succeed(&["schedule", "run-now", "nightly"]);
    assert!(
        asked.contains("is asked for a backup, incremental; next: "),
        "{asked}"
    );
    let ran = stage.succeed(&["schedule", "run", "--once"]);
    assert!(ran.starts_with("ran 1 backup, of which 0 failed"), "{ran}");
    assert_eq!(stage.layers(), 2);

    let paused = stage.succeed(&["schedule", "pause", "nightly"]);
    assert!(paused.contains("it rests: somebody paused it"), "{paused}");
    assert_eq!(stage.schedule()["state"], "paused");
    let table = stage.succeed(&["schedule", "list"]);
    assert!(
        table.contains("nightly") && table.contains("paused"),
        "{table}"
    );
    stage.succeed(&["schedule", "resume", "nightly"]);
    let altered = stage.json(&[
        "schedule",
        "alter",
        "nightly",
        "--recurring",
        "5 * * * *",
        "--keep-fulls",
        "0",
    ]);
    assert_eq!(
        (&altered["recurring"], &altered["keep_fulls"]),
        (&"5 * * * *".into(), &Value::Null)
    );

    let error = stage.fails(
        1,
        &[
            "schedule",
            "create",
            "again",
            "--into",
            &stage.uri("collection"),
            "--recurring",
            "@daily",
        ],
    );
    assert!(error.contains("holds backups already"), "{error}");
    stage.succeed(&["schedule", "drop", "nightly"]);
    let error = stage.fails(1, &["schedule", "pause", "nightly"]);
    assert!(error.contains("there is no schedule"), "{error}");
    assert_eq!(stage.layers(), 2, "its backups stay");
}

#[test]
fn a_wrong_command_line_is_refused_and_repeats_no_secret() {
    let stage = Stage::new();
    let uri = stage.uri("collection");
    fn create<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["schedule", "create", "nightly"], more].concat()
    }
    stage.fails(2, &create(&["--into", &uri]));
    let error = stage.fails(2, &create(&["--into", &uri, "--recurring", "often"]));
    assert!(error.contains("is no cron expression"), "{error}");
    stage.fails(
        2,
        &create(&[
            "--into",
            &uri,
            "--recurring",
            "@daily",
            "--on-execution-failure",
            "panic",
        ]),
    );
    stage.fails(2, &["schedule", "alter", "nightly"]);
    let secret = "s3://b/p?AWS_ACCESS_KEY_ID=i&AWS_SECRET_ACCESS_KEY=CANARY&AWS_REGION=r";
    let error = stage.fails(2, &create(&["--into", secret, "--recurring", "@daily"]));
    assert!(
        error.contains("holds credentials") && !error.contains("CANARY"),
        "{error}"
    );
    assert!(
        stage.json(&["schedule", "list"])["schedules"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_run_that_fails_is_told_by_the_exit_code() {
    let stage = Stage::new();
    stage.create(&[
        "--recurring",
        "@hourly",
        "--first-run",
        "now",
        "--keyspace",
        "zoo.*",
        "--on-execution-failure",
        "pause",
    ]);
    let error = stage.fails(1, &["schedule", "run", "--once"]);
    assert!(error.contains("1 of 1 backup failed"), "{error}");
    let schedule = stage.schedule();
    assert!(
        schedule["reason"]
            .as_str()
            .unwrap()
            .contains("no keyspace matches zoo.*"),
        "{schedule:#}"
    );
    assert_eq!(schedule["failures"], 1);
}

/// Either server runs schedules and answers for them; what one that is killed had begun, the next one ends.
#[test]
fn a_server_that_is_killed_loses_no_backup() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.db, &["schedule", "run"]);
    stage.create(&[
        "--recurring",
        "@hourly",
        "--first-run",
        "now",
        "--max-requests-per-second",
        "4",
    ]);
    stage.wait_for("at work", |schedule| {
        schedule["running"][0]["job"].is_string()
    });
    serving.kill();
    let begun = stage.schedule();
    let serving = Serving::start(&stage.db, &["serve-jobs"]);
    let done = stage.wait_for("done", |schedule| {
        schedule["last"]["outcome"] == "succeeded"
    });
    assert_eq!(done["last"]["job"], begun["running"][0]["job"]);
    assert_eq!(stage.layers(), 1);
    stage.succeed(&["schedule", "pause", "nightly"]);
    stage.succeed(&["schedule", "run-now", "nightly"]);
    stage.wait_for("an incremental", |schedule| {
        schedule["last"]["kind"] == "incremental"
    });
    let error = stage.fails(1, &["schedule", "run", "--once"]);
    assert!(
        error.contains("is held by the `icecore serve-jobs`"),
        "{error}"
    );
    stage.succeed(&["schedule", "resume", "nightly"]);
    stage.succeed(&["schedule", "drop", "nightly"]);
    serving.terminate();
    assert_eq!(stage.layers(), 2);
}
