//! `icecore-benches SUITE`: prints the figures of a suite, and writes them as JSON if asked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use icecore_benches::backup::Work;
use icecore_benches::{Bench, Error, Report, Scale, Suite, suites};

/// Icecore beside its peers, in one run on this machine: medians of alternating rounds, and ratios.
#[derive(Debug, Parser)]
#[command(name = "icecore-benches")]
struct Arguments {
    /// What to measure.
    suite: Suite,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How much data: `full` is what the bars are stated for, `small` a smoke run of about a minute.
    #[arg(long, default_value = "full")]
    scale: ScaleName,
    /// Rounds of each figure, instead of the scale's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only this family of the suite.
    #[arg(long, value_name = "FAMILY")]
    only: Option<String>,
    /// Where the data goes, on the disk to be measured. Default: `target/bench-data`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only do this under `--dir`, and print the bytes of memory that it took: how the harness measures memory.
    #[arg(long, hide = true, value_name = "WORK", requires = "dir")]
    alone: Option<Work>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ScaleName {
    Full,
    Small,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.alone, &arguments.dir) {
        (Some(work), Some(dir)) => work.run(dir).map(|bytes| bytes.to_string()),
        _ => run(&arguments).map(|report| report.to_string()),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report, Error> {
    let mut scale = match arguments.scale {
        ScaleName::Full => Scale::full(),
        ScaleName::Small => Scale::small(),
    };
    if let Some(rounds) = arguments.rounds {
        scale.rounds = rounds as usize;
        scale.backup_rounds = rounds as usize;
    }
    let bench = Bench::new(scale, arguments.dir.as_deref())?;
    let report = suites::run(arguments.suite, &bench, arguments.only.as_deref())?;
    if let Some(file) = &arguments.json {
        report.write_json(file)?;
    }
    Ok(report)
}
