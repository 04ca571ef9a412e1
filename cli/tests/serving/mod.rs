//! The binary as a process that has the database and serves its jobs.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The binary on a database.
pub(crate) fn command(db: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    command.arg("--db").arg(db).env_remove("RUST_LOG");
    command
}

/// A process that has the database.
pub(crate) struct Serving {
    child: Child,
    pub(crate) db: PathBuf,
}

impl Serving {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(db: &Path, arguments: &[&str]) -> Self {
        let mut child = command(db)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("serving the jobs of database"), "{line}");
        Self {
            child,
            db: db.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; it must end by itself, and well.
    pub(crate) fn terminate(mut self) {
        let pid = self.pid().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}
