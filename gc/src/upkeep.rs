//! What a round does about records before it goes by them: limits that are broken, holders that are dead.
//!
//! What is to be done is judged without a lock, since it may read the commit index, and done under the guard
//! in one commit, to records that are still as they were judged. The next round does the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore_engine::{Engine, Keyspace, RowChange, WRITE_REFUSAL_KIND, WriteRefusal};
use icecore_mvcc::Timestamp;
use serde::Deserialize;

use crate::error::Result;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::limits::{Breach, OnBreach};
use crate::protect::{KIND, ProtectedTimestamps};
use crate::record::Record;
use crate::releases::{self, Release};
use crate::survey::{Survey, ttl_of};

/// Kind of the rows that say what jobs there are: `docs/format/jobs.md`.
const JOB_KIND: &str = "job";

/// What is known of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) record: Record,
    /// Bytes that it holds back, where they were asked for.
    pub(crate) held_bytes: Option<u64>,
    /// The limit that it is beyond.
    pub(crate) breach: Option<Breach>,
    /// Why nobody needs it any more.
    pub(crate) dead: Option<String>,
}

/// What is to be done about one.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing, or nothing any more.
    Fine,
    /// It is found dead for the first time, or alive again.
    NoteDeath(Option<Timestamp>),
    /// It goes, for this reason.
    Release(String),
    /// Commits of user data are refused, for this reason.
    RefuseWrites(String),
}

/// Looks at every record, and does what is due. Returns what was released.
pub(crate) fn run(engine: &Engine, grace: Duration) -> Result<Vec<Release>> {
    let judged = judge(engine, &Survey::take(engine, engine.now())?, false)?;
    if judged.is_empty() && engine.write_refusals().is_empty() {
        publish(&judged, engine);
        return Ok(Vec::new());
    }
    let released = settle(engine, &judged, grace)?;
    publish(&judged, engine);
    Ok(released)
}

/// Looks at every record; `all` asks for the bytes of those without a limit, too.
pub(crate) fn judge(engine: &Engine, survey: &Survey, all: bool) -> Result<Vec<Judged>> {
    let wanted = |record: &&Record| all || record.limits().max_bytes.is_some();
    let oldest = survey.records.iter().filter(wanted);
    let oldest = oldest.map(|record| record.timestamp).min();
    let ledger = engine.attachment::<Ledger>();
    let mut limits = Vec::new();
    // Only where somebody asks how much is held.
    if let Some(oldest) = oldest {
        ledger.read_on(engine, oldest)?;
        limits = limits_without_records(engine, survey);
    }
    let judge = |record: &Record| {
        let held_bytes = wanted(&record).then(|| held_bytes(&ledger, &limits, record));
        let age = survey.now.since(record.timestamp);
        Ok(Judged {
            held_bytes,
            breach: record.limits().breach(age, held_bytes),
            dead: dead(engine, record)?,
            record: record.clone(),
        })
    };
    survey.records.iter().map(judge).collect()
}

/// Where the threshold of each keyspace would be if there were no records.
fn limits_without_records(engine: &Engine, survey: &Survey) -> Vec<(Keyspace, Timestamp)> {
    let without = Survey {
        now: survey.now,
        records: Vec::new(),
    };
    let all = engine.all_keyspaces().into_iter();
    all.map(|keyspace| {
        let limit = without.decide(&keyspace, ttl_of(&keyspace)).threshold;
        (keyspace, limit)
    })
    .collect()
}

/// What was written between a record's time and where the thresholds would be without records. Each version
/// written there has replaced at most one that would be garbage then.
fn held_bytes(ledger: &Ledger, limits: &[(Keyspace, Timestamp)], record: &Record) -> u64 {
    let held = limits.iter();
    let held = held.filter(|(keyspace, _)| record.applies_to(&keyspace.descriptor()));
    held.map(|(keyspace, limit)| {
        let from = record.timestamp.max(keyspace.threshold());
        ledger.written(keyspace.id(), from, *limit)
    })
    .sum()
}

/// Why the holder of a record is dead, if it is.
fn dead(engine: &Engine, record: &Record) -> Result<Option<String>> {
    /// Of a job's row, what tells whether it is over.
    #[derive(Deserialize)]
    struct Row {
        state: String,
    }
    Ok(match &record.holder {
        Some(Holder::Run { session }) if *session != engine.session() => {
            Some("the process that held it is gone".to_owned())
        }
        Some(Holder::Job { id }) => match engine.system().get(JOB_KIND, &id.to_string())? {
            None => Some(format!("job {id}, which held it, is gone")),
            Some(json) => {
                let row: Option<Row> = serde_json::from_slice(&json).ok();
                let over = ["cancelled", "succeeded", "failed"];
                let state = row.map(|row| row.state);
                let state = state.filter(|state| over.contains(&state.as_str()));
                state.map(|state| format!("job {id}, which held it, has {state}"))
            }
        },
        _ => None,
    })
}

