//! `collection expire`: which backups go, by count and age, and what dead runs left.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use clap::Args;
use icecore_archive::CollectionUri;
use icecore_archive::plan::Restorable;
use icecore_backup::retain::{ChainReport, ExpireOptions, ExpireReport, Policy, expire};
use icecore_mvcc::{Timestamp, parse_duration};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::commands::show::restorable::RestorableRow;
use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{Record, human_bytes, human_count, plural, time};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct ExpireArguments {
    /// The collection; all of its URIs where it lies in several places
    #[arg(long = "in", value_name = "URI", value_parser = UriParser, required = true)]
    collection: Vec<CollectionUri>,
    /// Keep the newest N fulls of each source, with their incrementals
    #[arg(long, value_name = "N")]
    keep_fulls: Option<NonZeroUsize>,
    /// Keep what is needed to restore any time within so long before now, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_for: Option<Duration>,
    /// How long a backup or restore may take: what goes is deleted that long after it was marked
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    grace: Duration,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    keys: KeyArguments,
}

/// What a run of retention does or did.
#[derive(Serialize)]
struct Expired<'a> {
    dry_run: bool,
    backups: Vec<Backup<'a>>,
    retired: Vec<RetiredLayer>,
    adopted: Vec<String>,
    junk: Vec<Junk>,
    damaged: Vec<String>,
    pool: Pool,
    restorable_before: Vec<RestorableRow>,
    restorable_after: Vec<RestorableRow>,
    deleted_objects: u64,
    pending_bytes: u64,
    refused: Vec<Refused<'a>>,
}

#[derive(Serialize)]
struct Backup<'a> {
    backup: String,
    source: &'a str,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    #[serde(serialize_with = "time")]
    reaches: Timestamp,
    layers: u64,
    stored_bytes: u64,
    expires: bool,
    reasons: &'a [String],
    problems: &'a [String],
}

#[derive(Serialize)]
struct RetiredLayer {
    layer: String,
    stored_bytes: u64,
}

#[derive(Serialize)]
struct Junk {
    layer: String,
    what: &'static str,
    objects: u64,
    stored_bytes: u64,
}

/// What becomes of the files that fast fulls share.
#[derive(Serialize)]
struct Pool {
    marked_files: u64,
    marked_bytes: u64,
    waiting_files: u64,
    waiting_bytes: u64,
    deleted_files: u64,
    deleted_bytes: u64,
    waits_for: Vec<String>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct Refused<'a> {
    path: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a ChainReport> for Backup<'a> {
    fn from(chain: &'a ChainReport) -> Self {
        Self {
            backup: chain.full.to_string(),
            source: &chain.source,
            end: chain.begins,
            reaches: chain.reaches,
            layers: chain.layers,
            stored_bytes: chain.stored_bytes,
            expires: chain.expires,
            reasons: &chain.reasons,
            problems: &chain.problems,
        }
    }
}

impl Record for &Backup<'_> {
    const HEADER: &'static [&'static str] =
        &["backup", "end", "reaches", "layers", "bytes", "", "because"];

    fn cells(&self) -> Vec<String> {
        let because = match self.expires {
            true => "nothing asks for it".to_owned(),
            false => self.reasons.join("; "),
        };
        vec![
            self.backup.clone(),
            self.end.to_string(),
            self.reaches.to_string(),
            human_count(self.layers),
            human_bytes(self.stored_bytes),
            if self.expires { "expires" } else { "stays" }.to_owned(),
            because,
        ]
    }
}

fn rows(ranges: &[Restorable]) -> Vec<RestorableRow> {
    ranges.iter().cloned().map(RestorableRow::from).collect()
}

