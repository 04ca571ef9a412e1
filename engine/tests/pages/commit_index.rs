//! `commit-index.md`.

use icecore_engine::{
    Batch, ChangeOptions, ChangePlan, ChangeSet, Durability, Engine, Keyspace, Result, VersionRow,
    Window,
};
use icecore_golden::page::{annotated, blocks};
use icecore_mvcc::{KeyRange, KeyspaceSettings, Timestamp};

use super::{Database, START, page};
use crate::rocks::{Pair, family};

/// The examples of the page, as key and value.
fn described() -> Vec<Pair> {
    let page = page("commit-index.md");
    let pair = |block: &str| {
        let (key, value) = block.split_once("\nvalue").unwrap();
        let key = key.strip_prefix("key").unwrap();
        (annotated(key), annotated(value))
    };
    blocks(&page, "Examples", "text")
        .into_iter()
        .map(pair)
        .collect()
}

/// What the page tells of.
fn example() -> (Database, Engine, Keyspace, Keyspace) {
    // So that the commit of the page comes after the two of its keyspaces.
    let database = Database::new(START - 1);
    let engine = database.open();
    let create = |name| engine.create_keyspace(name, KeyspaceSettings::default());
    let (one, two) = (create("one").unwrap(), create("two").unwrap());
    let mut batch = Batch::new();
    batch.put(&two, "1", "123456").put(&one, "alice", "100");
    batch.put(&one, [0], "").delete(&one, "bob");
    engine.commit(batch, Durability::Sync).unwrap();
    let rows = ["10", "2", "3"].map(|key| Result::Ok((key, "v")));
    engine.bulk_load(&two, rows).unwrap();
    (database, engine, one, two)
}

#[test]
fn the_records_of_a_commit_and_of_a_load() {
    let (database, ..) = example();
    let stored = family(&database.folder(), "commits");
    // Before them come those of the two descriptors.
    assert_eq!(stored.len(), 4);
    assert_eq!(stored[2..], described());
}

fn changes(keyspace: &Keyspace, plan: ChangePlan) -> Result<Vec<VersionRow>> {
    let window = Window {
        after: Timestamp::from_nanos(START),
        until: keyspace.engine().visible(),
    };
    let options = ChangeOptions {
        plan,
        ..ChangeOptions::default()
    };
    keyspace
        .changes(&KeyRange::all(), window, ChangeSet::All, &options)?
        .collect()
}

/// A database with the page's bytes in place of its own gives the rows that the page names.
#[test]
fn the_records_are_read_back() {
    let (database, engine, one, two) = example();
    let scanned = [&one, &two].map(|k| changes(k, ChangePlan::Scan).unwrap());
    drop((one, two));
    engine.close().unwrap();
    for (key, value) in described() {
        database.overwrite("commits", &key, b"\x00");
        database.overwrite("commits", &key, &value);
    }
    let engine = database.open();
    let indexed =
        ["one", "two"].map(|k| changes(&engine.keyspace(k).unwrap(), ChangePlan::Index).unwrap());
    assert_eq!(indexed, scanned);
    let keys: Vec<&[u8]> = indexed.iter().flatten().map(|r| r.key.as_slice()).collect();
    assert_eq!(
        keys,
        [&b"\0"[..], b"alice", b"bob", b"1", b"10", b"2", b"3"]
    );
}

#[test]
fn an_unknown_kind_and_a_record_that_ends_early_are_corruption() {
    let whole = described();
    let (key, commit) = &whole[0];
    let (_, load) = &whole[1];
    let mut damaged = vec![vec![], vec![2], [&commit[..], &[0x81]].concat()];
    damaged.push(commit[..commit.len() - 1].to_vec());
    damaged.push(commit[..8].to_vec());
    damaged.push(load[..load.len() - 1].to_vec());
    let (database, engine, one, two) = example();
    drop((one, two));
    engine.close().unwrap();
    for record in damaged {
        database.overwrite("commits", key, &record);
        let engine = database.open();
        let refused = changes(&engine.keyspace("one").unwrap(), ChangePlan::Index);
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("corrupt: commit index record"),
            "{record:x?}: {text}"
        );
        engine.close().unwrap();
    }
}
