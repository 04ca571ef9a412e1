//! `cargo xtask soak`: the model test and the crash test of `testkit`, with counts that take hours.

use crate::children;
use crate::error::Error;
use crate::programs;
use crate::setup;
use crate::workspace::Workspace;

/// What `soak` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Random sequences of operations that both engines and the model go through.
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    model_cases: u64,
    /// Times that the child process is killed at random.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    crash_cycles: u64,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Missing`] where the machine lacks something; [`Error::Failed`] where a test fails.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    setup::prepare(workspace)?;
    let mut cargo = workspace.cargo();
    if programs::find("cargo-nextest").is_some() {
        cargo.args(["nextest", "run", "--profile", "soak"]);
    } else {
        cargo.arg("test");
    }
    cargo.args([
        "--workspace",
        "--locked",
        "--test",
        "model*",
        "--test",
        "crash*",
    ]);
    cargo.env("ICECORE_MODEL_CASES", arguments.model_cases.to_string());
    cargo.env("ICECORE_CRASH_CYCLES", arguments.crash_cycles.to_string());
    children::run(&mut cargo)
}
