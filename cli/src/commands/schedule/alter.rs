//! `schedule alter`.

use std::time::Duration;

use clap::Args;
use icecore_backup::schedule::{Cadence, FullCadence, ScheduleChange};
use icecore_mvcc::parse_duration;

use super::{FailureArgument, RunningArgument};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(crate) struct AlterArguments {
    /// The schedule, as `schedule list` shows it
    label: String,
    /// When a backup is taken
    #[arg(long, value_name = "CRON")]
    recurring: Option<Cadence>,
    /// When a full is taken
    #[arg(long, value_name = "always|CRON")]
    full_backup: Option<FullCadence>,
    /// What happens after a backup failed
    #[arg(long, value_enum, value_name = "WHAT")]
    on_execution_failure: Option<FailureArgument>,
    /// What happens when a full falls due while one is at work
    #[arg(long, value_enum, value_name = "WHAT")]
    on_previous_running: Option<RunningArgument>,
    /// Keep the newest N fulls of each source; 0 takes the limit away
    #[arg(long, value_name = "N")]
    keep_fulls: Option<usize>,
    /// Keep what is needed to restore any time within so long before now; 0s takes the limit away
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_for: Option<Duration>,
    /// How long after it was marked what goes is deleted
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Merge incrementals once there are N; 0 merges none
    #[arg(long, value_name = "N")]
    compact_after: Option<u32>,
}

/// The schedule, and what is to be changed of it.
pub(super) fn change(arguments: AlterArguments) -> Result<(String, ScheduleChange)> {
    let change = ScheduleChange {
        recurring: arguments.recurring,
        full: arguments.full_backup,
        on_execution_failure: arguments.on_execution_failure.map(Into::into),
        on_previous_running: arguments.on_previous_running.map(Into::into),
        keep_fulls: arguments.keep_fulls,
        keep_for: arguments.keep_for,
        grace: arguments.grace,
        compact_after: arguments.compact_after,
    };
    if change == ScheduleChange::default() {
        let text = "nothing is to be changed; `icecore schedule alter --help` shows what can be";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok((arguments.label, change))
}
