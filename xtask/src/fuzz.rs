//! `cargo xtask fuzz`: each target of `fuzz/` for a while, by cargo-fuzz and a nightly toolchain;
//! and the smoke of `cargo xtask test`, a few seconds a target.
//!
//! A target that needs RocksDB names a feature in `required-features`. The smoke leaves those out:
//! with a sanitizer RocksDB is compiled once more.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::children;
use crate::error::Error;
use crate::metadata::{Metadata, Target};
use crate::setup;
use crate::steps::{Context, Outcome};
use crate::tools;
use crate::workspace::Workspace;

/// Seconds a target in the smoke.
const SMOKE_SECONDS: u64 = 5;

/// What `fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds that each target runs.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// The targets; all where none is named.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::NoNightly`]; [`Error::Absent`] for a target that is not there; [`Error::Failed`] where
/// a target does not build or finds a fault: cargo-fuzz then prints the input and how to run it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    setup::prepare(workspace)?;
    if !has_nightly(workspace) {
        return Err(Error::NoNightly);
    }
    let targets = targets(workspace)?;
    for name in &arguments.targets {
        if !targets.iter().any(|target| target.name == *name) {
            return Err(Error::Absent {
                what: format!("fuzz target `{name}`"),
            });
        }
    }
    let cargo_fuzz = tools::CARGO_FUZZ.find_or_install(workspace)?;
    for target in &targets {
        if arguments.targets.is_empty() || arguments.targets.contains(&target.name) {
            fuzz(workspace, &cargo_fuzz, target, arguments.seconds)?;
        }
    }
    Ok(())
}

/// The step of `cargo xtask test`.
///
/// # Errors
/// As [`run`], but a machine without a nightly toolchain skips it.
pub(crate) fn smoke(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let workspace = context.workspace;
    if !manifest(workspace).is_file() {
        return Ok(Outcome::Skipped(
            "this checkout has no fuzz/Cargo.toml".to_owned(),
        ));
    }
    if !has_nightly(workspace) {
        return Ok(Outcome::Skipped(
            "no nightly toolchain is installed".to_owned(),
        ));
    }
    let cargo_fuzz = tools::CARGO_FUZZ.find_or_install(workspace)?;
    for target in targets(workspace)?
        .iter()
        .filter(|target| target.required_features.is_empty())
    {
        fuzz(workspace, &cargo_fuzz, target, SMOKE_SECONDS)?;
    }
    Ok(Outcome::Passed)
}

fn manifest(workspace: &Workspace) -> PathBuf {
    workspace.root().join("fuzz/Cargo.toml")
}

fn targets(workspace: &Workspace) -> Result<Vec<Target>, Error> {
    let metadata = Metadata::read_manifest(workspace, &manifest(workspace))?;
    let targets = metadata
        .packages
        .into_iter()
        .flat_map(|package| package.targets);
    Ok(targets
        .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
        .collect())
}

/// Asks rustup; `cargo +nightly` might download a toolchain that nobody asked for.
fn has_nightly(workspace: &Workspace) -> bool {
    let mut rustup = workspace.command("rustup");
    let list = rustup.args(["toolchain", "list"]).output();
    list.is_ok_and(|output| lists_nightly(&String::from_utf8_lossy(&output.stdout)))
}

fn lists_nightly(toolchains: &str) -> bool {
    toolchains
        .lines()
        .any(|line| line.starts_with("nightly-") || line.starts_with("nightly "))
}

fn fuzz(
    workspace: &Workspace,
    cargo_fuzz: &Path,
    target: &Target,
    seconds: u64,
) -> Result<(), Error> {
    println!("\n-- fuzz target {}, {seconds} s", target.name);
    let mut cargo = workspace.cargo_nightly();
    let path = path_with(cargo_fuzz, &cargo);
    cargo.env("PATH", path).args(["fuzz", "run"]);
    if !target.required_features.is_empty() {
        cargo
            .arg("--features")
            .arg(target.required_features.join(","));
    }
    // cargo-fuzz sets RUSTFLAGS, and then cargo reads none from .cargo/config.toml.
    if cfg!(target_arch = "x86_64") {
        cargo.env("RUSTFLAGS", "-Ctarget-feature=+sse4.2,+pclmulqdq");
    }
    cargo
        .arg(&target.name)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"));
    children::run(&mut cargo)
}

/// The command's `PATH` with cargo-fuzz's folder at its end, where cargo finds subcommands.
fn path_with(cargo_fuzz: &Path, command: &Command) -> OsString {
    let set = command
        .get_envs()
        .find(|(name, _)| *name == "PATH")
        .and_then(|(_, value)| value);
    let path = set
        .map(OsString::from)
        .or_else(|| std::env::var_os("PATH"))
        .unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(cargo_fuzz.parent().map(Path::to_path_buf));
    std::env::join_paths(folders).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightly_is_told_from_its_kin() {
        assert!(lists_nightly(
            "stable-x86_64 (default)\nnightly-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!lists_nightly(
            "stable-x86_64 (default)\n1.95.0-x86_64 (active)\n"
        ));
        assert!(!lists_nightly("my-nightly-fork\n"));
    }

    #[test]
    fn the_tool_goes_to_the_end_of_path() {
        let mut command = Command::new("cargo");
        command.env("PATH", "/usr/lib/ccache:/usr/bin");
        let path = path_with(Path::new("/tools/bin/cargo-fuzz"), &command);
        assert_eq!(path, "/usr/lib/ccache:/usr/bin:/tools/bin");
    }
}