fn verdict(judged: &Judged, now: Timestamp, grace: Duration) -> Verdict {
    let Judged { record, .. } = judged;
    if let Some(why) = &judged.dead {
        return match record.dead_since {
            None => Verdict::NoteDeath(Some(now)),
            Some(since) if now.since(since) >= grace => Verdict::Release(why.clone()),
            Some(_) => Verdict::Fine,
        };
    }
    let Some(breach) = &judged.breach else {
        return match record.dead_since {
            Some(_) => Verdict::NoteDeath(None),
            None => Verdict::Fine,
        };
    };
    match record.limits().on_breach {
        OnBreach::Warn => Verdict::Fine,
        OnBreach::Release => Verdict::Release(breach.to_string()),
        OnBreach::RefuseWrites => Verdict::RefuseWrites(breach.to_string()),
    }
}

/// Does what is due, in one commit.
fn settle(engine: &Engine, judged: &[Judged], grace: Duration) -> Result<Vec<Release>> {
    let _guard = engine.gc_guard();
    let now = engine.now();
    let present = ProtectedTimestamps::new(engine).list()?;
    let present: BTreeMap<_, _> = present.iter().map(|r| (r.id, r)).collect();
    let (mut changes, mut released) = (Vec::new(), Vec::new());
    let mut refusals: BTreeMap<String, WriteRefusal> = BTreeMap::new();
    for judged in judged {
        let record = &judged.record;
        // One that has changed since is looked at in the next round; until then a refusal stays.
        if present.get(&record.id) != Some(&record) {
            let standing = engine.write_refusals().into_iter();
            refusals.extend(
                standing
                    .filter(|refusal| refusal.record == record.id.to_string())
                    .filter(|_| present.contains_key(&record.id))
                    .map(|refusal| (refusal.record.clone(), refusal)),
            );
            continue;
        }
        match verdict(judged, now, grace) {
            Verdict::Fine => {}
            Verdict::NoteDeath(dead_since) => {
                let mut noted = record.clone();
                noted.dead_since = dead_since;
                changes.push(RowChange::put(KIND, record.id, noted.encode()?));
            }
            Verdict::Release(reason) => {
                changes.push(RowChange::delete(KIND, record.id));
                released.push(Release::of(record, now, reason));
            }
            Verdict::RefuseWrites(reason) => {
                let refusal = WriteRefusal {
                    record: record.id.to_string(),
                    owner: record.owner.clone(),
                    reason,
                    since: now,
                };
                refusals.insert(refusal.record.clone(), refusal);
            }
        }
    }
    let gate = gate_changes(&engine.write_refusals(), refusals)?;
    let gate_changed = !gate.is_empty();
    changes.extend(gate);
    if !released.is_empty() {
        let row = releases::encode_with(releases::list(engine)?, &released)?;
        changes.push(RowChange::put(releases::KIND, releases::KEY, row));
    }
    if !changes.is_empty() {
        engine.system().change(changes)?;
    }
    if gate_changed {
        engine.load_write_refusals()?;
    }
    for release in &released {
        metrics::counter!("icecore_gc_released_total").increment(1);
        tracing::warn!(id = %release.id, owner = release.owner, timestamp = %release.timestamp,
            reason = release.reason, "protection released");
    }
    Ok(released)
}

/// The rows that lead from the refusals in force to those wanted. One that goes on keeps its time.
fn gate_changes(
    present: &[WriteRefusal],
    wanted: BTreeMap<String, WriteRefusal>,
) -> Result<Vec<RowChange>> {
    let mut changes = Vec::new();
    for refusal in present {
        if !wanted.contains_key(&refusal.record) {
            tracing::info!(record = refusal.record, "commits are accepted again");
            changes.push(RowChange::delete(WRITE_REFUSAL_KIND, &refusal.record));
        }
    }
    for (record, refusal) in wanted {
        if present.iter().any(|present| present.record == record) {
            continue;
        }
        tracing::error!(
            record,
            owner = refusal.owner,
            reason = refusal.reason,
            "commits are refused until this protected timestamp is released or moved, or its limit raised"
        );
        let json = serde_json::to_vec(&refusal).map_err(|e| crate::Error::UnreadableRecord {
            id: record.clone(),
            reason: e.to_string(),
        })?;
        changes.push(RowChange::put(WRITE_REFUSAL_KIND, record, json));
    }
    Ok(changes)
}

/// After a record was moved or changed, while commits are refused: whether they still must be.
pub(crate) fn reopen(engine: &Engine) -> Result<()> {
    if engine.write_refusals().is_empty() {
        return Ok(());
    }
    let judged = judge(engine, &Survey::take(engine, engine.now())?, false)?;
    settle(engine, &judged, Duration::MAX)?;
    Ok(())
}

fn publish(judged: &[Judged], engine: &Engine) {
    let beyond = judged.iter().filter(|judged| judged.breach.is_some());
    for judged in beyond.clone() {
        if let Some(breach) = &judged.breach {
            tracing::warn!(id = %judged.record.id, owner = judged.record.owner, %breach,
                policy = %judged.record.limits().on_breach, "a protected timestamp is beyond its limit");
        }
    }
    metrics::gauge!("icecore_gc_records_beyond_limit").set(beyond.count() as f64);
    let dead = judged.iter().filter(|judged| judged.dead.is_some()).count();
    metrics::gauge!("icecore_gc_dead_records").set(dead as f64);
    metrics::gauge!("icecore_gc_writes_refused").set(engine.write_refusals().len() as f64);
}
