//! `cargo xtask bench`: the benchmark harness, with the release profile.

use std::path::PathBuf;

use crate::children;
use crate::demo::absolute;
use crate::error::Error;
use crate::setup;
use crate::workspace::Workspace;

/// What `bench` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The release profile builds every Rust dependency once more (a few minutes); \
    RocksDB itself is the one that the other commands use, unless cargo compiles it."
)]
pub(crate) struct Arguments {
    /// The suite: `core` compares with raw RocksDB; `backup` and `restore` with a plain copy and with RocksDB's
    /// backup engine.
    suite: String,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Passed on to the harness; `-- --help` lists what it takes.
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Missing`] where the machine lacks something; [`Error::Failed`] where the harness does
/// not build or a measured operation gives a wrong answer. A missed bar is printed, and no error.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    setup::prepare(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args([
        "run",
        "--release",
        "--locked",
        "--package",
        "icecore-benches",
        "--",
    ]);
    cargo.arg(&arguments.suite);
    if let Some(file) = &arguments.json {
        cargo.arg("--json").arg(absolute(file)?);
    }
    children::run(cargo.args(&arguments.rest))
}
