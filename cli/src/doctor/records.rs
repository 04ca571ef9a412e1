//! Checks of what holds garbage collection back.

use icecore_engine::{Engine, Keyspace};
use icecore_gc::ProtectedTimestamps;

use super::Finding;
use crate::output::plural;

/// Every record can be read, and no threshold has passed one that applies to its keyspace.
pub(super) fn protection(engine: &Engine, keyspaces: &[Keyspace]) -> Finding {
    let records = ProtectedTimestamps::new(engine)
        .list()
        .map_err(|e| e.to_string())?;
    for record in &records {
        let passed = |keyspace: &&Keyspace| {
            record.applies_to(&keyspace.descriptor()) && keyspace.threshold() > record.timestamp
        };
        if let Some(keyspace) = keyspaces.iter().find(passed) {
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
