//! Checks of what holds garbage collection back.

use icecore_engine::{Engine, Keyspace};
use icecore_gc::{ProtectedTimestamps, Record};

use super::Finding;
use crate::output::plural;

/// Every record can be read, and no threshold has passed one that applies to its keyspace.
pub(super) fn protection(engine: &Engine) -> Finding {
    let protected = ProtectedTimestamps::new(engine);
    let records = protected.list().map_err(|e| e.to_string())?;
    for record in &records {
        let kept = protected.kept_whole(record).map_err(|e| e.to_string())?;
        let passed = |keyspace: &&Keyspace| {
            keyspace.threshold() > record.timestamp && !was_restored_since(keyspace, record)
        };
        if let Some(keyspace) = kept.iter().find(passed) {
            return Err(format!(
                "record {} protects {} since {}, but its threshold is {}",
                record.id,
                keyspace.name(),
                record.timestamp,
                keyspace.threshold()
            ));
        }
    }
    Ok(plural(records.len() as u64, "record"))
}

/// A restored keyspace may begin after a record that holds all: its past ends where its backup's does.
fn was_restored_since(keyspace: &Keyspace, record: &Record) -> bool {
    let restored = keyspace.descriptor().restored();
    restored.is_some_and(|restored| restored > record.timestamp)
}

/// Restores that were not finished: no fault, but something to know of.
pub(super) fn restores(engine: &Engine) -> Finding {
    let names: Vec<String> = engine
        .restoring()
        .iter()
        .map(|keyspace| keyspace.name().to_owned())
        .collect();
    match names.is_empty() {
        true => Ok("none".to_owned()),
        false => Ok(format!(
            "of {} unfinished; run the same restore again to finish it, or `restore --abandon`",
            names.join(", ")
        )),
    }
}
