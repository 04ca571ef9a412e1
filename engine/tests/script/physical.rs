//! Files, garbage collection and restores: the mechanism.
//!
//! | command | what |
//! |---|---|
//! | `flush`, `compact KS` | write memtables out; rewrite all files of a keyspace |
//! | `raise KS T`, `threshold KS` | raise a threshold, or only show it |
//! | `sweep KS [max N]`, `purge`, `trim` | remove deleted keys, dropped keyspaces, old index records |
//! | `restore ID NAME`, `ingest ID NAME TAG K@T=V K@T …`, `publish ID NAME@T… newest T`, `abandon ID` | a restore, its layers (without `=V` a tombstone), and its end, with the threshold of each keyspace |

use icecore_engine::{Compression, Publish, SweepBudget};
use icecore_mvcc::KeyspaceSettings;

use super::words::bytes;
use super::{Outcome, Stage, Words, lines};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "flush" => stage
            .engine()
            .flush()
            .map(|()| String::new())
            .map_err(Into::into),
        "compact" => compact(stage, words),
        "raise" => raise(stage, words),
        "threshold" => stage
            .keyspace(&words.next())
            .map(|keyspace| format!("{}\n", keyspace.threshold().nanos())),
        "sweep" => sweep(stage, words),
        "purge" => purge(stage),
        "trim" => trim(stage),
        "restore" => restore(stage, words),
        "ingest" => ingest(stage, words),
        "publish" => publish(stage, words),
        "abandon" => abandon(stage, words),
        _ => return None,
    })
}

fn compact(stage: &Stage, words: &mut Words) -> Outcome {
    let keyspace = stage.keyspace(&words.next())?;
    stage.engine().compact(&keyspace)?;
    Ok(String::new())
}

fn raise(stage: &Stage, words: &mut Words) -> Outcome {
    let keyspace = stage.keyspace(&words.next())?;
    let to = stage.time(&words.next());
    let raised = stage.engine().gc_guard().raise(keyspace.id(), to)?;
    Ok(format!("threshold {}\n", raised.nanos()))
}

fn sweep(stage: &Stage, words: &mut Words) -> Outcome {
    let budget = match words.option("max") {
        Some(keys) => SweepBudget {
            max_keys: keys.parse().unwrap(),
        },
        None => SweepBudget::default(),
    };
    let keyspace = stage.keyspace(&words.next())?;
    let report = stage.engine().sweep(&keyspace, budget)?;
    Ok(format!(
        "visited {} keys, removed {} versions, swept to {}, {}\n",
        report.visited_keys,
        report.removed_versions,
        report.swept_to.nanos(),
        if report.done { "done" } else { "not done" }
    ))
}

fn purge(stage: &Stage) -> Outcome {
    let purged = stage.engine().purge_dropped()?;
    Ok(lines(
        purged.iter().map(|d| format!("id {} {}", d.id, d.name)),
    ))
}

fn trim(stage: &Stage) -> Outcome {
    let mark = stage.engine().trim_commit_index()?;
    Ok(format!("low water {}\n", mark.nanos()))
}

fn restore(stage: &mut Stage, words: &mut Words) -> Outcome {
    let (id, name) = (words.next(), words.next());
    let keyspace = stage
        .engine()
        .begin_restore(&id, &name, KeyspaceSettings::default())?;
    let ingested = keyspace.ingested();
    let publish = Publish {
        keyspace,
        threshold: icecore_mvcc::Timestamp::MIN,
    };
    let under_way = stage.restores.entry(id).or_default();
    under_way.retain(|other| other.keyspace.name() != name);
    under_way.push(publish);
    Ok(lines(ingested))
}

fn ingest(stage: &mut Stage, words: &mut Words) -> Outcome {
    let (id, name, tag) = (words.next(), words.next(), words.next());
    let file = stage
        .engine()
        .staging_dir()
        .join(format!("{name}-{tag}.sst"));
    let mut writer = stage.engine().sst_writer(&file, Compression::None)?;
    for row in words.all() {
        let (version, value) = match row.split_once('=') {
            Some((version, value)) => (version, Some(bytes(value))),
            None => (row.as_str(), None),
        };
        let (key, ts) = version.split_once('@').unwrap();
        writer.add(&bytes(key), stage.time(ts), value.as_deref())?;
    }
    writer.finish()?;
    let mut under_way = stage.restores[&id].iter();
    let publish = under_way.find(|p| p.keyspace.name() == name).expect(&name);
    let new = publish.keyspace.ingest(&tag, &[file])?;
    Ok(format!("{}\n", if new { "ingested" } else { "was there" }))
}

fn publish(stage: &mut Stage, words: &mut Words) -> Outcome {
    let newest = stage.time(&words.option("newest").expect("newest T"));
    let mut restored = stage.restores.remove(&words.next()).unwrap();
    for word in words.all() {
        let (name, threshold) = word.split_once('@').unwrap();
        let threshold = stage.time(threshold);
        let mut all = restored.iter_mut();
        all.find(|p| p.keyspace.name() == name)
            .expect(name)
            .threshold = threshold;
    }
    let published = stage.engine().publish_restore(restored, newest)?;
    let show =
        |keyspace: &icecore_engine::Keyspace| super::catalog::describe(&keyspace.descriptor());
    Ok(lines(published.iter().map(show)))
}

fn abandon(stage: &mut Stage, words: &mut Words) -> Outcome {
    let id = words.next();
    stage.restores.remove(&id);
    Ok(format!(
        "{} given up\n",
        stage.engine().abandon_restore(&id)?
    ))
}
