//! Versions and windows of time.
//!
//! | command | what |
//! |---|---|
//! | `versions KS K [at T]` | of one key, newest first |
//! | `full KS [history] [range] [at T]`, `full KS since T [range] [at T]` | what a full backup takes |
//! | `changes KS after T [until T] [latest] [range]` | by both plans, which must agree, and which of them is taken |

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Keyspace, PlanTaken, Result, VersionRow, Window,
};
use icecore_mvcc::KeyRange;

use super::words::{row, version_row};
use super::{Outcome, Refused, Stage, Words, lines, short_times};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "versions" => versions(stage, words),
        "full" => full(stage, words),
        "changes" => changes(stage, words),
        _ => return None,
    })
}

fn versions(stage: &Stage, words: &mut Words) -> Outcome {
    let snapshot = stage.snapshot(words)?;
    let keyspace = stage.keyspace(&words.next())?;
    let key = words.bytes();
    let versions = keyspace.versions(&snapshot, &key)?;
    Ok(lines(
        versions.iter().map(|v| row(&key, v.ts, v.value.as_deref())),
    ))
}

fn full(stage: &Stage, words: &mut Words) -> Outcome {
    let snapshot = stage.snapshot(words)?;
    let (range, history) = (words.range(), words.flag("history"));
    let since = words.option("since");
    let keyspace = stage.keyspace(&words.next())?;
    let walk = match since {
        Some(since) => {
            let floor = stage.engine().snapshot_at(stage.time(&since))?;
            keyspace.full_since(&range, &snapshot, &floor)?
        }
        None => keyspace.full(&range, &snapshot, history)?,
    };
    let rows: Vec<VersionRow> = walk.collect::<Result<_>>()?;
    Ok(lines(rows.iter().map(version_row)))
}

/// What a read of a window asks for.
struct Question {
    keyspace: Keyspace,
    range: KeyRange,
    window: Window,
    set: ChangeSet,
}

impl Question {
    fn ask(&self, plan: ChangePlan) -> std::result::Result<(PlanTaken, Vec<VersionRow>), Refused> {
        let options = ChangeOptions {
            plan,
            ..ChangeOptions::default()
        };
        let changes = self
            .keyspace
            .changes(&self.range, self.window, self.set, &options)?;
        Ok((changes.plan(), changes.collect::<Result<_>>()?))
    }
}

fn changes(stage: &Stage, words: &mut Words) -> Outcome {
    let after = stage.time(&words.option("after").expect("after T"));
    let until = match words.option("until") {
        Some(time) => stage.time(&time),
        None => stage.engine().visible(),
    };
    let range = words.range();
    let set = match words.flag("latest") {
        true => ChangeSet::Latest,
        false => ChangeSet::All,
    };
    let question = Question {
        keyspace: stage.keyspace(&words.next())?,
        range,
        window: Window { after, until },
        set,
    };
    let (_, rows) = question.ask(ChangePlan::Scan)?;
    let index = match question.ask(ChangePlan::Index) {
        Ok((_, indexed)) => {
            assert_eq!(indexed, rows, "the plans differ");
            String::new()
        }
        Err(Refused(text)) => format!("index plan: error: {}\n", short_times(&text)),
    };
    let (taken, auto) = question.ask(ChangePlan::Auto)?;
    assert_eq!(auto, rows, "the plan taken differs");
    let taken = match taken {
        PlanTaken::Index { changes, .. } => format!("by the index, which names {changes}"),
        PlanTaken::Scan { reason } => format!("by a scan: {reason}"),
    };
    Ok(format!(
        "{index}{taken}\n{}",
        lines(rows.iter().map(version_row))
    ))
}
