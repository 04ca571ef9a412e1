//! What garbage collection does, as scripts: those of the engine (`engine/tests/script/mod.rs` has
//! their commands) with the commands of this crate. Each file in `tests/golden/` is a session with
//! a database on a clock of its own. `ICECORE_BLESS=1` writes what they print now.
//!
//! | command | what |
//! |---|---|
//! | `protect R at T TARGET… [owner O]` | a record, by the name of R: `all`, patterns, or one `span KS [range]` |
//! | `advance R T`, `release R`, `protected` | move it, end it, list all |
//! | `collect [PATTERN…] [ttl D] [step D] [batch N] [compact]` | one round |
//! | `status` | what stands where, and what holds it back |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

// The same language, not a copy of it.
#[path = "../../engine/tests/script/mod.rs"]
mod script;

use std::path::{Path, PathBuf};

use icecore_gc::{
    GcOptions, KeyspaceGcReport, ProtectRequest, ProtectedTimestamps, Record, RecordId, Span,
    Target, collect, status,
};
use icecore_mvcc::{KeyspaceName, NamePattern, format_duration, parse_duration};
use script::{Outcome, Stage, Words, lines};

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let mut records = Records::default();
                let file = concat!(stringify!($name), ".txt");
                script::check(&folder(), file, &mut |stage, verb, words| {
                    records.run(stage, verb, words)
                });
            }
        )*

        #[test]
        fn every_script_is_run() {
            let named = [$(concat!(stringify!($name), ".txt")),*, "errors.txt"];
            icecore_golden::script::check_folder(&folder(), &named);
        }
    };
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

scripts!(dropped, protect, rounds, system);

/// Names of the records, whose ids are random.
#[derive(Default)]
struct Records(Vec<(String, RecordId)>);

impl Records {
    fn run(&mut self, stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
        Some(match verb {
            "protect" => self.protect(stage, words),
            "advance" => self.advance(stage, words),
            "release" => self.release(stage, words),
            "protected" => list(stage),
            "collect" => round(stage, words),
            "status" => show_status(stage),
            _ => return None,
        })
    }

    fn id(&self, name: &str) -> RecordId {
        let known = self.0.iter().find(|(known, _)| known == name);
        known.expect(name).1
    }

    fn protect(&mut self, stage: &mut Stage, words: &mut Words) -> Outcome {
        let timestamp = stage.time(&words.option("at").expect("at T"));
        let owner = words.option("owner").unwrap_or("test".to_owned());
        let name = words.next();
        let request = ProtectRequest::new(timestamp, target(words), owner);
        let record = ProtectedTimestamps::new(stage.engine()).protect(request)?;
        stage
            .masks
            .push((record.id.to_string(), format!("<{name}>")));
        self.0.push((name, record.id));
        Ok(format!("{}\n", describe(&record)))
    }

    fn advance(&self, stage: &Stage, words: &mut Words) -> Outcome {
        let id = self.id(&words.next());
        let to = stage.time(&words.next());
        let record = ProtectedTimestamps::new(stage.engine()).advance(&id, to)?;
        Ok(format!("{}\n", describe(&record)))
    }

    fn release(&self, stage: &Stage, words: &mut Words) -> Outcome {
        let id = self.id(&words.next());
        ProtectedTimestamps::new(stage.engine()).release(&id)?;
        Ok(String::new())
    }
}

fn target(words: &mut Words) -> Target {
    if words.flag("all") {
        return Target::All;
    }
    if words.flag("span") {
        let range = words.range();
        let keyspace = KeyspaceName::parse(&words.next()).unwrap();
        return Target::Spans(vec![Span { keyspace, range }]);
    }
    Target::Keyspaces(patterns(words))
}

fn patterns(words: &mut Words) -> Vec<NamePattern> {
    let parse = |word: &String| NamePattern::parse(word).unwrap();
    words.all().iter().map(parse).collect()
}

fn describe(record: &Record) -> String {
    format!(
        "{} protects {} from {}, for {}, made at {}",
        record.id,
        record.target,
        record.timestamp.nanos(),
        record.owner,
        record.created.nanos()
    )
}

fn list(stage: &Stage) -> Outcome {
    let records = ProtectedTimestamps::new(stage.engine()).list()?;
    Ok(lines(records.iter().map(describe)))
}

fn round(stage: &Stage, words: &mut Words) -> Outcome {
    let mut options = GcOptions {
        ttl_override: words.option("ttl").map(|d| parse_duration(&d).unwrap()),
        compact: words.flag("compact"),
        ..GcOptions::default()
    };
    if let Some(step) = words.option("step") {
        options.step_max = parse_duration(&step).unwrap();
    }
    if let Some(keys) = words.option("batch") {
        options.sweep_batch_keys = keys.parse().unwrap();
    }
    options.keyspaces = patterns(words);
    let report = collect(stage.engine(), &options)?;
    let mut rows: Vec<String> = report.keyspaces.iter().map(raised).collect();
    rows.extend(report.purged.iter().map(|name| format!("purged {name}")));
    let low_water = report.index_low_water.nanos();
    Ok(lines(rows) + &format!("index low water {low_water}\n"))
}

fn raised(row: &KeyspaceGcReport) -> String {
    let (from, to) = (row.threshold_before.nanos(), row.threshold_after.nanos());
    let mut text = match from == to {
        true => format!("{}: stays at {to}", row.name),
        false => format!("{}: {from} to {to}", row.name),
    };
    let ttl = format_duration(row.ttl);
    text += &format!(
        ", ttl {ttl}, held by {}",
        script::short_times(&row.held_by.to_string())
    );
    if row.swept_keys > 0 {
        let (keys, versions) = (row.swept_keys, row.removed_versions);
        text += &format!("; swept {keys} keys, removed {versions} versions");
    }
    text
}

fn show_status(stage: &Stage) -> Outcome {
    let status = status(stage.engine())?;
    let mut rows = vec![format!("now {}", status.now.nanos())];
    for row in &status.keyspaces {
        rows.push(format!(
            "{}{}: at {}, age {}, ttl {}, held by {}",
            row.name,
            row.dropped
                .map_or(String::new(), |ts| format!(" dropped {}", ts.nanos())),
            row.threshold.nanos(),
            row.age.map_or("-".to_owned(), format_duration),
            format_duration(row.ttl),
            script::short_times(&row.held_by.to_string())
        ));
    }
    for row in &status.records {
        let holds = match row.holds.is_empty() {
            true => "nothing".to_owned(),
            false => row.holds.join(", "),
        };
        let age = format_duration(row.age);
        rows.push(format!("{}: age {age}, holds {holds}", row.record.id));
    }
    Ok(lines(rows))
}
