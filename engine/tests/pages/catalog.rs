//! `catalog.md`.

use std::time::Duration;

use icecore_engine::Publish;
use icecore_golden::page::{annotated, blocks, bytes, rows};
use icecore_mvcc::{Descriptor, KeyspaceId, KeyspaceSettings, Timestamp, key};

use super::{Database, START, collect, page, system};
use crate::rocks::family;

const PAGE: &str = "catalog.md";

#[test]
fn the_key_of_a_row() {
    let page = page(PAGE);
    let block = blocks(&page, "Worked example", "text")[0];
    let stored = key::encode_key(b"keyspace/00000001", Timestamp::from_nanos(START));
    assert_eq!(annotated(block), stored);
}

/// The versions of descriptors as the page lists them: event, stored key, stored value.
fn described() -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let row = |row: Vec<String>| {
        let mut stored = row[1].clone().into_bytes();
        stored.extend([0, 1]);
        stored.extend(bytes(&row[2]));
        let mut value = bytes(&row[3]);
        value.extend(row[4].as_bytes());
        (row[0].clone(), stored, value)
    };
    rows(&page(PAGE), "Worked example")
        .into_iter()
        .map(row)
        .collect()
}

#[test]
fn versions_of_descriptors() {
    let database = Database::new(START);
    let engine = database.open();
    let settings = KeyspaceSettings::default;
    let a = engine.create_keyspace("a", settings()).unwrap();
    let shorter = KeyspaceSettings {
        gc_ttl: Duration::from_secs(30 * 60),
        ..settings()
    };
    engine.alter_keyspace("a", shorter).unwrap();
    engine.drop_keyspace("a").unwrap();
    collect(&engine, &a);
    let guard = engine.gc_guard();
    guard.raise(system(&engine).id(), Timestamp::MAX).unwrap();
    drop(guard);
    assert_eq!(engine.purge_dropped().unwrap().len(), 1);
    let coming = engine.begin_restore("job-2", "bank.coming", settings());
    let publish = Publish {
        keyspace: coming.unwrap(),
        threshold: Timestamp::MIN,
    };
    engine
        .publish_restore(vec![publish], Timestamp::MIN)
        .unwrap();
    let stored = family(&database.folder(), "system");
    let described: Vec<_> = described().into_iter().map(|(_, k, v)| (k, v)).collect();
    assert_eq!(printed(&stored), printed(&described));
}

/// Rows so that a difference can be read.
fn printed(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<String> {
    let text = icecore_mvcc::text::to_text;
    rows.iter()
        .map(|(key, value)| format!("{} = {}", text(key), text(value)))
        .collect()
}

/// What the page says of each event is what its JSON says.
#[test]
fn the_life_of_a_keyspace() {
    let all = described();
    let at = |event: &str| {
        let (_, stored, value) = all.iter().find(|(e, ..)| e == event).expect(event);
        let ts = key::split(stored).unwrap().1;
        (ts, serde_json::from_slice::<Descriptor>(&value[1..]).ok())
    };
    let (created, first) = at("create");
    let first = first.unwrap();
    assert_eq!((first.created, first.introduced), (created, created));
    assert_eq!((first.index_since, first.dropped), (Timestamp::MIN, None));
    let altered = at("alter").1.unwrap();
    assert_ne!(altered.settings, first.settings);
    assert_eq!(
        Descriptor {
            settings: first.settings.clone(),
            ..altered.clone()
        },
        first
    );
    let (dropped, last) = at("drop");
    assert_eq!(last.unwrap().dropped, Some(dropped));
    assert_eq!(at("removal for good").1, None);
    let (published, restored) = at("publication of a restore");
    let restored = restored.unwrap();
    assert_eq!(restored.id, KeyspaceId::new(2));
    assert_eq!(
        [restored.created, restored.introduced, restored.index_since],
        [published; 3]
    );
}
