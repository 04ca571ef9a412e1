//! `cargo xtask fuzz`: each target of `fuzz/` for a while, by cargo-fuzz; and the smoke of
//! `cargo xtask test`, a few seconds a target.
//!
//! A target that needs RocksDB names a feature in `required-features`. It is built with
//! AddressSanitizer, since the `unsafe` of the house lies beneath it; RocksDB itself is the archive that
//! all builds link, without the sanitizer's checks but with its `malloc`. The pure targets have no
//! `unsafe` of ours, and are built without. The smoke runs these alone: they build in a few minutes.
//!
//! Inputs that reach new code are kept in `fuzz/corpus/`, what fails in `fuzz/artifacts/`; git ignores
//! both. `fuzz/seeds/` is where every run begins. What is built stays in cargo's target folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::children;
use crate::error::Error;
use crate::fuzz_toolchain::Toolchain;
use crate::metadata::{self, Metadata, Target};
use crate::setup;
use crate::steps::{Context, Outcome};
use crate::tools;
use crate::workspace::Workspace;

/// The smoke makes the same inputs each time: a change should not fail for what another one did. To find
/// something new is for `cargo xtask fuzz`.
const SMOKE_SEED: u32 = 1;

/// Inputs a target in the smoke: a number, since in so many seconds a faster machine makes others.
const SMOKE_RUNS: u32 = 30_000;

/// Seconds a target in the smoke, at most.
const SMOKE_SECONDS: u64 = 60;

/// An input that takes longer than this hangs.
const INPUT_SECONDS_MAX: u64 = 60;

/// For targets with few runs a second, which libFuzzer would spend on inputs of a few bytes; and stores in
/// memory stay for the life of the process.
const SLOW_TARGET: [&str; 3] = ["-len_control=0", "-max_len=512", "-rss_limit_mb=4096"];

/// What `fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds that each target runs.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Use the pinned toolchain even where rustup has a nightly.
    #[arg(long)]
    pinned: bool,
    /// The targets; all where none is named.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Absent`] for a target that is not there; [`Error::Failed`] where a target does not build
/// or finds a fault: cargo-fuzz then prints the input and how to run it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    setup::prepare(workspace)?;
    let targets = targets(workspace)?;
    for name in &arguments.targets {
        if !targets.iter().any(|target| target.name == *name) {
            return Err(Error::Absent {
                what: format!("fuzz target `{name}`"),
            });
        }
    }
    let toolchain = if arguments.pinned {
        Toolchain::Pinned
    } else {
        Toolchain::find(workspace)
    };
    let fuzzer = Fuzzer::prepare(workspace, toolchain)?;
    for target in &targets {
        if arguments.targets.is_empty() || arguments.targets.contains(&target.name) {
            fuzzer.run(target, arguments.seconds, &[])?;
        }
    }
    Ok(())
}

/// The step of `cargo xtask test`.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let workspace = context.workspace;
    if !cfg!(any(target_os = "linux", target_os = "macos")) {
        return Ok(Outcome::Skipped(
            "cargo-fuzz runs on Linux and macOS alone".to_owned(),
        ));
    }
    let fuzzer = Fuzzer::prepare(workspace, Toolchain::find(workspace))?;
    let smoke = [format!("-seed={SMOKE_SEED}"), format!("-runs={SMOKE_RUNS}")];
    for target in targets(workspace)?.iter().filter(|target| is_pure(target)) {
        fuzzer.run(target, SMOKE_SECONDS, &smoke)?;
    }
    Ok(Outcome::Passed)
}

fn targets(workspace: &Workspace) -> Result<Vec<Target>, Error> {
    let metadata = Metadata::read_manifest(workspace, &metadata::fuzz_manifest(workspace))?;
    let targets = metadata
        .packages
        .into_iter()
        .flat_map(|package| package.targets);
    Ok(targets
        .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
        .collect())
}

fn is_pure(target: &Target) -> bool {
    target.required_features.is_empty()
}

/// What all targets of a run are built and run with.
struct Fuzzer<'a> {
    workspace: &'a Workspace,
    toolchain: Toolchain,
    cargo_fuzz: PathBuf,
    built: PathBuf,
}

impl<'a> Fuzzer<'a> {
    fn prepare(workspace: &'a Workspace, toolchain: Toolchain) -> Result<Self, Error> {
        println!("fuzzing with {}", toolchain.name());
        Ok(Self {
            workspace,
            toolchain,
            cargo_fuzz: tools::CARGO_FUZZ.find_or_install(workspace)?,
            built: Metadata::read(workspace)?.target_directory.join("fuzz"),
        })
    }

    fn run(&self, target: &Target, seconds: u64, more: &[String]) -> Result<(), Error> {
        println!("\n-- fuzz target {}, {seconds} s at most", target.name);
        let folder = self.workspace.root().join("fuzz");
        let corpus = folder.join("corpus").join(&target.name);
        fs::create_dir_all(&corpus).map_err(|source| Error::File {
            action: "create",
            path: corpus.clone(),
            source,
        })?;
        let mut cargo = self.toolchain.cargo(self.workspace);
        let path = path_with(&self.cargo_fuzz, &cargo);
        // cargo-fuzz sets RUSTFLAGS, and then cargo reads none from .cargo/config.toml.
        if cfg!(target_arch = "x86_64") {
            cargo.env("RUSTFLAGS", "-Ctarget-feature=+sse4.2,+pclmulqdq");
        }
        cargo.env("PATH", path).args(["fuzz", "run"]);
        cargo.args(build_arguments(target));
        // Builds with different sanitizers would else evict each other.
        cargo
            .arg("--target-dir")
            .arg(self.built.join(sanitizer(target)));
        cargo.arg(&target.name).arg(corpus);
        cargo.arg(folder.join("seeds").join(&target.name));
        cargo.arg("--").arg(format!("-max_total_time={seconds}"));
        cargo.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        cargo.args(more);
        if !is_pure(target) {
            cargo.args(SLOW_TARGET);
        }
        children::run(&mut cargo)
    }
}

fn sanitizer(target: &Target) -> &'static str {
    if is_pure(target) { "none" } else { "address" }
}

fn build_arguments(target: &Target) -> Vec<String> {
    let mut arguments = vec!["--sanitizer".to_owned(), sanitizer(target).to_owned()];
    if !is_pure(target) {
        let features = target.required_features.join(",");
        arguments.extend(["--features".to_owned(), features]);
    }
    arguments
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
    fn what_needs_rocksdb_gets_a_sanitizer_and_its_feature() {
        let target = |features: &[&str]| Target {
            name: "any".to_owned(),
            kind: vec!["bin".to_owned()],
            required_features: features.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(build_arguments(&target(&[])), ["--sanitizer", "none"]);
        assert_eq!(
            build_arguments(&target(&["engine"])),
            ["--sanitizer", "address", "--features", "engine"]
        );
    }

    #[test]
    fn the_tool_goes_to_the_end_of_path() {
        let mut command = Command::new("cargo");
        command.env("PATH", "/usr/lib/ccache:/usr/bin");
        let path = path_with(Path::new("/tools/bin/cargo-fuzz"), &command);
        assert_eq!(path, "/usr/lib/ccache:/usr/bin:/tools/bin");
    }
}
