//! `jobs`: the jobs of a database, through the process that runs them, or where there is none in the database
//! itself.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use icecore_archive::CollectionUri;
use icecore_backup::jobs::{
    JobId, JobPlaces, JobRow, JobRunner, JobState, JobTable, RunnerOptions,
};
use icecore_mvcc::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::client::Client;
use crate::jobs::handlers;
use crate::jobs::protocol::Request;
use crate::output::{Record, human_bytes, optional_time, or_dash, time};
use crate::places::places;

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the jobs, the newest first
    List,
    /// Show one job
    Show(ShowArguments),
    /// Have a job pause; it keeps what it did and what it protects
    Pause(IdArguments),
    /// Have a paused job go on
    Resume(IdArguments),
    /// Give a job up, and release what it protects
    Cancel(IdArguments),
}

#[derive(Debug, Args)]
pub(crate) struct IdArguments {
    /// The job's id, as `jobs list` shows it
    id: JobId,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The job's id, as `jobs list` shows it
    id: JobId,
    /// Wait until it is over or paused; ends with 1 unless it succeeded
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(context: &Context, command: JobsCommand) -> Result<()> {
    match command {
        JobsCommand::List => {
            let jobs: Vec<Job> = list(context)?.iter().map(Job::from).collect();
            context.list("jobs", jobs.iter().map(Ok))
        }
        JobsCommand::Show(arguments) => show(context, &arguments),
        JobsCommand::Pause(IdArguments { id }) => change(context, Request::Pause { id }, "paused"),
        JobsCommand::Resume(IdArguments { id }) => {
            change(context, Request::Resume { id }, "resumed")
        }
        JobsCommand::Cancel(IdArguments { id }) => {
            change(context, Request::Cancel { id }, "cancelled")
        }
    }
}

/// Has a job made by the process that serves the database, and tells its id.
pub(super) fn detach(context: &Context, kind: &str, spec: Value) -> Result<()> {
    let db = context.db()?;
    let client = Client::find(db)?.ok_or_else(|| Error::Unserved {
        path: db.to_owned(),
    })?;
    let row = client.job(Request::Submit {
        kind: kind.to_owned(),
        spec,
    })?;
    match context.format {
        OutputFormat::Json => context.document(&Job::from(&row)),
        OutputFormat::Table => context.line(&format!("job {}", row.id)),
    }
}

/// A collection's URI as a job keeps it: one with credentials in it is refused.
pub(super) fn without_secrets(uris: &[CollectionUri]) -> Result<JobPlaces> {
    if let Some(uri) = uris.iter().find(|uri| uri.has_credentials()) {
        return Err(Error::Usage(format!(
            "{uri} holds credentials, which a job must not keep; set them in the environment of `icecore serve-jobs`, and leave them out here"
        )));
    }
    // What is no collection is told here, not by the process that serves.
    places(uris)?;
    let uris: Vec<String> = uris.iter().map(ToString::to_string).collect();
    Ok(uris.into())
}

fn list(context: &Context) -> Result<Vec<JobRow>> {
    match Client::find(context.db()?)? {
        Some(client) => client.jobs(),
        None => Ok(JobTable::new(&context.open()?).list()?),
    }
}

fn get(context: &Context, id: JobId) -> Result<JobRow> {
    match Client::find(context.db()?)? {
        Some(client) => client.job(Request::Show { id }),
        None => Ok(JobTable::new(&context.open()?).get(id)?),
    }
}

fn show(context: &Context, arguments: &ShowArguments) -> Result<()> {
    let rests = |row: &JobRow| row.state.is_over() || row.state == JobState::Paused;
    let mut row = get(context, arguments.id)?;
    while arguments.wait && !rests(&row) {
        if Client::find(context.db()?)?.is_none() {
            return Err(Error::Unserved {
                path: context.db()?.to_owned(),
            });
        }
        std::thread::sleep(LOOK);
        row = get(context, arguments.id)?;
    }
    tell(context, &row)?;
    if arguments.wait && row.state != JobState::Succeeded {
        return Err(Error::JobEnded {
            id: row.id,
            state: row.state,
            error: row
                .error
                .map(|error| format!(": {error}"))
                .unwrap_or_default(),
        });
    }
    Ok(())
}

/// Asks for a change, and tells what came of it.
fn change(context: &Context, request: Request, done: &str) -> Result<()> {
    let row = match Client::find(context.db()?)? {
        Some(client) => client.job(request)?,
        None => change_unserved(context, request)?,
    };
    match context.format {
        OutputFormat::Json => context.document(&Job::from(&row)),
        OutputFormat::Table if row.state.is_over() || row.state == JobState::Paused => {
            context.line(&format!("job {} is {done}", row.id))
        }
        OutputFormat::Table => context.line(&format!("job {} is to be {done}", row.id)),
    }
}

/// Changes a job that no process is at: a runner that runs none does what is to be done with its row.
fn change_unserved(context: &Context, request: Request) -> Result<JobRow> {
    context.write(|engine| {
        let options = RunnerOptions {
            max_running: 0,
            ..RunnerOptions::default()
        };
        let runner = JobRunner::start(engine, handlers(), options)?;
        let changed = match request {
            Request::Pause { id } => runner.pause(id),
            Request::Resume { id } => runner.resume(id),
            Request::Cancel { id } => runner.cancel(id).and_then(|row| cancelled(&runner, row)),
            Request::Show { id } => runner.get(id),
            Request::List | Request::Submit { .. } | Request::Schedule { .. } => {
                return Err(Error::Unserved {
                    path: engine.dir().to_owned(),
                });
            }
        };
        let stopped = runner.stop();
        let changed = changed?;
        stopped?;
        Ok(changed)
    })
}

/// Waits until what a job held is released.
fn cancelled(runner: &JobRunner, row: JobRow) -> icecore_backup::Result<JobRow> {
    let started = Instant::now();
    let mut row = row;
    while !row.state.is_over() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
        row = runner.get(row.id)?;
    }
    Ok(row)
}

