//! Snapshots and as-of reads: a snapshot sees one moment, whatever is committed afterwards, and
//! any time above the garbage-collection threshold can be read, by a get or by a scan.

use icecore_engine::{Durability, Engine, Error, Options, ScanDirection};
use icecore_mvcc::{KeyRange, KeyspaceSettings, parse_timestamp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let accounts = engine.create_keyspace("bank.accounts", KeyspaceSettings::default())?;

    accounts.put("alice", "100", Durability::Sync)?;
    let opened = accounts.put("bob", "50", Durability::Sync)?;
    // A snapshot is a timestamp with a pin: garbage collection keeps what it sees.
    let before = engine.snapshot();
    accounts.put("alice", "60", Durability::Sync)?;
    accounts.delete("bob", Durability::Sync)?;

    println!(
        "now:    alice has {:?}, bob has {:?}",
        text(&accounts.get(b"alice")?),
        accounts.get(b"bob")?
    );
    let (alice, bob) = (
        accounts.get_at(&before, b"alice")?,
        accounts.get_at(&before, b"bob")?,
    );
    println!(
        "before: alice had {:?}, bob had {:?}",
        text(&alice),
        text(&bob)
    );
    assert_eq!(accounts.get(b"alice")?.as_deref(), Some(&b"60"[..]));
    assert_eq!(accounts.get(b"bob")?, None);
    assert_eq!(
        (alice.as_deref(), bob.as_deref()),
        (Some(&b"100"[..]), Some(&b"50"[..]))
    );

    // Every commit returns its timestamp. Text works too: RFC 3339, seconds, or "-10s".
    let typed = parse_timestamp(&opened.to_string(), engine.now())?;
    assert_eq!(typed, opened);
    let then = engine.snapshot_at(typed)?;
    let keys: Vec<Vec<u8>> = accounts
        .scan(&then, &KeyRange::all(), ScanDirection::Reverse)?
        .map(|row| row.map(|row| row.key))
        .collect::<Result<_, _>>()?;
    println!("as of {opened} there were {} accounts", keys.len());
    assert_eq!(keys, [b"bob".to_vec(), b"alice".to_vec()]);

    // Many keys of one moment at once, in the order asked for.
    let both = accounts.multi_get_at(&then, &["bob", "carol", "alice"])?;
    assert_eq!(both, [Some(b"50".to_vec()), None, Some(b"100".to_vec())]);

    // The future cannot be read: more might still be committed there.
    match engine.snapshot_at(
        engine
            .now()
            .saturating_add(std::time::Duration::from_secs(60)),
    ) {
        Err(error @ Error::InFuture { .. }) => println!("in a minute: {error}"),
        other => return Err(format!("a read in the future gave {other:?}").into()),
    }
    Ok(engine.close()?)
}

fn text(value: &Option<Vec<u8>>) -> Option<&str> {
    value
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
}
