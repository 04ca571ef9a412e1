//! Transactions: two that write the same key conflict, and the loser tries again. Under snapshot
//! isolation two may read what the other writes (write skew); serializable ones may not.

use icecore_engine::{
    Durability, Engine, Error, Isolation, Keyspace, Options, Result, Transaction,
};
use icecore_mvcc::KeyspaceSettings;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let accounts = engine.create_keyspace("bank.accounts", KeyspaceSettings::default())?;

    retry_until_it_wins(&engine, &accounts)?;
    println!("write skew under snapshot isolation: both commit");
    write_skew(&engine, &accounts, Isolation::Snapshot)??;
    println!("write skew when serializable: the second must try again");
    match write_skew(&engine, &accounts, Isolation::Serializable)? {
        Err(error @ Error::Conflict { .. }) => println!("  {error}"),
        other => return Err(format!("a conflict was expected, not {other:?}").into()),
    }
    Ok(engine.close()?)
}

/// Four threads add to one counter, 25 times each; none of the additions is lost.
fn retry_until_it_wins(engine: &Engine, accounts: &Keyspace) -> Result<()> {
    accounts.put("counter", "0", Durability::Sync)?;
    let work = || -> Result<u32> {
        let mut conflicts = 0;
        for _ in 0..25 {
            conflicts += add_one(engine, accounts)?;
        }
        Ok(conflicts)
    };
    let results: Vec<Result<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let conflicts: u32 = results.into_iter().sum::<Result<u32>>()?;
    println!("4 threads added 100 in all, after {conflicts} conflicts");
    assert_eq!(accounts.get(b"counter")?.as_deref(), Some(&b"100"[..]));
    Ok(())
}

/// One addition, tried until it commits. Returns how often it had to be tried again.
fn add_one(engine: &Engine, accounts: &Keyspace) -> Result<u32> {
    for conflicts in 0.. {
        let mut transaction = engine.begin(Isolation::Snapshot)?;
        let count = read(&mut transaction, accounts, "counter")?;
        transaction.put(accounts, "counter", (count + 1).to_string());
        match transaction.commit(Durability::Buffered) {
            Ok(_) => return Ok(conflicts),
            // The only thing to do: run it again, on what is committed by now.
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(u32::MAX)
}

/// Alice and Bob may overdraw, as long as the sum stays positive. Both withdraw 100 at once, and
/// each transaction reads both accounts. The inner result is that of the second commit.
fn write_skew(
    engine: &Engine,
    accounts: &Keyspace,
    isolation: Isolation,
) -> Result<Result<icecore_mvcc::Timestamp>> {
    accounts.put("alice", "60", Durability::Sync)?;
    accounts.put("bob", "60", Durability::Sync)?;
    let withdraw = |from: &str| -> Result<Transaction> {
        let mut transaction = engine.begin(isolation)?;
        let sum =
            read(&mut transaction, accounts, "alice")? + read(&mut transaction, accounts, "bob")?;
        if sum >= 100 {
            let own = read(&mut transaction, accounts, from)?;
            transaction.put(accounts, from, (own - 100).to_string());
        }
        Ok(transaction)
    };
    let (first, second) = (withdraw("alice")?, withdraw("bob")?);
    first.commit(Durability::Sync)?;
    let outcome = second.commit(Durability::Sync);

    let mut check = engine.begin(isolation)?;
    let sum = read(&mut check, accounts, "alice")? + read(&mut check, accounts, "bob")?;
    println!("  alice and bob now have {sum} together");
    assert_eq!(sum, if outcome.is_ok() { -80 } else { 20 });
    check.rollback();
    Ok(outcome)
}

/// A number, as a transaction sees it; 0 where there is none.
fn read(transaction: &mut Transaction, accounts: &Keyspace, key: &str) -> Result<i64> {
    let value = transaction
        .get(accounts, key.as_bytes())?
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(&value).parse().unwrap_or(0))
}
