//! `cargo xtask stores up`: the object stores that tests use, for as long as a person wants them.

use crate::children;
use crate::error::Error;
use crate::workspace::{self, Workspace};

/// What `stores` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start SeaweedFS (S3), Azurite (Azure) and fake-gcs-server (Google) on loopback, print their URIs, and
    /// stay until Ctrl-C.
    Up,
}

/// Runs the command. It builds no RocksDB: the servers are a part of `testkit` that needs none.
///
/// # Errors
/// [`Error::Failed`] where no server can be started.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    let Command::Up = arguments.command;
    let cache = workspace::cache_folder(workspace.root()).join("stores");
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--locked", "--package", "icecore-testkit"]);
    cargo.args(["--no-default-features", "--features", "servers"]);
    cargo.args(["--bin", "stores_up", "--"]).arg(cache);
    children::run(&mut cargo)
}
