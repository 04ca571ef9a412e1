//! Commits and transactions. Each prints its timestamp.
//!
//! | command | what |
//! |---|---|
//! | `put KS K V`, `del KS K` | one row |
//! | `batch put KS K V, del KS K, …` | several at one time |
//! | `load KS K=V K=V …` | a bulk load |
//! | `begin T [serializable]`, `commit T`, `rollback T` | a transaction by the name of T |
//! | `in T put KS K V`, `in T del KS K`, `in T get KS K`, `in T scan KS [range] [reverse]` | within it |

use icecore_engine::{Batch, Durability, Isolation, Result, ScanDirection};

use super::words::{bytes, printable, printable_value};
use super::{Outcome, Stage, Words, lines};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "put" => put(stage, words),
        "del" => delete(stage, words),
        "batch" => batch(stage, words),
        "load" => load(stage, words),
        "begin" => begin(stage, words),
        "commit" => commit(stage, words),
        "rollback" => {
            stage.transactions.remove(&words.next()).unwrap().rollback();
            Ok(String::new())
        }
        "in" => within(stage, words),
        _ => return None,
    })
}

fn put(stage: &Stage, words: &mut Words) -> Outcome {
    let keyspace = stage.keyspace(&words.next())?;
    let ts = keyspace.put(words.bytes(), words.bytes(), Durability::Buffered)?;
    Ok(format!("at {}\n", ts.nanos()))
}

fn delete(stage: &Stage, words: &mut Words) -> Outcome {
    let keyspace = stage.keyspace(&words.next())?;
    let ts = keyspace.delete(words.bytes(), Durability::Buffered)?;
    Ok(format!("at {}\n", ts.nanos()))
}

fn batch(stage: &Stage, words: &mut Words) -> Outcome {
    let mut batch = Batch::new();
    let parts = words.all().join(" ");
    for part in parts.split(", ").filter(|part| !part.is_empty()) {
        let mut words = Words::of(part);
        let verb = words.next();
        let keyspace = stage.keyspace(&words.next())?;
        match verb.as_str() {
            "put" => batch.put(&keyspace, words.bytes(), words.bytes()),
            "del" => batch.delete(&keyspace, words.bytes()),
            other => panic!("{other} in a batch"),
        };
        words.finish();
    }
    let ts = stage.engine().commit(batch, Durability::Buffered)?;
    Ok(format!("at {}\n", ts.nanos()))
}

fn load(stage: &Stage, words: &mut Words) -> Outcome {
    let keyspace = stage.keyspace(&words.next())?;
    let rows = words.all();
    let rows = rows.iter().map(|row| -> Result<_> {
        let (key, value) = row.split_once('=').unwrap();
        Ok((bytes(key), bytes(value)))
    });
    let loaded = stage.engine().bulk_load(&keyspace, rows)?;
    Ok(format!("at {}, {} rows\n", loaded.ts.nanos(), loaded.rows))
}

fn begin(stage: &mut Stage, words: &mut Words) -> Outcome {
    let isolation = match words.flag("serializable") {
        true => Isolation::Serializable,
        false => Isolation::Snapshot,
    };
    let transaction = stage.engine().begin(isolation)?;
    let start = transaction.snapshot().timestamp();
    stage.transactions.insert(words.next(), transaction);
    Ok(format!("reads {}\n", start.nanos()))
}

fn commit(stage: &mut Stage, words: &mut Words) -> Outcome {
    let transaction = stage.transactions.remove(&words.next()).unwrap();
    let ts = transaction.commit(Durability::Buffered)?;
    Ok(format!("at {}\n", ts.nanos()))
}

fn within(stage: &mut Stage, words: &mut Words) -> Outcome {
    let (name, verb) = (words.next(), words.next());
    let keyspace = stage.keyspace(&words.next())?;
    let transaction = stage.transactions.get_mut(&name).expect(&name);
    match verb.as_str() {
        "put" => transaction.put(&keyspace, words.bytes(), words.bytes()),
        "del" => transaction.delete(&keyspace, words.bytes()),
        "get" => {
            let value = transaction.get(&keyspace, &words.bytes())?;
            return Ok(format!("{}\n", printable_value(value.as_deref())));
        }
        "scan" => {
            let direction = match words.flag("reverse") {
                true => ScanDirection::Reverse,
                false => ScanDirection::Forward,
            };
            let rows: Vec<_> = transaction
                .scan(&keyspace, &words.range(), direction)?
                .collect::<Result<_>>()?;
            let show = |(key, value): &(Vec<u8>, Vec<u8>)| {
                format!("{} = {}", printable(key), printable(value))
            };
            return Ok(lines(rows.iter().map(show)));
        }
        other => panic!("{other} in a transaction"),
    }
    Ok(String::new())
}
