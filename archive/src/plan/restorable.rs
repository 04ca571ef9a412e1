//! Which times of which keyspaces the layers of a chain can restore: pure, for listings, timelines and
//! retention.
//!
//! The rules are those of a restore: which layers it takes for a time ([`chain`](super::chain)), and what
//! each of them must hold of a keyspace. Here they are solved for the time instead of tested at one; a
//! property test in the restore crate holds the two against each other.

use std::collections::{BTreeMap, BTreeSet};

use icecore_mvcc::{Descriptor, Timestamp};
use serde::Serialize;

use super::{Spine, first_time};
use crate::manifest::{Manifest, ManifestKeyspace};
use crate::marker::LayerEntry;
use crate::path::LayerPath;

/// Times at which a keyspace can be restored: every one from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Restorable {
    /// The keyspace's name at those times.
    pub keyspace: String,
    /// The first of them.
    pub from: Timestamp,
    /// The last of them, included: the same as the first where only one time can be restored.
    pub until: Timestamp,
}

/// The times that a chain can restore, of each keyspace by name: ranges that do not touch, in order.
///
/// A time is in one of them exactly if a restore of that keyspace as of that time is accepted. One whose
/// rows are left out of backups is accepted, and comes back empty. What needs a layer whose manifest is not
/// among those given cannot be restored.
#[must_use]
pub fn restorable(layers: &[LayerEntry], manifests: &[Manifest]) -> Vec<Restorable> {
    let spine = Spine::build(layers);
    let by_path: BTreeMap<&LayerPath, &Manifest> =
        manifests.iter().map(|m| (&m.layer, m)).collect();
    // Between two of these times a restore takes the same layers.
    let begins: BTreeSet<Timestamp> = layers
        .iter()
        .flat_map(|layer| [first_time(layer), layer.end.next()])
        .collect();
    let begins: Vec<Timestamp> = begins.into_iter().collect();
    let mut found = Vec::new();
    for (position, &from) in begins.iter().enumerate() {
        let Some(last) = spine.last_layer(layers, from) else {
            continue;
        };
        let next = begins.get(position + 1);
        let until = next.map_or(last.end, |next| next.prev().min(last.end));
        let path = spine.path_to(last);
        let held: Option<Vec<&Manifest>> = path
            .iter()
            .map(|layer| by_path.get(&layer.path).copied())
            .collect();
        if let Some(held) = held {
            of_layers(&held, from, until, &mut found);
        }
    }
    union(found)
}

/// Ranges of several chains as one list: sorted, those that touch joined.
#[must_use]
pub fn union(ranges: impl IntoIterator<Item = Restorable>) -> Vec<Restorable> {
    let mut ranges: Vec<Restorable> = ranges.into_iter().collect();
    ranges.sort();
    let mut joined: Vec<Restorable> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.keyspace == range.keyspace && range.from <= last.until.next() => {
                last.until = last.until.max(range.until);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Of the times from `from` to `until`, for which a restore takes exactly these layers, those that it
/// accepts, by keyspace.
fn of_layers(
    manifests: &[&Manifest],
    from: Timestamp,
    until: Timestamp,
    found: &mut Vec<Restorable>,
) {
    let Some((last, earlier)) = manifests.split_last() else {
        return;
    };
    for keyspace in &last.keyspaces {
        let descriptor = &keyspace.descriptor;
        if descriptor.dropped == Some(Timestamp::MIN) {
            continue;
        }
        let held_from = if descriptor.settings.exclude_from_backup {
            Timestamp::MIN
        } else if is_founded(manifests, descriptor) {
            first_true_time(last, keyspace)
        } else {
            continue;
        };
        // Where another keyspace of that name was lost within the layer, only its end can be told.
        let told_from = match earlier.last() {
            Some(before) if loses(before, last, &descriptor.name) => last.end,
            _ => Timestamp::MIN,
        };
        let from = from.max(descriptor.created).max(held_from).max(told_from);
        let until = descriptor
            .dropped
            .map_or(until, |dropped| until.min(dropped.prev()));
        if from <= until {
            found.push(Restorable {
                keyspace: descriptor.name.clone(),
                from,
                until,
            });
        }
    }
}

/// Whether the layers from the last one that introduces it all hold the keyspace.
fn is_founded(manifests: &[&Manifest], keyspace: &Descriptor) -> bool {
    let held = manifests.iter().rev().map_while(|manifest| {
        let mut held = manifest.keyspaces.iter();
        held.find(|held| held.descriptor.id == keyspace.id)
    });
    let mut held = held;
    held.any(|held| held.introduced)
}

/// The first time inside the last layer at which its rows answer every read.
fn first_true_time(last: &Manifest, keyspace: &ManifestKeyspace) -> Timestamp {
    keyspace.revision_start.unwrap_or_else(|| {
        // A dropped keyspace ends with its drop.
        let dropped = keyspace.descriptor.dropped;
        dropped
            .map_or(last.end, |dropped| dropped.prev().min(last.end))
            .max(last.start)
    })
}

/// Whether a keyspace of that name lived at the end of the layer before, and the last one does not tell what
/// became of it.
fn loses(before: &Manifest, last: &Manifest, name: &str) -> bool {
    let is_listed = |d: &Descriptor| last.keyspaces.iter().any(|k| k.descriptor.id == d.id);
    let mut lived = before.keyspaces.iter().map(|k| &k.descriptor);
    lived.any(|d| d.name == name && d.dropped.is_none() && !is_listed(d))
}
