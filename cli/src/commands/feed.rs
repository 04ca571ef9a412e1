//! `feed`: what was committed, transaction by transaction, as JSON lines.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use icecore_engine::{
    CatalogChange, CommittedTransaction, Engine, Feed, FeedOptions, FeedStart, ResumeToken,
};
use icecore_gc::{Consumer, ConsumerOptions};
use icecore_mvcc::{NamePattern, Timestamp, parse_duration};
use serde::Serialize;

use super::keyspace::Described;
use crate::arguments::{OutputFormat, Raw, Time};
use crate::context::Context;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::output::time;

#[derive(Debug, Args)]
pub(crate) struct FeedArguments {
    /// Only these keyspaces: names, bank.* or *, those that come later too [default: all]
    #[arg(value_name = "KS")]
    keyspaces: Vec<NamePattern>,
    /// Begin after this time, or where a token says
    #[arg(
        long,
        value_name = "TIME|TOKEN",
        allow_hyphen_values = true,
        required_unless_present_any = ["consumer", "forget"]
    )]
    after: Option<Start>,
    /// Begin where the consumer of this name ended the last time, and keep what it has yet to see from
    /// garbage collection; a new one begins after --after, or now
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Release what the consumer of this name holds, and print nothing
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keyspaces", "after", "consumer", "follow", "base64"])]
    forget: Option<String>,
    /// Stay, and print what comes
    #[arg(long)]
    follow: bool,
    /// How often to look whether something has come
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = parse_duration, requires = "follow")]
    poll: Duration,
    #[command(flatten)]
    raw: Raw,
}

/// Where to begin.
#[derive(Debug, Clone)]
enum Start {
    Time(Time),
    Token(ResumeToken),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("feed") {
            return text
                .parse()
                .map(Self::Token)
                .map_err(|e: icecore_engine::Error| e.to_string());
        }
        text.parse()
            .map(Self::Time)
            .map_err(|e: icecore_mvcc::Error| e.to_string())
    }
}

impl Start {
    fn resolve(&self, engine: &Engine) -> Result<FeedStart> {
        Ok(match self {
            Self::Time(time) => FeedStart::After(time.resolve(engine)?),
            Self::Token(token) => FeedStart::Resume(*token),
        })
    }
}

/// A transaction, or a part of one, as a line.
#[derive(Serialize)]
struct Line {
    #[serde(serialize_with = "time")]
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "is_first")]
    part: u32,
    last: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    catalog: Vec<Catalog>,
    changes: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<ResumeToken>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_first(part: &u32) -> bool {
    *part == 0
}

/// What became of a keyspace.
#[derive(Serialize)]
struct Catalog {
    what: &'static str,
    #[serde(flatten)]
    keyspace: Described,
}

/// A row; its value is null where the key was deleted.
#[derive(Serialize)]
struct Row {
    keyspace: String,
    key: String,
    value: Option<String>,
}

impl From<CatalogChange> for Catalog {
    fn from(change: CatalogChange) -> Self {
        let (what, descriptor) = match change {
            CatalogChange::Created(descriptor) => ("created", descriptor),
            CatalogChange::Restored(descriptor) => ("restored", descriptor),
            CatalogChange::Altered(descriptor) => ("altered", descriptor),
            CatalogChange::Dropped(descriptor) => ("dropped", descriptor),
        };
        Self {
            what,
            keyspace: Described::from(descriptor),
        }
    }
}

