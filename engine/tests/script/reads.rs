//! Reads at a time: `at T`, or everything committed.
//!
//! | command | what |
//! |---|---|
//! | `get KS K [at T]`, `mget KS K… [at T]` | one key, many keys; without `at` a `get` is one of now |
//! | `scan KS [from K] [to K] [prefix K] [reverse] [limit N] [at T]` | a range |
//! | `pin P [T]`, `unpin P`, `reader` | hold a snapshot, let it go, show the oldest that is held |

use icecore_engine::{Entry, Result, ScanDirection};

use super::words::{bytes, printable, printable_value, row};
use super::{Outcome, Stage, Words, lines};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "get" => get(stage, words),
        "mget" => multi_get(stage, words),
        "scan" => scan(stage, words),
        "pin" => pin(stage, words),
        "unpin" => {
            stage.pins.remove(&words.next()).unwrap();
            Ok(String::new())
        }
        "reader" => {
            let oldest = stage.engine().oldest_reader();
            Ok(oldest.map_or("(none)\n".to_owned(), |ts| format!("{}\n", ts.nanos())))
        }
        _ => return None,
    })
}

fn get(stage: &Stage, words: &mut Words) -> Outcome {
    let now = !words.has("at");
    let snapshot = stage.snapshot(words)?;
    let keyspace = stage.keyspace(&words.next())?;
    let key = words.bytes();
    let value = match now {
        true => keyspace.get(&key)?,
        false => keyspace.get_at(&snapshot, &key)?,
    };
    Ok(format!("{}\n", printable_value(value.as_deref())))
}

fn multi_get(stage: &Stage, words: &mut Words) -> Outcome {
    let snapshot = stage.snapshot(words)?;
    let keyspace = stage.keyspace(&words.next())?;
    let keys: Vec<Vec<u8>> = words.all().iter().map(|word| bytes(word)).collect();
    let values = keyspace.multi_get_at(&snapshot, &keys)?;
    let show = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
        format!("{}: {}", printable(key), printable_value(value.as_deref()))
    };
    Ok(lines(keys.iter().zip(&values).map(show)))
}

fn scan(stage: &Stage, words: &mut Words) -> Outcome {
    let snapshot = stage.snapshot(words)?;
    let range = words.range();
    let direction = match words.flag("reverse") {
        true => ScanDirection::Reverse,
        false => ScanDirection::Forward,
    };
    let limit = words
        .option("limit")
        .map_or(usize::MAX, |n| n.parse().unwrap());
    let scan = stage
        .keyspace(&words.next())?
        .scan(&snapshot, &range, direction)?;
    let rows: Vec<Entry> = scan.take(limit).collect::<Result<_>>()?;
    Ok(lines(
        rows.iter().map(|e| row(&e.key, e.ts, Some(&e.value))),
    ))
}

fn pin(stage: &mut Stage, words: &mut Words) -> Outcome {
    let name = words.next();
    let snapshot = match words.maybe() {
        Some(time) => stage.engine().snapshot_at(stage.time(&time))?,
        None => stage.engine().snapshot(),
    };
    let text = format!("at {}\n", snapshot.timestamp().nanos());
    stage.pins.insert(name, snapshot);
    Ok(text)
}
