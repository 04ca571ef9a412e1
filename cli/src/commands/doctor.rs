//! `doctor`: opens the database read-only, reads all of it, and tells what is not as it must be.

use std::time::Instant;

use clap::Args;
use icecore_engine::Engine;
use icecore_mvcc::{EngineId, Timestamp};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::doctor::{Check, Counted, Examination};
use crate::error::{Error, Result};
use crate::output::{Bar, optional_time, or_dash, seconds, since_epoch, time};

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {}

/// What it tells of the database as a whole.
#[derive(Serialize)]
struct Versions {
    icecore_version: &'static str,
    database: String,
    engine_id: EngineId,
    forked_from: Option<EngineId>,
    format_version: u32,
    /// What the program's clock shows.
    #[serde(serialize_with = "time")]
    wall_clock: Timestamp,
    /// The highest timestamp that may have been given to a commit.
    #[serde(serialize_with = "time")]
    clock: Timestamp,
    /// The commit index has nothing at or before this.
    #[serde(serialize_with = "optional_time")]
    commit_index_low_water: Option<Timestamp>,
}

/// The document for programs.
#[derive(Serialize)]
struct Report<'a> {
    healthy: bool,
    #[serde(flatten)]
    versions: Versions,
    keyspaces: &'a [Counted],
    checks: &'a [Check],
    seconds: f64,
}

pub(crate) fn run(context: &Context, _: &DoctorArguments) -> Result<()> {
    let started = Instant::now();
    let engine = context.open()?;
    let versions = versions(&engine)?;
    let bar = Bar::new(context, "reading");
    let found = Examination::of(&engine, |done, total| bar.set(done, total));
    bar.clear();
    let failed = found.checks.iter().filter(|check| !check.ok).count();
    match context.format {
        OutputFormat::Json => context.document(&Report {
            healthy: failed == 0,
            versions,
            keyspaces: &found.keyspaces,
            checks: &found.checks,
            seconds: seconds(started.elapsed()),
        })?,
        OutputFormat::Table => {
            context.line(&versions.lines())?;
            context.list("keyspaces", found.keyspaces.iter().map(Ok))?;
            context.line("")?;
            context.list("checks", found.checks.iter().map(Ok))?;
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::Unsound(format!(
            "{failed} of {} checks failed; restore the database from a backup, and keep this one for examination",
            found.checks.len()
        ))),
    }
}

fn versions(engine: &Engine) -> Result<Versions> {
    Ok(Versions {
        icecore_version: env!("CARGO_PKG_VERSION"),
        database: engine.dir().display().to_string(),
        engine_id: engine.id(),
        forked_from: engine.forked_from(),
        format_version: engine.format_version(),
        wall_clock: engine.options().clock.now(),
        clock: engine.visible(),
        commit_index_low_water: since_epoch(engine.commit_index_low_water()?),
    })
}

impl Versions {
    fn lines(&self) -> String {
        format!(
            " icecore         {}\n database        {}\n engine id       {}\n forked from     {}\n \
             format version  {}\n wall clock      {}\n clock           {}\n index trimmed   {}\n",
            self.icecore_version,
            self.database,
            self.engine_id,
            or_dash(self.forked_from),
            self.format_version,
            self.wall_clock,
            self.clock,
            or_dash(self.commit_index_low_water),
        )
    }
}
