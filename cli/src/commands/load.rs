//! `load`: real data in.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::load::{Format, LoadOptions, load_file};
use crate::output::{Bar, human_bytes, human_rate, optional_time, plural};

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// The keyspace
    keyspace: String,
    /// The file; one that ends in .zst is decompressed while it is read
    file: PathBuf,
    /// csv or jsonl [default: what the file's name tells]
    #[arg(long)]
    format: Option<Format>,
    /// The columns whose texts, joined by `/`, are the key
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
    key: Vec<String>,
    /// Rows in one commit
    #[arg(long, value_name = "N", default_value_t = 1000)]
    batch: usize,
}

/// What a load did.
#[derive(Serialize)]
struct Loaded<'a> {
    keyspace: &'a str,
    file: String,
    rows: u64,
    batches: u64,
    source_bytes: u64,
    #[serde(serialize_with = "optional_time")]
    ts: Option<Timestamp>,
}

pub(crate) fn run(context: &Context, arguments: &LoadArguments) -> Result<()> {
    let started = Instant::now();
    let options = LoadOptions {
        key: arguments.key.clone(),
        format: arguments.format,
        batch_rows: arguments.batch,
    };
    let file = arguments.file.display().to_string();
    let report = context.write(|engine| {
        let keyspace = engine.keyspace(&arguments.keyspace)?;
        let bar = Bar::new(context, &format!("loading {file}"));
        load_file(
            engine,
            &keyspace,
            &arguments.file,
            &options,
            &mut |progress| {
                bar.set(
                    progress.source_bytes,
                    progress.source_total.unwrap_or(progress.source_bytes),
                );
            },
        )
    })?;
    let sentence = || {
        format!(
            "loaded {} ({}) into {} in {:.2} s, {}",
            plural(report.rows, "row"),
            human_bytes(report.bytes),
            arguments.keyspace,
            report.elapsed.as_secs_f64(),
            human_rate(report.bytes, report.elapsed),
        )
    };
    let loaded = Loaded {
        keyspace: &arguments.keyspace,
        file: file.clone(),
        rows: report.rows,
        batches: report.batches,
        source_bytes: report.source_bytes,
        ts: report.last_commit,
    };
    context.done("load", sentence, &loaded, report.bytes, started)
}
