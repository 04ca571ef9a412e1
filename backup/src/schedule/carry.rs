//! Schedules in backups: a backup of the whole engine carries the rows that there were as of its end. A restore
//! puts them back as they are; the engine that they name is another one, so they rest there.

use std::collections::BTreeMap;

use icecore_engine::{Engine, Snapshot};
use serde_json::Value;

use super::table::SCHEDULE;
use crate::error::Result;

/// The rows that a manifest carries, by kind; empty where there are none.
pub(crate) fn system_rows(engine: &Engine, at: &Snapshot) -> Result<BTreeMap<String, Value>> {
    let mut rows = Vec::new();
    for (key, json) in engine.system().list_at(at, SCHEDULE)? {
        match serde_json::from_slice(&json) {
            Ok(row) => rows.push(row),
            Err(error) => {
                tracing::warn!(label = key, %error, "a schedule cannot be read, and is not in the backup");
            }
        }
    }
    let some = (!rows.is_empty()).then(|| (SCHEDULE.to_owned(), Value::Array(rows)));
    Ok(some.into_iter().collect())
}
