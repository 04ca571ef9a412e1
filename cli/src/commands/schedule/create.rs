//! `schedule create`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use icecore_archive::CollectionUri;
use icecore_backup::jobs::BackupSpec;
use icecore_backup::schedule::{Cadence, FullCadence, NewSchedule, UpkeepSpec};
use icecore_mvcc::{NamePattern, parse_duration};

use super::{FailureArgument, RunningArgument};
use crate::commands::backup::{ModeArgument, OnGap};
use crate::commands::jobs::without_secrets;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What the schedule is to be called
    label: String,
    /// The collection; it is made where there is none. Several URIs make one collection in several places, by
    /// locality
    #[arg(long, value_name = "URI", value_parser = UriParser, required = true)]
    into: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// When a backup is taken: five fields of cron, in UTC, or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(long, value_name = "CRON")]
    recurring: Cadence,
    /// When a full is taken, incrementals in between [default: @daily where it recurs at least hourly, @weekly
    /// where at least daily, otherwise always]
    #[arg(long, value_name = "always|CRON")]
    full_backup: Option<FullCadence>,
    /// When the first full is taken [default: when its cadence says]
    #[arg(long, value_name = "now|TIME")]
    first_run: Option<String>,
    /// Only these keyspaces: a name, bank.* or *; may be given several times
    #[arg(long = "keyspace", value_name = "PATTERN")]
    keyspaces: Vec<NamePattern>,
    /// Keep every version, so that any time can be restored
    #[arg(long)]
    revision_history: bool,
    /// Where garbage collection took what an incremental needs of a keyspace: fail, or take that keyspace
    /// from zero
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnGap::Error)]
    on_gc_gap: OnGap,
    /// Fast fulls copy the live files, and are as of the moment in which they are taken
    #[arg(long, value_enum, default_value_t = ModeArgument::Auto)]
    mode: ModeArgument,
    /// Read every file back and compare its checksums before a backup counts as taken
    #[arg(long)]
    recheck: bool,
    /// The most requests to the store begun in a second
    #[arg(long, value_name = "N")]
    max_requests_per_second: Option<NonZeroU32>,
    /// What happens after a backup failed
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = FailureArgument::Reschedule)]
    on_execution_failure: FailureArgument,
    /// What happens when a full falls due while one is at work; an incremental always waits
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = RunningArgument::Wait)]
    on_previous_running: RunningArgument,
    /// Take a collection that holds backups already
    #[arg(long)]
    ignore_existing_backups: bool,
    /// After each backup, keep the newest N fulls of each source in the collection, with their incrementals
    #[arg(long, value_name = "N")]
    keep_fulls: Option<NonZeroUsize>,
    /// After each backup, keep what is needed to restore any time within so long before now, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_for: Option<Duration>,
    /// How long a backup or restore may take: what goes is deleted that long after it was marked [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Merge the chain's incrementals once there are N since the last merge
    #[arg(long, value_name = "N")]
    compact_after: Option<u32>,
}

/// The schedule that is asked for.
pub(super) fn schedule(arguments: &CreateArguments) -> Result<NewSchedule> {
    let (passphrase_file, kms) = arguments.keys.places()?;
    let keyspaces = arguments.keyspaces.iter().map(ToString::to_string);
    let backup = BackupSpec {
        into: without_secrets(&arguments.into)?,
        passphrase_file,
        kms,
        keyspaces: keyspaces.collect(),
        revision_history: arguments.revision_history,
        mode: arguments.mode.into(),
        reexport_on_gc_gap: matches!(arguments.on_gc_gap, OnGap::Reexport),
        recheck: arguments.recheck,
        max_requests_per_second: arguments.max_requests_per_second,
        ..BackupSpec::default()
    };
    Ok(NewSchedule {
        full: arguments.full_backup.clone(),
        first_run: arguments.first_run.clone(),
        on_execution_failure: arguments.on_execution_failure.into(),
        on_previous_running: arguments.on_previous_running.into(),
        upkeep: UpkeepSpec {
            keep_fulls: arguments.keep_fulls.map(NonZeroUsize::get),
            keep_for: arguments.keep_for,
            grace: arguments.grace,
            compact_after: arguments.compact_after,
        },
        ignore_existing_backups: arguments.ignore_existing_backups,
        ..NewSchedule::new(arguments.label.clone(), backup, arguments.recurring.clone())
    })
}
