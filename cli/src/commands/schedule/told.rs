//! A schedule as it is told.

use std::time::Duration;

use icecore_backup::schedule::{
    FullCadence, Kind, LastRun, OnFailure, OnRunning, Outcome, ScheduleStatus,
};
use icecore_mvcc::{Timestamp, format_duration};
use serde::Serialize;

use crate::output::{Record, optional_time, or_dash, seconds, time};

/// What `drop` did.
#[derive(Serialize)]
pub(super) struct Dropped<'a> {
    pub(super) dropped: &'a str,
    /// Protected timestamps that were released.
    pub(super) released: usize,
}

#[derive(Serialize)]
pub(super) struct Schedule {
    #[serde(rename = "schedule")]
    pub(super) label: String,
    state: &'static str,
    /// Why it rests.
    reason: Option<String>,
    #[serde(serialize_with = "time")]
    created: Timestamp,
    into: String,
    keyspaces: Vec<String>,
    recurring: String,
    full_backup: FullCadence,
    on_execution_failure: OnFailure,
    on_previous_running: OnRunning,
    keep_fulls: Option<usize>,
    keep_for: Option<String>,
    compact_after: Option<u32>,
    #[serde(serialize_with = "optional_time")]
    next: Option<Timestamp>,
    next_kind: Option<Kind>,
    last: Option<Last>,
    #[serde(serialize_with = "optional_time")]
    succeeded: Option<Timestamp>,
    /// Failures since the last success, of fulls and incrementals.
    failures: u32,
    protected_age_seconds: Option<f64>,
    /// Backups under way, by their jobs.
    running: Vec<Running>,
    /// The chain that incrementals go on with.
    chain: Option<String>,
    #[serde(serialize_with = "optional_time")]
    chain_end: Option<Timestamp>,
    /// What last failed of retention and compaction.
    upkeep_error: Option<String>,
}

#[derive(Serialize)]
struct Last {
    kind: Kind,
    #[serde(serialize_with = "time")]
    at: Timestamp,
    outcome: Outcome,
    #[serde(serialize_with = "time")]
    finished: Timestamp,
    job: Option<String>,
    backup: Option<String>,
    note: Option<String>,
}

#[derive(Serialize)]
struct Running {
    kind: Kind,
    job: String,
    #[serde(serialize_with = "time")]
    at: Timestamp,
    /// Whether its job is paused by something that may pass.
    stuck: bool,
}

impl From<(Kind, &LastRun)> for Last {
    fn from((kind, last): (Kind, &LastRun)) -> Self {
        Self {
            kind,
            at: last.at,
            outcome: last.outcome,
            finished: last.finished,
            job: last.job.map(|job| job.to_string()),
            backup: last.backup.clone(),
            note: last.note.clone(),
        }
    }
}

impl From<&ScheduleStatus> for Schedule {
    fn from(status: &ScheduleStatus) -> Self {
        let (row, spec) = (&status.row, &status.row.spec);
        let tracks = [
            (Kind::Full, &row.fulls),
            (Kind::Incremental, &row.incrementals),
        ];
        let running = tracks.iter().flat_map(|(kind, track)| {
            track.running.iter().map(|run| Running {
                kind: *kind,
                job: run.job.to_string(),
                at: run.at,
                stuck: run.stuck.is_some(),
            })
        });
        Self {
            label: row.label.clone(),
            state: if status.rests.is_some() {
                "paused"
            } else {
                "active"
            },
            reason: status.rests.clone(),
            created: row.created,
            into: spec.backup.into.to_string(),
            keyspaces: spec.backup.keyspaces.clone(),
            recurring: spec.recurring.to_string(),
            full_backup: spec.full.clone(),
            on_execution_failure: spec.on_execution_failure,
            on_previous_running: spec.on_previous_running,
            keep_fulls: spec.upkeep.keep_fulls,
            keep_for: spec.upkeep.keep_for.map(format_duration),
            compact_after: spec.upkeep.compact_after,
            next: status.next.map(|(_, at)| at),
            next_kind: status.next.map(|(kind, _)| kind),
            last: status
                .last
                .as_ref()
                .map(|(kind, last)| Last::from((*kind, last))),
            succeeded: status.succeeded,
            failures: row.fulls.failures.saturating_add(row.incrementals.failures),
            protected_age_seconds: status.protected_age.map(seconds),
            running: running.collect(),
            chain: row.chain.as_ref().map(|chain| chain.full.to_string()),
            chain_end: row.chain.as_ref().map(|chain| chain.end),
            upkeep_error: row.upkeep.error.clone(),
        }
    }
}

impl Schedule {
    /// What comes next, in words.
    pub(super) fn outlook(&self) -> String {
        match (&self.reason, self.next, self.next_kind) {
            (Some(reason), ..) => format!("it rests: {reason}"),
            (None, Some(next), Some(kind)) => format!("next: {} at {next}", kind.as_str()),
            _ => "nothing comes next".to_owned(),
        }
    }

    fn note(&self) -> Option<String> {
        let last = self.last.as_ref().and_then(|last| last.note.clone());
        let upkeep = self
            .upkeep_error
            .as_ref()
            .map(|error| format!("retention or compaction: {error}"));
        let notes: Vec<String> = [self.reason.clone(), last, upkeep]
            .into_iter()
            .flatten()
            .collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Record for &Schedule {
    const HEADER: &'static [&'static str] = &[
        "schedule",
        "state",
        "recurring",
        "fulls",
        "next",
        "last",
        "protects",
        "note",
    ];

    fn cells(&self) -> Vec<String> {
        let next = self.next.zip(self.next_kind);
        let last = self.last.as_ref().map(|last| {
            format!(
                "{} {} {}",
                last.kind.as_str(),
                last.outcome.as_str(),
                last.finished
            )
        });
        let age = self
            .protected_age_seconds
            .map(|age| format_duration(Duration::from_secs(age as u64)));
        vec![
            self.label.clone(),
            match self.running.len() {
                0 => self.state.to_owned(),
                running => format!("{}, {running} at work", self.state),
            },
            self.recurring.clone(),
            self.full_backup.to_string(),
            or_dash(next.map(|(next, kind)| format!("{} {next}", kind.as_str()))),
            or_dash(last),
            or_dash(age),
            or_dash(self.note()),
        ]
    }
}
