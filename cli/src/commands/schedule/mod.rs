//! `schedule`: backups as time passes. Schedules are made, changed and told through the process that serves the
//! database, or where there is none in the database itself.

mod alter;
mod create;
mod run;
mod told;

use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use icecore_backup::schedule::{OnFailure, OnRunning, ScheduleTable};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::client::Client;
use crate::jobs::schedules::{Asked, Told, answer};
use crate::output::plural;
use told::{Dropped, Schedule};

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Make a schedule: backups into a collection, again and again
    Create(create::CreateArguments),
    /// List the schedules: when each falls due next, what came of its last backup, what it protects
    List,
    /// Change what a schedule is to do
    Alter(alter::AlterArguments),
    /// Have a schedule rest; backups under way go on
    Pause(LabelArguments),
    /// Have a schedule go on, from its next time on
    Resume(LabelArguments),
    /// Remove a schedule, and release what its chain protects; its backups stay
    Drop(DropArguments),
    /// Have a schedule take a backup now, whether it is paused or not
    RunNow(RunNowArguments),
    /// Stay, and run what falls due; with --once run what is due and return
    Run(run::RunArguments),
}

#[derive(Debug, Args)]
pub(crate) struct LabelArguments {
    /// The schedule, as `schedule list` shows it
    label: String,
}

#[derive(Debug, Args)]
pub(crate) struct DropArguments {
    /// The schedule, as `schedule list` shows it
    label: String,
    /// Leave the protected timestamp of its chain, which somebody means to continue by hand
    #[arg(long)]
    keep_protection: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunNowArguments {
    /// The schedule, as `schedule list` shows it
    label: String,
    /// A full, where it would be an incremental
    #[arg(long)]
    full: bool,
}

/// What happens after a backup failed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailureArgument {
    /// Try again, at once and then after growing waits
    Retry,
    /// Take the next when its time comes
    Reschedule,
    /// Pause the schedule
    Pause,
}

impl From<FailureArgument> for OnFailure {
    fn from(argument: FailureArgument) -> Self {
        match argument {
            FailureArgument::Retry => Self::Retry,
            FailureArgument::Reschedule => Self::Reschedule,
            FailureArgument::Pause => Self::Pause,
        }
    }
}

/// What happens when a full falls due while another is at work.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RunningArgument {
    /// Begin it beside the other
    Start,
    /// Leave it out
    Skip,
    /// Begin it once the other is over
    Wait,
}

impl From<RunningArgument> for OnRunning {
    fn from(argument: RunningArgument) -> Self {
        match argument {
            RunningArgument::Start => Self::Start,
            RunningArgument::Skip => Self::Skip,
            RunningArgument::Wait => Self::Wait,
        }
    }
}

pub(crate) fn run(context: &Context, command: ScheduleCommand) -> Result<()> {
    let label = |arguments: LabelArguments| arguments.label;
    match command {
        ScheduleCommand::Create(arguments) => {
            let new = Box::new(create::schedule(&arguments)?);
            change(context, Asked::Create { new }, "created")
        }
        ScheduleCommand::List => list(context),
        ScheduleCommand::Alter(arguments) => {
            let (label, change_of) = alter::change(arguments)?;
            let asked = Asked::Alter {
                label,
                change: Box::new(change_of),
            };
            change(context, asked, "altered")
        }
        ScheduleCommand::Pause(arguments) => {
            let label = label(arguments);
            change(context, Asked::Pause { label }, "paused")
        }
        ScheduleCommand::Resume(arguments) => {
            let label = label(arguments);
            change(context, Asked::Resume { label }, "resumed")
        }
        ScheduleCommand::Drop(arguments) => {
            let asked = Asked::Drop {
                label: arguments.label,
                keep_protection: arguments.keep_protection,
            };
            change(context, asked, "dropped")
        }
        ScheduleCommand::RunNow(RunNowArguments { label, full }) => {
            change(context, Asked::Run { label, full }, "asked for a backup")
        }
        ScheduleCommand::Run(arguments) => run::run(context, &arguments),
    }
}

fn list(context: &Context) -> Result<()> {
    let told = match Client::find(context.db()?)? {
        Some(client) => client.schedules(Asked::List)?,
        None => answer(&ScheduleTable::new(&context.open()?), Asked::List)?,
    };
    let Told::All(all) = told else {
        return Err(Error::Server("the answer is not to `list`".to_owned()));
    };
    let all: Vec<Schedule> = all.iter().map(Schedule::from).collect();
    context.list("schedules", all.iter().map(Ok))
}

/// Asks for a change, and tells what came of it.
fn change(context: &Context, asked: Asked, done: &'static str) -> Result<()> {
    let started = Instant::now();
    let told = match Client::find(context.db()?)? {
        Some(client) => client.schedules(asked)?,
        None => context.write(|engine| Ok(answer(&ScheduleTable::new(engine), asked)?))?,
    };
    match told {
        Told::One(status, kind) => {
            let schedule = Schedule::from(&*status);
            let sentence = || {
                let kind = kind.map(|kind| format!(", {}", kind.as_str()));
                format!(
                    "schedule {} is {done}{}; {}",
                    schedule.label,
                    kind.unwrap_or_default(),
                    schedule.outlook()
                )
            };
            context.done("schedule", sentence, &schedule, 0, started)
        }
        Told::Dropped(label, released) => {
            let sentence = || {
                let released = plural(released as u64, "protected timestamp");
                format!("schedule {label} is dropped, and {released} released; its backups stay")
            };
            let dropped = Dropped {
                dropped: &label,
                released,
            };
            context.done("schedule", sentence, &dropped, 0, started)
        }
        Told::All(_) => Err(Error::Server(
            "the answer is to another question".to_owned(),
        )),
    }
}
