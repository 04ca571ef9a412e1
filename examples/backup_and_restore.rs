//! Backup and restore in a folder (`file://`): a full, an incremental that carries what changed,
//! restores of the latest state and of a moment in between, and of one keyspace under another name
//! beside the original. The same works with `s3://` URIs.

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Durability, Engine, Options};
use icecore_examples::fingerprint::Fingerprint;
use icecore_mvcc::{KeyspaceSettings, NamePattern};
use icecore_restore::{RestoreOptions, VerifyOptions, restore, verify};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let accounts = engine.create_keyspace("bank.accounts", KeyspaceSettings::default())?;
    for n in 0..5000 {
        accounts.put(format!("account/{n:04}"), "100", Durability::Buffered)?;
    }

    // With revision history every moment between the layers can be restored, not only their ends.
    let uri = CollectionUri::from_local_path(dir.path().join("backups"))?;
    let collection = Collection::create_or_open(&uri, StoreOptions::default()).await?;
    let full = BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    };
    let incremental = BackupOptions {
        onto: Some("LATEST".parse()?),
        ..full.clone()
    };
    let first = backup(&engine, &collection, &full).await?;
    println!(
        "full:        {:>5} versions, {:>6} bytes",
        first.entries(),
        first.stored_bytes()
    );

    accounts.put("account/0007", "170", Durability::Sync)?;
    let between = engine.snapshot();
    let then = Fingerprint::of(&engine, &between)?;
    accounts.delete("account/0007", Durability::Sync)?;
    engine
        .create_keyspace("bank.audit", KeyspaceSettings::default())?
        .put("1", "account 7 closed", Durability::Sync)?;
    let second = backup(&engine, &collection, &incremental).await?;
    println!(
        "incremental: {:>5} versions, {:>6} bytes",
        second.entries(),
        second.stored_bytes()
    );
    assert_eq!(
        second.entries(),
        3,
        "two changes of account 7 and the first row of bank.audit"
    );
    let now = Fingerprint::of(&engine, &engine.snapshot())?;

    // Everything, as it is now, into a new database. Nothing is visible until all of it is.
    let latest = Engine::open(dir.path().join("latest"), &Options::default())?;
    let report = restore(&latest, &collection, &RestoreOptions::default()).await?;
    println!("restored {} layers as of {}", report.layers, report.target);
    assert_eq!(Fingerprint::of(&latest, &latest.snapshot())?, now);

    // A point in time that is the end of no layer.
    let moment = Engine::open(dir.path().join("moment"), &Options::default())?;
    let as_of = RestoreOptions {
        as_of: Some(between.timestamp()),
        ..RestoreOptions::default()
    };
    restore(&moment, &collection, &as_of).await?;
    println!("restored the moment before account 7 was closed");
    assert_eq!(Fingerprint::of(&moment, &moment.snapshot())?, then);

    // One keyspace, beside the one that is in use.
    let beside = RestoreOptions {
        keyspaces: vec![NamePattern::parse("bank.accounts")?],
        renames: [(
            "bank.accounts".to_owned(),
            "bank.accounts_before".to_owned(),
        )]
        .into(),
        ..as_of
    };
    restore(&engine, &collection, &beside).await?;
    let before = engine.keyspace("bank.accounts_before")?;
    println!(
        "account 7 held {:?}",
        before
            .get(b"account/0007")?
            .map(String::from_utf8)
            .transpose()?
    );
    assert_eq!(before.get(b"account/0007")?.as_deref(), Some(&b"170"[..]));
    assert_eq!(accounts.get(b"account/0007")?, None);

    // Every byte in the collection is what its manifest says.
    let verified = verify(&collection, &VerifyOptions::default()).await?;
    assert!(verified.is_ok());
    Ok(())
}
