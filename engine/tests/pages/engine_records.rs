//! `engine-records.md`.

use icecore_engine::{Durability, Engine};
use icecore_golden::page::{blocks, bytes, hex, rows};
use icecore_mvcc::{KeyspaceSettings, Timestamp};

use super::{Database, START, collect, page, system};
use crate::rocks::{Pair, family};

const PAGE: &str = "engine-records.md";

/// What the page tells of.
fn example() -> (Database, Engine) {
    let database = Database::new(START);
    let engine = database.open();
    let settings = KeyspaceSettings::default;
    let a = engine.create_keyspace("a", settings()).unwrap();
    a.put("k", "v", Durability::Sync).unwrap();
    a.delete("k", Durability::Sync).unwrap();
    collect(&engine, &a);
    collect(&engine, &system(&engine));
    engine.trim_commit_index().unwrap();
    let coming = engine.begin_restore("job-2", "bank.coming", settings());
    coming.unwrap().ingest("full", &[]).unwrap();
    (database, engine)
}

#[test]
fn every_record() {
    let page = page(PAGE);
    let json = blocks(&page, "Restore records", "json")[0];
    let (database, engine) = example();
    let stored: Vec<[String; 2]> = family(&database.folder(), "default")
        .iter()
        .map(|(key, value)| match key.starts_with(b"restore/") {
            true => {
                assert_eq!(value, json.as_bytes());
                [hex(key), "the JSON below".to_owned()]
            }
            false => [hex(key), hex(value)],
        })
        .collect();
    let described: Vec<[String; 2]> = rows(&page, "Worked example")
        .into_iter()
        .map(|row| [row[1].clone(), row[2].clone()])
        .collect();
    assert_eq!(stored, described);
    engine.close().unwrap();
    let closed = page.split_once("the last timestamp given: `").unwrap().1;
    let closed = closed.split_once('`').unwrap().0;
    assert_eq!(record(&database, b"clock"), bytes(closed));
}

fn record(database: &Database, key: &[u8]) -> Vec<u8> {
    let all: Vec<Pair> = family(&database.folder(), "default");
    all.into_iter().find(|(k, _)| k == key).unwrap().1
}

/// Each kind is named in the page's first table, and is in the example.
#[test]
fn no_kind_lacks_an_example() {
    let page = page(PAGE);
    let (table, _) = page.split_once("\n## ").unwrap();
    let kinds: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(kinds.len(), 7);
    // It has an example of its own.
    for kind in kinds.into_iter().filter(|kind| *kind != "purged") {
        let begins = hex(kind.as_bytes());
        let mut examples = rows(&page, "Worked example").into_iter();
        assert!(examples.any(|row| row[1].starts_with(&begins)), "{kind}");
    }
}

#[test]
fn a_removal_for_good_is_noted() {
    let database = Database::new(START);
    let engine = database.open();
    let a = engine.create_keyspace("a", KeyspaceSettings::default());
    engine.drop_keyspace("a").unwrap();
    for keyspace in [a.unwrap(), system(&engine)] {
        engine
            .gc_guard()
            .raise(keyspace.id(), Timestamp::MAX)
            .unwrap();
    }
    assert_eq!(engine.purge_dropped().unwrap().len(), 1);
    engine.close().unwrap();
    let described = page(PAGE);
    let described = described
        .split_once("A removal for good writes `")
        .unwrap()
        .1;
    let (key, rest) = described.split_once('`').unwrap();
    assert!(rest.starts_with(" with an empty value"), "{rest}");
    assert_eq!(record(&database, &bytes(key)), b"");
    let again = database.open();
    assert!(again.all_keyspaces().is_empty());
    assert!(again.has_ever_had_keyspaces().unwrap());
}

/// The next open reads what the page says, and so does a database made by the page's bytes.
#[test]
fn the_records_are_read_back() {
    let (database, engine) = example();
    engine.close().unwrap();
    for row in rows(&page(PAGE), "Worked example") {
        if row[0].starts_with("clock") {
            database.overwrite("default", &bytes(&row[1]), &bytes(&row[2]));
        }
    }
    let engine = database.open();
    let at = |nanos| Timestamp::from_nanos(START + nanos);
    assert_eq!(engine.visible(), at(3_000_000_001));
    assert_eq!(engine.commit_index_low_water().unwrap(), at(3));
    assert_eq!(engine.keyspace("a").unwrap().threshold(), at(3));
    assert_eq!(system(&engine).threshold(), at(3));
    let restoring = engine.restoring();
    assert_eq!(restoring[0].restore_id(), "job-2");
    assert_eq!(restoring[0].name(), "bank.coming");
    assert_eq!(restoring[0].ingested(), ["full"]);
    let next = engine.create_keyspace("b", KeyspaceSettings::default());
    assert_eq!(next.unwrap().id().get(), 3);
}

#[test]
fn a_record_of_another_length_is_corruption() {
    for (key, says) in [
        (&b"clock"[..], "clock is not 8 bytes long"),
        (b"threshold/\0\0\0\x01", "is not 8 bytes long"),
        (b"restore/job-2/bank.coming", "restore record"),
    ] {
        let (database, engine) = example();
        engine.close().unwrap();
        database.overwrite("default", key, b"1234567");
        let refused = Engine::open(database.folder(), &database.options).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("corrupt") && text.contains(says), "{text}");
    }
}
