//! History: all versions of one key, and all changes in a window of time. A window is found
//! through the commit index, whose cost follows what changed, or by a scan, whose cost follows what
//! is stored; both give the same answer.

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Durability, Engine, Keyspace, Options, PlanTaken, Result,
    VersionRow, Window,
};
use icecore_mvcc::{KeyRange, KeyspaceSettings};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let stock = engine.create_keyspace("shop.stock", KeyspaceSettings::default())?;

    let mut first = icecore_engine::Batch::new();
    for item in 0..20_000 {
        first.put(&stock, format!("item/{item:05}"), "10");
    }
    let after = engine.commit(first, Durability::Sync)?;
    stock.put("item/00007", "9", Durability::Sync)?;
    stock.put("item/00007", "8", Durability::Sync)?;
    stock.put("item/00042", "11", Durability::Sync)?;
    let until = stock.delete("item/00007", Durability::Sync)?;
    stock.put("item/00042", "12", Durability::Sync)?;

    println!("versions of item/00007, newest first:");
    let versions = stock.versions(&engine.snapshot(), b"item/00007")?;
    for version in &versions {
        println!("  {}  {}", version.ts, show(version.value.as_deref()));
    }
    assert_eq!(versions.len(), 4);

    let window = Window { after, until };
    let (by_index, index) = changes(&stock, window, ChangeSet::All, ChangePlan::Index)?;
    let (by_scan, scan) = changes(&stock, window, ChangeSet::All, ChangePlan::Scan)?;
    println!("changes after {after} until {until}:");
    for row in &by_index {
        println!(
            "  {}  {}",
            String::from_utf8_lossy(&row.key),
            show(row.value.as_deref())
        );
    }
    assert_eq!(
        index,
        PlanTaken::Index {
            changes: 4,
            spilled: false
        }
    );
    assert!(matches!(scan, PlanTaken::Scan { .. }));
    assert_eq!(by_index, by_scan);

    // Left to itself, the engine takes the cheaper plan and tells which.
    let (latest, taken) = changes(&stock, window, ChangeSet::Latest, ChangePlan::Auto)?;
    println!(
        "only the newest of each key: {} rows, by {taken:?}",
        latest.len()
    );
    assert!(matches!(taken, PlanTaken::Index { .. }));
    let values: Vec<_> = latest.iter().map(|row| row.value.as_deref()).collect();
    assert_eq!(values, [None, Some(&b"11"[..])]);
    Ok(engine.close()?)
}

fn changes(
    stock: &Keyspace,
    window: Window,
    set: ChangeSet,
    plan: ChangePlan,
) -> Result<(Vec<VersionRow>, PlanTaken)> {
    let options = ChangeOptions {
        plan,
        ..ChangeOptions::default()
    };
    let changes = stock.changes(&KeyRange::all(), window, set, &options)?;
    let taken = changes.plan();
    Ok((changes.collect::<Result<_>>()?, taken))
}

fn show(value: Option<&[u8]>) -> String {
    value.map_or("deleted".to_owned(), |value| {
        String::from_utf8_lossy(value).into_owned()
    })
}
