//! `cargo xtask`: every command that a person or CI types to build, test, show and measure Icecore.
//!
//! Each command does its own set-up first (`setup`): what the machine lacks, and RocksDB compiled
//! once for all commands, profiles and checkouts (`rocksdb`). Then it starts `cargo` children from
//! the workspace root. Nothing here depends on RocksDB: `cargo xtask` itself is built in well under
//! a minute.
//!
//! Exit status: 0 done, 1 failed (the last line on stderr is `error: …`), 2 usage.
#![forbid(unsafe_code)]

mod bench;
mod children;
mod demo;
mod dependency_notes;
mod error;
mod examples;
mod feature_notes;
mod fuzz;
mod fuzz_toolchain;
mod layers;
mod libclang;
mod lock_files;
mod metadata;
mod metric_notes;
mod packages;
mod policy;
mod programs;
mod rocksdb;
mod rocksdb_parts;
mod setup;
mod soak;
mod steps;
mod stores;
mod tally;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find what the build needs (C++ compiler, libclang) and install what is missing, or print
    /// the one command to type.
    Setup(setup::Arguments),
    /// Load 336,776 flights, back them up, lose the database, restore it and prove it equal.
    Demo(demo::Arguments),
    /// Run every check of the project, in order, stopping at the first failure.
    Test(test::Arguments),
    /// Measure against raw RocksDB with the release profile.
    Bench(bench::Arguments),
    /// Fuzz each target of `fuzz/` for a while.
    Fuzz(fuzz::Arguments),
    /// Run the model test and the crash test far longer than CI does.
    Soak(soak::Arguments),
    /// Start the object stores that tests use.
    Stores(stores::Arguments),
}

fn run(command: &Command) -> Result<(), Error> {
    let workspace = Workspace::locate()?;
    match command {
        Command::Setup(arguments) => setup::run(&workspace, arguments),
        Command::Demo(arguments) => demo::run(&workspace, arguments),
        Command::Test(arguments) => test::run(&workspace, arguments),
        Command::Bench(arguments) => bench::run(&workspace, arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, arguments),
        Command::Soak(arguments) => soak::run(&workspace, arguments),
        Command::Stores(arguments) => stores::run(&workspace, arguments),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
