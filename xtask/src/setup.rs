//! `cargo xtask setup`: what a machine needs beyond a Rust toolchain, found or installed.
//!
//! Needed are a C++ compiler and libclang. As root on a machine with `apt-get`, what is missing is
//! installed, with a line that says so; anywhere else the one command to type is printed and
//! nothing is changed. Then RocksDB is compiled, where this user has it not yet. Every command that
//! builds does this first. ccache is used where it is, and installed only on request.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::children;
use crate::error::Error;
use crate::libclang::{Found, Places};
use crate::packages::{Manager, Need};
use crate::programs;
use crate::rocksdb;
use crate::workspace::Workspace;

/// What `setup` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Install ccache too where it may be installed: C and C++ that was compiled before, and whose
    /// result is gone, then comes back in seconds.
    #[arg(long)]
    with_ccache: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Missing`] with the command to type, where something needed is missing and may not be
/// installed from here; [`Error::Failed`] where the package manager fails.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    prepare(workspace)?;
    if arguments.with_ccache && programs::find("ccache").is_none() {
        match installer() {
            Some(manager) => install(workspace, manager, &[Need::Ccache])?,
            None => println!("ccache is not installed; that costs time only"),
        }
    }
    println!("C++ compiler: found");
    if let Found::Usable(path) = Places::of_this_machine().search() {
        println!("libclang: {}", path.display());
    }
    let ccache = programs::find("ccache");
    println!(
        "ccache: {}",
        if ccache.is_some() {
            "found, and used"
        } else {
            "none"
        }
    );
    Ok(())
}

/// Makes sure that the workspace can be built on this machine, RocksDB first. Silent where nothing
/// is to be done.
///
/// # Errors
/// As [`run`].
pub(crate) fn prepare(workspace: &Workspace) -> Result<(), Error> {
    install_needs(workspace)?;
    rocksdb::prepare(workspace)
}

fn install_needs(workspace: &Workspace) -> Result<(), Error> {
    let needs = missing();
    let Some(first) = needs.first() else {
        return Ok(());
    };
    // Nothing that is installed helps while this variable sends the search elsewhere.
    if needs.contains(&Need::Libclang) && env::var_os("LIBCLANG_PATH").is_some() {
        return Err(Error::Missing {
            missing: "LIBCLANG_PATH is set, but no libclang with its headers is there".to_owned(),
            command: "unset LIBCLANG_PATH".to_owned(),
        });
    }
    let Some(manager) = installer() else {
        return Err(Error::Missing {
            missing: first.reason().to_owned(),
            command: Manager::of_this_machine().map_or_else(
                || "your system's command to install g++ and libclang (clang-devel)".to_owned(),
                |manager| manager.install_line(&needs),
            ),
        });
    };
    install(workspace, manager, &needs)?;
    match missing().first() {
        None => Ok(()),
        Some(need) => Err(Error::Missing {
            missing: format!("after installing, still {}", need.reason()),
            command: "export LIBCLANG_PATH=<folder of libclang.so>, then try again".to_owned(),
        }),
    }
}

fn missing() -> Vec<Need> {
    let mut needs = Vec::new();
    let compilers = ["c++", "g++", "clang++"];
    if env::var_os("CXX").is_none() && !compilers.iter().any(|name| programs::find(name).is_some())
    {
        needs.push(Need::Compiler);
    }
    if !matches!(Places::of_this_machine().search(), Found::Usable(_)) {
        needs.push(Need::Libclang);
    }
    needs
}

/// The package manager that may be started from here: apt-get, by root.
fn installer() -> Option<Manager> {
    Manager::of_this_machine().filter(|manager| *manager == Manager::Apt && is_root())
}

/// The owner of this process's own entry in `/proc`; `false` where there is no `/proc`.
fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|process| process.uid() == 0)
}

fn install(workspace: &Workspace, manager: Manager, needs: &[Need]) -> Result<(), Error> {
    for need in needs {
        println!("{}", need.reason());
    }
    for words in manager.install(needs) {
        println!("running: {}", words.join(" "));
        let Some((program, arguments)) = words.split_first() else {
            continue;
        };
        let mut command = workspace.command(program);
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        children::run(&mut command)?;
    }
    Ok(())
}