impl Line {
    fn of(transaction: CommittedTransaction, encoding: Encoding) -> Self {
        let row = |change: icecore_engine::FeedChange| Row {
            keyspace: change.name.to_string(),
            key: encoding.encode(&change.key),
            value: change.value.map(|value| encoding.encode(&value)),
        };
        Self {
            timestamp: transaction.timestamp,
            part: transaction.part,
            last: transaction.last,
            catalog: transaction.catalog.into_iter().map(Catalog::from).collect(),
            changes: transaction.changes.into_iter().map(row).collect(),
            token: transaction.token,
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &FeedArguments) -> Result<()> {
    if let Some(name) = &arguments.forget {
        return forget(context, name);
    }
    if !arguments.follow {
        return print(context, arguments, None).map(drop);
    }
    if context.format == OutputFormat::Json {
        return Err(Error::Usage(
            "with --follow there is no end, and so no document; leave out --output json: the lines are JSON"
                .to_owned(),
        ));
    }
    follow(context, arguments)
}

fn forget(context: &Context, name: &str) -> Result<()> {
    let started = std::time::Instant::now();
    let was = context.write(|engine| Ok(Consumer::forget(engine, name)?))?;
    if !was {
        return Err(Error::Usage(format!(
            "there is no consumer {name}; `protect list` shows those that there are"
        )));
    }
    let sentence = || format!("forgot consumer {name}");
    let what = serde_json::json!({ "consumer": name });
    context.done("feed forget", sentence, what, 0, started)
}

/// Prints what is there from a place on; the place to go on from.
fn print(
    context: &Context,
    arguments: &FeedArguments,
    from: Option<ResumeToken>,
) -> Result<ResumeToken> {
    match &arguments.consumer {
        Some(name) => context.write(|engine| consume(context, arguments, engine, name)),
        None => {
            let engine = context.open()?;
            check_names(&engine, &arguments.keyspaces)?;
            let start = match (from, &arguments.after) {
                (Some(token), _) => FeedStart::Resume(token),
                (None, Some(start)) => start.resolve(&engine)?,
                (None, None) => FeedStart::After(engine.now()),
            };
            let mut options = FeedOptions::new(start);
            options.keyspaces.clone_from(&arguments.keyspaces);
            let mut feed = engine.subscribe(options)?;
            print_lines(context, arguments, &mut feed)?;
            Ok(feed.token())
        }
    }
}

/// Prints what the consumer has yet to see, and acknowledges it once it is printed.
fn consume(
    context: &Context,
    arguments: &FeedArguments,
    engine: &Engine,
    name: &str,
) -> Result<ResumeToken> {
    let after = match &arguments.after {
        Some(Start::Time(time)) => Some(time.resolve(engine)?),
        Some(Start::Token(token)) => Some(token.position_in(engine)?),
        None => None,
    };
    let options = ConsumerOptions {
        keyspaces: arguments.keyspaces.clone(),
        after,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(engine, name, options)?;
    let mut feed = consumer.subscribe()?;
    if let Some(last) = print_lines(context, arguments, &mut feed)? {
        consumer.ack(last)?;
    }
    consumer.close()?;
    Ok(feed.token())
}

/// Prints what is there; the token of the last transaction.
fn print_lines(
    context: &Context,
    arguments: &FeedArguments,
    feed: &mut Feed,
) -> Result<Option<ResumeToken>> {
    let encoding = arguments.raw.encoding();
    let mut last = None;
    let lines = std::iter::from_fn(|| feed.try_next().transpose()).map(|next| {
        let transaction = next?;
        last = transaction.token.or(last);
        Ok(Line::of(transaction, encoding))
    });
    context.lines("transactions", lines)?;
    Ok(last)
}

/// A name that nothing has is more often a typing error than a keyspace to come.
fn check_names(engine: &Engine, patterns: &[NamePattern]) -> Result<()> {
    let all = engine.all_keyspaces();
    for pattern in patterns {
        if let NamePattern::Exact(name) = pattern
            && !all.iter().any(|k| k.name() == name.as_str())
        {
            let name = name.to_string();
            return Err(icecore_engine::Error::NoSuchKeyspace { name }.into());
        }
    }
    Ok(())
}

/// Opens the database whenever it has changed and nobody has it, and prints what came.
fn follow(context: &Context, arguments: &FeedArguments) -> Result<()> {
    let folder = context.db()?.join("data");
    let (mut from, mut seen) = (None, None);
    loop {
        let state = State::of(&folder)?;
        if seen.as_ref() != Some(&state) {
            match print(context, arguments, from) {
                Ok(token) => {
                    from = Some(token);
                    // A consumer's acknowledgement is a change too, of its own.
                    seen = Some(match arguments.consumer {
                        Some(_) => State::of(&folder)?,
                        None => state,
                    });
                }
                // Somebody is at work: what comes of it is printed after.
                Err(
                    Error::HeldByServer { .. }
                    | Error::Engine(icecore_engine::Error::Locked { .. }),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        std::thread::sleep(arguments.poll);
    }
}

/// The files that hold what was committed. Opening the database to read it changes none of them.
#[derive(Debug, PartialEq, Eq)]
struct State(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl State {
    fn of(folder: &Path) -> Result<Self> {
        let failed = || Error::io("look at", folder.display().to_string());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let counts = path.extension().is_some_and(|e| e == "log" || e == "sst");
            // One that has just gone shows in the next look.
            if counts && let Ok(metadata) = path.metadata() {
                files.push((path, metadata.len(), metadata.modified().ok()));
            }
        }
        files.sort();
        Ok(Self(files))
    }
}
