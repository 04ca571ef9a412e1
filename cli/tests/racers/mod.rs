//! Processes of the command line that run beside each other.
#![allow(unreachable_pub, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A process that does not outlive the test, and writes to files, so that nobody has to read along.
pub struct Running {
    pub child: Child,
    pub what: &'static str,
    pub files: PathBuf,
    pub started: Instant,
    pub stopped: bool,
}

/// How it ended.
pub struct Ended {
    pub what: &'static str,
    pub pid: u32,
    pub ok: bool,
    pub json: Value,
    pub error: String,
    pub took: Duration,
}

impl Running {
    /// Nothing, if it has ended.
    pub fn signal(&mut self, signal: &str) {
        if !self.is_over() {
            let pid = self.child.id().to_string();
            let told = Command::new("kill").args([signal, &pid]).status();
            assert!(told.unwrap().success() || self.is_over(), "{signal}");
        }
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What a process prints must be what it did; and it may fail, but not die.
    pub fn end(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let read = |ending| std::fs::read_to_string(self.files.with_extension(ending)).unwrap();
        let (out, error) = (read("out"), read("err"));
        let what = self.what;
        match status.code() {
            Some(0) => {}
            Some(1) => assert!(error.starts_with("error: "), "{what}: {error}"),
            _ => panic!("{what}: {status}: {error}"),
        }
        assert!(!error.contains("panicked"), "{what}: {error}");
        Ended {
            what,
            pid: self.child.id(),
            ok: status.success(),
            json: serde_json::from_str(&out).unwrap_or_default(),
            error,
            took: self.started.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already needs neither.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    pub fn field(&self, name: &str) -> &str {
        let text = self.json[name].as_str();
        text.unwrap_or_else(|| panic!("{}: no {name} in {}", self.what, self.json))
    }
}

pub fn start(what: &'static str, db: &Path, files: PathBuf, arguments: &[&str]) -> Running {
    let file = |ending| std::fs::File::create(files.with_extension(ending)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    command.arg("--db").arg(db).args(["--output", "json"]);
    command.args(arguments).env_remove("RUST_LOG");
    let child = command.stdout(file("out")).stderr(file("err")).spawn();
    Running {
        child: child.unwrap(),
        what,
        files,
        started: Instant::now(),
        stopped: false,
    }
}
