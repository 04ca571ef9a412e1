//! Rules about what the workspace is made of: licences, duplicate dependencies and sources
//! (`deny.toml`, read by cargo-deny), the reasons of dependencies, the direction they point in, the
//! pages of metrics and of features, and the second lock file.

use crate::children;
use crate::dependency_notes;
use crate::error::Error;
use crate::feature_notes;
use crate::layers;
use crate::lock_files;
use crate::metadata::Metadata;
use crate::metric_notes;
use crate::tools;
use crate::workspace::Workspace;

/// Checks all of it, the cheapest first.
///
/// # Errors
/// [`Error::Rule`] for what is broken; [`Error::Failed`] where cargo-deny says so, or where it
/// cannot be installed.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let metadata = Metadata::read_with_fuzz(workspace)?;
    layers::check(&metadata)?;
    dependency_notes::check(workspace, &metadata)?;
    metric_notes::check(workspace)?;
    feature_notes::check(workspace)?;
    lock_files::check(workspace)?;
    println!(
        "layers, the pages of dependencies, metrics and features, and fuzz/Cargo.lock are in order"
    );
    let mut deny = workspace.command(tools::CARGO_DENY.find_or_install(workspace)?);
    // Advisories need a database from GitHub, which a build must not wait for.
    deny.args([
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]);
    children::run(&mut deny)
}