impl<'a> From<&'a ExpireReport> for Expired<'a> {
    fn from(report: &'a ExpireReport) -> Self {
        let layers = |layers: &[icecore_archive::LayerPath]| -> Vec<String> {
            layers.iter().map(ToString::to_string).collect()
        };
        let retired = report.retired.iter().map(|retired| RetiredLayer {
            layer: retired.layer.to_string(),
            stored_bytes: retired.stored_bytes,
        });
        let junk = report.junk.iter().map(|junk| Junk {
            layer: junk.directory.to_string(),
            what: junk.what,
            objects: junk.objects,
            stored_bytes: junk.bytes,
        });
        let refused = report.refused.iter().map(|refused| Refused {
            path: &refused.path,
            reason: &refused.reason,
        });
        Self {
            dry_run: report.dry_run,
            backups: report.chains.iter().map(Backup::from).collect(),
            retired: retired.collect(),
            adopted: layers(&report.adopted),
            junk: junk.collect(),
            damaged: layers(&report.damaged),
            pool: Pool {
                marked_files: report.pool.marked_files,
                marked_bytes: report.pool.marked_bytes,
                waiting_files: report.pool.waiting_files,
                waiting_bytes: report.pool.waiting_bytes,
                deleted_files: report.pool.deleted_files,
                deleted_bytes: report.pool.deleted_bytes,
                waits_for: layers(&report.pool.waits_for),
                unreadable: layers(&report.pool.unreadable),
            },
            restorable_before: rows(&report.restorable_before),
            restorable_after: rows(&report.restorable_after),
            deleted_objects: report.deleted_objects,
            pending_bytes: report.pending_bytes,
            refused: refused.collect(),
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &ExpireArguments) -> Result<()> {
    let started = Instant::now();
    let options = ExpireOptions {
        policy: Policy {
            keep_fulls: arguments.keep_fulls.map(NonZeroUsize::get),
            keep_for: arguments.keep_for,
        },
        grace: arguments.grace,
        dry_run: arguments.dry_run,
    };
    let report = context.wait(async {
        let collection = places::open(&arguments.collection, &arguments.keys).await?;
        Ok(expire(&collection, &options).await?)
    })?;
    let expired = Expired::from(&report);
    if context.format == OutputFormat::Table {
        tell(context, &report, &expired)?;
    }
    let sentence = || sentence(&report);
    context.done(
        "collection expire",
        sentence,
        &expired,
        report.deleted_bytes,
        started,
    )
}

fn tell(context: &Context, report: &ExpireReport, expired: &Expired<'_>) -> Result<()> {
    context.list("backups", expired.backups.iter().map(Ok))?;
    if report.restorable_before != report.restorable_after {
        context.line("")?;
        context.line("now")?;
        context.list("restorable", expired.restorable_before.iter().map(Ok))?;
        context.line("afterwards")?;
        context.list("restorable", expired.restorable_after.iter().map(Ok))?;
        context.line("")?;
    }
    let retired = expired.retired.iter().map(|retired| {
        let (layer, bytes) = (&retired.layer, human_bytes(retired.stored_bytes));
        format!("{layer} goes: a merged layer stands for it ({bytes})")
    });
    let adopted = expired
        .adopted
        .iter()
        .map(|layer| format!("{layer} is listed: its writer had died just before that"));
    let junk = expired.junk.iter().map(|junk| {
        let (objects, bytes) = (
            plural(junk.objects, "object"),
            human_bytes(junk.stored_bytes),
        );
        format!("{}: {objects} of {} ({bytes})", junk.layer, junk.what)
    });
    let damaged = expired.damaged.iter().map(|layer| {
        format!("{layer} is not listed, and damaged: look at it, and delete it by hand")
    });
    let problems = expired
        .backups
        .iter()
        .flat_map(|backup| backup.problems.iter().cloned());
    let refused = expired
        .refused
        .iter()
        .map(|refused| refused.reason.to_owned());
    let lines = retired
        .chain(adopted)
        .chain(junk)
        .chain(damaged)
        .chain(pool_lines(&expired.pool))
        .chain(problems)
        .chain(refused);
    lines.into_iter().try_for_each(|line| context.line(&line))
}

/// What there is to tell of the pool.
fn pool_lines(pool: &Pool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut files = |files: u64, bytes: u64, what: &str| {
        if files > 0 {
            let (files, bytes) = (plural(files, "file"), human_bytes(bytes));
            lines.push(format!("pool: {files} {what} ({bytes})"));
        }
    };
    files(
        pool.deleted_files,
        pool.deleted_bytes,
        "that nothing names, deleted",
    );
    files(
        pool.marked_files,
        pool.marked_bytes,
        "that nothing names, to be deleted once the grace is over",
    );
    let waits = match pool.waits_for.as_slice() {
        [] => "marked before, waiting for their grace".to_owned(),
        backups => format!(
            "marked before, waiting for backups under way: {}",
            backups.join(", ")
        ),
    };
    files(pool.waiting_files, pool.waiting_bytes, &waits);
    if !pool.unreadable.is_empty() {
        lines.push(format!(
            "pool: nothing is removed, since it is not known what these name: {}",
            pool.unreadable.join(", ")
        ));
    }
    lines
}

fn sentence(report: &ExpireReport) -> String {
    let going = report.chains.iter().filter(|chain| chain.expires).count() as u64;
    let (expire, retire, delete, end) = match report.dry_run {
        true => ("would expire", "retire", "delete", "; nothing was written"),
        false => ("expired", "retired", "deleted", ""),
    };
    let pending = match report.pending_bytes {
        0 => String::new(),
        bytes => format!("; {} go once the grace is over", human_bytes(bytes)),
    };
    let refused = match report.refused.len() as u64 {
        0 => String::new(),
        count => format!("; the store would not delete {}", plural(count, "object")),
    };
    format!(
        "{expire} {} of {}, {retire} {}, {delete} {} ({}){pending}{refused}{end}",
        human_count(going),
        plural(report.chains.len() as u64, "backup"),
        plural(report.retired.len() as u64, "layer"),
        plural(report.deleted_objects, "object"),
        human_bytes(report.deleted_bytes),
    )
}
