//! `cargo xtask demo`: the example program `demo`, built with the dev profile and started on the
//! data that the repository carries.

use std::path::PathBuf;

use crate::children;
use crate::error::Error;
use crate::examples;
use crate::setup;
use crate::workspace::Workspace;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keep the databases and the backups in this folder, which must be new or empty; without it
    /// they go to a temporary folder and are removed.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Missing`] where the machine lacks something; [`Error::Failed`] where the demo does not
/// build, or finds that something is not as it was.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    setup::prepare(workspace)?;
    println!("building the demo");
    let mut demo = workspace.command(examples::build_one(workspace, "demo")?);
    demo.arg("--data")
        .arg(workspace.root().join("examples/data"));
    if let Some(folder) = &arguments.dir {
        demo.arg("--dir").arg(absolute(folder)?);
    }
    children::run(&mut demo)
}

/// Children run in the workspace's top folder; paths are meant from where they were typed.
pub(crate) fn absolute(path: &PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File {
        action: "find",
        path: path.clone(),
        source,
    })
}
