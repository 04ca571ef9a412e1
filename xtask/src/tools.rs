//! Programs that the checks use and that a Rust toolchain does not bring. They are taken from
//! `PATH`, else built once into a folder of the user's cache, so that nothing of the user's own
//! `cargo install` is touched.

use std::fs;
use std::path::PathBuf;

use crate::children;
use crate::error::Error;
use crate::programs;
use crate::workspace::{self, Workspace};

/// Checks licences, duplicates and sources.
pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Builds and runs fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
};

/// A program from crates.io.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// The program's path; built first where this machine does not have it.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Failed`] where `cargo install` does not succeed.
    pub(crate) fn find_or_install(self, workspace: &Workspace) -> Result<PathBuf, Error> {
        if let Some(path) = programs::find(self.name) {
            return Ok(path);
        }
        let folder = workspace::cache_folder(workspace.root())
            .join("tools")
            .join(format!("{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        println!(
            "building {} {} into {}",
            self.name,
            self.version,
            folder.display()
        );
        let build = folder.join("build");
        let mut cargo = workspace.cargo();
        cargo.args([
            "install",
            self.name,
            "--version",
            self.version,
            "--locked",
            "--debug",
        ]);
        cargo
            .arg("--root")
            .arg(&folder)
            .arg("--target-dir")
            .arg(&build);
        // Half a minute of work does not repay an optimised build of two hundred crates.
        children::run(cargo.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
        fs::remove_dir_all(&build).map_err(|source| Error::File {
            action: "remove",
            path: build,
            source,
        })?;
        Ok(program)
    }
}