/// One job, with all that is known of it.
fn tell(context: &Context, row: &JobRow) -> Result<()> {
    let job = Job::from(row);
    if context.format == OutputFormat::Json {
        return context.document(&job);
    }
    let mut lines = vec![
        ("job", job.id.clone()),
        ("what", job.description.clone()),
        ("state", format!("{} since {}", job.state, job.changed)),
        ("created", job.created.to_string()),
        ("progress", job.progress_text()),
    ];
    if let Some(at) = &job.checkpoint {
        lines.push((
            "checkpoint",
            format!("{}, {} in {} files", at.at, human_bytes(at.bytes), at.files),
        ));
    }
    if let Some(record) = &job.protection {
        lines.push(("protects by", format!("record {record}")));
    }
    if let Some(error) = &job.error {
        lines.push(("error", error.clone()));
    }
    if let Some(result) = &job.result {
        lines.push(("result", result.to_string()));
    }
    for (name, value) in lines {
        context.line(&format!("{name:<12} {value}"))?;
    }
    Ok(())
}

/// A job as it is told.
#[derive(Serialize)]
struct Job {
    id: String,
    kind: String,
    description: String,
    state: JobState,
    #[serde(serialize_with = "time")]
    created: Timestamp,
    #[serde(serialize_with = "optional_time")]
    started: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    changed: Timestamp,
    #[serde(serialize_with = "optional_time")]
    finished: Option<Timestamp>,
    runs: u32,
    progress: Progress,
    checkpoint: Option<Checkpoint>,
    protection: Option<String>,
    error: Option<String>,
    result: Option<Value>,
    spec: Value,
}

#[derive(Serialize)]
struct Progress {
    /// 0 to 1; null where it is not known.
    fraction: Option<f64>,
    done_bytes: u64,
    total_bytes: Option<u64>,
    bytes_per_second: Option<f64>,
    left_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Checkpoint {
    #[serde(serialize_with = "time")]
    at: Timestamp,
    files: u64,
    bytes: u64,
}

impl From<&JobRow> for Job {
    fn from(row: &JobRow) -> Self {
        let progress = row.progress;
        Self {
            id: row.id.to_string(),
            kind: row.kind.clone(),
            description: row.description.clone(),
            state: row.state,
            created: row.created,
            started: row.started,
            changed: row.changed,
            finished: row.finished,
            runs: row.runs,
            progress: Progress {
                fraction: progress.fraction(),
                done_bytes: progress.done_bytes,
                total_bytes: (progress.total_bytes > 0).then_some(progress.total_bytes),
                bytes_per_second: progress.bytes_per_second,
                left_seconds: progress.seconds_left(),
            },
            checkpoint: row.checkpoint.map(|checkpoint| Checkpoint {
                at: checkpoint.at,
                files: checkpoint.files,
                bytes: checkpoint.bytes,
            }),
            protection: row.protection.clone(),
            error: row.error.clone(),
            result: row.result.clone(),
            spec: row.spec.clone(),
        }
    }
}

impl Job {
    /// `45 %, 1.20 GiB, 30.00 MiB/s, 40 s left`, as far as it is known.
    fn progress_text(&self) -> String {
        let progress = &self.progress;
        let mut parts = Vec::new();
        if let Some(fraction) = progress.fraction {
            parts.push(format!("{:.0} %", fraction * 100.0));
        }
        parts.push(human_bytes(progress.done_bytes));
        if let Some(rate) = progress.bytes_per_second {
            parts.push(format!("{}/s", human_bytes(rate as u64)));
        }
        if let Some(left) = progress.left_seconds {
            parts.push(format!("{left:.0} s left"));
        }
        parts.join(", ")
    }
}

impl Record for &Job {
    const HEADER: &'static [&'static str] = &["job", "state", "since", "progress", "what", "error"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.to_string(),
            self.changed.to_string(),
            self.progress_text(),
            self.description.clone(),
            or_dash(self.error.as_ref()),
        ]
    }
}
