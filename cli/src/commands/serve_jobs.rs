//! `serve-jobs`: runs the jobs and schedules of a database until it is told to stop. `schedule run` is the same.

use std::time::Duration;

use clap::Args;
use icecore_backup::jobs::{JobRunner, RunnerOptions};
use icecore_backup::schedule::{ScheduleOptions, ScheduleRunner};
use icecore_engine::{Engine, Options};
use icecore_mvcc::parse_duration;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::server::Server;
use crate::jobs::{handlers, socket};

#[derive(Debug, Args)]
pub(crate) struct ServeJobsArguments {
    /// Make the database where there is none, for restores into it
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    running: RunningArguments,
}

/// How jobs are run.
#[derive(Debug, Args)]
pub(crate) struct RunningArguments {
    /// Jobs at work at a time, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    max_running: u16,
    /// How often a job notes what it did: the most that a kill makes it do again
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    checkpoint_interval: Duration,
}

/// What it says once it serves.
#[derive(Serialize)]
struct Serving {
    serving: String,
    pid: u32,
}

impl RunningArguments {
    pub(super) fn options(&self) -> RunnerOptions {
        RunnerOptions {
            max_running: usize::from(self.max_running),
            checkpoint_interval: self.checkpoint_interval,
            ..RunnerOptions::default()
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &ServeJobsArguments) -> Result<()> {
    let options = Options {
        create_if_missing: arguments.create,
        ..Options::default()
    };
    serve(context, &options, arguments.running.options())
}

/// Runs jobs and schedules until a signal comes.
pub(super) fn serve(context: &Context, options: &Options, jobs: RunnerOptions) -> Result<()> {
    let engine = Engine::open(context.db()?, options)?;
    let runner = JobRunner::start(&engine, handlers(), jobs)?;
    let schedules = ScheduleRunner::start(runner.handle(), ScheduleOptions::default())?;
    let served = answer(context, &engine, &runner, &schedules);
    let ended = schedules.stop();
    let stopped = runner.stop();
    let closed = engine.close();
    served?;
    ended?;
    stopped?;
    Ok(closed?)
}

/// Answers and waits until a signal comes. Jobs and schedules run meanwhile.
fn answer(
    context: &Context,
    engine: &Engine,
    runner: &JobRunner,
    schedules: &ScheduleRunner,
) -> Result<()> {
    let dir = engine.dir();
    let failed = || Error::io("serve", format!("the jobs of database {}", dir.display()));
    let listener = socket::listen(dir, engine.staging_dir()).map_err(failed())?;
    let server = Server::new(runner, schedules, listener);
    let waited = std::thread::scope(|scope| {
        scope.spawn(|| server.run());
        let waited = context.wait(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
            say(context, engine)?;
            loop {
                tokio::select! {
                    _ = terminate.recv() => return Ok(()),
                    _ = interrupt.recv() => return Ok(()),
                    () = tokio::time::sleep(Duration::from_secs(1)) => {
                        // A runner that is gone says why when it is stopped.
                        if !runner.is_running() || !schedules.is_running() {
                            return Ok(());
                        }
                    }
                }
            }
        });
        server.stop(|| socket::connect(dir));
        waited
    });
    socket::remove(dir).map_err(failed())?;
    waited
}

fn say(context: &Context, engine: &Engine) -> Result<()> {
    match context.format {
        OutputFormat::Json => context.document(&Serving {
            serving: engine.dir().display().to_string(),
            pid: std::process::id(),
        }),
        OutputFormat::Table => context.line(&format!(
            "serving the jobs of database {}, and running its schedules; SIGTERM or Ctrl-C ends it",
            engine.dir().display()
        )),
    }
}
