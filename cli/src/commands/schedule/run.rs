//! `schedule run`: stays, as `serve-jobs` does; with `--once` it runs what is due and returns.

use std::time::{Duration, Instant};

use clap::Args;
use icecore_archive::StoreOptions;
use icecore_backup::jobs::JobRunner;
use icecore_backup::schedule::{Outcome, Scheduler};
use icecore_engine::Options;
use serde::Serialize;

use crate::commands::serve_jobs::{RunningArguments, serve};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::handlers;
use crate::output::plural;

/// How often `--once` looks.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Run what is due, with retention and compaction, and return; ends with 1 if a backup failed
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    running: RunningArguments,
}

pub(super) fn run(context: &Context, arguments: &RunArguments) -> Result<()> {
    match arguments.once {
        true => once(context, arguments),
        false => {
            let options = Options {
                create_if_missing: false,
                ..Options::default()
            };
            serve(context, &options, arguments.running.options())
        }
    }
}

/// What `--once` did.
#[derive(Serialize)]
struct Ran {
    runs: Vec<Ended>,
}

/// A backup that came to its end.
#[derive(Serialize)]
struct Ended {
    schedule: String,
    outcome: Outcome,
}

fn once(context: &Context, arguments: &RunArguments) -> Result<()> {
    let started = Instant::now();
    let runs = context.write(|engine| {
        let runner = JobRunner::start(engine, handlers(), arguments.running.options())?;
        let scheduler = Scheduler::new(runner.handle(), StoreOptions::default());
        let ran = until_idle(context, &scheduler);
        drop(scheduler);
        runner.stop()?;
        ran
    })?;
    let all = runs.len() as u64;
    let failed = runs
        .iter()
        .filter(|run| run.outcome == Outcome::Failed)
        .count() as u64;
    let sentence = || format!("ran {}, of which {failed} failed", plural(all, "backup"));
    context.done("schedule", sentence, Ran { runs }, 0, started)?;
    match failed {
        0 => Ok(()),
        failed => Err(Error::SchedulesFailed { failed, runs: all }),
    }
}

/// Runs what is due until nothing is any more, or what is left waits for something else.
fn until_idle(context: &Context, scheduler: &Scheduler) -> Result<Vec<Ended>> {
    let mut runs = Vec::new();
    loop {
        let looked = scheduler.look()?;
        let ended = looked.ended.into_iter();
        runs.extend(ended.map(|(schedule, outcome)| Ended { schedule, outcome }));
        if looked.upkeep.is_empty() && looked.busy.is_empty() {
            return Ok(runs);
        }
        for row in looked.upkeep {
            context.wait(async {
                scheduler.tend(row).await;
                Ok(())
            })?;
        }
        if !looked.busy.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
}
