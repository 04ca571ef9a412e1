//! Checks of the catalog and of the thresholds.

use std::collections::BTreeSet;

use icecore_engine::{Keyspace, SYSTEM_KEYSPACE};
use icecore_mvcc::{KeyspaceName, Timestamp};

use super::Finding;

/// Names are valid and unique among the living; settings can be written; lives end after they
/// begin.
pub(super) fn names(keyspaces: &[Keyspace]) -> Finding {
    let mut live = BTreeSet::new();
    for keyspace in keyspaces {
        let descriptor = keyspace.descriptor();
        KeyspaceName::parse(&descriptor.name).map_err(|e| e.to_string())?;
        descriptor.settings.validate().map_err(|e| e.to_string())?;
        if keyspace.id() == SYSTEM_KEYSPACE {
            continue;
        }
        match descriptor.dropped {
            Some(dropped) if dropped <= descriptor.created => {
                return Err(format!(
                    "keyspace {} was dropped at {dropped}, before its creation at {}",
                    descriptor.name, descriptor.created
                ));
            }
            None if !live.insert(descriptor.name.clone()) => {
                return Err(format!("two live keyspaces are called {}", descriptor.name));
            }
            _ => {}
        }
    }
    Ok(format!("{} live", live.len()))
}

/// No threshold lies after the newest commit; as long as a keyspace can be read, so can its
/// descriptor.
pub(super) fn thresholds(keyspaces: &[Keyspace], visible: Timestamp) -> Finding {
    let system = keyspaces
        .iter()
        .find(|keyspace| keyspace.id() == SYSTEM_KEYSPACE)
        .map_or(Timestamp::MIN, Keyspace::threshold);
    for keyspace in keyspaces {
        let (name, threshold) = (keyspace.name(), keyspace.threshold());
        if threshold > visible {
            return Err(format!(
                "keyspace {name} has threshold {threshold}, after the newest commit at {visible}"
            ));
        }
        if threshold < system {
            return Err(format!(
                "keyspace {name} has threshold {threshold}, but the catalog is known only since {system}"
            ));
        }
    }
    match keyspaces.iter().map(Keyspace::threshold).max() {
        Some(highest) if highest > Timestamp::MIN => Ok(format!("the highest is {highest}")),
        _ => Ok("none was ever raised".to_owned()),
    }
}
