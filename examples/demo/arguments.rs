//! What the demo takes.

use std::path::PathBuf;

/// Loads real data, backs it up, loses it, and brings it back.
#[derive(Debug, clap::Parser)]
pub(crate) struct Arguments {
    /// The folder with the compressed tables and their checksums.
    #[arg(long, value_name = "DIR", default_value = "examples/data")]
    pub(crate) data: PathBuf,
    /// Keep the databases and the backups in this folder, which must be new or empty; without it
    /// they go to a temporary folder and are removed.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
