//! `cargo xtask test`: every check of the project, from the cheapest to the dearest as far as
//! their order allows.
//!
//! All steps select the whole workspace and use the dev profile, as `cargo xtask demo` does, so
//! that they share the compile of every dependency.

use std::env;
use std::io::IsTerminal;
use std::process::Command;

use clap::builder::PossibleValuesParser;

use crate::children;
use crate::error::Error;
use crate::examples;
use crate::fuzz;
use crate::policy;
use crate::programs;
use crate::setup;
use crate::steps::{self, Context, Outcome, Step};
use crate::tally;
use crate::workspace::Workspace;

/// The step that every run starts with.
const SETUP: &str = "setup";

const STEPS: [Step; 9] = [
    Step {
        name: SETUP,
        title: "compiler, libclang, RocksDB",
        run: setup_step,
    },
    Step {
        name: "format",
        title: "cargo fmt --check",
        run: format,
    },
    Step {
        name: "lints",
        title: "clippy, warnings denied",
        run: lints,
    },
    Step {
        name: "tests",
        title: "all tests",
        run: tests,
    },
    Step {
        name: "doc-tests",
        title: "the code in documentation",
        run: doc_tests,
    },
    Step {
        name: "docs",
        title: "documentation, warnings denied",
        run: docs,
    },
    Step {
        name: "policy",
        title: "licences, duplicates, sources, layers",
        run: policy_step,
    },
    Step {
        name: "examples",
        title: "every program of examples/",
        run: examples_step,
    },
    Step {
        name: "fuzz-smoke",
        title: "30,000 inputs a fuzz target that needs no RocksDB",
        run: fuzz::smoke,
    },
];

/// What `test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run this step alone, after the set-up; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = names())]
    only: Vec<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

/// Runs the command.
///
/// # Errors
/// [`Error::Step`] for the first failure.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), Error> {
    steps::run_all(workspace, &chosen(&arguments.only))
}

fn chosen(only: &[String]) -> Vec<Step> {
    let named = |step: &Step| only.iter().any(|name| name == step.name);
    let wanted = |step: &&Step| only.is_empty() || step.name == SETUP || named(step);
    STEPS.iter().filter(wanted).copied().collect()
}

fn setup_step(context: &mut Context<'_>) -> Result<Outcome, Error> {
    setup::prepare(context.workspace)?;
    Ok(Outcome::Passed)
}

fn format(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let workspace = context.workspace;
    children::run(workspace.cargo().args(["fmt", "--all", "--", "--check"]))?;
    // A workspace of its own.
    let mut fuzz = workspace.cargo();
    fuzz.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"]);
    children::run(&mut fuzz)?;
    Ok(Outcome::Passed)
}

fn lints(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let mut cargo = context.workspace.cargo();
    cargo.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    children::run(&mut cargo)?;
    Ok(Outcome::Passed)
}

fn tests(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let mut cargo = context.workspace.cargo();
    // A check compares golden files, whatever the shell was last used for.
    cargo.env_remove("ICECORE_BLESS");
    if programs::find("cargo-nextest").is_some() {
        cargo.args(["nextest", "run", "--workspace", "--locked"]);
        if env::var_os("CI").is_some() {
            cargo.args(["--profile", "ci"]);
        }
    } else {
        println!("cargo-nextest is not installed: `cargo test` runs the same tests, more slowly");
        cargo.args([
            "test",
            "--workspace",
            "--locked",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ]);
    }
    count(context, &mut cargo)
}

fn doc_tests(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let mut cargo = context.workspace.cargo();
    cargo.args(["test", "--workspace", "--locked", "--doc"]);
    count(context, &mut cargo)
}

/// Runs a test command and adds what it counted to the tally, whether it passed or not.
fn count(context: &mut Context<'_>, cargo: &mut Command) -> Result<Outcome, Error> {
    if std::io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let (lines, ended) = children::watch(cargo, tally::closes_a_run);
    for line in &lines {
        context.tally.add_line(line);
    }
    ended.map(|()| Outcome::Passed)
}

fn docs(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let mut cargo = context.workspace.cargo();
    cargo.args(["doc", "--workspace", "--locked", "--no-deps"]);
    let flags = env::var("RUSTDOCFLAGS").unwrap_or_default();
    children::run(cargo.env("RUSTDOCFLAGS", format!("{flags} -D warnings").trim()))?;
    Ok(Outcome::Passed)
}

fn policy_step(context: &mut Context<'_>) -> Result<Outcome, Error> {
    policy::check(context.workspace)?;
    Ok(Outcome::Passed)
}

fn examples_step(context: &mut Context<'_>) -> Result<Outcome, Error> {
    examples::run_all(context.workspace)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_their_own_order_whatever_was_typed() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).iter().map(|step| step.name).collect()
        };
        assert_eq!(names(&["docs", "format"]), ["setup", "format", "docs"]);
        assert_eq!(names(&[]).len(), STEPS.len());
    }
}
